"""How fast queues are drained, by what was really drained. Pure: no I/O, no clock.

Counted is the time in which all of a queue's workers were busy: jobs waited at both looks, and
nothing came in between that hides what was done. Of a queue that is never seen like that it is
only known what it did at least.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Final

from immich_job_daemon.forecast import arrivals, pipeline
from immich_job_daemon.forecast.arrivals import SLACK, Flow
from immich_job_daemon.forecast.pipeline import FEEDS, UNKNOWN, Batches, Span
from immich_job_daemon.model.queue import Snapshot

ENOUGH: Final = 5
"""Jobs of which a rate is told to people."""

FASTEST: Final = 1000.0
"""Jobs a second that no queue does: somebody emptied it. The quickest ones seen take 5 ms."""

JUMP: Final = 3.0
"""How many times as fast as before a queue is believed to have become between two looks."""

DEVIATION: Final = 0.5
"""How far a job's time is from the mean, as a share of it: photos are not that different."""
DEVIATIONS: Final = {"videoConversion": 1.0}
"""The same of queues whose jobs are: a video has seconds or hours."""

FADING: Final = 1.02
"""By what a bound is loosened with each look that does not confirm it."""

MOST_BESIDE: Final = 3
"""How many other queues beside it make a difference; more are counted as so many."""

# What counts is the last 50 jobs or the last 5 minutes, whichever is more.
_JOBS: Final = 50.0
_SECONDS: Final = 300.0
_UNSURE_RATIO: Final = 0.3


@dataclass(frozen=True, slots=True)
class Rate:
    """What was drained of one queue while it could run, older work counting less and less.

    Attributes:
        jobs: how many jobs, smoothed.
        seconds: in how much time, smoothed alike.
    """

    jobs: float
    seconds: float

    @property
    def per_second(self) -> float | None:
        """Jobs a second, None while too little was seen to say.

        >>> Rate(20, 10).per_second, Rate(4, 2).per_second
        (2.0, None)
        """
        return self.jobs / self.seconds if self.jobs >= ENOUGH and self.seconds > 0 else None

    def plus(self, jobs: float, seconds: float) -> "Rate":
        """Return the rate after so many more jobs in so much more time."""
        jobs, seconds = self.jobs + jobs, self.seconds + seconds
        scale = max(1.0, min(jobs / _JOBS, seconds / _SECONDS))
        return Rate(jobs / scale, seconds / scale)


