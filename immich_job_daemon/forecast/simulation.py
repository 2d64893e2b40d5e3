"""The course that things will take: who has a slot when, and what comes of it. Pure.

A slot stays with its queue until that is drained; then the first that waits gets it. What a queue
does leads to jobs in others. All of it flows, and is imagined from one change to the next: a slot
that passes on, a batch that ends. Where one queue feeds another beside it, there is no end of
changes: it is imagined in steps then, each a part of the time before.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from immich_job_daemon.forecast import pipeline
from immich_job_daemon.forecast.constraints import UNCONSTRAINED, Constraints
from immich_job_daemon.forecast.imagined_queue import ForecastQueue, Lead, Part
from immich_job_daemon.forecast.pipeline import CRUMB, DOWNSTREAM, SOURCES, WAITS_FOR, Batch
from immich_job_daemon.forecast.rates import FASTEST, MOST_BESIDE, Rates, job_takes
from immich_job_daemon.model.queue import Snapshot

HANDOVER: Final = 0.3
"""Seconds from a queue's last job to the first one of the next (docs/benchmark.md)."""

MOST_STEPS: Final = 300
"""Changes after which nobody can tell any more."""

SHARE_OF_PAST: Final = 0.25
"""How long a step is, at most, while one queue feeds another, as a share of the time before."""


