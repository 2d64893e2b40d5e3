"""One simulated queue: its jobs by state, and how BullMQ counts them."""

from collections import deque
from heapq import heappop, heappush
from typing import Literal, NamedTuple

from simulator.immich.pipeline import Asset, Kind


class Counts(NamedTuple):
    """The six job counts that both APIs report, in their order."""

    active: int
    completed: int
    failed: int
    delayed: int
    waiting: int
    paused: int


class Job:
    """One job: its kind, the asset it processes, and how often its worker was killed."""

    __slots__ = ("asset", "kind", "stalls")

    def __init__(self, kind: Kind, asset: Asset | None = None) -> None:
        self.kind = kind
        self.asset = asset
        self.stalls = 0


class Bulk:
    """Many ready jobs of one kind without an asset, stored as a number to save memory."""

    __slots__ = ("kind", "left")

    def __init__(self, kind: Kind, left: int) -> None:
        self.kind = kind
        self.left = left


class SimulatedQueue:
    """A queue as BullMQ stores it. It has no clock: the engine moves its jobs.

    ``ready``, ``prioritized``, ``delayed``, ``failed`` and ``stalled`` are numbers of jobs.
    ``running`` holds the jobs that workers process, by a key of the engine. Stalled jobs have
    lost their worker, but BullMQ still counts them as active. ``unique`` holds the kinds that are
    in the queue and may be there only once.
    """

    __slots__ = (
        "_bullmq",
        "_prioritized",
        "_ready",
        "_seq",
        "concurrency",
        "delayed",
        "failed",
        "is_paused",
        "name",
        "ready",
        "running",
        "stalled",
        "unique",
    )

    def __init__(self, name: str, concurrency: int, bullmq: Literal[5, 6]) -> None:
        self.name = name
        self.concurrency = concurrency
        self.is_paused = False
        self.running: dict[int, Job] = {}
        self.unique: set[Kind] = set()
        self.stalled = 0
        self.ready = 0
        self.delayed = 0
        self.failed = 0
        self._bullmq = bullmq
        self._ready: deque[Job | Bulk] = deque()
        self._prioritized: list[tuple[int, int, Job]] = []
        self._seq = 0

    @property
    def active(self) -> int:
        """Number of active jobs, stalled ones included; it may exceed the concurrency."""
        return len(self.running) + self.stalled

    @property
    def prioritized(self) -> int:
        """Number of waiting jobs with a priority; none of the six counts includes them."""
        return len(self._prioritized)

    @property
    def is_empty(self) -> bool:
        """Whether no job is active, ready, prioritized or delayed; failed jobs do not count."""
        return not (self.running or self.ready or self.stalled or self.delayed or self._prioritized)

    def counts(self) -> Counts:
        """Return the counts that Immich reports.

        BullMQ 5 counts the ready jobs of a paused queue as paused, BullMQ 6 as waiting.
        """
        hidden = self.is_paused and self._bullmq == 5
        return Counts(
            active=len(self.running) + self.stalled,
            completed=0,
            failed=self.failed,
            delayed=self.delayed,
            waiting=0 if hidden else self.ready,
            paused=self.ready if hidden else 0,
        )

    def put(self, job: Job, priority: int = 0) -> None:
        """Add a ready job behind the others of its priority; 0 means no priority."""
        if priority:
            self._seq += 1
            heappush(self._prioritized, (priority, self._seq, job))
        else:
            self._ready.append(job)
            self.ready += 1

    def put_bulk(self, kind: Kind, count: int) -> None:
        """Add ``count`` ready jobs of one kind in constant time and memory."""
        self._ready.append(Bulk(kind, count))
        self.ready += count

    def put_back(self, job: Job) -> None:
        """Return an interrupted job to the front of the queue."""
        self._ready.appendleft(job)
        self.ready += 1

    def take(self) -> Job | None:
        """Remove and return the next job: ready jobs first, then those with a priority.

        This is BullMQ's order: a worker takes prioritized jobs only if no ready job is left.
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

    def remove_waiting(self) -> list[Job]:
        """Remove and return all waiting jobs; active and delayed jobs stay."""
        removed = []
        while (job := self.take()) is not None:
            removed.append(job)
        return removed
