"""The last 24 hours as shapes: who had a slot when, and how much was left. Pure geometry, no text.

Across, everything is in percent of the day that is shown, so that a picture fits any width; the
backlog alone is in units of its own. Times are in seconds since 1970.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

from immich_job_daemon.history import PART, PARTS, History, Part

WIDTH: Final = PARTS
"""Units across of the backlog's picture: one a part."""
HEIGHT: Final = 100
"""Units down of it: the largest backlog."""

SHORTEST: Final = 0.5
"""Percent that a span takes at least, or nobody would see it."""

TICK: Final = 3 * 3600
HOUR: Final = 3600
_AT_THE_EDGE: Final = 3.0
"""Percent at both ends where a tick's text would stand out of the picture."""


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when something was so: ``x`` and ``width`` in percent; ``seconds`` of a slot."""

    x: float
    width: float
    begin: float
    end: float
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Lane:
    """When one queue had a slot, and for how many seconds in all."""

    name: str
    spans: tuple[Span, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A full hour, and whether a narrow picture has room for its name."""

    x: float
    at: float
    is_major: bool


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour as a row of a table: the most jobs left, seconds of a slot by queue."""

    at: float
    pending: int
    busy: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Timeline:
    """All of it.

    Attributes:
        lanes: one a queue that had a slot, the first by priority first.
        area: the backlog as the path of an area, ``WIDTH`` by ``HEIGHT``.
        line: its upper edge.
        most: the largest backlog.
        unseen: when nobody looked.
        ticks: the hours to name.
        hours: the same as a table, the latest first.
        since: the first moment that was seen.
    """

    lanes: tuple[Lane, ...]
    area: str
    line: str
    most: int
    unseen: tuple[Span, ...]
    ticks: tuple[Tick, ...]
    hours: tuple[Hour, ...]
    since: float


def draw(history: History, order: Sequence[str], now: float, offset: float) -> Timeline | None:
    """Return the picture of a history, None while there is nothing in it.

    Args:
        history: in seconds of the daemon's clock.
        order: the queues by priority; others that had a slot follow.
        now: the present time of that clock.
        offset: what makes seconds since 1970 of seconds of that clock.
    """
    end = (now // PART + 1) * PART
    start = end - PARTS * PART
    day = _Day(start, offset)
    parts = [part for part in history.parts if start <= part.start < end]
    if not parts:
        return None
    most = max(part.pending for part in parts)
    runs = [_steps(run, start, most) for run in _together(parts)]
    return Timeline(
        lanes=tuple(_lanes(parts, order, day)),
        area="".join(f"M{run[0][0]} {HEIGHT}{_through(run)}V{HEIGHT}Z" for run in runs),
        line="".join(f"M{run[0][0]} {run[0][1]}{_through(run)}" for run in runs),
        most=most,
        unseen=tuple(_unseen(parts, start, end, day)),
        ticks=tuple(_ticks(start + offset, day)),
        hours=tuple(_hours(parts, offset)),
        since=parts[0].start + offset,
    )


@dataclass(frozen=True, slots=True)
class _Day:
    """Where a time lies in the picture."""

    start: float
    offset: float

    def x(self, at: float) -> float:
        return round((at - self.start) / (PARTS * PART) * 100, 2)

    def span(self, begin: float, end: float, seconds: float = 0.0) -> Span:
        x = self.x(begin)
        width = max(round(self.x(end) - x, 2), SHORTEST)
        x = round(min(x, 100 - width), 2)
        return Span(x, width, begin + self.offset, end + self.offset, seconds)


def _together(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Yield the parts that follow each other without a gap."""
    for _, run in groupby(enumerate(parts), lambda pair: pair[1].start // PART - pair[0]):
        yield [part for _, part in run]


def _steps(run: Sequence[Part], start: float, most: int) -> list[tuple[int, int]]:
    """Return the corners of a run's upper edge, each at the left end of its part, and the last."""
    corners = [
        (
            int((part.start - start) // PART),
            HEIGHT - round(part.pending / most * HEIGHT) if most else HEIGHT,
        )
        for part in run
    ]
    return [*corners, (corners[-1][0] + 1, corners[-1][1])]


def _through(corners: Sequence[tuple[int, int]]) -> str:
    """Return the path through the corners, without its beginning; what is level is one line."""
    path, level = [f"V{corners[0][1]}"], corners[0][1]
    for (_, _), (x, y) in pairwise(corners):
        if y != level:
            path.append(f"H{x}V{y}")
            level = y
    return "".join([*path, f"H{corners[-1][0]}"])


def _lanes(parts: Sequence[Part], order: Sequence[str], day: _Day) -> Iterator[Lane]:
    busy = dict.fromkeys(name for part in parts for name, time in part.busy.items() if time > 0)
    names = [name for name in order if name in busy]
    for name in [*names, *(name for name in busy if name not in names)]:
        mine = [part for part in parts if part.busy.get(name, 0.0) > 0]
        spans = []
        for run in _together(mine):
            seconds = [part.busy[name] for part in run]
            # Within its first part it began late rather than stopped early; within its last one
            # the other way round. One part alone is drawn from its beginning.
            begin = run[0].start + (PART - min(seconds[0], PART) if len(run) > 1 else 0.0)
            end = run[-1].start + min(seconds[-1], PART)
            spans.append(day.span(begin, end, sum(seconds)))
        yield Lane(name, tuple(spans), sum(span.seconds for span in spans))


def _unseen(parts: Sequence[Part], start: float, end: float, day: _Day) -> Iterator[Span]:
    at = start
    for run in _together(parts):
        if run[0].start > at:
            yield day.span(at, run[0].start)
        at = run[-1].start + PART
    if at < end:
        yield day.span(at, end)


def _ticks(start: float, day: _Day) -> Iterator[Tick]:
    at = (start // TICK + 1) * TICK
    while at < start + PARTS * PART:
        x = day.x(at - day.offset)
        if _AT_THE_EDGE <= x <= 100 - _AT_THE_EDGE:
            yield Tick(x, at, is_major=at % (2 * TICK) == 0)
        at += TICK


def _hours(parts: Sequence[Part], offset: float) -> Iterator[Hour]:
    for at, found in groupby(reversed(parts), lambda part: (part.start + offset) // HOUR * HOUR):
        pending, busy = 0, dict[str, float]()
        for part in found:
            pending = max(pending, part.pending)
            for name, seconds in part.busy.items():
                busy[name] = busy.get(name, 0.0) + seconds
        yield Hour(at, pending, busy)
