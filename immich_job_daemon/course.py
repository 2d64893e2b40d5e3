"""The course that things will take: who has a slot when, and what comes of it. Pure.

A slot stays with its queue until that is drained; then the first that waits gets it. What a queue
does leads to jobs in others. All of it flows, and is imagined from one change to the next: a slot
that passes on, a batch that ends. Where one queue feeds another beside it, there is no end of
changes: it is imagined in steps then, each a part of the time before.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from immich_job_daemon import follow_ups
from immich_job_daemon.follow_ups import DOWNSTREAM, SOURCES, WAITS_FOR, Batch
from immich_job_daemon.queues import Snapshot
from immich_job_daemon.rates import FASTEST, Rates, job_takes

HANDOVER: Final = 0.3
"""Seconds from a queue's last job to the first one of the next (docs/benchmark.md)."""

MOST_STEPS: Final = 300
"""Changes after which nobody can tell any more."""

SHARE_OF_PAST: Final = 0.25
"""How long a step is, at most, while one queue feeds another, as a share of the time before."""

_CRUMB: Final = 1e-6
"""So much of a job is none: sums of fractions do not end at 0."""


class _Part:
    """Pending jobs of one batch, and how many jobs each of them leads to in which queue."""

    __slots__ = ("leads_to", "left")

    def __init__(self, left: float, leads_to: "Sequence[_Lead]") -> None:
        self.left = left
        self.leads_to = leads_to


class _Queue:
    """A queue in an imagined course; times in seconds from now.

    Attributes:
        name: its name.
        takes: in what time it drains one job; None where nobody can tell.
        parts: its pending jobs, the first ones first.
        left: how many these are.
        waits_for: the queues that must have nothing active for its jobs to go on.
        has_slot: whether it may work.
        starts: when its first job starts since it has its slot.
        ended: when it was drained last.
        is_unknown: nobody can tell when it will be drained.
    """

    __slots__ = (
        "_fed",
        "ended",
        "has_slot",
        "is_unknown",
        "left",
        "name",
        "parts",
        "starts",
        "takes",
        "waits_for",
    )

    def __init__(self, name: str, takes: float | None) -> None:
        self.name = name
        self.takes = takes
        self.parts: list[_Part] = []
        self.left = 0.0
        self.waits_for: list[_Queue] = []
        self.has_slot = False
        self.starts = 0.0
        self.ended = 0.0
        self.is_unknown = False
        self._fed: dict[str, _Part] = {}

    @property
    def works(self) -> bool:
        """Whether its jobs go on."""
        if not self.has_slot or self.takes is None:
            return False
        return not any(other.has_slot and other.left for other in self.waits_for)

    def add(self, way: str, jobs: float, leads_to: "Sequence[_Lead]") -> None:
        """Let jobs come, behind the others."""
        part = self._fed.get(way)
        if part is None or part.left <= 0:
            part = self._fed[way] = _Part(0.0, leads_to)
            self.parts.append(part)
        part.left += jobs
        self.left += jobs

    def do(self, jobs: float) -> float:
        """Do so many jobs, or what there is, with what they lead to; return how many."""
        done = 0.0
        while self.parts and done < jobs:
            part = self.parts[0]
            here = min(part.left, jobs - done)
            done += here
            for lead in part.leads_to:
                lead.queue.add(self.name, here * lead.jobs, lead.then)
            if part.left - here > _CRUMB:
                part.left -= here
            else:
                part.left = 0.0
                del self.parts[0]
        self.left = self.left - done if self.parts else 0.0
        return done


class _Lead(NamedTuple):
    """So many jobs in a queue follow each job of a batch, and what these lead to."""

    queue: _Queue
    jobs: float
    then: "Sequence[_Lead]"


