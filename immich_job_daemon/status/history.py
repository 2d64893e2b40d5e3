"""The last 24 hours: when each queue had a slot, and how many jobs were pending.

Pure and immutable: ``observe`` returns a new history. Its size is bounded. Times are in seconds of
the caller's clock.

>>> history = observe(History(), running=("ocr",), pending=9, now=1000.0)
>>> history = observe(history, running=(), pending=0, now=1030.0)
>>> [(bucket.start, bucket.pending, dict(bucket.busy)) for bucket in history.buckets]
[(900.0, 9, {'ocr': 30.0})]
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

BUCKET_SECONDS: Final = 300.0
MAX_BUCKETS: Final = 288
"""Buckets in 24 hours. On a wide screen the page draws each of them at least 4 pixels wide."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was observed in BUCKET_SECONDS.

    Attributes:
        start: a multiple of BUCKET_SECONDS.
        pending: the largest number of pending jobs, in the queues that the daemon schedules.
        busy: for how many seconds each queue had a slot; queues without one are left out.
    """

    start: float
    pending: int = 0
    busy: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """The observations of the last 24 hours.

    Attributes:
        buckets: oldest first, without those in which nothing was observed.
        running: the queues that have had a slot since the last observation.
        peak_pending: the largest number of pending jobs since it was last 0. The page measures
            the progress of a backlog against it.
    """

    buckets: tuple[Bucket, ...] = ()
    observed_at: float | None = None
    running: tuple[str, ...] = ()
    peak_pending: int = 0


def observe(
    history: History, *, running: Iterable[str], pending: int | None, now: float
) -> History:
    """Return the history with one more observation.

    ``running`` are the queues that have a slot from now on, none if unknown. ``pending`` is None if
    it is unknown.
    """
    buckets = list(history.buckets)
    if history.observed_at is not None:
        # A machine that slept for a month adds one day, not 8,640 buckets.
        begin = max(history.observed_at, now - MAX_BUCKETS * BUCKET_SECONDS)
        _add_busy_time(buckets, history.running, begin, now)
    start = now // BUCKET_SECONDS * BUCKET_SECONDS
    peak = history.peak_pending
    if pending is not None:
        if not buckets or buckets[-1].start < start:
            buckets.append(Bucket(start))
        buckets[-1] = replace(buckets[-1], pending=max(buckets[-1].pending, pending))
        peak = max(peak, pending) if pending else 0
    oldest = start - (MAX_BUCKETS - 1) * BUCKET_SECONDS
    kept = tuple(bucket for bucket in buckets if bucket.start >= oldest)
    return History(kept, now, tuple(running), peak)


def _add_busy_time(buckets: list[Bucket], names: Sequence[str], begin: float, end: float) -> None:
    """Add the time from ``begin`` to ``end`` to the buckets of the running queues."""
    while begin < end:
        start = begin // BUCKET_SECONDS * BUCKET_SECONDS
        until = min(end, start + BUCKET_SECONDS)
        if not buckets or buckets[-1].start < start:
            buckets.append(Bucket(start))
        last = buckets[-1]
        added = {name: last.busy.get(name, 0.0) + until - begin for name in names}
        buckets[-1] = replace(last, busy={**last.busy, **added})
        begin = until
