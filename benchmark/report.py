"""The figures as tables."""

from collections.abc import Sequence
from statistics import mean

from benchmark import planned
from benchmark.contenders import ALONE, IDEAL, PLAIN, PLAIN_EACH_SECOND, Contender
from benchmark.expectation import Expectation
from benchmark.forecasts import SMALLER, Halves
from benchmark.measure import CONTENDERS, LIMITS, NO_LIMIT, Results
from benchmark.outcome import Outcome, percentile
from benchmark.process import Cost
from benchmark.table import Table, number
from benchmark.workloads import Workload


def tables(results: Results, cost: Cost | None) -> list[Table]:
    """Return the tables: the workloads, the estimates, the process, and the simulator's own."""
    found = []
    for workload in results.workloads:
        if workload.key == "photo":
            found.append(_one_photo(workload, results))
        elif workload.key == "idle":
            found.append(_idle(results))
        else:
            found.append(_backlog(workload, results))
    found += planned.tables(results.planned)
    found.append(_estimates(results.halves))
    if cost is not None:
        found.append(_process(cost))
    found.append(_calibration(results))
    return found


def verdict(expectations: Sequence[Expectation]) -> Table:
    """Return the table of what was expected and what was seen."""
    return Table(
        "Expected and seen",
        ("", "expected", "seen", "met"),
        tuple(
            (
                one.what,
                f"at most {number(one.most)} {one.unit}".rstrip(),
                f"{number(one.seen)} {one.unit}".rstrip(),
                "yes" if one.is_met else "NO",
            )
            for one in expectations
        ),
    )


def _lines(workload: Workload, results: Results) -> list[tuple[Contender, int, Outcome]]:
    return [
        (contender, limit, results.of(workload.key, contender, limit))
        for contender in CONTENDERS[workload.key]
        for limit in (LIMITS if contender.has_limit else (NO_LIMIT,))
    ]


def _at(values: Sequence[float], share: float) -> str:
    return number(percentile(values, share) if values else None)


def _common(contender: Contender, outcome: Outcome, pieces: int) -> tuple[str, ...]:
    """Return the last columns: what is lost, and what the looking costs."""
    is_asking = contender not in (IDEAL, ALONE)
    return (
        number(outcome.stalled * len(outcome.runs) / pieces),
        number(outcome.over / pieces if contender.has_limit else None),
        _at(outcome.handovers, 0.5),
        _at(outcome.handovers, 0.95),
        number(outcome.requests_an_hour if is_asking else None),
    )


_COMMON = (
    "nothing ran",
    "over the limit",
    "hand-over, median",
    "95th percentile",
    "requests an hour",
)


def _one_photo(workload: Workload, results: Results) -> Table:
    count = len(workload.runs[0])
    return Table(
        f"{workload.title}, {count} times at random moments (seconds a photo)",
        (
            "",
            "N",
            "thumbnail, median",
            "99th percentile",
            "everything, median",
            "99th percentile",
            *_COMMON,
        ),
        tuple(
            (
                contender.title,
                str(limit or number(None)),
                _at(outcome.thumbnails, 0.5),
                _at(outcome.thumbnails, 0.99),
                _at(outcome.all_done, 0.5),
                _at(outcome.all_done, 0.99),
                *_common(contender, outcome, count),
            )
            for contender, limit, outcome in _lines(workload, results)
        ),
    )


def _backlog(workload: Workload, results: Results) -> Table:
    runs = len(workload.runs)
    times = f", {runs} times at random moments" if runs > 1 else ""
    return Table(
        f"{workload.title}{times} (seconds a run)",
        (
            "",
            "N",
            "total time",
            "over the ideal",
            "thumbnail, median",
            "99th percentile",
            *_COMMON,
        ),
        tuple(
            (
                contender.title,
                str(limit or number(None)),
                number(outcome.total),
                f"{results.over_ideal(workload.key, contender, limit):.3f}"
                if contender.has_limit
                else number(None),
                _at(outcome.thumbnails, 0.5),
                _at(outcome.thumbnails, 0.99),
                *_common(contender, outcome, runs),
            )
            for contender, limit, outcome in _lines(workload, results)
        ),
    )


