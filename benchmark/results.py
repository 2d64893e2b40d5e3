"""All measurements of the benchmark, and what is expected of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from benchmark import contenders, features
from benchmark.contenders import (
    ALONE,
    DAEMON,
    IDEAL,
    SHELL,
    SHELL_EACH_SECOND,
    UNRESTRICTED,
    Contender,
)
from benchmark.features import YIELDING, FeatureResults, FeatureSizes, ForecastResult
from benchmark.process_cost import ProcessCost
from benchmark.scenario import (
    Outcome,
    Workload,
    album,
    idle,
    one_photo,
    percentile,
    reindex,
    uploads,
)

LIMITS: Final = (1, 2)
"""How many queues may run at once."""

NO_LIMIT: Final = 0

MAX_FORECAST_ERROR: Final = 20
"""Largest acceptable error of a forecast, in per cent of the actual time."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much to measure: single photos, runs of an album, photos reindexed, idle hours."""

    photos: int
    albums: int
    reindexed: int
    idle_hours: float
    features: FeatureSizes


FULL: Final = Sizes(photos=300, albums=10, reindexed=85_000, idle_hours=3.0, features=features.FULL)
QUICK: Final = Sizes(photos=8, albums=2, reindexed=1_500, idle_hours=0.25, features=features.QUICK)


@dataclass(frozen=True, slots=True)
class Results:
    """Workloads in the order of the report, and outcomes by workload, contender and limit."""

    workloads: tuple[Workload, ...]
    outcomes: Mapping[tuple[str, str, int], Outcome]
    forecasts: tuple[ForecastResult, ...]
    features: FeatureResults

    def of(self, workload: str, contender: Contender, limit: int) -> Outcome:
        """Return one outcome. A contender without a limit has the same one for all limits."""
        return self.outcomes[workload, contender.key, limit if contender.has_limit else NO_LIMIT]

    def over_ideal(self, workload: str, contender: Contender, limit: int) -> float:
        """Return the total time as a multiple of the ideal's with the same limit."""
        return self.of(workload, contender, limit).total / self.of(workload, IDEAL, limit).total


_ALL: Final = (SHELL, DAEMON, UNRESTRICTED, IDEAL, ALONE)

CONTENDERS: Final[Mapping[str, tuple[Contender, ...]]] = {
    "photo": _ALL,
    "album": _ALL,
    "reindex": (SHELL, DAEMON, IDEAL, ALONE),
    "uploads": (SHELL, DAEMON, IDEAL, ALONE),
    "idle": (SHELL, DAEMON),
}
"""The contenders that are measured on each workload, in the order of the report."""

BACKLOGS: Final = ("album", "reindex", "uploads")
"""The workloads in which queues have to wait for each other."""


def measure_all(sizes: Sizes, progress: Callable[[str], None]) -> Results:
    """Measure everything in virtual time; ``progress`` is called before each measurement."""
    workloads = (
        one_photo(sizes.photos),
        album(sizes.albums),
        reindex(sizes.reindexed),
        uploads(sizes.reindexed),
        idle(sizes.idle_hours),
    )
    outcomes = {}
    for workload in workloads:
        for contender in CONTENDERS[workload.key]:
            progress(f"{workload.title}: {contender.title}")
            for limit in LIMITS if contender.has_limit else (NO_LIMIT,):
                outcomes[workload.key, contender.key, limit] = contenders.measure(
                    contender, workload, limit
                )
    # Measured only for the comparison with a real server.
    for workload in (one_photo(min(sizes.photos, 100)), album(sizes.albums)):
        key = workload.key, SHELL_EACH_SECOND.key, 1
        progress(f"{workload.title}: {SHELL_EACH_SECOND.title}")
        outcomes[key] = contenders.measure(SHELL_EACH_SECOND, workload, 1)
    forecast_results: list[ForecastResult] = []
    for workload in workloads:
        if workload.key in BACKLOGS:
            progress(f"{workload.title}: forecasts at half-time")
            for limit in LIMITS:
                outcome = outcomes[workload.key, DAEMON.key, limit]
                forecast_results += features.measure_forecasts(workload, limit, outcome)
    progress("YIELD_AFTER with a long backlog, and SCHEDULE with a night window")
    return Results(workloads, outcomes, tuple(forecast_results), features.measure(sizes.features))


