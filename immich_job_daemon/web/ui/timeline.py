"""The last 24 hours as shapes: who had a slot when, and how much was left. Pure geometry, no text.

Across, everything is in percent of the day that is shown, so that a picture fits any width; the
backlog alone is in units of its own. Times are in seconds since 1970.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import groupby, pairwise
from typing import Final

from immich_job_daemon.status.history import BUCKET_SECONDS, MAX_BUCKETS, Bucket, History

WIDTH: Final = MAX_BUCKETS
"""Units across of the backlog's picture: one a part."""
HEIGHT: Final = 100
"""Units down of it: the largest backlog."""

SHORTEST: Final = 0.5
"""Percent that a span takes at least, or nobody would see it."""

MOST_SPANS: Final = 60
"""Spans in all lanes together, so that a day of small things does not make a large page. Where
there would be more, those of a lane that are closest together are drawn as one, and paler."""

MOST_GAPS: Final = 12
"""Gaps in which nobody looked, the longest ones."""

MOST_LANES: Final = 12
MOST_NAMES: Final = 2
"""Queues in the picture, and in an hour of the table: those that had a slot for longest."""

TICK: Final = 3 * 3600
HOUR: Final = 3600
_AT_THE_EDGE: Final = 3.0
"""Percent at both ends where a tick's text would stand out of the picture."""


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when something was so.

    Attributes:
        x: where it begins, in percent.
        width: how wide it is, in percent.
        share: for which part of that time it was so.
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
    """A full hour, and whether a narrow picture has room for its name."""

    x: float
    at: float
    is_major: bool


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour as a row of a table.

    Attributes:
        at: its beginning.
        pending: the most jobs that were left in it.
        busy: for how many seconds which queue had a slot, the longest first.
        more: how many queues are not among those.
    """

    at: float
    pending: int
    busy: Mapping[str, float]
    more: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """All of it.

    Attributes:
        lanes: one a queue that had a slot, the first by priority first.
        more: how many queues are not among these.
        backlog: as a path from the ground over what was left and down to the ground again, in
            ``WIDTH`` by ``HEIGHT``.
        most: the largest backlog.
        unseen: when nobody looked.
        ticks: the hours to name.
        hours: the same as a table, the latest first.
        since: the first moment that was seen.
        begin: the left end.
    """

    lanes: tuple[Lane, ...]
    more: int
    backlog: str
    most: int
    unseen: tuple[Span, ...]
    ticks: tuple[Tick, ...]
    hours: tuple[Hour, ...]
    since: float
    begin: float


def draw(history: History, order: Sequence[str], now: float, offset: float) -> Timeline | None:
    """Return the picture of a history, None while there is nothing in it.

    Args:
        history: in seconds of the daemon's clock.
        order: the queues by priority; others that had a slot follow.
        now: the present time of that clock.
        offset: what makes seconds since 1970 of seconds of that clock.
    """
    end = (now // BUCKET_SECONDS + 1) * BUCKET_SECONDS
    start = end - MAX_BUCKETS * BUCKET_SECONDS
    day = _Day(start, offset)
    parts = [part for part in history.buckets if start <= part.start < end]
    if not parts:
        return None
    most = max(part.pending for part in parts)
    runs = [_steps(run, start, most) for run in _together(parts)]
    names = _busy(parts, order)
    return Timeline(
        lanes=tuple(_lanes(parts, names[:MOST_LANES], day)),
        more=max(0, len(names) - MOST_LANES),
        backlog="".join(_outline(run) for run in runs),
        most=most,
        unseen=tuple(nlargest(MOST_GAPS, _unseen(parts, start, end, day), key=_width)),
        ticks=tuple(_ticks(start + offset, day)),
        hours=tuple(_hours(parts, offset)),
        since=parts[0].start + offset,
        begin=start + offset,
    )


@dataclass(frozen=True, slots=True)
class _Day:
    """Where a time lies in the picture."""

    start: float
    offset: float

    def x(self, at: float) -> float:
        return round((at - self.start) / (MAX_BUCKETS * BUCKET_SECONDS) * 100, 2)

    def span(self, begin: float, end: float, share: float = 1.0) -> Span:
        x = self.x(begin)
        width = max(round(self.x(end) - x, 2), SHORTEST)
        return Span(round(min(x, 100 - width), 2), width, share)


def _together(parts: Sequence[Bucket]) -> Iterator[list[Bucket]]:
    """Yield the parts that follow each other without a gap."""
    for _, run in groupby(enumerate(parts), lambda pair: pair[1].start // BUCKET_SECONDS - pair[0]):
        yield [part for _, part in run]


def _steps(run: Sequence[Bucket], start: float, most: int) -> list[tuple[int, int]]:
    """Return the corners of a run's upper edge, each at the left end of its part, and the last."""
    corners = [
        (
            int((part.start - start) // BUCKET_SECONDS),
            HEIGHT - round(part.pending / most * HEIGHT) if most else HEIGHT,
        )
        for part in run
    ]
    return [*corners, (corners[-1][0] + 1, corners[-1][1])]


def _outline(corners: Sequence[tuple[int, int]]) -> str:
    """Return the path over the corners, from the ground to the ground; level parts are one line."""
    x, y = corners[0]
    path = [f"M{x} {HEIGHT}v{y - HEIGHT}"]
    for to, level in corners[1:]:
        if level != y:
            path.append(f"h{to - x}v{level - y}")
            x, y = to, level
    return "".join([*path, f"h{corners[-1][0] - x}V{HEIGHT}"])


def _busy(parts: Sequence[Bucket], order: Sequence[str]) -> list[str]:
    """Return the names of the queues that had a slot, by priority; unknown ones follow."""
    busy = dict.fromkeys(name for part in parts for name, time in part.busy.items() if time > 0)
    known = [name for name in order if name in busy]
    return [*known, *(name for name in busy if name not in known)]


def _lanes(parts: Sequence[Bucket], names: Sequence[str], day: _Day) -> Iterator[Lane]:
    for name in names:
        mine = [part for part in parts if part.busy.get(name, 0.0) > 0]
        stretches = [_stretch(run, name) for run in _together(mine)]
        while len(stretches) > MOST_SPANS // len(names):
            _join_closest(stretches)
        spans = (
            day.span(begin, end, round(seconds / (end - begin), 1))
            for begin, end, seconds in stretches
        )
        yield Lane(name, tuple(spans))


def _stretch(run: Sequence[Bucket], name: str) -> tuple[float, float, float]:
    """Return when a queue had a slot in parts that follow each other: from, to, and how long.

    Within the first part it began late rather than stopped early, within the last one the other
    way round. One part alone is drawn from its beginning.
    """
    seconds = [min(part.busy[name], BUCKET_SECONDS) for part in run]
    begin = run[0].start + (BUCKET_SECONDS - seconds[0] if len(run) > 1 else 0.0)
    return begin, run[-1].start + seconds[-1], sum(seconds)


def _join_closest(stretches: list[tuple[float, float, float]]) -> None:
    """Make one of the two stretches with the shortest time in between."""
    gaps = [after[0] - before[1] for before, after in pairwise(stretches)]
    place = gaps.index(min(gaps))
    (begin, _, one), (_, end, two) = stretches[place : place + 2]
    stretches[place : place + 2] = [(begin, end, one + two)]


def _unseen(parts: Sequence[Bucket], start: float, end: float, day: _Day) -> Iterator[Span]:
    at = start
    for run in _together(parts):
        if run[0].start > at:
            yield day.span(at, run[0].start)
        at = run[-1].start + BUCKET_SECONDS
    if at < end:
        yield day.span(at, end)


def _width(span: Span) -> float:
    return span.width


def _ticks(start: float, day: _Day) -> Iterator[Tick]:
    at = (start // TICK + 1) * TICK
    while at < start + MAX_BUCKETS * BUCKET_SECONDS:
        x = day.x(at - day.offset)
        if _AT_THE_EDGE <= x <= 100 - _AT_THE_EDGE:
            yield Tick(x, at, is_major=at % (2 * TICK) == 0)
        at += TICK


def _hours(parts: Sequence[Bucket], offset: float) -> Iterator[Hour]:
    for at, found in groupby(reversed(parts), lambda part: (part.start + offset) // HOUR * HOUR):
        pending, busy = 0, Counter[str]()
        for part in found:
            pending = max(pending, part.pending)
            busy.update(part.busy)
        longest = dict(busy.most_common(MOST_NAMES))
        yield Hour(at, pending, longest, len(busy) - len(longest))
