"""The chart of the last 24 hours: which queue had a slot when, and the backlog. Pure geometry.

Positions are in percent of the chart's width, so that it fits any screen; only the backlog's path
has units of its own. Times are in seconds since 1970 unless said otherwise.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Final

from immich_job_daemon.status.history import BUCKET_SECONDS, MAX_BUCKETS, Bucket, History

HEIGHT: Final = 100
"""Height of the backlog's path: the peak of the day."""

MIN_WIDTH: Final = 0.5
"""Percent; a narrower span could not be seen."""

MAX_SPANS: Final = 60
"""Spans in all lanes together, which bounds the size of the page. Beyond that the spans of a lane
that are closest together are merged and drawn paler."""

MAX_GAPS: Final = 12
"""Gaps without data; the longest are shown."""

MAX_LANES: Final = 12
MAX_NAMES: Final = 2
"""Queues named in one hour of the table; those that had a slot for the longest time."""

TICK: Final = 3 * 3600
HOUR: Final = 3600
_MARGIN: Final = 3.0
"""Percent at both ends where the label of a tick would stick out of the chart."""


@dataclass(frozen=True, slots=True)
class Span:
    """A bar in the chart.

    Attributes:
        share: the fraction of its time in which the queue had a slot.
    """

    x: float
    width: float
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Lane:
    """When one queue had a slot."""

    name: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A full hour on the axis; only major ticks have a label on narrow screens."""

    x: float
    at: float
    is_major: bool


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour as a row of the table.

    Attributes:
        pending: the largest backlog in it.
        busy: the seconds for which queues had a slot, the longest first.
        more: how many further queues had one.
    """

    at: float
    pending: int
    busy: Mapping[str, float]
    more: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """The whole chart.

    Attributes:
        lanes: of the queues that had a slot, by priority.
        more: how many further queues had one.
        backlog: an SVG path of ``MAX_BUCKETS`` by ``HEIGHT``; one closed area for each stretch of
            data.
        gaps: times without data.
        hours: the same data as a table, the latest hour first.
        since: the beginning of the data.
        begin: the left end.
    """

    lanes: tuple[Lane, ...]
    more: int
    backlog: str
    peak: int
    gaps: tuple[Span, ...]
    ticks: tuple[Tick, ...]
    hours: tuple[Hour, ...]
    since: float
    begin: float


