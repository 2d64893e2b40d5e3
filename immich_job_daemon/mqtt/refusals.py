"""How often a refused command is told: each has its line, a flood of them has not. Pure."""

from dataclasses import dataclass, replace
from typing import Final, Self

MOST_LINES: Final = 5
"""Lines within one span; what is refused beyond them is counted only."""

SPAN: Final = 60.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """What was told lately.

    Attributes:
        began: when the span began, in seconds of the caller's clock.
        told: lines within it.
        untold: commands refused within it without a line.
    """

    began: float = float("-inf")
    told: int = 0
    untold: int = 0

    def more(self, now: float) -> tuple[Self, bool]:
        """Return what holds after one more refusal, and whether it is told.

        >>> after, is_told = Refusals().more(0.0)
        >>> is_told, after.told
        (True, 1)
        """
        if self.untold == 0 and now - self.began >= SPAN:
            return replace(self, began=now, told=1), True
        if self.told < MOST_LINES:
            return replace(self, told=self.told + 1), True
        return replace(self, untold=self.untold + 1), False

    def due(self, now: float) -> tuple[Self, int]:
        """Return what holds now, and how many untold refusals are to be summed up in a line."""
        if self.untold == 0 or now - self.began < SPAN:
            return self, 0
        return type(self)(), self.untold
