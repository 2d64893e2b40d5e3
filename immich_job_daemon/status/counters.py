"""What the daemon has done since its start, as numbers that only grow. Pure, never changed."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

REQUEST_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
HANDOVER_BOUNDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lay where.

    Attributes:
        bounds: the upper end of each range but the last, which has none.
        counts: how many values lay in each range and in none before it.
        total: the sum of all values.

    >>> Histogram.of((1.0, 2.0)).plus(0.5).plus(1.0).plus(9.0).counts
    (2, 0, 1)
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float = 0.0

    @classmethod
    def of(cls, bounds: tuple[float, ...]) -> Self:
        """Return one without values."""
        return cls(bounds, (0,) * (len(bounds) + 1))

    def plus(self, value: float) -> Self:
        """Return one with one more value."""
        place = bisect_left(self.bounds, value)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return replace(self, counts=counts, total=self.total + value)


@dataclass(frozen=True, slots=True)
class Counters:
    """What was done since the start.

    Attributes:
        commands: how many pauses and resumes Immich carried out, by the command's name.
        failures: how many requests failed, by the name of the error's class.
        requests: seconds from each request to its answer.
        handovers: seconds from the last look that saw a queue at work to the answer that opened
            the next one in its place: a slot stood empty for that long at most.
    """

    commands: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    requests: Histogram = field(default_factory=lambda: Histogram.of(REQUEST_BOUNDS))
    handovers: Histogram = field(default_factory=lambda: Histogram.of(HANDOVER_BOUNDS))

    def answered(self, seconds: float) -> Self:
        """Return the tally after one more answer of Immich."""
        return replace(self, requests=self.requests.plus(seconds))

    def commanded(self, name: str) -> Self:
        """Return the tally after one more command was carried out."""
        return replace(self, commands={**self.commands, name: self.commands.get(name, 0) + 1})

    def failed(self, name: str) -> Self:
        """Return the tally after one more request failed."""
        return replace(self, failures={**self.failures, name: self.failures.get(name, 0) + 1})

    def handed_over(self, seconds: float) -> Self:
        """Return the tally after one more slot was handed over."""
        return replace(self, handovers=self.handovers.plus(seconds))
