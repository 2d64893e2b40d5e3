"""The estimate of the whole backlog, made when half of the time is over, beside the truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from benchmark.contenders import Scenario
from benchmark.outcome import Outcome
from benchmark.workloads import Arrival, Workload
from immich_job_daemon.daemon.loop import Daemon
from immich_job_daemon.status.status import Status
from simulator.worlds.virtual_daemon import VirtualLedger, settings

SMALLER: Final = 3
"""What the daemon has seen before is so many times smaller than what it is judged by."""

_BEFORE: Final = 1000
"""The seed of what came before: another one than that of any run."""


@dataclass(frozen=True, slots=True)
class Half:
    """What was told at half-time, and what was true.

    Attributes:
        left: seconds from then until everything was done that could be known of then.
        told: the daemon's estimate of that, None if it said "unknown".
        known: in what share of the run's time it told any.
    """

    left: float
    told: float | None
    known: float

    @property
    def error(self) -> float | None:
        """How far the estimate is from the truth, as a share of the truth."""
        return None if self.told is None else abs(self.told - self.left) / self.left


@dataclass(frozen=True, slots=True)
class Halves:
    """The same of all runs of a workload, by a daemon that has or has not seen a smaller one."""

    workload: Workload
    limit: int
    is_first: bool
    runs: tuple[Half, ...]

    @property
    def unknown(self) -> int:
        """In how many runs there was no estimate."""
        return sum(run.told is None for run in self.runs)

    @property
    def worst(self) -> float | None:
        """The largest error of those there were."""
        return max((run.error for run in self.runs if run.error is not None), default=None)


def measure(workload: Workload, limit: int, outcome: Outcome) -> Iterator[Halves]:
    """Yield what is told of the workload by a daemon that knows nothing, then by one that does.

    Args:
        workload: what is asked of Immich.
        limit: how many queues may run at once.
        outcome: what the daemon made of the same workload: it tells when half-time is.
    """
    ledger = VirtualLedger()
    _watch(Scenario(smaller(workload.runs[0]), limit, seed=_BEFORE), ledger)
    for text in (None, ledger.text):
        runs = []
        for seed, (arrivals, run) in enumerate(zip(workload.runs, outcome.runs, strict=True)):
            half = arrivals[0].time + run.total / 2
            # Nobody can know what comes later; the estimate is of what is there.
            known = tuple(arrival for arrival in arrivals if arrival.time <= half)
            kept = VirtualLedger()
            kept.text = text
            runs.append(_half(Scenario(known, limit, seed=seed), kept, arrivals[0].time, half))
        yield Halves(workload, limit, text is None, tuple(runs))


def smaller(arrivals: Sequence[Arrival]) -> tuple[Arrival, ...]:
    """Return a third of it all: a third of what comes first, each third of what comes later.

    >>> smaller([Arrival(60, photos=300, videos=3)])
    (Arrival(time=60, photos=100, videos=1, reindexed=0),)
    """
    first, *later = arrivals
    return (
        replace(
            first,
            photos=first.photos // SMALLER,
            videos=first.videos // SMALLER,
            reindexed=first.reindexed // SMALLER,
        ),
        *(
            replace(arrival, time=first.time + (arrival.time - first.time) / SMALLER)
            for arrival in later[::SMALLER]
        ),
    )


def _half(scenario: Scenario, ledger: VirtualLedger, start: float, half: float) -> Half:
    told = _watch(scenario, ledger)
    end = scenario.record.last_end
    at, seconds = next((at, whole) for at, whole in reversed(told) if at <= half)
    known = sum(
        later - max(at, start)
        for (at, whole), (later, _) in pairwise(told)
        if whole is not None and start < later <= end
    )
    return Half(
        left=end - half,
        told=None if seconds is None else max(0.0, seconds - (half - at)),
        known=known / (end - start),
    )


def _watch(scenario: Scenario, ledger: VirtualLedger) -> list[tuple[float, float | None]]:
    """Let a daemon run through the scene; return when it told what of the whole backlog."""
    told: list[tuple[float, float | None]] = []

    def publish(status: Status) -> None:
        told.append((scenario.engine.now, status.forecast.total))

    chosen = settings(max_concurrent_jobs=scenario.limit)
    Daemon(chosen, scenario.server("queues"), ledger, scenario.alarm, publish=publish).run()
    return told
