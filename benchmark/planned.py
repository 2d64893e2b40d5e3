"""What people plan: turns for new photos beside a long backlog, and a queue that runs at night."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import partial
from math import inf
from typing import Final

from benchmark.contenders import DAEMON, Contender, Scenario, run_daemon
from benchmark.expectation import Expectation
from benchmark.outcome import Outcome, Run, percentile
from benchmark.table import Table, number
from benchmark.workloads import SETTLED, Arrival
from immich_job_daemon.model.windows import Window, closed_until, next_edge
from simulator.immich.engine import Engine, Event, EventKind
from simulator.worlds.virtual_daemon import EPOCH

EVERY: Final = 600.0
"""Seconds between two new photos."""
YIELD_AFTER: Final = 60.0
NIGHT: Final = Window(frozenset({"videoConversion"}), time(22), time(6))
INDEXED: Final = "smartSearch"
CONVERTED: Final = "videoConversion"
DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much: assets indexed, runs of that at other moments, videos converted at night."""

    indexed: int
    runs: int
    videos: int


FULL: Final = Sizes(indexed=85_000, runs=3, videos=170_000)
QUICK: Final = Sizes(indexed=6_000, runs=1, videos=2_000)

YIELDING: Final = Contender(
    "yielding",
    "This daemon, YIELD_AFTER=1m",
    partial(run_daemon, yield_after=YIELD_AFTER),
)


@dataclass(frozen=True, slots=True)
class Night:
    """What became of a backlog that may be worked off at night only.

    Attributes:
        videos: how many there were.
        outside: how many of their jobs began outside the window.
        total: seconds from their arrival to the end of the last one.
        ideal: the same where the window is opened and closed at its very edges.
        nights: in how many windows jobs began.
    """

    videos: int
    outside: int
    total: float
    ideal: float
    nights: int


@dataclass(frozen=True, slots=True)
class Planned:
    """What was seen of both; ``turns`` by the contender's key."""

    sizes: Sizes
    turns: dict[str, Outcome]
    night: Night


def measure(sizes: Sizes) -> Planned:
    """Return what the daemon makes of both, in virtual time, one queue at a time."""
    turns = {
        contender.key: Outcome(
            tuple(_turns(contender, sizes.indexed, n) for n in range(sizes.runs))
        )
        for contender in (DAEMON, YIELDING)
    }
    return Planned(sizes, turns, _night(sizes.videos))


def _turns(contender: Contender, indexed: int, run: int) -> Run:
    # A job takes 0.2 s and two run at once; photos come as long as that lasts.
    count = max(1, int(indexed * 0.1 / EVERY))
    shift = run * EVERY / 7
    photos = (Arrival(SETTLED + shift + (n + 0.5) * EVERY, photos=1) for n in range(count))
    backlog = Arrival(SETTLED, reindexed=indexed, queues=(INDEXED,))
    scenario = Scenario((backlog, *photos), 1, seed=run)
    contender.run(scenario)
    return scenario.seen()


class _Starts:
    """Notes when jobs of the queue begin.

    Args:
        engine: is observed.
    """

    def __init__(self, engine: Engine) -> None:
        self.times: list[float] = []
        self.last_end = 0.0
        engine.observers.append(self._observe)

    def _observe(self, event: Event) -> None:
        if event.queue == CONVERTED:
            if event.kind is EventKind.STARTED:
                self.times.append(event.time)
            elif event.kind is EventKind.COMPLETED:
                self.last_end = event.time

    def outside(self) -> int:
        """Return how many began outside the window."""
        return sum(_opens(moment) is not None for moment in self.times)

    def nights(self) -> int:
        """Return in how many windows jobs began: one lies around each midnight."""
        return len({(EPOCH + moment + DAY / 2) // DAY for moment in self.times})


def _opens(moment: float) -> float | None:
    """Return when the window opens next, on the engine's clock; None while it is open."""
    opens = closed_until((NIGHT,), CONVERTED, _local(moment))
    return None if opens is None else opens.timestamp() - EPOCH


def _local(moment: float) -> datetime:
    return datetime.fromtimestamp(EPOCH + moment, UTC)


def _night(videos: int) -> Night:
    backlog = Arrival(SETTLED, reindexed=videos, queues=(CONVERTED,))
    scenario = Scenario((backlog,), 1, seed=0)
    starts = _Starts(scenario.engine)
    run_daemon(scenario, schedule=(NIGHT,))
    return Night(
        videos=videos,
        outside=starts.outside(),
        total=starts.last_end - SETTLED,
        ideal=_ideal_night(backlog),
        nights=starts.nights(),
    )


def _ideal_night(backlog: Arrival) -> float:
    """Return when the last job ends where somebody opens and closes the queue at the very edges."""
    engine = Engine(seed=0)
    starts = _Starts(engine)
    engine.advance(SETTLED)
    engine.pause(CONVERTED)
    backlog.arrive(engine)
    while not engine.is_idle:
        is_open = _opens(engine.now) is None
        (engine.resume if is_open else engine.pause)(CONVERTED)
        edge = next_edge((NIGHT,), _local(engine.now))
        until = inf if edge is None else edge.timestamp() - EPOCH
        while not engine.is_idle and (when := engine.next_event()) is not None and when < until:
            engine.advance(when)
        if not engine.is_idle:
            engine.advance(until)
    return starts.last_end - SETTLED


def tables(planned: Planned) -> list[Table]:
    """Return both as tables."""
    return [_turns_table(planned), _night_table(planned.night, planned.sizes)]


def _turns_table(planned: Planned) -> Table:
    rows = []
    for contender in (DAEMON, YIELDING):
        outcome = planned.turns[contender.key]
        rows.append(
            (
                contender.title,
                number(outcome.total),
                number(percentile(outcome.thumbnails, 0.5)),
                number(percentile(outcome.thumbnails, 0.99)),
                number(outcome.requests_an_hour),
            )
        )
    return Table(
        f"{planned.sizes.indexed:,} photos indexed, a new one every ten minutes (seconds a run)",
        ("", "total time", "thumbnail, median", "99th percentile", "requests an hour"),
        tuple(rows),
    )


def _night_table(night: Night, sizes: Sizes) -> Table:
    return Table(
        f"{sizes.videos:,} videos, converted from 22:00 to 06:00 only",
        ("", "this daemon", "opened and closed at the very edges"),
        (
            ("jobs that began outside the window", number(night.outside), number(0)),
            ("in so many nights", number(night.nights), number(None)),
            ("total time, hours", number(night.total / 3600), number(night.ideal / 3600)),
            ("later than that, seconds", number(night.total - night.ideal), number(None)),
        ),
    )


def expectations(planned: Planned, idle_photos: Sequence[float]) -> Iterator[Expectation]:
    """Yield what is expected, with what was seen.

    Args:
        planned: what was measured.
        idle_photos: seconds to the thumbnail of single photos on an idle server.
    """
    title = "YIELD_AFTER=1m, a new photo beside a long backlog"
    yielding, plain = planned.turns[YIELDING.key], planned.turns[DAEMON.key]
    late = percentile(yielding.thumbnails, 0.99) / percentile(idle_photos, 0.99)
    yield Expectation(f"{title}: thumbnail over that on an idle server, 99th percentiles", 2, late)
    yield Expectation(f"{title}: total time over that without", 1.02, yielding.total / plain.total)
    night = planned.night
    title = "SCHEDULE, videos at night"
    yield Expectation(f"{title}: jobs that began outside the window", 0, night.outside)
    # A round is as long as POLL_INTERVAL at most.
    yield Expectation(f"{title}: later than at best", 10, night.total - night.ideal, "s")
