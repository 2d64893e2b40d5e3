"""The tables of the report, for a terminal and for Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from benchmark.contenders import ALONE, DAEMON, IDEAL, SHELL, SHELL_EACH_SECOND, Contender
from benchmark.features import SMALLER, YIELDING, FeatureResults, ForecastResult
from benchmark.process_cost import ProcessCost
from benchmark.results import CONTENDERS, LIMITS, NO_LIMIT, Expectation, Results
from benchmark.scenario import Outcome, Workload, percentile


def number(value: float | None) -> str:
    """Format a figure with its significant digits; None becomes a dash.

    >>> [number(value) for value in (None, 0, 0.0004, 0.034, 2.345, 43.21, 249.2, 17850.5)]
    ['–', '0', '0.0004', '0.034', '2.35', '43.2', '249', '17,850']
    """  # noqa: RUF002 - an en dash, on purpose
    if value is None:
        return "–"  # noqa: RUF001 - an en dash, on purpose
    if value == 0:
        return "0"
    size = abs(value)
    digits = next(
        (digits for limit, digits in ((100, 0), (10, 1), (0.1, 2), (0.01, 3)) if size >= limit), 4
    )
    return f"{value:,.{digits}f}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a title; all columns but the first are right-aligned."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table as Markdown, without its title."""
        rule = ("---", *("---:" for _ in self.header[1:]))
        return "\n".join(f"| {' | '.join(row)} |" for row in (self.header, rule, *self.rows))

    def text(self) -> str:
        """Return the table with its title for a terminal."""
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
            for row in (self.header, *self.rows)
        ]
        return "\n".join([self.title, "-" * len(self.title), *lines])


def tables(results: Results, cost: ProcessCost | None) -> list[Table]:
    """Return all tables except the verdict."""
    found = []
    for workload in results.workloads:
        if workload.key == "photo":
            found.append(_one_photo(workload, results))
        elif workload.key == "idle":
            found.append(_idle(results))
        else:
            found.append(_backlog(workload, results))
    found += [_yield_table(results.features), _night_table(results.features)]
    found.append(_forecasts(results.forecasts))
    if cost is not None:
        found.append(_process(cost))
    found.append(_calibration(results))
    return found


