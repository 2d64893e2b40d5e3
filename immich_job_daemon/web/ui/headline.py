"""The top of the page: what is happening in one sentence, progress and totals. Pure."""

from dataclasses import dataclass
from typing import Final

from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import UNREACHABLE, WITHOUT_POLL, OverallState, Status
from immich_job_daemon.web.ui.i18n import Texts

_BLOCKED: Final = (
    (Reason.HIGH_LOAD, "headline.busy", "state.busy"),
    (Reason.OUTSIDE_WINDOW, "headline.scheduled", "state.scheduled"),
    (Reason.PAUSED_BY_OTHERS, "headline.paused", "headline.idle"),
    (Reason.HELD_BY_USER, "headline.on_hold", "headline.idle"),
)
"""Why nothing runs although there are jobs; the key of the headline and of its announcement."""

MAX_NAMED_QUEUES: Final = 2
"""Queues that the headline names; it counts the others."""


@dataclass(frozen=True, slots=True)
class Headline:
    """What is happening.

    Attributes:
        announcement: the text for screen readers, which announce each change of it. It contains no
            numbers, so that it does not change all the time.
        starts_at: when the jobs start that wait for their time window, seconds since 1970.
    """

    text: str
    announcement: str
    starts_at: float | None = None


@dataclass(frozen=True, slots=True)
class BacklogProgress:
    """How far the whole backlog is.

    Attributes:
        done: jobs done since the backlog was at its peak.
        peak: the largest backlog since the queues were last empty.
        duration: the estimated time left.
        until: the estimated end in seconds since 1970; None if it is unknown.
        explanation: what 100 % is.
    """

    done: int
    peak: int
    share: str
    left: str
    duration: str
    until: float | None
    explanation: str


@dataclass(frozen=True, slots=True)
class Total:
    """A labelled number; ``is_bad`` if it should be 0."""

    label: str
    value: str
    is_bad: bool = False


def is_late(status: Status, now: float) -> bool:
    """Whether the loop is overdue to publish a new status."""
    return 0 < status.next_due < now


def headline(status: Status, texts: Texts, now: float) -> Headline:
    """Return what is happening; ``now`` is in seconds of the daemon's clock."""
    if key := _unknown(status, now):
        return _plain(texts(key))
    if status.state is OverallState.HELD:
        return _everything_paused(status, texts)
    if status.running:
        return _running(status, texts, now)
    if status.state is OverallState.OPEN:
        return _plain(texts("headline.unlimited"))
    return _nothing_running(status, texts)


def progress(status: Status, texts: Texts, now: float) -> BacklogProgress | None:
    """Return the progress; None without a backlog or while its peak is unknown."""
    peak, left = status.history.peak_pending, status.pending
    if not left or peak < left:
        return None
    remaining = None if status.is_stale(now) else status.forecast.total
    is_known = remaining is not None and status.polled_at_unix is not None
    return BacklogProgress(
        done=peak - left,
        peak=peak,
        # Rounded down: 100 % means that nothing is left.
        share=texts("progress.done", share=texts.number((peak - left) * 100 // peak)),
        left=texts.plural("progress.left", left),
        duration=texts("progress.unknown") if remaining is None else texts.duration(remaining),
        until=(status.polled_at_unix or 0.0) + (remaining or 0.0) if is_known else None,
        explanation=texts("progress.explanation", peak=texts.number(peak)),
    )


def totals(status: Status, texts: Texts) -> tuple[Total, ...]:
    """Return the totals of all queues; empty until the first poll has succeeded."""
    if status.polled_at is None:
        return ()
    failed = sum(queue.failed for queue in status.queues.values())
    used, limit = len(status.running), texts.number(status.limit)
    is_limited = Reason.UNRESTRICTED not in status.reasons.values()
    slots = texts("total.slots_of", used=texts.number(used), limit=limit)
    active = sum(status.queues[name].active for name in status.managed)
    return (
        Total(texts("total.left"), texts.number(status.pending)),
        Total(texts("total.active"), texts.number(active)),
        Total(texts("total.failed"), texts.number(failed), is_bad=failed > 0),
        Total(texts("total.slots"), slots if is_limited else texts.number(used)),
    )


def _unknown(status: Status, now: float) -> str:
    """Return the key of the headline while the queues' state is unknown; "" if it is known."""
    if is_late(status, now):
        return "headline.stuck"
    if status.problem is not None and status.problem.kind in WITHOUT_POLL:
        is_away = status.problem.kind in UNREACHABLE
        return "headline.away" if is_away else "headline.blocked"
    return "headline.starting" if status.polled_at is None else ""


def _plain(text: str) -> Headline:
    return Headline(text, text)


def _everything_paused(status: Status, texts: Texts) -> Headline:
    active = sum(queue.active for queue in status.running) or sum(
        status.queues[name].active for name in status.managed
    )
    if active:
        text = texts.plural("headline.finishing", active)
    elif status.pending:
        text = texts.plural("headline.all_paused_waiting", status.pending)
    else:
        text = texts("headline.all_paused_empty")
    return Headline(text, texts("headline.all_paused"))


def _running(status: Status, texts: Texts, now: float) -> Headline:
    running = status.running
    activity = _activity(running, texts)
    parts = [texts.plural("headline.left", sum(queue.pending for queue in running))]
    estimates = [status.forecast.queues.get(queue.name) for queue in running]
    known = [estimate for estimate in estimates if estimate is not None]
    if len(known) == len(estimates) and not status.is_stale(now):
        parts.append(texts.duration(max(known)))
    text = f"{activity}: {', '.join(parts)}"
    if waiting := _waiting_queues(status):
        text = f"{text}; {texts.plural('headline.waiting', waiting)}"
    return Headline(_capitalised(text), _capitalised(activity))


def _nothing_running(status: Status, texts: Texts) -> Headline:
    if waiting := _waiting_queues(status):
        return _plain(texts.plural("headline.next", waiting))
    for reason, key, announcement in _BLOCKED:
        queues = [queue for queue in status.with_reasons(reason) if queue.backlog]
        if queues:
            return Headline(
                texts.plural(key, sum(queue.backlog for queue in queues)),
                texts(announcement),
                _starts_at(queues, status) if reason is Reason.OUTSIDE_WINDOW else None,
            )
    return _plain(texts("headline.idle"))


def _starts_at(queues: list[Queue], status: Status) -> float | None:
    """Return when the first of the queues' windows opens, in seconds since 1970."""
    opens_at = [status.opens_at[queue.name] for queue in queues if queue.name in status.opens_at]
    return min(opens_at).timestamp() if opens_at else None


def _waiting_queues(status: Status) -> int:
    return sum(queue.backlog > 0 for queue in status.with_reasons(Reason.WAITING))


def _activity(running: list[Queue], texts: Texts) -> str:
    """Return what the queues do, in lower case for the middle of a sentence."""
    first, *others = (_queue_activity(queue.name, texts) for queue in running[:MAX_NAMED_QUEUES])
    if not others:
        return first
    more = len(running) - MAX_NAMED_QUEUES
    if more > 0:
        return texts.plural("activity.more", more, first=first, second=others[0])
    return texts("activity.and", first=first, second=others[0])


def _queue_activity(name: str, texts: Texts) -> str:
    key = f"activity.{name}"
    is_known = key in texts.messages and f"queue.{name}" in texts.messages
    return texts(key) if is_known else texts("activity.other", queue=texts.queue(name))


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
