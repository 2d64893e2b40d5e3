"""Commands over MQTT: parse a message into a change. Pure.

>>> read_command(Topics("1a2b3c4d"), "immich_job_daemon/1a2b3c4d/queue/ocr/set", b"run next")
SetQueue(queue='ocr', override=<Override.NEXT: 'next'>)
"""

from collections.abc import Iterable
from typing import Final

import voluptuous as vol

from immich_job_daemon.config.parsers import whole_number
from immich_job_daemon.model.controls import (
    Change,
    ChangeError,
    Mode,
    Override,
    SetMode,
    SetQueue,
    read_change,
)
from immich_job_daemon.mqtt.topics import Topics
from immich_job_daemon.status.status import Status
from immich_job_daemon.status.validation import Rejection, validate

QUEUE_OPTIONS: Final = {
    Override.AUTOMATIC: "automatic",
    Override.NEXT: "run next",
    Override.HELD: "held",
}
"""The options of the select entity that each queue has."""

PRESS: Final = "PRESS"
"""The payload of a button entity."""

MAX_COMMAND_BYTES: Final = 64
"""Longest payload of a command; no valid one needs more."""


class RejectedCommandError(ValueError):
    """A command is invalid or not possible now; the message says why, for a user."""


def read_command(topics: Topics, topic: str, payload: bytes) -> Change:
    """Return the change that a message on a command topic requests.

    Raises:
        RejectedCommandError: the topic or the payload is invalid.
    """
    text = _decode(payload)
    if topic == topics.resume_all_command:
        if text != PRESS:
            raise RejectedCommandError(f"expected {PRESS}")
        return SetMode(Mode.OPEN)
    if topic == topics.mode_command:
        return _read_change({"mode": text}, f"expected {_join(map(str, Mode))}")
    if topic == topics.limit_command:
        return _read_limit(text)
    name = topics.queue_of(topic)
    if name is None:
        raise RejectedCommandError("this is not a command topic")
    overrides = {option: str(override) for override, option in QUEUE_OPTIONS.items()}
    change = {"queue": name, "override": overrides.get(text)}
    return _read_change(change, f"expected {_join(overrides)}")


def rejection_text(change: Change, status: Status) -> str | None:
    """Return why a change is not possible now, for a user; None if it is possible."""
    match validate(change, status), change:
        case Rejection.ABOVE_MAXIMUM, _:
            return f"the daemon manages only {len(status.managed)} queues"
        case Rejection.UNKNOWN_QUEUE, SetQueue(name):
            return f"Immich has no queue {name}"
        case Rejection.UNMANAGED_QUEUE, SetQueue(name):
            return f"{name} is not managed: it is protected, or Immich does not allow pausing it"
    return None


def _decode(payload: bytes) -> str:
    if len(payload) > MAX_COMMAND_BYTES:
        raise RejectedCommandError(
            f"the payload has {len(payload)} bytes, more than {MAX_COMMAND_BYTES}"
        )
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise RejectedCommandError("the payload is not valid UTF-8") from None


def _read_limit(text: str) -> Change:
    expected = "expected a whole number from 1"
    try:
        # Home Assistant writes some whole numbers as 2.0.
        number = whole_number(text)
    except vol.Invalid:
        raise RejectedCommandError(expected) from None
    return _read_change({"limit": number}, expected)


def _read_change(value: object, expected: str) -> Change:
    try:
        return read_change(value)
    except ChangeError:
        raise RejectedCommandError(expected) from None


def _join(options: Iterable[str]) -> str:
    *others, last = options
    return f"{', '.join(others)} or {last}"
