"""What must be seen of the daemon, and whether it was."""

from collections.abc import Iterator
from math import inf
from typing import Final

from benchmark import planned
from benchmark.contenders import ALONE, DAEMON, PLAIN, UNRESTRICTED
from benchmark.expectation import Expectation
from benchmark.forecasts import Halves
from benchmark.measure import BACKLOGS, LIMITS, NO_LIMIT, Results
from benchmark.outcome import percentile
from benchmark.process import Cost

ERROR: Final = 20
"""By how much of the truth an estimate may be wrong, in per cent."""


def expectations(results: Results, cost: Cost | None) -> list[Expectation]:
    """Return everything that is expected, with what was seen."""
    found: list[Expectation] = []
    for limit in LIMITS:
        found += _of_limit(results, limit)
    found += [_of_estimates(halves) for halves in results.halves]
    photos = results.of("photo", DAEMON, 1).thumbnails
    found += planned.expectations(results.planned, photos)
    if cost is not None:
        found += _of_process(cost)
    return found


def _of_limit(results: Results, limit: int) -> Iterator[Expectation]:
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

    plain = percentile(results.of("photo", PLAIN, limit).thumbnails, 0.5)
    ratio = percentile(photo.thumbnails, 0.5) / plain
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


def _of_estimates(halves: Halves) -> Expectation:
    """Return how far the estimates are from the truth.

    Who sees such a workload for the first time may say "unknown", who knows it may not.
    """
    what = f"N = {halves.limit}: {halves.workload.title}: error of the estimate at half-time"
    worst = 100 * (halves.worst or 0.0)
    if halves.is_first:
        return Expectation(f"{what}, first time ever (unknown is 0)", ERROR, worst, "%")
    return Expectation(what, ERROR, inf if halves.unknown else worst, "%")


def _of_process(cost: Cost) -> Iterator[Expectation]:
    # With both listeners, the page and MQTT at hand; the loop alone takes two thirds of that.
    yield Expectation("Process: memory, at its peak", 60, cost.peak, "MiB")
    yield Expectation("Process: share of one core while idle", 0.2, 100 * cost.share, "%")
    yield Expectation("Process: first look at Immich after its start", 1, cost.first_look, "s")
    what = "200 requests a second: a look at Immich is later"
    yield Expectation(f"{what}, median", 0.25, cost.crowd.later, "s")
    yield Expectation(f"{what}, latest tenth", 0.5, cost.crowd.latest, "s")
    left = 100 * (1 - cost.crowd.answered)
    yield Expectation("200 requests a second: not answered when due", 5, left, "%")
    if cost.page is not None:
        yield Expectation("Page: first paint, median", 200, cost.page.median, "ms")
        yield Expectation("Page: all that it loads", 60, cost.page.size / 1000, "kB")
