"""What a person may ask for while the daemon runs. Pure: data, and the border where it comes in.

The page, MQTT and whatever comes after them speak this language and no other. ``read_change``
makes a change of JSON; the loop carries it out between two rounds (``memory.after_change``).

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
    """What holds for all managed queues together."""

    AUTOMATIC = "automatic"
    OPEN = "open"
    HELD = "held"


class Override(StrEnum):
    """What a person wants of one queue."""

    AUTOMATIC = "automatic"
    NEXT = "next"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Controls:
    """What is asked for at present.

    Attributes:
        mode: of all managed queues.
        limit: how many queues may run at once, None for what the settings say.
        held_by_user: the queues in which nothing is to be started.
    """

    mode: Mode = Mode.AUTOMATIC
    limit: int | None = None
    held_by_user: frozenset[str] = field(default_factory=frozenset)


def override_of(name: str, controls: Controls, wanted: Container[str]) -> Override:
    """Return what a person wants of one queue; ``wanted`` are those that are to run next."""
    if name in controls.held_by_user:
        return Override.HELD
    return Override.NEXT if name in wanted else Override.AUTOMATIC


@dataclass(frozen=True, slots=True)
class SetMode:
    """Do this with all managed queues from now on."""

    mode: Mode


@dataclass(frozen=True, slots=True)
class SetLimit:
    """Run so many queues at once from now on; None: as many as the settings say."""

    limit: int | None


@dataclass(frozen=True, slots=True)
class SetQueue:
    """Do this with one queue from now on."""

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
    """What was asked for is no change, or one that cannot be made; says why, to a person."""


def _limit(value: object) -> int | None:
    if value is None:
        return None
    # To Python True is a 1, to a person it is not.
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
    """Return the change that a JSON value stands for.

    Raises:
        ChangeError: it stands for none.
    """
    try:
        if isinstance(found, Mapping) and "mode" in found:
            return SetMode(**_MODE(found))
        if isinstance(found, Mapping) and "limit" in found:
            return SetLimit(**_LIMIT(found))
        return SetQueue(**_QUEUE(found))
    except vol.Invalid:
        raise ChangeError(f"this is nothing that can be asked for: {EXPECTED}") from None


def as_json(change: Change) -> dict[str, str | int | None]:
    """Return what ``read_change`` makes the same change of."""
    match change:
        case SetMode(mode):
            return {"mode": str(mode)}
        case SetLimit(limit):
            return {"limit": limit}
        case SetQueue(queue, override):
            return {"queue": queue, "override": str(override)}


def describe(change: Change) -> str:
    """Return what a change asks for, as a log line says it.

    >>> describe(SetQueue("ocr", Override.NEXT)), describe(SetLimit(2))
    ('ocr next', 'at most 2 queues at once')
    """
    match change:
        case SetMode(mode):
            return {
                Mode.AUTOMATIC: "everything automatic",
                Mode.OPEN: "everything open",
                Mode.HELD: "everything held",
            }[mode]
        case SetLimit(None):
            return "as many queues at once as MAX_CONCURRENT_JOBS says"
        case SetLimit(limit):
            return f"at most {limit} {'queue' if limit == 1 else 'queues'} at once"
        case SetQueue(queue, override):
            return f"{queue} {override}"
