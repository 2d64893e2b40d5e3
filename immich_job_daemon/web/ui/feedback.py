"""Why a change cannot be made now, or a sentence of what will happen once it is made. Pure."""

from typing import Final

from immich_job_daemon.model.controls import (
    Change,
    Mode,
    Override,
    SetLimit,
    SetMode,
    SetQueue,
    inverse,
)
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import WORKING, Reason
from immich_job_daemon.status.status import Status
from immich_job_daemon.status.validation import Rejection, validate
from immich_job_daemon.web.ui.i18n import Words, plain

_BARRED: Final = {Reason.OUTSIDE_WINDOW: "next_closed", Reason.HIGH_LOAD: "next_loaded"}
"""What becomes of a queue in which nothing may start at present, whatever is free."""


def refusal(change: Change, status: Status, words: Words) -> str | None:
    """Return why a change cannot be made, for a person; None if it can."""
    match validate(change, status), change:
        case Rejection.ABOVE_MAXIMUM, _:
            return words.many("error.limit", len(status.managed))
        case Rejection.UNKNOWN_QUEUE, SetQueue(name):
            return words("error.queue", queue=plain(name))
        case Rejection.UNMANAGED_QUEUE, SetQueue(name):
            return words("error.protected", queue=words.queue(name))
    return None


def undo_of(change: Change, status: Status) -> Change:
    """Return what would take a change back that is made now."""
    paused_by_others = {
        name for name, reason in status.reasons.items() if reason is Reason.PAUSED_BY_OTHERS
    }
    return inverse(change, status.controls, status.wanted, paused_by_others)


def promise(change: Change, status: Status, words: Words, setting: int) -> str:
    """Return what will happen once a change is made.

    Args:
        change: what is asked for.
        status: how things stand.
        words: the reader's.
        setting: MAX_CONCURRENT_JOBS.
    """
    match change:
        case SetMode(mode):
            says = _of_mode(mode, status, words, setting)
        case SetLimit(limit):
            says = _of_limit(limit, status, words, setting)
        case SetQueue(name, override):
            says = _of_queue(status.queues[name], override, status, words)
    if status.problem is not None or status.polled_at is None:
        says = f"{says} {words('will.away')}"
    return says


def _of_mode(mode: Mode, status: Status, words: Words, setting: int) -> str:
    if mode is Mode.HELD:
        active = sum(status.queues[name].active for name in status.managed)
        return words.many("will.held_busy", active) if active else words("will.held_now")
    if mode is Mode.OPEN:
        number = len(status.managed)
        return words.many("will.open", number) if number else words("will.open_unknown")
    return words.many("will.automatic", status.controls.limit or setting)


def _of_limit(limit: int | None, status: Status, words: Words, setting: int) -> str:
    if limit is None:
        return words.many("will.limit_reset", setting)
    is_lower = status.controls.mode is Mode.AUTOMATIC and len(status.running) > limit
    return words.many("will.limit_lower" if is_lower else "will.limit", limit)


def _of_queue(queue: Queue, override: Override, status: Status, words: Words) -> str:
    label, mode = words.queue(queue.name), status.controls.mode
    if override is Override.AUTOMATIC:
        return words("will.automatic_queue", queue=label)
    if override is Override.HELD:
        if mode is Mode.OPEN:
            return words("will.hold_open", queue=label)
        if queue.active:
            return words.many("will.hold_busy", queue.active, queue=label)
        return words("will.hold", queue=label)
    return words(f"will.{_next(queue, status)}", queue=label)


def _next(queue: Queue, status: Status) -> str:
    """Return the name of the text that tells what becomes of a queue that is to run next."""
    reason = status.reasons.get(queue.name)
    if status.controls.mode is Mode.HELD:
        return "next_held"
    if reason in WORKING and reason is not Reason.DRAINING and queue.pending:
        return "next_running"
    if not queue.pending:
        return "next_idle"
    if reason in _BARRED:
        return _BARRED[reason]
    is_free = len(status.running) < status.limit
    return "next_now" if is_free else "next"