NONE: Final = Rate(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Rates:
    """What was measured so far. All but the last look survives in the ledger.

    Attributes:
        queues: the rate of each queue that was seen working.
        beside: the same by how many other queues were at work beside it: they share a machine.
        at_most: the seconds that a queue takes for a job at most, of those that were only seen
            to be done with all they had.
        batches: what is known of the jobs that are pending, and of earlier ones.
        seen: what the last look saw, and seen_at: when; None before the first look of a run.
    """

    queues: Mapping[str, Rate] = field(default_factory=dict)
    beside: Mapping[str, Mapping[int, Rate]] = field(default_factory=dict)
    at_most: Mapping[str, float] = field(default_factory=dict)
    batches: Batches = field(default_factory=dict)
    seen: Snapshot | None = None
    seen_at: float = 0.0


def observe(rates: Rates, snapshot: Snapshot, running: Iterable[str], now: float) -> Rates:
    """Return the rates after one more look.

    Args:
        rates: what was measured before.
        snapshot: what the look saw.
        running: the queues that have been free to work since the last look and still are; none
            where that is not known, because Immich was away.
        now: the time of the look, seconds of the caller's clock.
    """
    if rates.seen is None or now <= rates.seen_at:
        return replace(rates, batches=_found(rates, snapshot, now), seen=snapshot, seen_at=now)
    took = now - rates.seen_at
    flow = arrivals.between(
        rates.seen,
        snapshot,
        lambda name: _most(rates.queues.get(name, NONE), took),
        lambda source, target: _ratio(rates, source, target),
    )
    measured = _Measured(rates)
    free = [name for name in running if name in snapshot and name in rates.seen]
    at_work = [name for name in free if rates.seen[name].pending and snapshot[name].pending]
    for name in free:
        was, queue, done = rates.seen[name], snapshot[name], flow.done[name]
        if queue.is_paused or name in flow.murky or name in flow.held_up:
            continue
        if was.backlog and queue.backlog:
            if not was.is_paused:
                others = len(at_work) - (name in at_work)
                measured.add(name, done, took, min(others, MOST_BESIDE))
        elif 1 <= done <= FASTEST * took:
            measured.bound(name, took / done)
    return Rates(
        queues=measured.queues,
        beside=measured.beside,
        at_most=measured.at_most,
        batches=_batches(rates, snapshot, flow, now),
        seen=snapshot,
        seen_at=now,
    )


def job_takes(rates: Rates, name: str) -> tuple[Span, ...] | None:
    """Return the seconds in which a queue drains one job; None where nobody can tell.

    Returns:
        so long with no other queue at work beside it, with one, and so on to MOST_BESIDE.

    >>> job_takes(Rates(at_most={"ocr": 2.0}), "ocr")[0]
    Span(low=0.0, high=2.0)
    >>> measured = Rates(beside={"ocr": {1: Rate(25, 100)}})
    >>> [(round(span.low, 1), round(span.high, 1)) for span in job_takes(measured, "ocr")]
    [(1.8, 4.4), (3.6, 4.4), (3.6, 6.6), (3.6, 8.8)]
    """
    known = {n: rate for n, rate in rates.beside.get(name, {}).items() if rate.jobs >= ENOUGH}
    if known:
        return tuple(_beside(name, known, others) for others in range(MOST_BESIDE + 1))
    rate = rates.queues.get(name, NONE)
    at_most = rates.at_most.get(name)
    if rate.jobs >= 1:
        span = _span(name, rate)
    elif at_most is not None:
        span = Span(0.0, at_most)
    else:
        return None
    return (span,) * (MOST_BESIDE + 1)


def _beside(name: str, known: Mapping[int, Rate], others: int) -> Span:
    """Return how long a job takes beside so many other queues, which may never have been seen."""
    seen = min(known, key=lambda number: (abs(number - others), number))
    low, high = _span(name, known[seen])
    # Who shares a machine with fewer gets more of it, but no more than what they had.
    share = (others + 1) / (seen + 1)
    return Span(low * min(1.0, share), high * max(1.0, share))


def _span(name: str, rate: Rate) -> Span:
    seconds = rate.seconds / rate.jobs
    error = DEVIATIONS.get(name, DEVIATION) * seconds / sqrt(rate.jobs)
    return Span(seconds - error, seconds + error)


class _Measured:
    """What was measured, with what is added to it now."""

    def __init__(self, rates: Rates) -> None:
        self.queues = dict(rates.queues)
        self.beside = dict(rates.beside)
        self.at_most = dict(rates.at_most)

    def add(self, name: str, done: float, took: float, others: int) -> None:
        """Add what a queue did in so many seconds beside so many other queues."""
        rate = self.queues.get(name, NONE)
        done = min(done, _most(rate, took))
        self.queues[name] = rate.plus(done, took)
        beside = self.beside.get(name, {})
        self.beside[name] = {**beside, others: beside.get(others, NONE).plus(done, took)}

    def bound(self, name: str, seconds: float) -> None:
        """Add that a queue did all it had, and each job took so many seconds at most."""
        if self.queues.get(name, NONE).per_second is not None:
            return
        before = self.at_most.get(name)
        if before is not None:
            # Somebody may have emptied it, which tells nothing. And it may have become slower.
            seconds = min(before * FADING, max(seconds, before / JUMP))
        self.at_most[name] = seconds


def _most(rate: Rate, took: float) -> float:
    """Return how many jobs a queue can have done in so many seconds."""
    fastest = FASTEST if rate.per_second is None else JUMP * rate.per_second
    return SLACK + fastest * took


def _ratio(rates: Rates, source: str, target: str) -> float | None:
    """Return how many follow-ups in ``target`` the jobs have that ``source`` is at."""
    way, batch = pipeline.first(rates.batches.get(source, {}))
    if target not in pipeline.fed_by(source, way):
        return 0.0
    found = pipeline.follow_ups(batch, target, FEEDS[source][target])
    return None if found.high - found.low > _UNSURE_RATIO else found.middle


def _found(rates: Rates, snapshot: Snapshot, now: float) -> Batches:
    """Return the batches at the first look of a run: what came before it came nobody knows how."""
    found = dict(rates.batches)
    for name, queue in snapshot.items():
        batches = found.get(name, {})
        more = queue.pending - sum(batch.left for batch in batches.values())
        if batches or more > 0:
            found[name] = pipeline.put(batches, {UNKNOWN: more}, queue.pending, now)
    return found


def _batches(rates: Rates, snapshot: Snapshot, flow: Flow, now: float) -> Batches:
    """Return the batches after a look, with what it tells about their follow-ups."""
    found = dict(rates.batches)
    for name, queue in snapshot.items():
        batches = found.get(name, {})
        left = sum(batch.left for batch in batches.values())
        if not flow.came.get(name) and not flow.done.get(name) and left == queue.pending:
            continue
        came = arrivals.ways(flow, name)
        there = left + sum(came.values())
        batches = pipeline.put(batches, came, there, now)
        way, batch = pipeline.first(batches)
        if batch.left >= flow.done.get(name, 0.0):
            seen = arrivals.follow_ups_of(flow, name, way)
            if seen:
                batches[way] = pipeline.learned(batch, seen)
        found[name] = pipeline.put(batches, {}, queue.pending, now)
    return found
