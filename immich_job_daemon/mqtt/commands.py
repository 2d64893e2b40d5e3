"""What is asked for over MQTT: a topic and bytes in, a change out. Pure.

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

WISHES: Final = {Override.AUTOMATIC: "automatic", Override.NEXT: "run next", Override.HELD: "held"}
"""What a select of Home Assistant offers for a queue."""

PRESS: Final = "PRESS"
"""What a button of Home Assistant says."""

LONGEST: Final = 64
"""Bytes of the longest command that can mean something."""


class RefusedCommandError(ValueError):
    """A command means nothing, or cannot be carried out; says why, to a person."""


def read_command(topics: Topics, topic: str, payload: bytes) -> Change:
    """Return the change that a message on a command topic stands for.

    Raises:
        RefusedCommandError: it stands for none.
    """
    text = _text(payload)
    if topic == topics.resume_all:
        if text != PRESS:
            raise RefusedCommandError(f"expected {PRESS}")
        return SetMode(Mode.OPEN)
    if topic == topics.mode:
        return _change({"mode": text}, f"expected {_choices(map(str, Mode))}")
    if topic == topics.limit:
        return _limit(text)
    name = topics.queue_in(topic)
    if name is None:
        raise RefusedCommandError("nothing can be asked for there")
    wishes = {words: str(override) for override, words in WISHES.items()}
    change = {"queue": name, "override": wishes.get(text)}
    return _change(change, f"expected {_choices(wishes)}")


def refusal(change: Change, status: Status) -> str | None:
    """Return why a change cannot be made as things stand; None if it can."""
    match validate(change, status), change:
        case Rejection.ABOVE_MAXIMUM, _:
            return f"there are only {len(status.managed)} queues"
        case Rejection.UNKNOWN_QUEUE, SetQueue(name):
            return f"Immich has no queue {name}"
        case Rejection.UNMANAGED_QUEUE, SetQueue(name):
            return f"{name} is left alone: it is protected, or Immich lets nobody pause it"
    return None


def _text(payload: bytes) -> str:
    if len(payload) > LONGEST:
        raise RefusedCommandError(f"{len(payload)} bytes are too many")
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise RefusedCommandError("it is no text in UTF-8") from None


def _limit(text: str) -> Change:
    expected = "expected a whole number from 1"
    try:
        # Home Assistant writes some whole numbers as 2.0.
        number = whole_number(text)
    except vol.Invalid:
        raise RefusedCommandError(expected) from None
    return _change({"limit": number}, expected)


def _change(found: object, expected: str) -> Change:
    try:
        return read_change(found)
    except ChangeError:
        raise RefusedCommandError(expected) from None


def _choices(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}"
