"""Conflicts: something else keeps undoing what the daemon does (rule 21). Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

CONFLICT_THRESHOLD: Final = 3
"""Events within CONFLICT_WINDOW that make a conflict: fewer may be chance."""
CONFLICT_WINDOW: Final = 600.0
"""Seconds after which an event no longer counts."""


class Interference(StrEnum):
    """What the other side does to a queue."""

    RESUMING = "resuming"
    PAUSING = "pausing"


@dataclass(frozen=True, slots=True)
class ConflictEvent:
    """One event: when it was seen, in seconds of the daemon's clock, and what it was."""

    at: float
    kind: Interference