@dataclass(frozen=True, slots=True)
class Expectation:
    """A figure that must not exceed a maximum, both in ``unit``."""

    what: str
    maximum: float
    measured: float
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the figure does not exceed the maximum."""
        return self.measured <= self.maximum


def expectations(results: Results, cost: ProcessCost | None) -> list[Expectation]:
    """Return all expectations with the measured figures."""
    found: list[Expectation] = []
    for limit in LIMITS:
        found += _with_limit(results, limit)
    found += [_of_forecasts(result) for result in results.forecasts]
    found += _of_features(results)
    if cost is not None:
        found += _of_process(cost)
    return found


def _with_limit(results: Results, limit: int) -> Iterator[Expectation]:
    at = f"N = {limit}: "
    for workload in results.workloads:
        if workload.key in BACKLOGS:
            ratio = results.over_ideal(workload.key, DAEMON, limit)
            yield Expectation(f"{at}{workload.title}: total time over the ideal", 1.05, ratio)
    outcomes = [results.of(workload.key, DAEMON, limit) for workload in results.workloads]
    over = sum(outcome.over for outcome in outcomes)
    yield Expectation(f"{at}seconds over the limit, all workloads", 0, over, "s")

    backlogs = [results.of(key, DAEMON, limit) for key in BACKLOGS]
    handovers = [seconds for outcome in backlogs for seconds in outcome.handovers]
    half = percentile(handovers, 0.5)
    yield Expectation(f"{at}hand-over in the workloads with a backlog, median", 0.5, half, "s")
    photo = results.of("photo", DAEMON, limit)
    half = percentile(photo.handovers, 0.5)
    yield Expectation(f"{at}hand-over with one photo, median", 0.5, half, "s")

    shell = percentile(results.of("photo", SHELL, limit).thumbnails, 0.5)
    ratio = percentile(photo.thumbnails, 0.5) / shell
    yield Expectation(f"{at}one photo's thumbnail over the shell daemon's, medians", 0.1, ratio)
    late = percentile(photo.thumbnails, 0.99)
    yield Expectation(f"{at}one photo's thumbnail, 99th percentile", 3, late, "s")
    late = percentile(photo.all_done, 0.99)
    yield Expectation(f"{at}one photo, everything done, 99th percentile", 6, late, "s")
    slowest = max(run.total for run in results.of("album", DAEMON, limit).runs)
    yield Expectation(f"{at}300 photos and 3 videos, slowest run", 190, slowest, "s")

    free, alone = results.of("photo", UNRESTRICTED, limit), results.of("photo", ALONE, NO_LIMIT)
    ratio = percentile(free.thumbnails, 0.5) / percentile(alone.thumbnails, 0.5)
    name = f"{at}UNRESTRICTED_BELOW=50, one photo"
    yield Expectation(f"{name}: thumbnail over Immich alone, medians", 1.2, ratio)
    ratio = percentile(free.all_done, 0.5) / percentile(alone.all_done, 0.5)
    yield Expectation(f"{name}: everything done over Immich alone, medians", 1.2, ratio)


def _of_forecasts(result: ForecastResult) -> Expectation:
    """Return the expected error of the forecasts.

    With the first workload of its kind the forecast may be unknown; later it may not.
    """
    what = f"N = {result.limit}: {result.workload.title}: error of the forecast at half-time"
    worst = 100 * (result.worst_error or 0.0)
    if result.is_first:
        what = f"{what}, first time (unknown counts as 0)"
    elif result.unknown:
        worst = inf
    return Expectation(what, MAX_FORECAST_ERROR, worst, "%")


def _of_features(results: Results) -> Iterator[Expectation]:
    measured = results.features
    idle_photos = results.of("photo", DAEMON, 1).thumbnails
    title = "YIELD_AFTER=1m, a new photo during a long backlog"
    yielding, plain = measured.yielding[YIELDING.key], measured.yielding[DAEMON.key]
    late = percentile(yielding.thumbnails, 0.99) / percentile(idle_photos, 0.99)
    yield Expectation(f"{title}: thumbnail over that on an idle server, 99th percentiles", 2, late)
    yield Expectation(
        f"{title}: total time over that without the setting", 1.02, yielding.total / plain.total
    )
    night = measured.night
    title = "SCHEDULE, videos at night"
    yield Expectation(f"{title}: jobs started outside the window", 0, night.outside)
    # At most one POLL_INTERVAL passes between two polls.
    yield Expectation(f"{title}: delay beside the ideal", 10, night.total - night.ideal, "s")


def _of_process(cost: ProcessCost) -> Iterator[Expectation]:
    # Includes both web servers, the page and MQTT. The loop alone takes two thirds of it.
    yield Expectation("Process: memory, peak", 60, cost.peak, "MiB")
    yield Expectation("Process: share of one core while idle", 0.2, 100 * cost.cpu_share, "%")
    yield Expectation("Process: first poll of Immich after the start", 1, cost.first_poll, "s")
    what = "200 requests a second: delay of a poll"
    yield Expectation(f"{what}, median", 0.25, cost.load.median_delay, "s")
    yield Expectation(f"{what}, latest tenth", 0.5, cost.load.tail_delay, "s")
    unanswered = 100 * (1 - cost.load.answered)
    yield Expectation("200 requests a second: without a response when due", 5, unanswered, "%")
    if cost.page is not None:
        yield Expectation("Page: first paint, median", 200, cost.page.median, "ms")
        yield Expectation("Page: size with all files it loads", 60, cost.page.size / 1000, "kB")
