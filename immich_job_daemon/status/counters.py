"""Counts what the daemon has done since its start. Pure and immutable."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

REQUEST_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
HANDOVER_BOUNDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values fell into each range.

    Attributes:
        bounds: the upper bound of each range, inclusive; the last range has none.
        counts: the number of values in each range, not cumulative.

    >>> Histogram.empty((1.0, 2.0)).plus(0.5).plus(1.0).plus(9.0).counts
    (2, 0, 1)
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float = 0.0

    @classmethod
    def empty(cls, bounds: tuple[float, ...]) -> Self:
        """Return a histogram without values."""
        return cls(bounds, (0,) * (len(bounds) + 1))

    def plus(self, value: float) -> Self:
        """Return the histogram with one more value."""
        index = bisect_left(self.bounds, value)
        counts = (*self.counts[:index], self.counts[index] + 1, *self.counts[index + 1 :])
        return replace(self, counts=counts, total=self.total + value)


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals since the start.

    Attributes:
        commands: how many commands Immich carried out, by action.
        failures: how many requests failed, by the kind of problem.
        requests: the response times in seconds.
        handovers: for how many seconds a slot stood empty at most, from the last poll that saw its
            queue running to the response that resumed the next queue.
    """

    commands: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    requests: Histogram = field(default_factory=lambda: Histogram.empty(REQUEST_BOUNDS))
    handovers: Histogram = field(default_factory=lambda: Histogram.empty(HANDOVER_BOUNDS))

    def answered(self, seconds: float) -> Self:
        """Return the counters after one more response."""
        return replace(self, requests=self.requests.plus(seconds))

    def commanded(self, action: str) -> Self:
        """Return the counters after one more command."""
        return replace(self, commands={**self.commands, action: self.commands.get(action, 0) + 1})

    def failed(self, kind: str) -> Self:
        """Return the counters after one more failed request."""
        return replace(self, failures={**self.failures, kind: self.failures.get(kind, 0) + 1})

    def handed_over(self, seconds: float) -> Self:
        """Return the counters after one more handover."""
        return replace(self, handovers=self.handovers.plus(seconds))
