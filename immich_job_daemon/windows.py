"""When queues may run: windows in local time. Pure; the time and its zone are passed in.

A window opens and closes at times of a wall clock. A time that the clock leaves out in spring is
taken for as much later as it leaves out, 02:30 for 03:30; of a time that comes twice in autumn the
first is meant. So every window opens once and closes once, whatever the clock does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

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

    def around(self, local: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield when it opens and closes, from what may have begun yesterday to a week ahead."""
        for ahead in range(-1, _AHEAD):
            day = local.date() + timedelta(days=ahead)
            if day.weekday() in self.days:
                last = day if self.end > self.start else day + timedelta(days=1)
                yield _at(day, self.start, local), _at(last, self.end, local)


def closed_until(windows: Iterable[Window], name: str, local: datetime) -> datetime | None:
    """Return when a queue may run again; None: it may run now, or no window speaks of it.

    >>> night = Window(None, time(22), time(6))
    >>> from zoneinfo import ZoneInfo
    >>> noon = datetime(2026, 11, 24, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    >>> print(closed_until([night], "ocr", noon))
    2026-11-24 22:00:00+01:00
    """
    mine = [window for window in windows if window.is_for(name)]
    now = local.timestamp()
    openings = []
    for window in mine:
        for opens, closes in window.around(local):
            if opens.timestamp() <= now < closes.timestamp():
                return None
            if opens.timestamp() > now:
                openings.append(opens)
    return min(openings, key=datetime.timestamp, default=None)


def next_edge(windows: Iterable[Window], local: datetime) -> datetime | None:
    """Return when the next of the windows opens or closes; None without windows."""
    edges = [edge for window in windows for span in window.around(local) for edge in span]
    later = [edge for edge in edges if edge.timestamp() > local.timestamp()]
    return min(later, key=datetime.timestamp, default=None)


def _at(day: date, clock: time, local: datetime) -> datetime:
    return datetime.combine(day, clock, tzinfo=local.tzinfo)
