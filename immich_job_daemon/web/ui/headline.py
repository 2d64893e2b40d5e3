"""What is happening, in one sentence, and how far it is. Pure."""

from dataclasses import dataclass
from typing import Final

from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import UNREACHABLE, WITHOUT_POLL, OverallState, Status
from immich_job_daemon.web.ui.i18n import Words

_BARRED: Final = (
    (Reason.HIGH_LOAD, "now.loaded", "state.loaded"),
    (Reason.OUTSIDE_WINDOW, "now.closed", "state.closed"),
    (Reason.PAUSED_BY_OTHERS, "now.paused", "now.idle"),
    (Reason.HELD_BY_USER, "now.kept", "now.idle"),
)
"""Why nothing is done though there is work, the sentence for it, and what of it is said aloud."""

MOST_NAMED = 2
"""Queues that the sentence names; the others it counts."""


@dataclass(frozen=True, slots=True)
class Headline:
    """The sentence, and what of it is worth saying aloud when it changes: no number is in that."""

    text: str
    spoken: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the whole backlog is.

    Attributes:
        done: how many of ``peak`` jobs are done.
        peak: the most that were left since nothing was.
        share: the same in words.
        left: how many jobs are left, in words.
        about: how long that will take, in words.
        until: when it will be over, seconds since 1970; None if nobody can tell.
        explained: what 100 % is.
    """

    done: int
    peak: int
    share: str
    left: str
    about: str
    until: float | None
    explained: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its name; ``is_bad`` if it should be 0."""

    name: str
    value: str
    is_bad: bool = False


def is_late(status: Status, now: float) -> bool:
    """Whether the loop should have published another picture by now."""
    return 0 < status.next_due < now


def headline(status: Status, words: Words, now: float) -> Headline:
    """Return what is happening; ``now`` is in seconds of the daemon's clock."""
    if unknown := _unknown(status, now):
        return _once(words(unknown))
    if status.state is OverallState.HELD:
        return _held(status, words)
    if status.running:
        return _running(status, words, now)
    if status.state is OverallState.OPEN:
        return _once(words("now.open"))
    return _at_rest(status, words)


def progress(status: Status, words: Words, now: float) -> Progress | None:
    """Return how far the backlog is, None where there is none or nobody knows."""
    peak, left = status.history.peak_pending, status.pending
    if not left or peak < left:
        return None
    whole = None if status.is_stale(now) else status.forecast.total
    known = whole is not None and status.polled_at_unix is not None
    return Progress(
        done=peak - left,
        peak=peak,
        # Rounded down: 100 % is when nothing is left.
        share=words("progress.done", share=words.number((peak - left) * 100 // peak)),
        left=words.many("progress.left", left),
        about=words("progress.unknown") if whole is None else words.about(whole),
        until=(status.polled_at_unix or 0.0) + (whole or 0.0) if known else None,
        explained=words("progress.explained", peak=words.number(peak)),
    )


def figures(status: Status, words: Words) -> tuple[Figure, ...]:
    """Return the numbers beside the sentence, none while nothing is known."""
    if status.polled_at is None:
        return ()
    failed = sum(queue.failed for queue in status.queues.values())
    used, limit = len(status.running), words.number(status.limit)
    is_limited = Reason.UNRESTRICTED not in status.reasons.values()
    slots = words("figure.slots_of", used=words.number(used), limit=limit)
    active = sum(status.queues[name].active for name in status.managed)
    return (
        Figure(words("figure.left"), words.number(status.pending)),
        Figure(words("figure.active"), words.number(active)),
        Figure(words("figure.failed"), words.number(failed), is_bad=failed > 0),
        Figure(words("figure.slots"), slots if is_limited else words.number(used)),
    )


def _unknown(status: Status, now: float) -> str:
    """Return the name of the sentence for when nobody knows what is happening, else nothing."""
    if is_late(status, now):
        return "now.late"
    if status.problem is not None and status.problem.kind in WITHOUT_POLL:
        return "now.away" if status.problem.kind in UNREACHABLE else "now.blind"
    return "now.starting" if status.polled_at is None else ""


def _once(text: str) -> Headline:
    return Headline(text, text)


def _held(status: Status, words: Words) -> Headline:
    active = sum(queue.active for queue in status.running) or sum(
        status.queues[name].active for name in status.managed
    )
    if active:
        text = words.many("now.finishing", active)
    elif status.pending:
        text = words.many("now.held_waiting", status.pending)
    else:
        text = words("now.held")
    return Headline(text, words("mode.held"))


def _running(status: Status, words: Words, now: float) -> Headline:
    running = status.running
    doing = _doing(running, words)
    parts = [doing, words.many("now.left", sum(queue.pending for queue in running))]
    ends = [status.forecast.queues.get(queue.name) for queue in running]
    known = [end for end in ends if end is not None]
    if len(known) == len(ends) and not status.is_stale(now):
        parts.append(words.about(max(known)))
    text = ", ".join(parts)
    if waiting := _waiting(status):
        text = f"{text}; {words.many('now.waiting', waiting)}"
    return Headline(_capitalised(text), _capitalised(doing))


def _at_rest(status: Status, words: Words) -> Headline:
    if waiting := _waiting(status):
        return _once(words.many("now.next", waiting))
    for reason, key, spoken in _BARRED:
        if backlog := sum(queue.backlog for queue in status.with_reasons(reason)):
            return Headline(words.many(key, backlog), words(spoken))
    return _once(words("now.idle"))


def _waiting(status: Status) -> int:
    return sum(queue.backlog > 0 for queue in status.with_reasons(Reason.WAITING))


def _doing(running: list[Queue], words: Words) -> str:
    """Return what is done in these queues, for the middle of a sentence."""
    names = [_doing_in(queue.name, words) for queue in running[:MOST_NAMED]]
    first = names[0]
    if len(names) > 1:
        first = words("doing.and", first=names[0], second=names[1])
    more = len(running) - MOST_NAMED
    return words.many("doing.more", more, first=first) if more > 0 else first


def _doing_in(name: str, words: Words) -> str:
    key = f"doing.{name}"
    is_known = key in words.texts and f"queue.{name}" in words.texts
    return words(key) if is_known else words("doing.other", queue=words.queue(name))


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