class Simulation:
    """What will happen, imagined from now to the end, at best or at worst.

    Args:
        snapshot: every queue as it is now.
        rates: what was measured.
        names: the queues that may run, the first to get a slot first.
        running: those that have one now.
        limit: how many may run at once.
        plan: what keeps them from running besides.
        at_worst: whether each job takes as long and leads to as many others as it may, or as
            little.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what there is, what is known of it, and who may work
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
        self._end = 1 if at_worst else 0
        self._leads: dict[tuple[str, str], tuple[Lead, ...]] = {}
        self._queues: dict[str, ForecastQueue] = {}
        for name in names:
            if snapshot[name].pending:
                queue = self._queue(name)
                queue.has_slot = name in running
                self._fill(queue, snapshot[name].pending)
        self._ranked = [self._queues[name] for name in names if name in self._queues]
        self._downstream = [self._queues[n] for n in DOWNSTREAM if n in self._queues]
        self._downstream += [q for n, q in self._queues.items() if n not in SOURCES]
        for queue in self._ranked:
            others = WAITS_FOR.get(queue.name, ())
            queue.waits_for = [self._queues[name] for name in others if name in self._queues]
        self._run()

    def ends(self, name: str) -> float | None:
        """Return when one queue is drained; None where nobody can tell."""
        queue = self._queues[name]
        return None if queue.is_unknown else queue.ended

    def end(self) -> float | None:
        """Return when everything is done; None where nobody can tell."""
        if any(queue.is_unknown for queue in self._ranked):
            return None
        return max(queue.ended for queue in self._ranked)

    # What there is, and what it leads to.

    def _queue(self, name: str) -> ForecastQueue:
        if name not in self._queues:
            takes = job_takes(self._rates, name)
            paces = [max(span[self._end], 1 / FASTEST) for span in takes or ()]
            self._queues[name] = ForecastQueue(name, paces or None)
        return self._queues[name]

    def _fill(self, queue: ForecastQueue, pending: int) -> None:
        batches = self._rates.batches.get(queue.name, {})
        for way, batch, left in pipeline.parts(batches, pending):
            queue.parts.append(Part(way, left, self._leads_of(queue.name, way, batch)))
            queue.left += left

    def _leads_of(self, name: str, way: str, batch: Batch | None = None) -> Sequence[Lead]:
        """Return what the jobs of a queue lead to that came or come a way."""
        known = self._leads.get((name, way))
        if known is not None:
            return known
        if batch is None:
            batch = self._rates.batches.get(name, {}).get(way, Batch())
        found = []
        for target, share in pipeline.fed_by(name, way).items():
            jobs = pipeline.follow_ups(batch, target, share)[self._end]
            if target in self._names and jobs > 0:
                then = self._leads_of(target, name)
                found.append(Lead(self._queue(target), jobs, then))
        self._leads[name, way] = tuple(found)
        return self._leads[name, way]

    # What happens, step by step.

    def _run(self) -> None:
        now = 0.0
        for _ in range(MOST_STEPS):
            for queue in self._ranked:
                queue.has_slot = queue.has_slot and self._constraints.is_open(queue.name, now)
            working, fed = self._at_work()
            # Each time at least one queue gets or loses a slot; it does not go round in circles.
            for _ in self._ranked:
                if not self._pass_slots_on(fed, now):
                    break
                working, fed = self._at_work()
            if not any(queue.left for queue in working):
                edge = self._constraints.next_edge(now) if self._is_closed_out(now) else None
                if edge is None:
                    break
                now = edge
                continue
            now += self._step(working, fed, now)
        self._doubt()

    def _is_closed_out(self, now: float) -> bool:
        """Whether a queue could go on if it were not for the hour."""
        waiting = (q for q in self._ranked if q.left and q.paces is not None)
        return any(not self._constraints.is_open(queue.name, now) for queue in waiting)

    def _at_work(self) -> tuple[list[ForecastQueue], AbstractSet[ForecastQueue]]:
        """Return the queues that work, and those to which jobs come meanwhile."""
        working = [queue for queue in self._downstream if queue.works]
        return working, self._fed(working)

    def _pass_slots_on(self, fed: AbstractSet[ForecastQueue], now: float) -> bool:
        """Let who is drained give its slot to the first that waits; return whether any did."""
        rest = [
            q for q in self._ranked if not q.has_slot and self._constraints.is_open(q.name, now)
        ]
        waiting = self._without_rivals([queue for queue in rest if queue.left], len(rest))
        slots = [queue for queue in self._ranked if queue.has_slot]
        keep = [queue for queue in slots if queue.left or queue in fed]
        # One that others feed has nothing to do at times, and loses its slot then to who has.
        lacking = len(waiting) - (self._limit - len(keep))
        idle = [queue for queue in keep if not queue.left][: max(0, lacking)]
        for queue in slots:
            queue.has_slot = queue in keep and queue not in idle
        free = max(0, self._limit - len(keep) + len(idle))
        # A slot to spare goes to one to which jobs will come.
        waiting += [queue for queue in rest if queue in fed and not queue.left]
        is_stuck = any(queue.has_slot and queue.paces is None for queue in slots)
        chosen = self._without_rivals(waiting, free)
        for queue in chosen:
            queue.has_slot = True
            queue.starts = now + HANDOVER * min(1.0, queue.left)
            # With another's end it might have got its slot earlier.
            queue.is_unknown |= is_stuck and now > 0 and queue.left > 0
        return bool(chosen) or not all(queue.has_slot for queue in slots)

    def _without_rivals(self, waiting: Sequence[ForecastQueue], free: int) -> list[ForecastQueue]:
        """Return those that get the free slots: the first ones, but no two that exclude others."""
        chosen: list[ForecastQueue] = []
        have = {queue.name for queue in self._ranked if queue.has_slot}
        for queue in waiting:
            if len(chosen) < free and not self._constraints.rivals(queue.name) & have:
                chosen.append(queue)
                have.add(queue.name)
        return chosen

    def _fed(self, working: Sequence[ForecastQueue]) -> AbstractSet[ForecastQueue]:
        """Return the queues to which jobs come while these work."""
        found: set[ForecastQueue] = set()
        left = [lead for queue in working if queue.parts for lead in queue.parts[0].leads_to]
        while left:
            lead = left.pop()
            if lead.queue not in found:
                found.add(lead.queue)
                if lead.queue.works:
                    left += lead.then
        return found

    def _step(
        self, working: Sequence[ForecastQueue], fed: AbstractSet[ForecastQueue], now: float
    ) -> float:
        """Let the working queues work until something changes; return for how long."""
        busy = sum(queue.left * queue.takes >= HANDOVER for queue in working)
        beside = max(0, min(MOST_BESIDE, busy - 1))
        for queue in working:
            queue.takes = queue.paces[beside] if queue.paces else 0.0
        step = self._until_change(working, fed, now)
        edge = self._constraints.next_edge(now)
        step = step if edge is None else min(step, edge - now)
        budgets = [(step - max(0.0, queue.starts - now)) / queue.takes for queue in working]
        # Twice, for what comes to a queue from one behind it.
        for _ in range(2):
            for place, queue in enumerate(working):
                done = queue.do(budgets[place] + CRUMB)
                budgets[place] -= done
                if done and not queue.left:
                    spare = 0.0 if queue in fed else budgets[place] * queue.takes
                    queue.ended = now + step - max(0.0, spare)
        return step

    def _until_change(
        self, working: Sequence[ForecastQueue], fed: AbstractSet[ForecastQueue], now: float
    ) -> float:
        """Return for how many seconds the working queues work without a change that matters."""
        grain = max(HANDOVER, SHARE_OF_PAST * now)
        times = {
            queue: max(0.0, queue.starts - now) + queue.left * queue.takes for queue in working
        }
        if all(queue.has_slot for queue in self._ranked if queue.left or queue in fed):
            # Nobody will want the slot of one that others feed: it ends when they do.
            ends = [time for queue, time in times.items() if queue not in fed and queue.left]
            if ends:
                return min(ends)
        return min(max(time, grain) if queue in fed else time for queue, time in times.items())

    def _doubt(self) -> None:
        """Find out of which queues nobody can tell: those left, and those that they feed."""
        doubtful = [queue for queue in self._ranked if queue.left or queue.is_unknown]
        while doubtful:
            queue = doubtful.pop()
            queue.is_unknown = True
            for (name, _), leads in self._leads.items():
                if name == queue.name:
                    doubtful += [lead.queue for lead in leads if not lead.queue.is_unknown]
