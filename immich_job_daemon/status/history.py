"""The last 24 hours, in memory that is bounded: who had a slot when, and what was left to do.

Pure, and never changed: ``observe`` returns a new history. Times are the caller's seconds.

>>> seen = observe(History(), running=("ocr",), pending=9, now=1000.0)
>>> seen = observe(seen, running=(), pending=0, now=1030.0)
>>> [(part.start, part.pending, dict(part.busy)) for part in seen.parts]
[(900.0, 9, {'ocr': 30.0})]
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

PART: Final = 300.0
"""Seconds in one part: a day has 288 of them, on a wide screen each is 4 pixels or more."""
PARTS: Final = 288


@dataclass(frozen=True, slots=True)
class Part:
    """What was seen in so many seconds from ``start`` on.

    Attributes:
        start: a multiple of PART.
        pending: the most jobs that were pending at once, in the queues that the daemon schedules.
        busy: for how many seconds each queue had a slot, where it had one at all.
    """

    start: float
    pending: int = 0
    busy: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """What was seen.

    Attributes:
        parts: those in which anything was looked at, the oldest first.
        seen: when the last look was.
        running: the queues that have had a slot since then.
        peak: the most jobs that were pending at once since nothing was: what is done of a backlog
            is measured by that.
    """

    parts: tuple[Part, ...] = ()
    seen: float | None = None
    running: tuple[str, ...] = ()
    peak: int = 0


def observe(
    history: History, *, running: Iterable[str], pending: int | None, now: float
) -> History:
    """Return the history after one more look.

    Args:
        history: what was seen before.
        running: the queues that have a slot from now on; none when that is not known.
        pending: how many jobs are left to do, None when that is not known.
        now: the time of the look.
    """
    parts = list(history.parts)
    if history.seen is not None:
        # A machine that slept for a month has no more than a day to be remembered.
        _credit(parts, history.running, max(history.seen, now - PARTS * PART), now)
    start = now // PART * PART
    peak = history.peak
    if pending is not None:
        if not parts or parts[-1].start < start:
            parts.append(Part(start))
        parts[-1] = replace(parts[-1], pending=max(parts[-1].pending, pending))
        peak = max(peak, pending) if pending else 0
    oldest = start - (PARTS - 1) * PART
    kept = tuple(part for part in parts if part.start >= oldest)
    return History(kept, now, tuple(running), peak)


def _credit(parts: list[Part], running: Iterable[str], begin: float, end: float) -> None:
    """Add the time from ``begin`` to ``end`` to what the running queues had."""
    names = tuple(running)
    while begin < end:
        start = begin // PART * PART
        until = min(end, start + PART)
        if not parts or parts[-1].start < start:
            parts.append(Part(start))
        last = parts[-1]
        more = {name: last.busy.get(name, 0.0) + until - begin for name in names}
        parts[-1] = replace(last, busy={**last.busy, **more})
        begin = until
