"""Somebody did the opposite of what the daemon had done: how often, when, and what. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

WAR: Final = 3
"""So many contradictions within PEACE are no accident."""
PEACE: Final = 600.0
"""Seconds after which a contradiction is forgotten."""


class Doing(StrEnum):
    """What somebody else does to a queue."""

    RESUMING = "resuming"
    PAUSING = "pausing"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One of them: when, in seconds of the daemon's clock, and what."""

    at: float
    doing: Doing
