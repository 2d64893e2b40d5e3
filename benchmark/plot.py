"""The plot: which queue ran when, and how long one photo waits for its thumbnail."""

from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmark.contenders import ALONE, DAEMON, IDEAL, PLAIN, UNRESTRICTED
from benchmark.measure import NO_LIMIT, Results
from benchmark.outcome import percentile
from benchmark.table import number

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
"""The queues that an upload walks through, in the order of their priority."""

_ROWS: Final = (PLAIN, DAEMON, IDEAL)
_BARS: Final = (PLAIN, DAEMON, UNRESTRICTED, ALONE)


def draw(results: Results, path: Path) -> None:
    """Write the plot to a file whose name says the format."""
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
