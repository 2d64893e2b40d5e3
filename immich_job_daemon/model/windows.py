"""When queues may run: windows in local time. Pure; the time and its zone are passed in.

A window opens and closes at times of a wall clock. A time that the clock leaves out in spring is
taken for as much later as it leaves out, 02:30 for 03:30; of a time that comes twice in autumn the
first is meant. So every window opens once and closes once, and is never empty, whatever the clock
does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from dateutil.tz import resolve_imaginary

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAILY: Final = frozenset(range(7))

_AHEAD: Final = 8
"""Days that are looked ahead: whatever its days, a window opens within a week."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which queues may run.

    Attributes:
        queues: their names, None for all.
        start: when it opens, ``end`` when it closes; not later than ``start``: on the next day.
        days: on which it opens, 0 is Monday.
    """

    queues: frozenset[str] | None
    start: time
    end: time
    days: frozenset[int] = DAILY

    def is_for(self, name: str) -> bool:
        """Whether it speaks of this queue."""
        return self.queues is None or name in self.queues

    def around(self, local: datetime, days: int = _AHEAD) -> Iterator[tuple[datetime, datetime]]:
        """Yield when it opens and closes, from what began yesterday to so many days ahead."""
        for ahead in range(-1, days):
            day = local.date() + timedelta(days=ahead)
            if day.weekday() in self.days:
                last = day if self.end > self.start else day + timedelta(days=1)
                opens, closes = _at(day, self.start, local), _at(last, self.end, local)
                if closes.timestamp() <= opens.timestamp():
                    # The clock leaves out its beginning and not its end: both are as much later.
                    lasts = datetime.combine(last, self.end) - datetime.combine(day, self.start)
                    after = opens.timestamp() + lasts.total_seconds()
                    closes = datetime.fromtimestamp(after, local.tzinfo)
                yield opens, closes


def closed_until(windows: Iterable[Window], name: str, local: datetime) -> datetime | None:
    """Return when a queue may run again; None: it may run now, or no window speaks of it.

    >>> night = Window(None, time(22), time(6))
    >>> from zoneinfo import ZoneInfo
    >>> noon = datetime(2026, 11, 24, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    >>> print(closed_until([night], "ocr", noon))
    2026-11-24 22:00:00+01:00
    """
    now = local.timestamp()
    openings = []
    for window in windows:
        if window.is_for(name):
            for opens, closes in window.around(local):
                if opens.timestamp() > now:
                    openings.append(opens)
                    break
                if now < closes.timestamp():
                    return None
    return min(openings, key=datetime.timestamp, default=None)


def next_edge(windows: Iterable[Window], local: datetime) -> datetime | None:
    """Return when the next of the windows opens or closes; None without windows."""
    now = local.timestamp()
    edges = []
    for window in windows:
        for opens, closes in window.around(local):
            if opens.timestamp() > now:
                edges.append(opens)
                break
            if closes.timestamp() > now:
                edges.append(closes)
    return min(edges, key=datetime.timestamp, default=None)


def spans(
    windows: Iterable[Window], name: str, local: datetime, days: int
) -> tuple[tuple[float, float], ...] | None:
    """Return when a queue may run in the days ahead; None: always.

    Args:
        windows: all of them.
        name: of the queue.
        local: the time of the wall clock.
        days: how many days are looked ahead.

    Returns:
        from when to when, in seconds since 1970, the earliest first and none in another.
    """
    mine = [window for window in windows if window.is_for(name)]
    if not mine:
        return None
    found: list[tuple[float, float]] = []
    every = ((a.timestamp(), b.timestamp()) for w in mine for a, b in w.around(local, days))
    for opens, closes in sorted(every):
        if found and opens <= found[-1][1]:
            found[-1] = found[-1][0], max(closes, found[-1][1])
        else:
            found.append((opens, closes))
    return tuple(found)


def _at(day: date, clock: time, local: datetime) -> datetime:
    # Zones do not agree on which instant a time is that there is not.
    return resolve_imaginary(datetime.combine(day, clock, tzinfo=local.tzinfo))
