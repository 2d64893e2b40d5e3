"""Simulates the queues until everything is drained. Pure: no I/O, no clock.

It is a fluid simulation: the number of jobs is a real number, and jobs flow from queue to queue.
Time advances from event to event: a queue is drained, a slot changes hands, a window opens or
closes. A queue keeps its slot until it is drained, then the first waiting queue gets it. Completed
jobs lead to follow-ups in other queues. A queue that receives jobs while it works would be drained
again and again; there, time advances in steps, each a share of the time simulated so far.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from immich_job_daemon.forecast import pipeline
from immich_job_daemon.forecast.constraints import UNCONSTRAINED, Constraints
from immich_job_daemon.forecast.pipeline import (
    EPSILON,
    PIPELINE_ORDER,
    UPSTREAM,
    WAITING_ORIGIN,
    WAITS_FOR,
    Batch,
)
from immich_job_daemon.forecast.rates import MAX_OTHERS, MAX_PER_SECOND, Rates, service_times
from immich_job_daemon.model.queue import Snapshot
from immich_job_daemon.model.settings import rivals

HANDOVER: Final = 0.3
"""Seconds from the last job of a queue to the first job of the next (see docs/benchmark.md)."""

MAX_STEPS: Final = 300
"""Steps after which queues that still have jobs are unknown."""

STEP_GROWTH: Final = 0.25
"""Shortest step of a queue that receives jobs, as a share of the time simulated so far."""


class FollowUps(NamedTuple):
    """The follow-ups per job of a batch in one downstream queue, and what they lead to in turn."""

    queue: "ForecastQueue"
    ratio: float
    next: "Sequence[FollowUps]"


@dataclass(slots=True, eq=False)
class ForecastBatch:
    """Pending jobs of one origin, and the follow-ups that each of them has."""

    origin: str
    pending: float
    follow_ups: Sequence[FollowUps]


@dataclass(slots=True, eq=False)
class ForecastQueue:
    """A simulated queue. Times are seconds from now.

    Attributes:
        service_times: seconds per job, by number of other busy queues; None if unknown.
        service_time: the one that applies in the current step.
        batches: its pending jobs, oldest first.
        waits_for: the queues that must have no active job before it can go on.
        starts_at: when its first job in this slot starts.
        drained_at: when it was last drained.
        is_unknown: whether it cannot be known when it will be drained.
    """

    name: str
    service_times: Sequence[float] | None
    service_time: float
    batches: list[ForecastBatch] = field(default_factory=list)
    pending: float = 0.0
    waits_for: "list[ForecastQueue]" = field(default_factory=list)
    has_slot: bool = False
    starts_at: float = 0.0
    drained_at: float = 0.0
    is_unknown: bool = False
    _arriving: dict[str, ForecastBatch] = field(default_factory=dict)

    @property
    def can_work(self) -> bool:
        """Whether it completes jobs, if it has any."""
        if not self.has_slot or self.service_times is None:
            return False
        is_waiting = self.waits_for and self.is_working_on(WAITING_ORIGIN)
        return not is_waiting or not any(
            other.has_slot and other.pending and not other.is_working_on(self.name)
            for other in self.waits_for
        )

    def is_working_on(self, origin: str) -> bool:
        """Whether its oldest jobs have this origin."""
        return bool(self.batches) and self.batches[0].origin == origin

    def add(self, origin: str, jobs: float, follow_ups: Sequence[FollowUps]) -> None:
        """Add jobs that arrive behind the pending ones."""
        batch = self._arriving.get(origin)
        if batch is None or batch.pending <= 0:
            batch = self._arriving[origin] = ForecastBatch(origin, 0.0, follow_ups)
            self.batches.append(batch)
        batch.pending += jobs
        self.pending += jobs

    def complete(self, jobs: float) -> float:
        """Complete up to that many jobs and add their follow-ups; return how many."""
        completed = 0.0
        while self.batches and completed < jobs:
            batch = self.batches[0]
            part = min(batch.pending, jobs - completed)
            completed += part
            for follow_ups in batch.follow_ups:
                follow_ups.queue.add(self.name, part * follow_ups.ratio, follow_ups.next)
            if batch.pending - part > EPSILON:
                batch.pending -= part
            else:
                batch.pending = 0.0
                del self.batches[0]
        self.pending = self.pending - completed if self.batches else 0.0
        return completed


class Simulation:
    """The best or the worst case of what will happen until everything is drained.

    The queues get slots in the order of ``names``. Service times and follow-up ratios are at their
    upper bounds if ``at_worst``, otherwise at their lower bounds.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that a forecast depends on
        self,
        snapshot: Snapshot,
        rates: Rates,
        names: Sequence[str],
        running: AbstractSet[str],
        limit: int,
        constraints: Constraints = UNCONSTRAINED,
        *,
        at_worst: bool,
    ) -> None:
        self._rates = rates
        self._names = names
        self._limit = limit
        self._constraints = constraints
        self._bound = 1 if at_worst else 0
        self._follow_ups: dict[tuple[str, str], tuple[FollowUps, ...]] = {}
        self._queues: dict[str, ForecastQueue] = {}
        for name in names:
            if snapshot[name].pending:
                queue = self._queue(name)
                queue.has_slot = name in running
                batches = rates.batches.get(name, {})
                for origin, jobs in pipeline.split_pending(batches, snapshot[name].pending).items():
                    follow_ups = self._follow_ups_of(name, origin)
                    queue.batches.append(ForecastBatch(origin, jobs, follow_ups))
                    queue.pending += jobs
        self._by_priority = [self._queues[name] for name in names if name in self._queues]
        self._upstream_first = [self._queues[n] for n in PIPELINE_ORDER if n in self._queues]
        self._upstream_first += [q for n, q in self._queues.items() if n not in UPSTREAM]
        for queue in self._by_priority:
            others = WAITS_FOR.get(queue.name, ())
            queue.waits_for = [self._queues[name] for name in others if name in self._queues]
        self._run()

    def drained_at(self, name: str) -> float | None:
        """Return when one queue is drained, in seconds from now; None if unknown."""
        queue = self._queues[name]
        return None if queue.is_unknown else queue.drained_at

    def finished_at(self) -> float | None:
        """Return when all queues are drained, in seconds from now; None if unknown."""
        if any(queue.is_unknown for queue in self._by_priority):
            return None
        return max(queue.drained_at for queue in self._by_priority)

    # The queues at the start, and what their jobs lead to.

    def _queue(self, name: str) -> ForecastQueue:
        if name not in self._queues:
            bounds = service_times(self._rates, name)
            times = [max(time[self._bound], 1 / MAX_PER_SECOND) for time in bounds or ()]
            self._queues[name] = ForecastQueue(name, times or None, times[0] if times else 0.0)
        return self._queues[name]

    def _follow_ups_of(self, name: str, origin: str) -> Sequence[FollowUps]:
        """Return the follow-ups of a queue's jobs of this origin."""
        if (name, origin) not in self._follow_ups:
            batch = self._rates.batches.get(name, {}).get(origin, Batch())
            found = []
            for target, fan_out in pipeline.downstream_of(name, origin).items():
                ratio = pipeline.follow_up_ratio(batch, target, fan_out)[self._bound]
                if target in self._names and ratio > 0:
                    following = self._follow_ups_of(target, name)
                    found.append(FollowUps(self._queue(target), ratio, following))
            self._follow_ups[name, origin] = tuple(found)
        return self._follow_ups[name, origin]

    # What happens, step by step.

    def _run(self) -> None:
        now = 0.0
        for _ in range(MAX_STEPS):
            for queue in self._by_priority:
                queue.has_slot = queue.has_slot and self._constraints.is_open(queue.name, now)
            working, receiving = self._flow()
            # A handover may cause another one, but never more than there are queues.
            for _ in self._by_priority:
                if not self._hand_over_slots(receiving, now):
                    break
                working, receiving = self._flow()
            if not any(queue.pending for queue in working):
                edge = self._constraints.next_edge(now) if self._waits_for_window(now) else None
                if edge is None:
                    break
                now = edge
                continue
            now += self._advance(working, receiving, now)
        self._mark_unknown()

    def _waits_for_window(self, now: float) -> bool:
        """Whether a queue with jobs is outside its windows."""
        waiting = (q for q in self._by_priority if q.pending and q.service_times is not None)
        return any(not self._constraints.is_open(queue.name, now) for queue in waiting)

    def _flow(self) -> tuple[list[ForecastQueue], AbstractSet[ForecastQueue]]:
        """Return the queues that can work, and the queues that receive jobs from them."""
        working = [queue for queue in self._upstream_first if queue.can_work]
        receiving: set[ForecastQueue] = set()
        remaining = [
            follow_ups
            for queue in working
            if queue.batches
            for follow_ups in queue.batches[0].follow_ups
        ]
        while remaining:
            follow_ups = remaining.pop()
            if follow_ups.queue not in receiving:
                receiving.add(follow_ups.queue)
                if follow_ups.queue.can_work:
                    remaining += follow_ups.next
        return working, receiving

    def _hand_over_slots(self, receiving: AbstractSet[ForecastQueue], now: float) -> bool:
        """Give the slots of drained queues to waiting ones; return whether any slot changed."""
        others = [
            queue
            for queue in self._by_priority
            if not queue.has_slot and self._constraints.is_open(queue.name, now)
        ]
        waiting = self._admit([queue for queue in others if queue.pending], len(others))
        holders = [queue for queue in self._by_priority if queue.has_slot]
        keeping = [queue for queue in holders if queue.pending or queue in receiving]
        # A receiving queue is empty now and then, and loses its slot to a queue with jobs.
        missing = len(waiting) - (self._limit - len(keeping))
        idle = [queue for queue in keeping if not queue.pending][: max(0, missing)]
        for queue in holders:
            queue.has_slot = queue in keeping and queue not in idle
        free = max(0, self._limit - len(keeping) + len(idle))
        # A spare slot goes to a queue that will receive jobs.
        waiting += [queue for queue in others if queue in receiving and not queue.pending]
        is_stuck = any(queue.has_slot and queue.service_times is None for queue in holders)
        chosen = self._admit(waiting, free)
        for queue in chosen:
            queue.has_slot = True
            queue.starts_at = now + HANDOVER * min(1.0, queue.pending)
            # It might get a slot earlier, from the queue whose service time is unknown.
            queue.is_unknown |= is_stuck and now > 0 and queue.pending > 0
        return bool(chosen) or not all(queue.has_slot for queue in holders)

    def _admit(self, waiting: Sequence[ForecastQueue], free: int) -> list[ForecastQueue]:
        """Return the queues that get the free slots: the first ones without a running rival."""
        chosen: list[ForecastQueue] = []
        running = {queue.name for queue in self._by_priority if queue.has_slot}
        groups = self._constraints.groups
        for queue in waiting:
            if len(chosen) < free and not rivals(groups, queue.name) & running:
                chosen.append(queue)
                running.add(queue.name)
        return chosen

    def _advance(
        self,
        working: Sequence[ForecastQueue],
        receiving: AbstractSet[ForecastQueue],
        now: float,
    ) -> float:
        """Complete jobs until the next event; return the seconds until then."""
        busy = sum(queue.pending * queue.service_time >= HANDOVER for queue in working)
        others = max(0, min(MAX_OTHERS, busy - 1))
        for queue in working:
            queue.service_time = queue.service_times[others] if queue.service_times else 0.0
        step = self._until_next_event(working, receiving, now)
        edge = self._constraints.next_edge(now)
        step = step if edge is None else min(step, edge - now)
        budgets = [
            (step - max(0.0, queue.starts_at - now)) / queue.service_time for queue in working
        ]
        # The second pass completes follow-ups from a queue that comes later in the order.
        for _ in range(2):
            for index, queue in enumerate(working):
                completed = queue.complete(budgets[index] + EPSILON)
                budgets[index] -= completed
                if completed and not queue.pending:
                    spare = 0.0 if queue in receiving else budgets[index] * queue.service_time
                    queue.drained_at = now + step - max(0.0, spare)
        return step

    def _until_next_event(
        self,
        working: Sequence[ForecastQueue],
        receiving: AbstractSet[ForecastQueue],
        now: float,
    ) -> float:
        """Return the seconds until a working queue is drained, or those of one step."""
        min_step = max(HANDOVER, STEP_GROWTH * now)
        times = {
            queue: max(0.0, queue.starts_at - now) + queue.pending * queue.service_time
            for queue in working
        }
        if all(
            queue.has_slot for queue in self._by_priority if queue.pending or queue in receiving
        ):
            # No queue waits for a slot, so it does not matter when a receiving queue is empty.
            drained = [time for q, time in times.items() if q not in receiving and q.pending]
            if drained:
                return min(drained)
        return min(
            max(time, min_step) if queue in receiving else time for queue, time in times.items()
        )

    def _mark_unknown(self) -> None:
        """Mark the queues that still have jobs, and all queues downstream of them, as unknown."""
        unknown = [queue for queue in self._by_priority if queue.pending or queue.is_unknown]
        while unknown:
            queue = unknown.pop()
            queue.is_unknown = True
            for (name, _), follow_ups in self._follow_ups.items():
                if name == queue.name:
                    unknown += [to.queue for to in follow_ups if not to.queue.is_unknown]
