"""One simulated queue: its jobs by state, and how BullMQ counts them."""

from collections import deque
from heapq import heappop, heappush
from typing import Literal, NamedTuple

from simulator.immich.pipeline import Asset, Kind


class Counts(NamedTuple):
    """The six counts that both APIs report, in their order; all are numbers of jobs."""

    active: int
    completed: int
    failed: int
    delayed: int
    waiting: int
    paused: int


class Job:
    """One job: its kind, the asset it is about, and how often its worker was killed."""

    __slots__ = ("asset", "kills", "kind")

    def __init__(self, kind: Kind, asset: Asset | None = None) -> None:
        self.kind = kind
        self.asset = asset
        self.kills = 0


class Bulk:
    """Many ready jobs of one kind about nothing in particular, none of which exists yet."""

    __slots__ = ("kind", "left")

    def __init__(self, kind: Kind, left: int) -> None:
        self.kind = kind
        self.left = left


class SimulatedQueue:
    """A queue as BullMQ keeps it. It knows no time: the engine moves its jobs.

    ``ready``, ``prioritized``, ``delayed`` and ``failed`` are numbers of jobs. ``running`` holds
    what workers are busy with; ``ghosts`` are jobs whose worker was killed and that BullMQ still
    counts as active.
    """

    __slots__ = (
        "_bullmq",
        "_prioritized",
        "_ready",
        "_seq",
        "concurrency",
        "delayed",
        "failed",
        "ghosts",
        "is_paused",
        "name",
        "ready",
        "running",
        "single",
    )

    def __init__(self, name: str, concurrency: int, bullmq: Literal[5, 6]) -> None:
        self.name = name
        self.concurrency = concurrency
        self.is_paused = False
        self.running: dict[int, Job] = {}
        self.single: set[Kind] = set()
        self.ghosts = 0
        self.ready = 0
        self.delayed = 0
        self.failed = 0
        self._bullmq = bullmq
        self._ready: deque[Job | Bulk] = deque()
        self._prioritized: list[tuple[int, int, Job]] = []
        self._seq = 0

    @property
    def active(self) -> int:
        """Jobs that are counted as running, the ghosts among them: may exceed the concurrency."""
        return len(self.running) + self.ghosts

    @property
    def prioritized(self) -> int:
        """Jobs with a priority that wait: in none of the six counts."""
        return len(self._prioritized)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is active, ready, prioritized or delayed; failed jobs do not matter."""
        return not (self.running or self.ready or self.ghosts or self.delayed or self._prioritized)

    def counts(self) -> Counts:
        """Return the counts as a client of Immich sees them.

        BullMQ 5 moves a paused queue's ready jobs to a state of its own, BullMQ 6 does not.
        """
        hidden = self.is_paused and self._bullmq == 5
        return Counts(
            active=len(self.running) + self.ghosts,
            completed=0,
            failed=self.failed,
            delayed=self.delayed,
            waiting=0 if hidden else self.ready,
            paused=self.ready if hidden else 0,
        )

    def put(self, job: Job, priority: int = 0) -> None:
        """Add a job that is ready to run, behind the others of its priority (0 is none)."""
        if priority:
            self._seq += 1
            heappush(self._prioritized, (priority, self._seq, job))
        else:
            self._ready.append(job)
            self.ready += 1

    def put_bulk(self, kind: Kind, count: int) -> None:
        """Add many ready jobs of one kind at the cost of one."""
        self._ready.append(Bulk(kind, count))
        self.ready += count

    def put_back(self, job: Job) -> None:
        """Add a job that was interrupted, at the front."""
        self._ready.appendleft(job)
        self.ready += 1

    def take(self) -> Job | None:
        """Remove the next job and return it: ready ones first, then those with a priority.

        That order is BullMQ's: only a worker that finds nothing ready looks at the priorities.
        """
        if not self._ready:
            return heappop(self._prioritized)[2] if self._prioritized else None
        self.ready -= 1
        first = self._ready[0]
        if isinstance(first, Job):
            self._ready.popleft()
            return first
        first.left -= 1
        if not first.left:
            self._ready.popleft()
        return Job(first.kind)

    def drop_waiting(self) -> list[Job]:
        """Remove and return every job that waits for its turn; active and delayed ones stay."""
        dropped = []
        while (job := self.take()) is not None:
            dropped.append(job)
        return dropped
