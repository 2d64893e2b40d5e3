"""Somebody did the opposite of what the daemon had done: how often, when, and what. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

CONFLICT_THRESHOLD: Final = 3
"""So many contradictions within PEACE are no accident."""
CONFLICT_WINDOW: Final = 600.0
"""Seconds after which a contradiction is forgotten."""


class Interference(StrEnum):
    """What somebody else does to a queue."""

    RESUMING = "resuming"
    PAUSING = "pausing"


@dataclass(frozen=True, slots=True)
class ConflictEvent:
    """One of them: when, in seconds of the daemon's clock, and what."""

    at: float
    doing: Interference
