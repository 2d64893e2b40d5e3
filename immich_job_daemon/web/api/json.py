"""The published picture as JSON: the totals, and a list of the queues. Pure: no I/O, no clock.

What dashboards rely on: a field keeps its name and its type, a number of jobs is an integer
always, and what nobody knows is null.

>>> queue = Queue("ocr", is_paused=True, waiting=1, paused=2)
>>> now = Status(1, 10.0, 0.0, 20.0, queues={"ocr": queue}, order=("ocr",))
>>> found = totals(now, 12.0)
>>> found["waiting"], found["updated"], found["age_seconds"], found["stale"]
(3, '1970-01-01T00:00:00+00:00', 2, False)
"""

from datetime import UTC, datetime
from typing import Final, TypedDict

from immich_job_daemon.model.queue import Queue, label
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import Status

WORDS: Final = {
    Reason.RUNNING: "running",
    Reason.DRAINING: "draining",
    Reason.WAITING: "waiting",
    Reason.IDLE: "idle",
    Reason.LENT: "open",
    Reason.UNRESTRICTED: "open",
    Reason.HELD_BY_USER: "held",
    Reason.OUTSIDE_WINDOW: "closed",
    Reason.HIGH_LOAD: "loaded",
    Reason.PAUSED_BY_OTHERS: "paused",
    Reason.UNPAUSABLE: "refused",
    Reason.PROTECTED: "protected",
}
"""The state of a queue in one word, by the reason for it."""


class Totals(TypedDict):
    """All queues together. Ages and estimates are whole seconds.

    With ``dry_run`` it is what would be so: nothing is sent to Immich.
    """

    active: int
    waiting: int
    failed: int
    queues: int
    delayed: int
    running: list[str]
    state: str
    eta_seconds: int | None
    updated: str
    age_seconds: int
    stale: bool
    dry_run: bool


class QueuePicture(TypedDict):
    """One queue. ``waiting`` are the jobs that could start, whether or not it is paused.

    ``may_run_at`` is when its hours begin again, null while nothing keeps it to hours.
    """

    name: str
    label: str
    active: int
    waiting: int
    delayed: int
    failed: int
    paused: bool
    state: str
    reason: str
    eta_seconds: int | None
    rate_per_minute: float | None
    may_run_at: str | None


def totals(status: Status, now: float) -> Totals | None:
    """Return the sums over all queues, or None: Immich has not answered yet.

    Args:
        status: the picture.
        now: seconds of the clock that ``status.updated`` is of.
    """
    if status.updated is None or status.updated_at is None:
        return None
    found = status.queues.values()
    return Totals(
        active=sum(queue.active for queue in found),
        waiting=sum(queue.backlog for queue in found),
        failed=sum(queue.failed for queue in found),
        queues=len(found),
        delayed=sum(queue.delayed for queue in found),
        running=[queue.name for queue in status.running],
        state=str(status.state),
        eta_seconds=_whole(None if status.is_stale(now) else status.forecast.total),
        updated=datetime.fromtimestamp(status.updated_at, UTC).isoformat(timespec="seconds"),
        age_seconds=max(0, int(now - status.updated)),
        stale=status.is_stale(now),
        dry_run=status.is_dry_run,
    )


def queues(status: Status, now: float) -> list[QueuePicture]:
    """Return every queue, the first by priority first; ``now`` as for ``totals``."""
    is_known = not status.is_stale(now)
    return [_queue(status, status.queues[name], is_known=is_known) for name in status.order]


def _queue(status: Status, queue: Queue, *, is_known: bool) -> QueuePicture:
    reason = status.reasons[queue.name]
    rate = status.rates.queues.get(queue.name)
    per_second = rate.per_second if rate else None
    opens = status.opens_at.get(queue.name)
    return QueuePicture(
        name=queue.name,
        label=label(queue.name),
        active=queue.active,
        waiting=queue.backlog,
        delayed=queue.delayed,
        failed=queue.failed,
        paused=queue.is_paused,
        state=WORDS[reason],
        reason=str(reason),
        eta_seconds=_whole(status.forecast.queues.get(queue.name)) if is_known else None,
        rate_per_minute=None if per_second is None else round(per_second * 60, 2),
        may_run_at=None if opens is None else opens.isoformat(timespec="seconds"),
    )


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)
