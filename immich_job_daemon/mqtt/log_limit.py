"""A rate limit for log lines, so that a flood of events cannot flood the log. Pure."""

from dataclasses import dataclass, replace
from typing import Final, Self

MAX_LINES: Final = 5
"""Lines in one period; further events are only counted."""

PERIOD: Final = 60.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class LogLimit:
    """The lines logged in the current period, which ``began`` at a time of the caller's clock."""

    began: float = float("-inf")
    logged: int = 0
    suppressed: int = 0

    def record(self, now: float) -> tuple[Self, bool]:
        """Return the limit after one more event, and whether to log the event.

        >>> after, should_log = LogLimit().record(0.0)
        >>> should_log, after.logged
        (True, 1)
        """
        if self.suppressed == 0 and now - self.began >= PERIOD:
            return replace(self, began=now, logged=1), True
        if self.logged < MAX_LINES:
            return replace(self, logged=self.logged + 1), True
        return replace(self, suppressed=self.suppressed + 1), False

    def flush(self, now: float) -> tuple[Self, int]:
        """Return the limit now, and how many suppressed events to sum up in a log line."""
        if self.suppressed == 0 or now - self.began < PERIOD:
            return self, 0
        return type(self)(), self.suppressed
