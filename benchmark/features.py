"""The features of the daemon that need scenarios of their own.

- YIELD_AFTER with a long backlog, and SCHEDULE with a night window.
- The forecast of the whole backlog at half-time, compared with the actual time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from functools import partial
from itertools import pairwise
from math import inf
from typing import Final

from benchmark.contenders import DAEMON, Contender, run_daemon
from benchmark.scenario import SETTLED, Arrival, Outcome, RunResult, Scenario, Workload
from immich_job_daemon.daemon.loop import Daemon
from immich_job_daemon.model.windows import Window, closed_until, next_edge
from immich_job_daemon.status.status import Status
from simulator.immich.engine import Engine, Event, EventKind
from simulator.worlds.virtual_daemon import EPOCH, VirtualLedger, settings

PHOTO_INTERVAL: Final = 600.0
"""Seconds between two new photos."""
CONVERTED: Final = "videoConversion"
NIGHT: Final = Window(frozenset({CONVERTED}), time(22), time(6))
DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class FeatureSizes:
    """How much to measure: assets indexed, runs of that, and videos converted at night."""

    indexed: int
    runs: int
    videos: int


FULL: Final = FeatureSizes(indexed=85_000, runs=3, videos=170_000)
QUICK: Final = FeatureSizes(indexed=6_000, runs=1, videos=2_000)

YIELDING: Final = Contender(
    "yielding",
    "This daemon, YIELD_AFTER=1m",
    partial(run_daemon, yield_after=60.0),
)


@dataclass(frozen=True, slots=True)
class NightResult:
    """A backlog whose jobs may start at night only.

    Attributes:
        outside: number of jobs that started outside the window.
        total: seconds from the arrival to the end of the last job.
        ideal: the same if the queue is resumed and paused exactly at the edges of the window.
        nights: number of windows in which jobs started.
    """

    outside: int
    total: float
    ideal: float
    nights: int


@dataclass(frozen=True, slots=True)
class FeatureResults:
    """The measurements of both settings; ``yielding`` has an outcome per contender key."""

    sizes: FeatureSizes
    yielding: dict[str, Outcome]
    night: NightResult


def measure(sizes: FeatureSizes) -> FeatureResults:
    """Measure both settings in virtual time, with one queue at a time."""
    yielding = {
        contender.key: Outcome(
            tuple(_photos_in_backlog(contender, sizes.indexed, n) for n in range(sizes.runs))
        )
        for contender in (DAEMON, YIELDING)
    }
    return FeatureResults(sizes, yielding, _measure_night(sizes.videos))


def _photos_in_backlog(contender: Contender, indexed: int, run: int) -> RunResult:
    # A job takes 0.2 s and two run at once. Photos arrive as long as the backlog lasts.
    count = max(1, int(indexed * 0.1 / PHOTO_INTERVAL))
    shift = run * PHOTO_INTERVAL / 7
    photos = (Arrival(SETTLED + shift + (n + 0.5) * PHOTO_INTERVAL, photos=1) for n in range(count))
    backlog = Arrival(SETTLED, reindexed=indexed, queues=("smartSearch",))
    scenario = Scenario((backlog, *photos), 1, seed=run)
    contender.run(scenario)
    return scenario.result()


class _ConversionTimes:
    """Records when the jobs of the converting queue start, and when the last one ends."""

    def __init__(self, engine: Engine) -> None:
        self.starts: list[float] = []
        self.last_end = 0.0
        engine.observers.append(self._observe)

    def _observe(self, event: Event) -> None:
        if event.queue == CONVERTED:
            if event.kind is EventKind.STARTED:
                self.starts.append(event.time)
            elif event.kind is EventKind.COMPLETED:
                self.last_end = event.time


def _is_open(moment: float) -> bool:
    return closed_until((NIGHT,), CONVERTED, _local(moment)) is None


def _local(moment: float) -> datetime:
    return datetime.fromtimestamp(EPOCH + moment, UTC)


def _measure_night(videos: int) -> NightResult:
    backlog = Arrival(SETTLED, reindexed=videos, queues=(CONVERTED,))
    scenario = Scenario((backlog,), 1, seed=0)
    times = _ConversionTimes(scenario.engine)
    run_daemon(scenario, schedule=(NIGHT,))
    return NightResult(
        outside=sum(not _is_open(start) for start in times.starts),
        total=times.last_end - SETTLED,
        ideal=_ideal_night(backlog),
        # Each window spans one midnight.
        nights=len({(EPOCH + start + DAY / 2) // DAY for start in times.starts}),
    )


def _ideal_night(backlog: Arrival) -> float:
    """Return the total time if the queue is resumed and paused exactly at the window's edges."""
    engine = Engine(seed=0)
    times = _ConversionTimes(engine)
    engine.advance(SETTLED)
    engine.pause(CONVERTED)
    backlog.arrive(engine)
    while not engine.is_idle:
        (engine.resume if _is_open(engine.now) else engine.pause)(CONVERTED)
        edge = next_edge((NIGHT,), _local(engine.now))
        until = inf if edge is None else edge.timestamp() - EPOCH
        while not engine.is_idle and (when := engine.next_event()) is not None and when < until:
            engine.advance(when)
        if not engine.is_idle:
            engine.advance(until)
    return times.last_end - SETTLED


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
        """The largest error as a share of the actual time; None if no run had a forecast."""
        errors = (
            abs(run.forecast - run.actual) / run.actual
            for run in self.runs
            if run.forecast is not None
        )
        return max(errors, default=None)


def measure_forecasts(workload: Workload, limit: int, outcome: Outcome) -> Iterator[ForecastResult]:
    """Yield the result of a daemon without any knowledge, then of one that has learned its rates.

    ``outcome`` is the daemon's outcome of the same workload, which defines half-time.
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