def timeline(history: History, order: Sequence[str], now: float, offset: float) -> Timeline | None:
    """Return the chart of a history; None while it is empty.

    ``history`` and ``now`` are in seconds of the daemon's clock; ``offset`` is what turns them into
    seconds since 1970. Queues that are not in ``order`` follow those that are.
    """
    end = (now // BUCKET_SECONDS + 1) * BUCKET_SECONDS
    start = end - MAX_BUCKETS * BUCKET_SECONDS
    scale = _Scale(start, offset)
    buckets = [bucket for bucket in history.buckets if start <= bucket.start < end]
    if not buckets:
        return None
    peak = max(bucket.pending for bucket in buckets)
    runs = [_corners(run, start, peak) for run in _contiguous(buckets)]
    names = _queues_with_slots(buckets, order)
    return Timeline(
        lanes=tuple(_lanes(buckets, names[:MAX_LANES], scale)),
        more=max(0, len(names) - MAX_LANES),
        backlog="".join(_area_path(run) for run in runs),
        peak=peak,
        gaps=tuple(nlargest(MAX_GAPS, _gaps(buckets, start, end, scale), key=attrgetter("width"))),
        ticks=tuple(_ticks(start + offset, scale)),
        hours=tuple(_hours(buckets, offset)),
        since=buckets[0].start + offset,
        begin=start + offset,
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """Converts seconds of the daemon's clock to positions in the chart."""

    start: float
    offset: float

    def x(self, at: float) -> float:
        return round((at - self.start) / (MAX_BUCKETS * BUCKET_SECONDS) * 100, 2)

    def span(self, begin: float, end: float, share: float = 1.0) -> Span:
        x = self.x(begin)
        width = max(round(self.x(end) - x, 2), MIN_WIDTH)
        return Span(round(min(x, 100 - width), 2), width, share)


def _contiguous(buckets: Sequence[Bucket]) -> Iterator[list[Bucket]]:
    """Group the buckets that follow each other without a gap."""
    for _, run in groupby(
        enumerate(buckets), lambda pair: pair[1].start // BUCKET_SECONDS - pair[0]
    ):
        yield [bucket for _, bucket in run]


def _corners(run: Sequence[Bucket], start: float, peak: int) -> list[tuple[int, int]]:
    """Return the corners of the backlog's steps: one at the left of each bucket, one at the end."""
    corners = [
        (
            int((bucket.start - start) // BUCKET_SECONDS),
            HEIGHT - round(bucket.pending / peak * HEIGHT) if peak else HEIGHT,
        )
        for bucket in run
    ]
    return [*corners, (corners[-1][0] + 1, corners[-1][1])]


def _area_path(corners: Sequence[tuple[int, int]]) -> str:
    """Return the SVG path of the area below the corners; equal steps are one line."""
    x, y = corners[0]
    path = [f"M{x} {HEIGHT}v{y - HEIGHT}"]
    for next_x, next_y in corners[1:]:
        if next_y != y:
            path.append(f"h{next_x - x}v{next_y - y}")
            x, y = next_x, next_y
    return "".join([*path, f"h{corners[-1][0] - x}V{HEIGHT}"])


def _queues_with_slots(buckets: Sequence[Bucket], order: Sequence[str]) -> list[str]:
    """Return the names of the queues that had a slot, by priority; unknown ones follow."""
    busy = dict.fromkeys(
        name for bucket in buckets for name, time in bucket.busy.items() if time > 0
    )
    return [name for name in dict.fromkeys([*order, *busy]) if name in busy]


def _lanes(buckets: Sequence[Bucket], names: Sequence[str], scale: _Scale) -> Iterator[Lane]:
    for name in names:
        with_slot = [bucket for bucket in buckets if bucket.busy.get(name, 0.0) > 0]
        stretches = [_stretch(run, name) for run in _contiguous(with_slot)]
        while len(stretches) > MAX_SPANS // len(names):
            _merge_closest(stretches)
        spans = (
            scale.span(begin, end, round(seconds / (end - begin), 1))
            for begin, end, seconds in stretches
        )
        yield Lane(name, tuple(spans))


def _stretch(run: Sequence[Bucket], name: str) -> tuple[float, float, float]:
    """Return when the queue had a slot in contiguous buckets: begin, end, and seconds with a slot.

    A bucket knows only for how long the queue had a slot, not when. It is assumed that the slot
    was held at the end of the first bucket and at the beginning of the last, or of the only one.
    """
    seconds = [min(bucket.busy[name], BUCKET_SECONDS) for bucket in run]
    begin = run[0].start + (BUCKET_SECONDS - seconds[0] if len(run) > 1 else 0.0)
    return begin, run[-1].start + seconds[-1], sum(seconds)


def _merge_closest(stretches: list[tuple[float, float, float]]) -> None:
    """Merge the two stretches with the shortest gap between them."""
    gaps = [after[0] - before[1] for before, after in pairwise(stretches)]
    place = gaps.index(min(gaps))
    (begin, _, seconds), (_, end, more_seconds) = stretches[place : place + 2]
    stretches[place : place + 2] = [(begin, end, seconds + more_seconds)]


def _gaps(buckets: Sequence[Bucket], start: float, end: float, scale: _Scale) -> Iterator[Span]:
    at = start
    for run in _contiguous(buckets):
        if run[0].start > at:
            yield scale.span(at, run[0].start)
        at = run[-1].start + BUCKET_SECONDS
    if at < end:
        yield scale.span(at, end)


def _ticks(start: float, scale: _Scale) -> Iterator[Tick]:
    at = (start // TICK + 1) * TICK
    while at < start + MAX_BUCKETS * BUCKET_SECONDS:
        x = scale.x(at - scale.offset)
        if _MARGIN <= x <= 100 - _MARGIN:
            yield Tick(x, at, is_major=at % (2 * TICK) == 0)
        at += TICK


def _hours(buckets: Sequence[Bucket], offset: float) -> Iterator[Hour]:
    for at, group in groupby(
        reversed(buckets), lambda bucket: (bucket.start + offset) // HOUR * HOUR
    ):
        pending, busy = 0, Counter[str]()
        for bucket in group:
            pending = max(pending, bucket.pending)
            busy.update(bucket.busy)
        longest = dict(busy.most_common(MAX_NAMES))
        yield Hour(at, pending, longest, len(busy) - len(longest))