class Course:
    """What will happen, imagined from now to the end, at best or at worst.

    Args:
        snapshot: every queue as it is now.
        rates: what was measured.
        names: the queues that may run, the first to get a slot first.
        running: those that have one now.
        limit: how many may run at once.
        at_worst: whether each job takes as long and leads to as many others as it may, or as
            little.
    """

    def __init__(  # noqa: PLR0913 - what there is, what is known of it, and who may work
        self,
        snapshot: Snapshot,
        rates: Rates,
        names: Sequence[str],
        running: AbstractSet[str],
        limit: int,
        *,
        at_worst: bool,
    ) -> None:
        self._rates = rates
        self._names = names
        self._limit = limit
        self._end = 1 if at_worst else 0
        self._leads: dict[tuple[str, str], tuple[_Lead, ...]] = {}
        self._queues: dict[str, _Queue] = {}
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

    def _queue(self, name: str) -> _Queue:
        if name not in self._queues:
            takes = job_takes(self._rates, name)
            seconds = None if takes is None else max(takes[self._end], 1 / FASTEST)
            self._queues[name] = _Queue(name, seconds)
        return self._queues[name]

    def _fill(self, queue: _Queue, pending: int) -> None:
        batches = self._rates.batches.get(queue.name, {})
        for way, batch, left in follow_ups.parts(batches, pending):
            queue.parts.append(_Part(left, self._leads_of(queue.name, way, batch)))
            queue.left += left

    def _leads_of(self, name: str, way: str, batch: Batch | None = None) -> Sequence[_Lead]:
        """Return what the jobs of a queue lead to that came or come a way."""
        known = self._leads.get((name, way))
        if known is not None:
            return known
        if batch is None:
            batch = self._rates.batches.get(name, {}).get(way, Batch())
        found = []
        for target, share in follow_ups.fed_by(name, way).items():
            jobs = follow_ups.follow_ups(batch, target, share)[self._end]
            if target in self._names and jobs > 0:
                then = self._leads_of(target, name)
                found.append(_Lead(self._queue(target), jobs, then))
        self._leads[name, way] = tuple(found)
        return self._leads[name, way]

    # What happens, step by step.

    def _run(self) -> None:
        now = 0.0
        for _ in range(MOST_STEPS):
            working = [queue for queue in self._downstream if queue.works]
            fed = self._fed(working)
            if self._pass_slots_on(fed, now):
                working = [queue for queue in self._downstream if queue.works]
                fed = self._fed(working)
            if not any(queue.left for queue in working):
                break
            now += self._step(working, fed, now)
        self._doubt()

    def _pass_slots_on(self, fed: AbstractSet[_Queue], now: float) -> bool:
        """Let who is drained give its slot to the first that waits; return whether any did."""
        rest = [queue for queue in self._ranked if not queue.has_slot]
        waiting = [queue for queue in rest if queue.left]
        have = [queue for queue in self._ranked if queue.has_slot]
        for queue in have:
            queue.has_slot = bool(queue.left or (queue in fed and not waiting))
        free = max(0, self._limit - sum(queue.has_slot for queue in have))
        is_stuck = any(queue.has_slot and queue.takes is None for queue in have)
        # A slot to spare goes to one to which jobs will come.
        waiting += [queue for queue in rest if queue in fed and not queue.left]
        for queue in waiting[:free]:
            queue.has_slot = True
            queue.starts = now + HANDOVER * min(1.0, queue.left)
            # With another's end it might have got its slot earlier.
            queue.is_unknown |= is_stuck and now > 0 and queue.left > 0
        return bool(waiting[:free]) or not all(queue.has_slot for queue in have)

    def _fed(self, working: Sequence[_Queue]) -> AbstractSet[_Queue]:
        """Return the queues to which jobs come while these work."""
        found: set[_Queue] = set()
        left = [lead for queue in working if queue.parts for lead in queue.parts[0].leads_to]
        while left:
            lead = left.pop()
            if lead.queue not in found:
                found.add(lead.queue)
                if lead.queue.works:
                    left += lead.then
        return found

    def _step(self, working: Sequence[_Queue], fed: AbstractSet[_Queue], now: float) -> float:
        """Let the working queues work until something changes; return for how long."""
        grain = max(HANDOVER, SHARE_OF_PAST * now)
        times = []
        for queue in working:
            time = max(0.0, queue.starts - now) + queue.left * (queue.takes or 0.0)
            times.append(max(time, grain) if queue in fed else time)
        step = min(times)
        for queue in working:
            begins = max(0.0, queue.starts - now)
            takes = queue.takes or 0.0
            done = queue.do((step - begins) / takes + _CRUMB)
            if done and not queue.left:
                queue.ended = now + (step if queue in fed else begins + done * takes)
        return step

    def _doubt(self) -> None:
        """Find out of which queues nobody can tell: those left, and those that they feed."""
        doubtful = [queue for queue in self._ranked if queue.left or queue.is_unknown]
        while doubtful:
            queue = doubtful.pop()
            queue.is_unknown = True
            for (name, _), leads in self._leads.items():
                if name == queue.name:
                    doubtful += [lead.queue for lead in leads if not lead.queue.is_unknown]
