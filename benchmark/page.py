"""The page docs/benchmark.md and its plot, for people who decide whether to install the daemon."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from platform import python_version
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmark import report
from benchmark.contenders import ALONE, DAEMON, IDEAL, SHELL, UNRESTRICTED, Contender
from benchmark.process_cost import ProcessCost
from benchmark.report import number
from benchmark.results import LIMITS, NO_LIMIT, Expectation, Results
from benchmark.scenario import percentile


def page(
    results: Results,
    cost: ProcessCost | None,
    expectations: Sequence[Expectation],
    image: str,
    day: date,
) -> str:
    """Return the page as Markdown; ``image`` is the path of the plot relative to it."""
    parts = ["# Is it worth it?", _in_short(results, cost), f"![What ran when]({image})"]
    parts.append(_PRICE_OF_A_LIMIT.format(alone=_total(results, ALONE, NO_LIMIT)))
    for table in (*report.tables(results, cost), report.verdict(expectations)):
        parts += [f"## {table.title}", table.markdown()]
        parts += [text for words, text in _NOTES.items() if words in table.title]
    parts += [
        "## How it was measured",
        _HOW,
        f"Measured on {day:%d %B %Y} with Python {python_version()}.",
    ]
    return "\n\n".join(parts) + "\n"


def _in_short(results: Results, cost: ProcessCost | None) -> str:
    old, new = results.of("photo", SHELL, 1), results.of("photo", DAEMON, 1)
    text = (
        f"A new photo on an idle server has its thumbnail after {_median(new.thumbnails)} s and is "
        f"fully processed after {_median(new.all_done)} s. The shell daemon that people use today "
        f"takes {_median(old.thumbnails)} s and {_median(old.all_done)} s.\n"
        f"300 photos and 3 videos, one queue at a time, take {_total(results, DAEMON, 1)} s "
        f"instead of {_total(results, SHELL, 1)} s. The minimum with the same "
        f"limit and the same priorities is {_total(results, IDEAL, 1)} s.\n"
    )
    over = sum(results.of(w.key, DAEMON, n).over for w in results.workloads for n in LIMITS)
    kept = (
        "The limit was never exceeded where one was set"
        if not over
        else f"The limit was exceeded for {number(over)} s in total"
    )
    if cost is None:
        return f"{text}{kept}."
    return (
        f"{text}{kept}. The daemon itself takes {number(cost.resident)} MiB of memory and "
        f"{number(100 * cost.cpu_share)} % of one core while Immich is idle."
    )


def _median(values: Sequence[float]) -> str:
    return number(percentile(values, 0.5))


def _total(results: Results, contender: Contender, limit: int) -> str:
    return number(results.of("album", contender, limit).total)


_PRICE_OF_A_LIMIT = """\
Every limit has a price: with all queues open at once, Immich processes the 300 photos in {alone} s,
but uses the whole machine for that. The daemon is for machines that have other work to do. With
`UNRESTRICTED_BELOW`, a few photos are still processed at Immich's own speed."""

_NOTES = {
    "One photo on": """\
N is the number of queues that may run at once. The seconds over the limit with
`UNRESTRICTED_BELOW=50` are intended: the setting does not limit a single photo.""",
    "300 photos and 3 videos at once": """\
With `UNRESTRICTED_BELOW=50` the first seconds are over the limit, because the daemon learns only at
the next poll that there are more than 50 jobs. The shell daemon resumes no other queue while one is
active, so with N = 2 its second slot is often empty.""",
    "uploaded meanwhile": """\
A new photo waits for the reindex under every contender, even with Immich alone: a queue
processes its jobs in the order of their arrival, and a running queue is not interrupted. With N
= 1 the slower shell daemon happens to process some more photos between the two long queues. Its
thumbnails are therefore done a little earlier, and everything else later.""",
    "Nothing to do": """\
The daemon polls more often than the shell daemon, but only as often as Immich's response time
allows: a real Immich needed 6 ms for a poll, so one every 2 s takes 0.3 % of one of its cores.""",
    "Forecasts at half-time": """\
When will all pending jobs be done? The table compares the daemon's forecast after half of the
time with the actual time. Both are means over all runs; the error is that of the worst run. If
the daemon has never seen a queue run, it cannot know its rate, and the forecast is "unknown". In
the second row of each pair the daemon had processed a third of such a workload before. Uploads
after half-time cannot be predicted, so the actual time is that of a run without them. The last
column is the share of the time in which there was a forecast.""",
    "Cost of the process": """\
On a real server, the idle shell daemon took 9.4 % to 10 % of a core, because it starts hundreds of
processes in each round.""",
    "The simulator": """\
The left column was measured on a real server with two cores, whose machine-learning service was a
stub that responds in 150 ms. The absolute times on this page are those of the simulator. On another
machine the jobs take more or less time, but the gaps between them stay the same.""",
}