def verdict(expectations: Sequence[Expectation]) -> Table:
    """Return the table of the expectations and the measured figures."""
    return Table(
        "Expectations",
        ("", "expected", "measured", "met"),
        tuple(
            (
                one.what,
                f"at most {number(one.maximum)} {one.unit}".rstrip(),
                f"{number(one.measured)} {one.unit}".rstrip(),
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


def _percentiles(values: Sequence[float], high: float = 0.99) -> tuple[str, str]:
    """Return the median and a high percentile."""
    if not values:
        return number(None), number(None)
    return number(percentile(values, 0.5)), number(percentile(values, high))


def _common(contender: Contender, outcome: Outcome, pieces: int) -> tuple[str, ...]:
    """Return the last columns: the time lost and the requests sent."""
    is_polling = contender not in (IDEAL, ALONE)
    return (
        number(outcome.stalled * len(outcome.runs) / pieces),
        number(outcome.over / pieces if contender.has_limit else None),
        *_percentiles(outcome.handovers, 0.95),
        number(outcome.requests_an_hour if is_polling else None),
    )


_THUMBNAIL = ("thumbnail, median", "99th percentile")
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
        ("", "N", *_THUMBNAIL, "everything, median", "99th percentile", *_COMMON),
        tuple(
            (
                contender.title,
                str(limit or number(None)),
                *_percentiles(outcome.thumbnails),
                *_percentiles(outcome.all_done),
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
        ("", "N", "total time", "over the ideal", *_THUMBNAIL, *_COMMON),
        tuple(
            (
                contender.title,
                str(limit or number(None)),
                number(outcome.total),
                f"{results.over_ideal(workload.key, contender, limit):.3f}"
                if contender.has_limit
                else number(None),
                *_percentiles(outcome.thumbnails),
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


def _yield_table(features: FeatureResults) -> Table:
    rows = []
    for contender in (DAEMON, YIELDING):
        outcome = features.yielding[contender.key]
        rows.append(
            (
                contender.title,
                number(outcome.total),
                *_percentiles(outcome.thumbnails),
                number(outcome.requests_an_hour),
            )
        )
    return Table(
        f"{features.sizes.indexed:,} photos indexed, a new one every ten minutes (seconds a run)",
        ("", "total time", *_THUMBNAIL, "requests an hour"),
        tuple(rows),
    )


def _night_table(features: FeatureResults) -> Table:
    night = features.night
    return Table(
        f"{features.sizes.videos:,} videos, converted from 22:00 to 06:00 only",
        ("", "this daemon", "resumed and paused exactly at its edges"),
        (
            ("jobs started outside the window", number(night.outside), number(0)),
            ("number of nights", number(night.nights), number(None)),
            ("total time, hours", number(night.total / 3600), number(night.ideal / 3600)),
            ("seconds later than that", number(night.total - night.ideal), number(None)),
        ),
    )


def _forecasts(results: Sequence[ForecastResult]) -> Table:
    return Table(
        "Forecasts at half-time (seconds until everything is done)",
        ("", "N", "seen before", "actual", "forecast", "error", "time with a forecast"),
        tuple(
            (
                result.workload.title,
                str(result.limit),
                "nothing" if result.is_first else f"1/{SMALLER} of it",
                number(mean(run.actual for run in result.runs)),
                _mean_forecast(result),
                number(None)
                if result.worst_error is None
                else f"{number(100 * result.worst_error)} %",
                f"{number(100 * mean(run.share_known for run in result.runs))} %",
            )
            for result in results
        ),
    )


def _mean_forecast(result: ForecastResult) -> str:
    forecasts = [run.forecast for run in result.runs if run.forecast is not None]
    if not forecasts:
        return "unknown"
    unknown = f" ({result.unknown} of {len(result.runs)} unknown)" if result.unknown else ""
    return f"{number(mean(forecasts))}{unknown}"


def _process(cost: ProcessCost) -> Table:
    delay = 1000 * cost.load.median_delay
    rows = [
        ("memory, resident", f"{number(cost.resident)} MiB"),
        ("memory, peak", f"{number(cost.peak)} MiB"),
        ("share of one core while idle", f"{number(100 * cost.cpu_share)} %"),
        ("first poll of Immich after the start, median", f"{number(cost.first_poll)} s"),
        ("median delay of a poll under 200 requests a second", f"{number(delay)} ms"),
    ]
    if (page := cost.page) is not None:
        rows += [
            ("first paint of the page in Chromium, median", f"{number(page.median)} ms"),
            ("size of the page and all files it loads", f"{number(page.size / 1000)} kB"),
        ]
    title = "Cost of the process (real time, real HTTP, Immich idle)"
    return Table(title, ("", "this daemon"), tuple(rows))


def _calibration(results: Results) -> Table:
    photo, slow = results.of("photo", ALONE, NO_LIMIT), results.of("photo", SHELL, 1)
    quick, ideal = results.of("photo", SHELL_EACH_SECOND, 1), results.of("album", IDEAL, 1)
    alone, often = results.of("album", ALONE, NO_LIMIT), results.of("album", SHELL_EACH_SECOND, 1)
    album = results.of("album", SHELL, 1)
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
            ("300 photos and 3 videos, Immich alone", "79.6", number(alone.total)),
            ("300 photos and 3 videos, one queue at a time", "171 to 181", number(ideal.total)),
            (f"300 photos and 3 videos, {shell}", "249", number(album.total)),
            (f"the same, time in which nothing ran, {shell}", "77.3", number(album.stalled)),
            (f"300 photos and 3 videos, {shell_1}", "197", number(often.total)),
            (f"the same, time in which nothing ran, {shell_1}", "15.4", number(often.stalled)),
        ),
    )


def _span(values: Sequence[float]) -> str:
    return f"{number(min(values))} to {number(max(values))}"
