"""The response to a change: what it will do, how to undo it, or why it is rejected. Pure."""

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
from immich_job_daemon.web.ui.i18n import Texts, printable_name

_BLOCKED: Final = {Reason.OUTSIDE_WINDOW: "next_scheduled", Reason.HIGH_LOAD: "next_busy"}
"""Reasons why a queue cannot start even if a slot is free, and the text for Run next then."""


def rejection_text(change: Change, status: Status, texts: Texts) -> str | None:
    """Return why a change is rejected; None if it is accepted."""
    match validate(change, status), change:
        case Rejection.ABOVE_MAXIMUM, _:
            return texts.plural("error.limit", len(status.managed))
        case Rejection.UNKNOWN_QUEUE, SetQueue(name):
            return texts("error.queue", queue=printable_name(name))
        case Rejection.UNMANAGED_QUEUE, SetQueue(name):
            return texts("error.unmanaged", queue=texts.queue(name))
    return None


def undo_of(change: Change, status: Status) -> Change:
    """Return the change that undoes ``change``, if that is made now."""
    paused_by_others = {
        name for name, reason in status.reasons.items() if reason is Reason.PAUSED_BY_OTHERS
    }
    return inverse(change, status.controls, status.wanted, paused_by_others)


def announcement(change: Change, status: Status, texts: Texts, configured_limit: int) -> str:
    """Return what a change will do; ``configured_limit`` is MAX_CONCURRENT_JOBS."""
    match change:
        case SetMode(mode):
            text = _mode_text(mode, status, texts, configured_limit)
        case SetLimit(limit):
            text = _limit_text(limit, status, texts, configured_limit)
        case SetQueue(name, override):
            text = _queue_text(status.queues[name], override, status, texts)
    if status.problem is not None or status.polled_at is None:
        text = f"{text} {texts('feedback.away')}"
    return text


def _mode_text(mode: Mode, status: Status, texts: Texts, configured_limit: int) -> str:
    if mode is Mode.HELD:
        if active := sum(status.queues[name].active for name in status.managed):
            return texts.plural("feedback.pause_all_busy", active)
        return texts("feedback.pause_all")
    if mode is Mode.OPEN:
        if number := len(status.managed):
            return texts.plural("feedback.run_all", number)
        return texts("feedback.run_all_unknown")
    return texts.plural("feedback.automatic", status.controls.limit or configured_limit)


def _limit_text(limit: int | None, status: Status, texts: Texts, configured_limit: int) -> str:
    if limit is None:
        return texts.plural("feedback.limit_reset", configured_limit)
    is_lower = status.controls.mode is Mode.AUTOMATIC and len(status.running) > limit
    return texts.plural("feedback.limit_lower" if is_lower else "feedback.limit", limit)


def _queue_text(queue: Queue, override: Override, status: Status, texts: Texts) -> str:
    label, mode = texts.queue(queue.name), status.controls.mode
    if override is Override.AUTOMATIC:
        return texts("feedback.automatic_queue", queue=label)
    if override is Override.HELD:
        if mode is Mode.OPEN:
            return texts("feedback.hold_later", queue=label)
        if queue.active:
            return texts.plural("feedback.hold_busy", queue.active, queue=label)
        return texts("feedback.hold", queue=label)
    return texts(f"feedback.{_next_key(queue, status)}", queue=label)


def _next_key(queue: Queue, status: Status) -> str:
    """Return which text says what Run next does to this queue."""
    reason = status.reasons.get(queue.name)
    if status.controls.mode is Mode.HELD:
        return "next_held"
    if reason in WORKING and reason is not Reason.DRAINING and queue.pending:
        return "next_running"
    if not queue.pending:
        return "next_idle"
    if reason in _BLOCKED:
        return _BLOCKED[reason]
    is_free = len(status.running) < status.limit
    return "next_now" if is_free else "next"
