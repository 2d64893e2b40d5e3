"""The figures of what one contender made of one workload."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from benchmark.record import Span


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest of the values that is not exceeded by this share of them.

    >>> percentile([3.0, 1.0, 2.0, 4.0], 0.5)
    2.0
    >>> percentile(range(1, 1001), 0.99)
    990
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("there is no percentile of nothing: measure something first")
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Run:
    """What was seen in one run; times in seconds.

    Attributes:
        thumbnails: from an upload to its thumbnail, for each asset.
        all_done: from an upload to the end of its last job, for each asset.
        total: from the first arrival to the end of the last job.
        stalled: in which work was ready and no queue ran.
        over: in which more queues than the limit ran.
        handovers: from a queue being drained to the next one's first job, each.
        requests: how many were sent to Immich since the first arrival.
        lasted: for how long they were counted.
        spans: which queue ran when, counted from the first arrival.
    """

    thumbnails: Sequence[float]
    all_done: Sequence[float]
    total: float
    stalled: float
    over: float
    handovers: Sequence[float]
    requests: int
    lasted: float
    spans: Sequence[Span]


@dataclass(frozen=True, slots=True)
class Outcome:
    """All runs of a workload under one contender."""

    runs: tuple[Run, ...]

    @property
    def thumbnails(self) -> list[float]:
        """Seconds from each upload to its thumbnail."""
        return [seconds for run in self.runs for seconds in run.thumbnails]

    @property
    def all_done(self) -> list[float]:
        """Seconds from each upload to the end of its last job."""
        return [seconds for run in self.runs for seconds in run.all_done]

    @property
    def handovers(self) -> list[float]:
        """Seconds of every hand-over."""
        return [seconds for run in self.runs for seconds in run.handovers]

    @property
    def total(self) -> float:
        """Seconds that a run took from its first arrival to the end, on average."""
        return sum(run.total for run in self.runs) / len(self.runs)

    @property
    def stalled(self) -> float:
        """Seconds of a run in which work was ready and nothing ran, on average."""
        return sum(run.stalled for run in self.runs) / len(self.runs)

    @property
    def over(self) -> float:
        """Seconds over the limit, of all runs together."""
        return sum(run.over for run in self.runs)

    @property
    def requests_an_hour(self) -> float:
        """Requests to Immich in an hour."""
        return 3600 * sum(run.requests for run in self.runs) / sum(run.lasted for run in self.runs)
