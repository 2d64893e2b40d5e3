"""Why a queue is in its state, and the commands that change it."""

from enum import StrEnum
from typing import Final


class Action(StrEnum):
    """A command that Immich accepts for a queue."""

    PAUSE = "pause"
    RESUME = "resume"
    START = "start"


class Reason(StrEnum):
    """Why a queue is in its state; the values are the words for it in JSON and MQTT."""

    RUNNING = "running"
    DRAINING = "draining"
    WAITING = "waiting for a slot"
    IDLE = "idle"
    LENT = "open to look for jobs"
    UNRESTRICTED = "unrestricted"
    HELD_BY_USER = "held by the user"
    OUTSIDE_WINDOW = "outside its window"
    HIGH_LOAD = "the load is too high"
    PAUSED_BY_OTHERS = "paused by a user or another tool"
    UNPAUSABLE = "cannot be paused"
    PROTECTED = "protected"


UNMANAGED: Final = frozenset({Reason.PROTECTED, Reason.UNPAUSABLE})
"""Reasons of the queues that the daemon never touches."""

SCHEDULED: Final = frozenset(Reason) - UNMANAGED - {Reason.PAUSED_BY_OTHERS}
"""Reasons of the queues whose jobs the daemon will let run sooner or later."""

NO_SLOT: Final = UNMANAGED | {Reason.HELD_BY_USER, Reason.PAUSED_BY_OTHERS}
"""Reasons of the queues that get no slot until a user changes something."""

MAY_START: Final = frozenset({Reason.RUNNING, Reason.UNRESTRICTED, Reason.LENT})
"""Reasons of the queues that may start jobs now."""

WORKING: Final = frozenset({Reason.RUNNING, Reason.DRAINING, Reason.UNRESTRICTED})
"""Reasons of the queues in which pending jobs count as running work."""