def _idle(results: Results) -> Table:
    return Table(
        "Nothing to do",
        ("", *(f"requests an hour, N = {limit}" for limit in LIMITS)),
        tuple(
            (
                contender.title,
                *(number(results.of("idle", contender, n).requests_an_hour) for n in LIMITS),
            )
            for contender in CONTENDERS["idle"]
        ),
    )


def _estimates(found: Sequence[Halves]) -> Table:
    return Table(
        "Estimates at half-time (seconds until everything is done)",
        ("", "N", "seen before", "truth", "estimate", "error", "time with an estimate"),
        tuple(
            (
                halves.workload.title,
                str(halves.limit),
                "nothing" if halves.is_first else f"1/{SMALLER} of it",
                number(mean(run.left for run in halves.runs)),
                _told(halves),
                number(None) if halves.worst is None else f"{number(100 * halves.worst)} %",
                f"{number(100 * mean(run.known for run in halves.runs))} %",
            )
            for halves in found
        ),
    )


def _told(halves: Halves) -> str:
    told = [run.told for run in halves.runs if run.told is not None]
    if not told:
        return "unknown"
    unknown = f" ({halves.unknown} of {len(halves.runs)} unknown)" if halves.unknown else ""
    return f"{number(mean(told))}{unknown}"


def _process(cost: Cost) -> Table:
    page = cost.page
    seen = (
        ()
        if page is None
        else (
            ("first paint of the page in Chromium, median", f"{number(page.median)} ms"),
            ("the page and all that it loads", f"{number(page.size / 1000)} kB"),
        )
    )
    return Table(
        "Cost of the process (real time, real HTTP, Immich idle)",
        ("", "this daemon"),
        (
            ("memory, resident", f"{number(cost.resident)} MiB"),
            ("memory, at its peak", f"{number(cost.peak)} MiB"),
            ("share of one core while idle", f"{number(100 * cost.share)} %"),
            ("first look at Immich after its start, median", f"{number(cost.first_look)} s"),
            (
                "with 200 requests a second, a look at Immich is later, median",
                f"{number(1000 * cost.crowd.later)} ms",
            ),
            *seen,
        ),
    )


def _calibration(results: Results) -> Table:
    photo, slow = results.of("photo", ALONE, NO_LIMIT), results.of("photo", PLAIN, 1)
    quick, ideal = results.of("photo", PLAIN_EACH_SECOND, 1), results.of("album", IDEAL, 1)
    album = results.of("album", PLAIN, 1)
    often = results.of("album", PLAIN_EACH_SECOND, 1)
    shell, shell_1 = "shell daemon", "shell daemon, every second"
    return Table(
        "The simulator beside a real Immich 3.1.0 (seconds)",
        ("", "real", "simulated"),
        (
            ("one photo, Immich alone: thumbnail", "0.2 to 0.6", _span(photo.thumbnails)),
            ("one photo, Immich alone: everything", "0.4 to 0.9", _span(photo.all_done)),
            (f"one photo, {shell}: thumbnail", "24 to 35", _span(slow.thumbnails)),
            (f"one photo, {shell}: everything", "83 to 90", _span(slow.all_done)),
            (f"one photo, {shell_1}: thumbnail", "7.1", _span(quick.thumbnails)),
            (f"one photo, {shell_1}: everything", "17.5 to 17.9", _span(quick.all_done)),
            (
                "300 photos and 3 videos, Immich alone",
                "79.6",
                number(results.of("album", ALONE, NO_LIMIT).total),
            ),
            ("300 photos and 3 videos, one queue at a time", "171 to 181", number(ideal.total)),
            (f"300 photos and 3 videos, {shell}", "249", number(album.total)),
            (f"the same, of which nothing ran, {shell}", "77.3", number(album.stalled)),
            (f"300 photos and 3 videos, {shell_1}", "197", number(often.total)),
            (f"the same, of which nothing ran, {shell_1}", "15.4", number(often.stalled)),
        ),
    )


def _span(values: Sequence[float]) -> str:
    return f"{number(min(values))} to {number(max(values))}"