_HOW = """\
`script/benchmark` repeats all measurements in a few minutes and writes this page.
`script/benchmark --quick` takes less than a minute and writes no file. The exit code is 1 if an
expectation is not met.

Everything except the cost of the process is simulated in virtual time. The simulated Immich is
calibrated on a real Immich 3.1.0 and has its response times (median 6 ms idle, 18 ms while jobs
run). Each contender runs the same jobs on a server of its own:

- **Shell daemon**: the simple algorithm that people use today. It polls every 10 seconds. If any
  queues are active, the first N of them continue; otherwise it resumes the first N queues with a
  backlog. It pauses all others, and sends a command only if it differs from its last one for that
  queue. A round takes 1.2 s.
- **This daemon**: the real program with its client, scheduler and polling; only the clock, the disk
  and the network are replaced.
- **Ideal**: the same priorities and the same limit with perfect knowledge. A slot passes on at the
  moment its queue is drained. No program that has to poll can be as fast.
- **Immich alone**: all queues open, no limit.

The columns:

- *thumbnail*, *everything*: from the upload to the thumbnail, and to the end of the last job.
- *total time*: from the first upload to the end of the last job; *over the ideal*: as a multiple.
- *nothing ran*: time in which jobs were ready and no queue ran.
- *over the limit*: time in which more than N queues actually had active jobs.
- *hand-over*: from the end of a queue's last job to the first job of the next waiting queue.
- *requests an hour*: requests to Immich during the workload."""

COLOURS: Final = {
    "metadataExtraction": "#4477aa",
    "storageTemplateMigration": "#222222",
    "thumbnailGeneration": "#ee8866",
    "smartSearch": "#228833",
    "duplicateDetection": "#aa3377",
    "faceDetection": "#ccbb44",
    "facialRecognition": "#66ccee",
    "videoConversion": "#bb2233",
    "ocr": "#999999",
}
"""The queues of an upload's jobs, by priority."""

_ROWS: Final = (SHELL, DAEMON, IDEAL)
_BARS: Final = (SHELL, DAEMON, UNRESTRICTED, ALONE)


def draw_plot(results: Results, path: Path) -> None:
    """Write the plot to a file; its suffix determines the format."""
    with mpl.rc_context({"svg.hashsalt": "benchmark", "font.size": 9}):
        figure = Figure(figsize=(9.5, 5.6), layout="constrained")
        above, below = figure.subplots(2, 1, height_ratios=(3, 2))
        _timeline(above, results)
        _bars(below, results)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _timeline(axes: Axes, results: Results) -> None:
    for row, contender in enumerate(_ROWS):
        run = results.of("album", contender, 1).runs[0]
        for name, colour in COLOURS.items():
            bars = [(s.start, s.end - s.start) for s in run.spans if s.queue == name]
            axes.broken_barh(bars, (row - 0.35, 0.7), facecolors=colour)
        axes.text(run.total + 2, row, f"{run.total:.0f} s", va="center")
    slowest = max(results.of("album", contender, 1).runs[0].total for contender in _ROWS)
    axes.set_xlim(0, slowest * 1.08)
    axes.set_xlabel("seconds since the upload; white: nothing ran although work waited")
    axes.set_title("300 photos and 3 videos, one queue at a time: which one ran when", loc="left")
    axes.legend(
        handles=[Patch(color=colour, label=name) for name, colour in COLOURS.items()],
        ncols=5,
        loc="upper right",
        bbox_to_anchor=(1.0, -0.22),
        columnspacing=1.2,
        handlelength=1.2,
        frameon=False,
    )
    _name_rows(axes, _ROWS)


def _bars(axes: Axes, results: Results) -> None:
    for row, contender in enumerate(_BARS):
        limit = 1 if contender.has_limit else NO_LIMIT
        seconds = results.of("photo", contender, limit).thumbnails
        half, most = percentile(seconds, 0.5), percentile(seconds, 0.99)
        axes.barh(row, half, height=0.6, color=COLOURS["thumbnailGeneration"])
        axes.plot((half, most), (row, row), color="#222222", linewidth=1.2, marker="|")
        axes.text(most + 0.5, row, f"{number(half)} s, 99 %: {number(most)} s", va="center")
    axes.set_xlim(0, axes.get_xlim()[1] * 1.15)
    axes.set_xlabel("seconds from the upload to the thumbnail, median and 99th percentile")
    axes.set_title("One photo on an idle server", loc="left")
    _name_rows(axes, _BARS)


def _name_rows(axes: Axes, contenders: Sequence[Contender]) -> None:
    axes.set_yticks(range(len(contenders)), [contender.title for contender in contenders])
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
