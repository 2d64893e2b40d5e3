"""What users can change while the daemon runs, and how a change is read from JSON. Pure.

The page and MQTT both speak this language. ``read_change`` turns JSON into a change; the loop
applies it between two rounds.

>>> read_change({"mode": "held"})
SetMode(mode=<Mode.HELD: 'held'>)
>>> as_json(SetQueue("ocr", Override.NEXT))
{'queue': 'ocr', 'override': 'next'}
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import voluptuous as vol

from immich_job_daemon.model.queue import is_queue_name


class Mode(StrEnum):
    """What applies to all managed queues: the settings, run everything, or pause everything."""

    AUTOMATIC = "automatic"
    OPEN = "open"
    HELD = "held"


class Override(StrEnum):
    """What applies to one queue: the settings, run next, or hold."""

    AUTOMATIC = "automatic"
    NEXT = "next"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Controls:
    """What users have set; a ``limit`` of None stands for MAX_CONCURRENT_JOBS."""

    mode: Mode = Mode.AUTOMATIC
    limit: int | None = None
    held_by_user: frozenset[str] = field(default_factory=frozenset)


def override_of(name: str, controls: Controls, wanted: Container[str]) -> Override:
    """Return the override of one queue; ``wanted`` holds the queues that run next."""
    if name in controls.held_by_user:
        return Override.HELD
    return Override.NEXT if name in wanted else Override.AUTOMATIC


@dataclass(frozen=True, slots=True)
class SetMode:
    """Apply a mode to all managed queues."""

    mode: Mode


@dataclass(frozen=True, slots=True)
class SetLimit:
    """Run this many queues at once; None: as many as the settings say."""

    limit: int | None


@dataclass(frozen=True, slots=True)
class SetQueue:
    """Apply an override to one queue."""

    queue: str
    override: Override


Change = SetMode | SetLimit | SetQueue

LARGEST_LIMIT: Final = 1000


def inverse(
    change: Change,
    controls: Controls,
    wanted: Container[str],
    paused_by_others: Container[str],
) -> Change:
    """Return the change that takes ``change`` back.

    A queue that something else had paused is held again, so that it stays paused as it was.
    """
    match change:
        case SetMode():
            return SetMode(controls.mode)
        case SetLimit():
            return SetLimit(controls.limit)
        case SetQueue(name) if name in paused_by_others:
            return SetQueue(name, Override.HELD)
        case SetQueue(name):
            return SetQueue(name, override_of(name, controls, wanted))


class ChangeError(ValueError):
    """The JSON is no change. The message tells the user what is expected."""


def _limit(value: object) -> int | None:
    if value is None:
        return None
    # To Python True is 1, to a user it is not.
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_LIMIT:
        return value
    raise vol.Invalid("is no number of queues")


def _name(value: object) -> str:
    if is_queue_name(value):
        return str(value)
    raise vol.Invalid("is no name of a queue")


_MODE: Final = vol.Schema({vol.Required("mode"): vol.Coerce(Mode)})
_LIMIT: Final = vol.Schema({vol.Required("limit"): _limit})
_QUEUE: Final = vol.Schema(
    {vol.Required("queue"): _name, vol.Required("override"): vol.Coerce(Override)}
)

EXPECTED: Final = (
    'expected {"mode": "automatic", "open" or "held"}, {"limit": a number from 1, or null} or '
    '{"queue": a name, "override": "automatic", "next" or "held"}'
)


def read_change(found: object) -> Change:
    """Return the change that a JSON value describes.

    Raises:
        ChangeError: it describes none.
    """
    try:
        if isinstance(found, Mapping) and "mode" in found:
            return SetMode(**_MODE(found))
        if isinstance(found, Mapping) and "limit" in found:
            return SetLimit(**_LIMIT(found))
        return SetQueue(**_QUEUE(found))
    except vol.Invalid:
        raise ChangeError(f"this is no valid change: {EXPECTED}") from None


def as_json(change: Change) -> dict[str, str | int | None]:
    """Return the JSON value from which ``read_change`` makes the same change."""
    match change:
        case SetMode(mode):
            return {"mode": str(mode)}
        case SetLimit(limit):
            return {"limit": limit}
        case SetQueue(queue, override):
            return {"queue": queue, "override": str(override)}


def describe(change: Change) -> str:
    """Return a change in words, for the log.

    >>> describe(SetQueue("ocr", Override.NEXT)), describe(SetLimit(2))
    ('ocr: run next', 'at most 2 queues at once')
    """
    match change:
        case SetMode(mode):
            return {
                Mode.AUTOMATIC: "automatic",
                Mode.OPEN: "run everything",
                Mode.HELD: "pause everything",
            }[mode]
        case SetLimit(None):
            return "as many queues at once as MAX_CONCURRENT_JOBS says"
        case SetLimit(limit):
            return f"at most {limit} {'queue' if limit == 1 else 'queues'} at once"
        case SetQueue(queue, override):
            return {
                Override.AUTOMATIC: f"{queue}: automatic",
                Override.NEXT: f"{queue}: run next",
                Override.HELD: f"{queue}: hold",
            }[override]
