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
    parts.append(_LIMIT_HAS_A_PRICE.format(alone=_total(results, ALONE, NO_LIMIT)))
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
        f"One new photo on an idle server has its thumbnail after {_half(new.thumbnails)} s and "
        f"everything else after {_half(new.all_done)} s, where the shell daemon that people use "
        f"today takes {_half(old.thumbnails)} s and {_half(old.all_done)} s.\n"
        f"300 photos and 3 videos, one queue at a time, take {_total(results, DAEMON, 1)} s "
        f"instead of {_total(results, SHELL, 1)} s; {_total(results, IDEAL, 1)} s is "
        "the least with the same limit and the same priorities.\n"
    )
    over = sum(results.of(w.key, DAEMON, n).over for w in results.workloads for n in LIMITS)
    kept = (
        "The limit, where one was set, was never exceeded"
        if not over
        else f"The limit was exceeded for {number(over)} s in all"
    )
    if cost is None:
        return f"{text}{kept}."
    return (
        f"{text}{kept}, and the daemon itself takes {number(cost.resident)} MiB of memory and "
        f"{number(100 * cost.cpu_share)} % of one core while there is nothing to do."
    )


def _half(values: Sequence[float]) -> str:
    return number(percentile(values, 0.5))


def _total(results: Results, contender: Contender, limit: int) -> str:
    return number(results.of("album", contender, limit).total)


_LIMIT_HAS_A_PRICE = """\
A limit has its price, whoever keeps it: with all queues open at once Immich does the 300 photos in
{alone} s, and uses the whole machine for it. The daemon is for machines that have something else
to do. With `UNRESTRICTED_BELOW` a few photos go through at Immich's own speed all the same."""

_NOTES = {
    "One photo on": """\
N is the number of queues that may run at once. With `UNRESTRICTED_BELOW=50` the seconds over the
limit are what the setting asks for: a single photo is not limited at all.""",
    "300 photos and 3 videos at once": """\
The first seconds with `UNRESTRICTED_BELOW=50` are over the limit: until the next look nobody knows
that more than 50 jobs have come. While the shell daemon sees anything run, it opens nothing else,
so that with N = 2 its second slot is often empty.""",
    "uploaded meanwhile": """\
A new photo waits for the reindex under every contender, Immich alone included: a queue takes its
jobs in the order in which they came, and a running queue is not interrupted. With N = 1 the slower
shell daemon happens to let some more photos in between the two long queues: its figures for
thumbnails are a little shorter for that, and all the rest is done later.""",
    "Nothing to do": """\
The daemon looks more often than the shell daemon, and what that costs Immich decides how often: a
look took a real Immich 6 ms, so that one every 2 s is 0.3 % of one of the server's cores.""",
    "Estimates at half-time": """\
When will all that is pending be done? What the daemon said when half of the time was over, and
what was true; of several runs both are means, and the error is that of the worst. A queue that was
never seen at work may take any time: then the daemon says "unknown". Below that it was restarted
after it had seen a third of such a workload. What is uploaded after half-time nobody can know: the
truth is that of the same run without it. The last column says how much of the time it told any.""",
    "Cost of the process": """\
The shell daemon took 9.4 % to 10 % of a core while idle, measured elsewhere on a real server: it
starts hundreds of processes each round.""",
    "The simulator": """\
The left column was measured on a real server with two cores, where machine learning was a stub
that answers in 150 ms. Absolute figures on this page are the simulator's: on another machine the
jobs take longer or shorter, the gaps between them do not.""",
}

_HOW = """\
`script/benchmark` measures all of this anew, in a few minutes, and writes this page;
`script/benchmark --quick` is done in well under a minute and writes nothing. It ends with exit
code 1 if anything is not as expected.

Everything but the cost of the process is simulated, in virtual time: an Immich of the project's
own, calibrated on a real Immich 3.1.0, with that one's response times (6 ms idle, 18 ms while jobs
run, in the median). On it run, each for itself and with the same jobs:

- **Shell daemon**: the plain algorithm that people use today. Every 10 seconds it looks; if
  anything is active, the first N of that go on, else the first N queues with work, and all others
  are paused. It sends a command only where its own last one differs. A round takes it 1.2 s.
- **This daemon**: the program itself, with its client, its scheduler and its pacing; only the
  clock, the disk and the wire are stand-ins.
- **Ideal**: the same priorities and the same limit with perfect knowledge. A slot passes on at the
  very instant at which its queue is drained. Nobody who has to ask can reach it.
- **Immich alone**: every queue open, no limit.

What the columns say:

- *thumbnail*, *everything*: from the upload to the thumbnail, and to the end of the last job.
- *total time*: from the first upload to the end of the last job; *over the ideal*: as a multiple.
- *nothing ran*: time in which jobs were ready and none ran.
- *over the limit*: time in which more than N queues had active jobs, by what really ran.
- *hand-over*: from the end of a queue's last job to the first job of the next one that waited.
- *requests an hour*: all that were sent to Immich while the workload lasted."""

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
    ends = []
    for row, contender in enumerate(_ROWS):
        run = results.of("album", contender, 1).runs[0]
        for name, colour in COLOURS.items():
            bars = [(s.start, s.end - s.start) for s in run.spans if s.queue == name]
            axes.broken_barh(bars, (row - 0.35, 0.7), facecolors=colour)
        axes.text(run.total + 2, row, f"{run.total:.0f} s", va="center")
        ends.append(run.total)
    axes.set_yticks(range(len(_ROWS)), [contender.title for contender in _ROWS])
    axes.invert_yaxis()
    axes.set_xlim(0, max(ends) * 1.08)
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
    _bare(axes)


def _bars(axes: Axes, results: Results) -> None:
    for row, contender in enumerate(_BARS):
        limit = 1 if contender.has_limit else NO_LIMIT
        seconds = results.of("photo", contender, limit).thumbnails
        half, most = percentile(seconds, 0.5), percentile(seconds, 0.99)
        axes.barh(row, half, height=0.6, color=COLOURS["thumbnailGeneration"])
        axes.plot((half, most), (row, row), color="#222222", linewidth=1.2, marker="|")
        axes.text(most + 0.5, row, f"{number(half)} s, 99 %: {number(most)} s", va="center")
    axes.set_yticks(range(len(_BARS)), [contender.title for contender in _BARS])
    axes.invert_yaxis()
    axes.set_xlim(0, axes.get_xlim()[1] * 1.15)
    axes.set_xlabel("seconds from the upload to the thumbnail, median and 99th percentile")
    axes.set_title("One photo on an idle server", loc="left")
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
