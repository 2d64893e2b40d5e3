"""Measures the throughput of queues. Pure: no I/O, no clock.

A rate counts only time in which all workers of a queue were busy: jobs were waiting at both polls,
and no arrivals hid completions. For a queue that was never observed like that, only an upper bound
of its service time is known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Final

from immich_job_daemon.forecast import arrivals, pipeline
from immich_job_daemon.forecast.arrivals import TOLERANCE, Flow
from immich_job_daemon.forecast.pipeline import DOWNSTREAM, UNKNOWN, Batches, Bounds
from immich_job_daemon.model.queue import Snapshot

MIN_JOBS: Final = 5
"""Jobs from which a rate is reported to users."""

MAX_PER_SECOND: Final = 1000.0
"""A higher throughput means that a user cleared the queue. The fastest jobs seen take 5 ms."""

MAX_SPEEDUP: Final = 3.0
"""How many times as fast as before a queue can be from one poll to the next."""

DEVIATION: Final = 0.5
"""Standard deviation of a job's time, as a share of the mean: photos do not differ much."""
DEVIATIONS: Final = {"videoConversion": 1.0}
"""The same for queues whose jobs differ more: a video lasts seconds or hours."""

BOUND_GROWTH: Final = 1.02
"""Factor by which an upper bound grows with each poll that does not confirm it."""

MAX_OTHERS: Final = 3
"""Most other busy queues that are distinguished; a larger number counts as this one."""

# A rate covers the last 50 jobs or the last 5 minutes, whichever is longer.
_RATE_JOBS: Final = 50.0
_RATE_SECONDS: Final = 300.0
_MAX_RATIO_RANGE: Final = 0.3


@dataclass(frozen=True, slots=True)
class Rate:
    """How many jobs a running queue completes in how much time.

    Attributes:
        jobs: completed jobs; older ones count less and less.
        seconds: the time that they took, weighted alike.
    """

    jobs: float
    seconds: float

    @property
    def per_second(self) -> float | None:
        """Jobs per second, None until enough jobs are completed.

        >>> Rate(20, 10).per_second, Rate(4, 2).per_second
        (2.0, None)
        """
        return self.jobs / self.seconds if self.jobs >= MIN_JOBS and self.seconds > 0 else None

    def plus(self, jobs: float, seconds: float) -> "Rate":
        """Return the rate after more jobs were completed in more time."""
        jobs, seconds = self.jobs + jobs, self.seconds + seconds
        scale = max(1.0, min(jobs / _RATE_JOBS, seconds / _RATE_SECONDS))
        return Rate(jobs / scale, seconds / scale)


