"""Windows in local time in which queues may run. Pure; the time and its zone are passed in.

A window opens and closes at local times. A local time skipped by a DST change is shifted forward by
the length of the gap: 02:30 becomes 03:30. Of a local time that occurs twice, the first counts. So
every window opens once and closes once on its days, and none is ever empty. Time zone libraries
disagree about this, so dateutil's rule is applied to all of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from dateutil.tz import resolve_imaginary

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAILY: Final = frozenset(range(7))

_AHEAD: Final = 8
"""Days to look ahead: every window opens within a week."""


@dataclass(frozen=True, slots=True)
class Window:
    """A daily or weekly span of local time in which ``queues``, or all if None, may run.

    It opens on ``days``, where 0 is Monday, and closes on the next day if ``end`` is not later than
    ``start``.
    """

    queues: frozenset[str] | None
    start: time
    end: time
    days: frozenset[int] = DAILY

    def is_for(self, name: str) -> bool:
        """Whether the window applies to this queue."""
        return self.queues is None or name in self.queues

    def around(self, local: datetime, days: int = _AHEAD) -> Iterator[tuple[datetime, datetime]]:
        """Yield when the window opens and closes, from yesterday to ``days`` days ahead."""
        for ahead in range(-1, days):
            day = local.date() + timedelta(days=ahead)
            if day.weekday() in self.days:
                last = day if self.end > self.start else day + timedelta(days=1)
                opens, closes = _at(day, self.start, local), _at(last, self.end, local)
                if closes.timestamp() <= opens.timestamp():
                    # DST skips the start but not the end, so both are shifted forward.
                    lasts = datetime.combine(last, self.end) - datetime.combine(day, self.start)
                    after = opens.timestamp() + lasts.total_seconds()
                    closes = datetime.fromtimestamp(after, local.tzinfo)
                yield opens, closes


def closed_until(windows: Iterable[Window], name: str, local: datetime) -> datetime | None:
    """Return when a queue may run again; None if it may run now or has no windows.

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
    """Return when the next window opens or closes; None without windows."""
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
    """Return when a queue may run in the next ``days`` days; None if it has no windows.

    Returns:
        start and end of each span in seconds since 1970, in order and without overlaps.
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
    # Time zone libraries disagree about which instant a skipped local time is.
    return resolve_imaginary(datetime.combine(day, clock, tzinfo=local.tzinfo))
