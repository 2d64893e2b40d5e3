"""Converts the status to JSON: the totals, and a list of the queues. Pure: no I/O, no clock.

Dashboards rely on this: a field keeps its name and its type, numbers of jobs are always integers,
and an unknown value is null.

>>> queue = Queue("ocr", is_paused=True, waiting=1, paused=2)
>>> status = Status(1, 10.0, 0.0, 20.0, queues={"ocr": queue}, order=("ocr",))
>>> found = totals(status, 12.0)
>>> found["waiting"], found["updated"], found["age_seconds"], found["stale"]
(3, '1970-01-01T00:00:00+00:00', 2, False)
"""

from datetime import UTC, datetime
from typing import Final, TypedDict

from immich_job_daemon.model.queue import Queue, label
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import Status

STATES: Final = {
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
"""The state of a queue in one word, by reason."""


class Totals(TypedDict):
    """All queues together. Ages and estimates are in whole seconds.

    With ``dry_run`` the daemon sends no command, so this is what would happen.
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


class QueueEntry(TypedDict):
    """One queue. ``waiting`` are the jobs ready to run, whether or not the queue is paused.

    ``may_run_at`` is when its next window opens, or null if it is not outside its window.
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
    """Return the totals of all queues, or None before the first successful poll.

    ``now`` is in seconds of the daemon's clock, as ``status.polled_at``.
    """
    if status.polled_at is None or status.polled_at_unix is None:
        return None
    every = status.queues.values()
    return Totals(
        active=sum(queue.active for queue in every),
        waiting=sum(queue.backlog for queue in every),
        failed=sum(queue.failed for queue in every),
        queues=len(every),
        delayed=sum(queue.delayed for queue in every),
        running=[queue.name for queue in status.running],
        state=str(status.state),
        eta_seconds=_rounded(None if status.is_stale(now) else status.forecast.total),
        updated=datetime.fromtimestamp(status.polled_at_unix, UTC).isoformat(timespec="seconds"),
        age_seconds=max(0, int(now - status.polled_at)),
        stale=status.is_stale(now),
        dry_run=status.is_dry_run,
    )


def queues(status: Status, now: float) -> list[QueueEntry]:
    """Return every queue by priority; ``now`` as for ``totals``."""
    is_current = not status.is_stale(now)
    return [_entry(status, status.queues[name], is_current=is_current) for name in status.order]


def _entry(status: Status, queue: Queue, *, is_current: bool) -> QueueEntry:
    reason = status.reasons[queue.name]
    rate = status.rates.queues.get(queue.name)
    per_second = rate.per_second if rate else None
    opens = status.opens_at.get(queue.name)
    return QueueEntry(
        name=queue.name,
        label=label(queue.name),
        active=queue.active,
        waiting=queue.backlog,
        delayed=queue.delayed,
        failed=queue.failed,
        paused=queue.is_paused,
        state=STATES[reason],
        reason=str(reason),
        eta_seconds=_rounded(status.forecast.queues.get(queue.name)) if is_current else None,
        rate_per_minute=None if per_second is None else round(per_second * 60, 2),
        may_run_at=None if opens is None else opens.isoformat(timespec="seconds"),
    )


def _rounded(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)