NO_RATE: Final = Rate(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Rates:
    """All measurements. All but the last two fields are stored in the ledger.

    Attributes:
        by_others: the rates by number of other busy queues, as they all share one machine.
        max_service_times: upper bounds of the seconds per job, for queues that were only
            observed to complete all their jobs between two polls.
        batches: the batches of the pending jobs, and of earlier ones.
        snapshot: the snapshot of the last poll, None before the first poll of a run.
        polled_at: the time of the last poll, in seconds of the caller's clock.
    """

    queues: Mapping[str, Rate] = field(default_factory=dict)
    by_others: Mapping[str, Mapping[int, Rate]] = field(default_factory=dict)
    max_service_times: Mapping[str, float] = field(default_factory=dict)
    batches: Batches = field(default_factory=dict)
    snapshot: Snapshot | None = None
    polled_at: float = 0.0


def observe(rates: Rates, snapshot: Snapshot, running: Iterable[str], now: float) -> Rates:
    """Return the measurements after one more poll, ``now`` in seconds of the caller's clock.

    ``running`` are the queues that have been allowed to run since the last poll. It is empty if
    they are unknown because Immich was not reachable in between.
    """
    if rates.snapshot is None or now <= rates.polled_at:
        batches = _initial_batches(rates, snapshot, now)
        return replace(rates, batches=batches, snapshot=snapshot, polled_at=now)
    elapsed = now - rates.polled_at
    flow = arrivals.infer_flow(
        rates.snapshot,
        snapshot,
        lambda name: _max_completions(rates.queues.get(name, NO_RATE), elapsed),
        lambda source, target: _follow_up_ratio(rates, source, target),
    )
    update = _Update(rates)
    free = [name for name in running if name in snapshot and name in rates.snapshot]
    busy = [name for name in free if rates.snapshot[name].pending and snapshot[name].pending]
    for name in free:
        before, after, completions = rates.snapshot[name], snapshot[name], flow.completions[name]
        if after.is_paused or name in flow.ambiguous or name in flow.blocked:
            continue
        if before.backlog and after.backlog:
            if not before.is_paused:
                others = len(busy) - (name in busy)
                update.add_rate(name, completions, elapsed, min(others, MAX_OTHERS))
        elif 1 <= completions <= MAX_PER_SECOND * elapsed:
            update.add_bound(name, elapsed / completions)
    return Rates(
        queues=update.queues,
        by_others=update.by_others,
        max_service_times=update.max_service_times,
        batches=_updated_batches(rates, snapshot, flow, now),
        snapshot=snapshot,
        polled_at=now,
    )


def service_times(rates: Rates, name: str) -> tuple[Bounds, ...] | None:
    """Return the seconds per job beside 0 to ``MAX_OTHERS`` other busy queues; None if unknown.

    >>> service_times(Rates(max_service_times={"ocr": 2.0}), "ocr")[0]
    Bounds(lower=0.0, upper=2.0)
    >>> rates = Rates(by_others={"ocr": {1: Rate(25, 100)}})
    >>> [(round(time.lower, 1), round(time.upper, 1)) for time in service_times(rates, "ocr")]
    [(1.8, 4.4), (3.6, 4.4), (3.6, 6.6), (3.6, 8.8)]
    """
    known = {n: rate for n, rate in rates.by_others.get(name, {}).items() if rate.jobs >= MIN_JOBS}
    if known:
        return tuple(_extrapolate(name, known, others) for others in range(MAX_OTHERS + 1))
    rate = rates.queues.get(name, NO_RATE)
    upper = rates.max_service_times.get(name)
    if rate.jobs >= 1:
        bounds = _service_time(name, rate)
    elif upper is not None:
        bounds = Bounds(0.0, upper)
    else:
        return None
    return (bounds,) * (MAX_OTHERS + 1)


def _extrapolate(name: str, known: Mapping[int, Rate], others: int) -> Bounds:
    """Return the service time beside other busy queues, from the closest number observed."""
    closest = min(known, key=lambda number: (abs(number - others), number))
    lower, upper = _service_time(name, known[closest])
    # All queues share one machine. At most, a queue gains the share of every queue that is not
    # busy any more, or loses as much to additional ones.
    share = (others + 1) / (closest + 1)
    return Bounds(lower * min(1.0, share), upper * max(1.0, share))


def _service_time(name: str, rate: Rate) -> Bounds:
    seconds = rate.seconds / rate.jobs
    error = DEVIATIONS.get(name, DEVIATION) * seconds / sqrt(rate.jobs)
    return Bounds(seconds - error, seconds + error)


class _Update:
    """Copies of the measurements, for a poll to add to."""

    def __init__(self, rates: Rates) -> None:
        self.queues = dict(rates.queues)
        self.by_others = dict(rates.by_others)
        self.max_service_times = dict(rates.max_service_times)

    def add_rate(self, name: str, completions: float, elapsed: float, others: int) -> None:
        """Add jobs that a queue completed beside a number of other busy queues."""
        rate = self.queues.get(name, NO_RATE)
        completions = min(completions, _max_completions(rate, elapsed))
        self.queues[name] = rate.plus(completions, elapsed)
        by_others = self.by_others.get(name, {})
        beside = by_others.get(others, NO_RATE).plus(completions, elapsed)
        self.by_others[name] = {**by_others, others: beside}

    def add_bound(self, name: str, seconds: float) -> None:
        """Add an upper bound of a queue's seconds per job, unless its rate is known."""
        if self.queues.get(name, NO_RATE).per_second is not None:
            return
        before = self.max_service_times.get(name)
        if before is not None:
            # A sudden drop may mean that a user cleared the queue, so it is limited. And a queue
            # may become slower, so an unconfirmed bound grows.
            seconds = min(before * BOUND_GROWTH, max(seconds, before / MAX_SPEEDUP))
        self.max_service_times[name] = seconds


def _max_completions(rate: Rate, elapsed: float) -> float:
    """Return how many jobs a queue can have completed in that many seconds."""
    fastest = MAX_PER_SECOND if rate.per_second is None else MAX_SPEEDUP * rate.per_second
    return TOLERANCE + fastest * elapsed


def _follow_up_ratio(rates: Rates, source: str, target: str) -> float | None:
    """Return follow-ups in ``target`` per job of the current batch of ``source``; None: unknown."""
    origin, batch = pipeline.current_batch(rates.batches.get(source, {}))
    if target not in pipeline.downstream_of(source, origin):
        return 0.0
    ratio = pipeline.follow_up_ratio(batch, target, DOWNSTREAM[source][target])
    return None if ratio.upper - ratio.lower > _MAX_RATIO_RANGE else ratio.midpoint


def _initial_batches(rates: Rates, snapshot: Snapshot, now: float) -> Batches:
    """Return the batches at the first poll of a run. The origin of new jobs is unknown."""
    updated = dict(rates.batches)
    for name, queue in snapshot.items():
        batches = updated.get(name, {})
        more = queue.pending - sum(batch.pending for batch in batches.values())
        if batches or more > 0:
            updated[name] = pipeline.update_batches(batches, {UNKNOWN: more}, queue.pending, now)
    return updated


def _updated_batches(rates: Rates, snapshot: Snapshot, flow: Flow, now: float) -> Batches:
    """Return the batches after a poll, with samples of what completed jobs led to."""
    updated = dict(rates.batches)
    for name, queue in snapshot.items():
        batches = updated.get(name, {})
        pending = sum(batch.pending for batch in batches.values())
        completions = flow.completions.get(name, 0.0)
        if not flow.arrivals.get(name) and not completions and pending == queue.pending:
            continue
        # Arrivals first: jobs may have arrived and completed between the polls.
        arrived = arrivals.arrivals_by_origin(flow, name)
        total = pending + sum(arrived.values())
        batches = pipeline.update_batches(batches, arrived, total, now)
        origin, batch = pipeline.current_batch(batches)
        # Completions that span two batches cannot be attributed to either.
        if batch.pending >= completions:
            samples = arrivals.sample_follow_ups(flow, name, origin)
            if samples:
                batches[origin] = pipeline.add_samples(batch, samples)
        updated[name] = pipeline.update_batches(batches, {}, queue.pending, now)
    return updated
