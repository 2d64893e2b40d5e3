"""The daemon's forecast of the whole backlog at half-time, compared with the actual time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from benchmark.scenario import Outcome, Scenario
from benchmark.workloads import Arrival, Workload
from immich_job_daemon.daemon.loop import Daemon
from immich_job_daemon.status.status import Status
from simulator.worlds.virtual_daemon import VirtualLedger, settings

SMALLER: Final = 3
"""The earlier workload, from which the daemon knows its rates, is this many times smaller."""

_EARLIER_SEED: Final = 1000
"""Seed of the earlier workload, different from the seed of any measured run."""


@dataclass(frozen=True, slots=True)
class HalftimeForecast:
    """One run's forecast at half-time.

    Attributes:
        actual: seconds from half-time until all jobs that existed then were done.
        forecast: the daemon's forecast of that, None if it was "unknown".
        share_known: share of the run's time in which there was a forecast, 0 to 1.
    """

    actual: float
    forecast: float | None
    share_known: float

    @property
    def error(self) -> float | None:
        """The absolute error as a share of the actual time."""
        return None if self.forecast is None else abs(self.forecast - self.actual) / self.actual


@dataclass(frozen=True, slots=True)
class ForecastResult:
    """The forecasts in all runs of a workload.

    ``is_first`` means that the daemon had not seen a similar workload before.
    """

    workload: Workload
    limit: int
    is_first: bool
    runs: tuple[HalftimeForecast, ...]

    @property
    def unknown(self) -> int:
        """Number of runs without a forecast at half-time."""
        return sum(run.forecast is None for run in self.runs)

    @property
    def worst_error(self) -> float | None:
        """The largest error of all runs; None if no run had a forecast."""
        return max((run.error for run in self.runs if run.error is not None), default=None)


def measure(workload: Workload, limit: int, outcome: Outcome) -> Iterator[ForecastResult]:
    """Yield the result of a daemon without any knowledge, then of one that has learned its rates.

    Args:
        workload: the workload.
        limit: how many queues may run at once.
        outcome: the daemon's outcome of the same workload, which defines half-time.
    """
    ledger = VirtualLedger()
    _record_forecasts(Scenario(smaller(workload.runs[0]), limit, seed=_EARLIER_SEED), ledger)
    for text in (None, ledger.text):
        runs = []
        for seed, (arrivals, run) in enumerate(zip(workload.runs, outcome.runs, strict=True)):
            half = arrivals[0].time + run.total / 2
            # A forecast cannot include later arrivals, so the actual time must not either.
            arrived = tuple(arrival for arrival in arrivals if arrival.time <= half)
            earlier = VirtualLedger()
            earlier.text = text
            scenario = Scenario(arrived, limit, seed=seed)
            runs.append(_measure_run(scenario, earlier, arrivals[0].time, half))
        yield ForecastResult(workload, limit, text is None, tuple(runs))


def smaller(arrivals: Sequence[Arrival]) -> tuple[Arrival, ...]:
    """Return a third of the workload: a third of the first arrival, and every third later one.

    >>> third, = smaller([Arrival(60, photos=300, videos=3)])
    >>> third.time, third.photos, third.videos
    (60, 100, 1)
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


def _measure_run(
    scenario: Scenario, ledger: VirtualLedger, start: float, half: float
) -> HalftimeForecast:
    forecasts = _record_forecasts(scenario, ledger)
    end = scenario.recorder.last_end
    at, seconds = next((at, total) for at, total in reversed(forecasts) if at <= half)
    known = sum(
        later - max(at, start)
        for (at, total), (later, _) in pairwise(forecasts)
        if total is not None and start < later <= end
    )
    return HalftimeForecast(
        actual=end - half,
        forecast=None if seconds is None else max(0.0, seconds - (half - at)),
        share_known=known / (end - start),
    )


def _record_forecasts(
    scenario: Scenario, ledger: VirtualLedger
) -> list[tuple[float, float | None]]:
    """Run a daemon to the end of the scenario; return its forecasts of the whole backlog.

    Each one is the time at which it was made and the seconds that were forecast.
    """
    forecasts: list[tuple[float, float | None]] = []

    def publish(status: Status) -> None:
        forecasts.append((scenario.engine.now, status.forecast.total))

    chosen = settings(max_concurrent_jobs=scenario.limit)
    Daemon(chosen, scenario.client("queues"), ledger, scenario.clock, publish=publish).run()
    return forecasts
