"""The effect of two settings: YIELD_AFTER with a long backlog, and SCHEDULE with a night window."""

from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import partial
from math import inf
from typing import Final

from benchmark.contenders import DAEMON, Contender, run_daemon
from benchmark.scenario import Outcome, RunResult, Scenario
from benchmark.workloads import SETTLED, Arrival
from immich_job_daemon.model.windows import Window, closed_until, next_edge
from simulator.immich.engine import Engine, Event, EventKind
from simulator.worlds.virtual_daemon import EPOCH

PHOTO_INTERVAL: Final = 600.0
"""Seconds between two new photos."""
YIELD_AFTER: Final = 60.0
INDEXED: Final = "smartSearch"
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
    partial(run_daemon, yield_after=YIELD_AFTER),
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
    backlog = Arrival(SETTLED, reindexed=indexed, queues=(INDEXED,))
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

    def outside(self) -> int:
        """Return how many jobs started outside the window."""
        return sum(not _is_open(start) for start in self.starts)

    def nights(self) -> int:
        """Return in how many windows jobs started; each window spans one midnight."""
        return len({(EPOCH + start + DAY / 2) // DAY for start in self.starts})


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
        outside=times.outside(),
        total=times.last_end - SETTLED,
        ideal=_ideal_night(backlog),
        nights=times.nights(),
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
