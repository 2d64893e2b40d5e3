"""A discrete-event simulation of Immich's queues: jobs, workers, pauses and restarts.

The engine does no HTTP and does not use the real clock: its owner moves time with ``advance``.

>>> engine = Engine()
>>> photo, = engine.upload(photos=1)
>>> round(engine.settle())
1
>>> photo.all_done is not None
True
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Final, Literal

from immich_job_daemon.model.queue import ENTRY
from simulator.immich.events import Event, EventKind
from simulator.immich.pipeline import (
    CONCURRENCY,
    CORES,
    PHOTO,
    QUEUES,
    RECHECK,
    REINDEX,
    VIDEO,
    Asset,
    Kind,
)
from simulator.immich.simulated_queue import Job, SimulatedQueue

__all__ = ["Engine", "Event", "EventKind"]

STALL_DETECTION: Final = (29.0, 60.0)
"""Seconds after a kill at which BullMQ detects stalled jobs (seen on Immich 3.1.0)."""

MAX_STALLS: Final = 1
"""A job that stalls more often than this fails when a worker takes it (BullMQ's default)."""

JITTER: Final = 0.05
"""Fraction by which the duration of a job varies, up and down."""


class Engine:
    """All queues of one Immich server, with a clock of their own.

    The simulation is deterministic: the same seed gives the same events at the same times.

    Args:
        bullmq: major version. 5 counts the ready jobs of a paused queue as paused, 6 as waiting.
        seed: seed of the duration jitter and of the times at which stalled jobs are detected.
        start: initial time of the clock, in seconds.
        concurrency: number of workers by queue; replaces Immich's default of that queue.
    """

    def __init__(
        self,
        *,
        bullmq: Literal[5, 6] = 5,
        seed: int = 0,
        start: float = 0.0,
        concurrency: Mapping[str, int] | None = None,
    ) -> None:
        at_once = {**CONCURRENCY, **(concurrency or {})}
        self.now = start
        self.is_up = True
        self.boots = 0
        self.queues = {name: SimulatedQueue(name, at_once.get(name, 1), bullmq) for name in QUEUES}
        self.assets: list[Asset] = []
        self.observers: list[Callable[[Event], None]] = []
        self._events: list[tuple[float, int, SimulatedQueue | None, Callable[[], None]]] = []
        self._seq = 0
        self._random = Random(seed)
        self._load = 0.0
        self._completed: Counter[Kind] = Counter()
        self._boots_at = start
        self._after_boot: list[Callable[[], None]] = []
        self._stalled: list[tuple[SimulatedQueue, list[Job]]] = []

    @property
    def is_idle(self) -> bool:
        """Whether every queue is empty; failed jobs do not count."""
        return all(queue.is_empty for queue in self.queues.values())

    def next_event(self) -> float | None:
        """Return the time of the next event on this clock, or None if there is none."""
        return self._events[0][0] if self._events else None

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Run ``action`` when the clock reaches ``when``; if that is past, at the next advance."""
        self._seq += 1
        heappush(self._events, (when, self._seq, None, action))

    def advance(self, to: float) -> None:
        """Run all events up to and including ``to`` in order, then set the clock to it."""
        events = self._events
        while events and events[0][0] <= to:
            when, key, queue, action = heappop(events)
            self.now = max(self.now, when)
            if queue is None:
                action()
            else:
                self._finish(queue, key)
        self.now = max(self.now, to)

    def settle(self, limit: float = 1e6) -> float:
        """Advance until all queues are empty or no event is left, at most ``limit`` seconds.

        Returns:
            the time of the clock afterwards.
        """
        end = self.now + limit
        while not self.is_idle and (when := self.next_event()) is not None and when <= end:
            self.advance(when)
        return self.now

    def upload(self, photos: int = 0, videos: int = 0) -> list[Asset]:
        """Upload photos, then videos, all at the current time; return them."""
        first = len(self.assets)
        for number in range(first, first + photos + videos):
            asset = Asset(number, is_video=number >= first + photos, uploaded=self.now)
            self.assets.append(asset)
            self.add(ENTRY, VIDEO if asset.is_video else PHOTO, asset=asset)
        return self.assets[first:]

    def reindex(self, queue: str, count: int) -> None:
        """Add the jobs that "run on all assets" adds to this queue for ``count`` assets."""
        self.add(queue, REINDEX[queue], count=count)

    def add(  # noqa: PLR0913 - the options of a BullMQ job
        self,
        queue: str,
        kind: Kind,
        *,
        count: int = 1,
        asset: Asset | None = None,
        delay: float = 0.0,
        priority: int = 0,
    ) -> None:
        """Add jobs to a queue.

        Args:
            queue: name of the queue.
            kind: what each job costs and which jobs follow it.
            count: number of jobs.
            asset: the asset they process; it is done when it has no jobs left.
            delay: seconds until they are ready to run.
            priority: 0 means none; of the others, smaller numbers run first.
        """
        target = self.queues[queue]
        if kind.is_unique:
            if kind in target.unique:
                return
            target.unique.add(kind)
        if asset is not None:
            asset.jobs_left += count
        put = partial(self._put, target, kind, count, asset, priority)
        if delay > 0:
            target.delayed += count
            self.at(self.now + delay, partial(self._end_delay, target, count, put))
        else:
            put()

    def fail(self, queue: str, count: int) -> None:
        """Add ``count`` failed jobs to a queue."""
        self.queues[queue].failed += count

    def clear_failed(self, queue: str) -> None:
        """Remove the failed jobs of a queue."""
        self.queues[queue].failed = 0

    def empty(self, queue: str) -> None:
        """Remove the waiting jobs of a queue; active and delayed jobs stay."""
        target = self.queues[queue]
        for job in target.remove_waiting():
            self._count_removed(target, job)

    def pause(self, queue: str, by: str = "") -> None:
        """Pause a queue; its active jobs continue. Observers receive ``by``, the client's name."""
        self._set_paused(queue, by, is_paused=True)

    def resume(self, queue: str, by: str = "") -> None:
        """Resume a queue. Observers receive ``by``, the client's name."""
        self._set_paused(queue, by, is_paused=False)
        self._start(self.queues[queue])

    def restart(self, downtime: float) -> None:
        """Kill Immich and start it again after ``downtime`` seconds.

        A restart during the downtime of another one extends it. Active jobs stall: they count as
        active until BullMQ detects that, 29 to 60 seconds later and not while Immich is down.
        Then they return to the front of the queue. A job that stalls a second time fails when a
        worker takes it, so not while its queue is paused. After the restart metadataExtraction is
        open and the other queues are as before (seen on Immich 3.1.0).
        """
        for queue in self.queues.values():
            if queue.running:
                stalled = queue, [*queue.running.values()]
                queue.running.clear()
                queue.stalled += len(stalled[1])
                self._stalled.append(stalled)
                detected = self.now + self._random.uniform(*STALL_DETECTION)
                self.at(detected, partial(self._return_stalled, stalled))
        self._load = 0.0
        self._boots_at = max(self._boots_at, self.now + downtime)
        self.at(self._boots_at, self._boot)
        if self.is_up:
            self.is_up = False
            self._notify(EventKind.DOWN)

    def detect_stalled(self) -> None:
        """Detect all stalled jobs now instead of half a minute after the kill."""
        for stalled in tuple(self._stalled):
            self._return_stalled(stalled)

    def _boot(self) -> None:
        """Start Immich, unless a later restart has postponed that."""
        if self.is_up or self.now < self._boots_at:
            return
        self.is_up = True
        self.boots += 1
        self._notify(EventKind.UP)
        self._set_paused(ENTRY, "immich", is_paused=False)
        postponed, self._after_boot = self._after_boot, []
        for action in postponed:
            action()
        for queue in self.queues.values():
            self._start(queue)

    def _put(
        self, queue: SimulatedQueue, kind: Kind, count: int, asset: Asset | None, priority: int
    ) -> None:
        """Add jobs that are ready to run."""
        if asset is None and not priority and count > 1:
            queue.put_bulk(kind, count)
        else:
            for _ in range(count):
                queue.put(Job(kind, asset), priority)
        self._start(queue)

    def _end_delay(self, queue: SimulatedQueue, count: int, put: Callable[[], None]) -> None:
        """Make delayed jobs ready. Immich does that, not Redis, so it waits until Immich runs."""
        if not self.is_up:
            self._after_boot.append(partial(self._end_delay, queue, count, put))
            return
        queue.delayed -= count
        put()

    def _return_stalled(self, stalled: tuple[SimulatedQueue, list[Job]]) -> None:
        """Return stalled jobs to the front of their queue, unless that has been done."""
        if stalled not in self._stalled:
            return
        if not self.is_up:
            self._after_boot.append(partial(self._return_stalled, stalled))
            return
        self._stalled.remove(stalled)
        queue, jobs = stalled
        queue.stalled -= len(jobs)
        for job in reversed(jobs):
            job.stalls += 1
            queue.put_back(job)
        self._start(queue)

    def _start(self, queue: SimulatedQueue) -> None:
        """Let the free workers of a queue take jobs."""
        while (
            not queue.is_paused
            and len(queue.running) < queue.concurrency
            and self.is_up
            and (job := queue.take()) is not None
        ):
            kind = job.kind
            if job.stalls > MAX_STALLS:
                queue.failed += 1
                queue.unique.discard(kind)
                continue
            self._load += kind.load
            share = max(1.0, self._load / CORES)
            jitter = 1.0 + JITTER * (2.0 * self._random.random() - 1.0)
            self._run(queue, job, (kind.wait + kind.cpu * share) * jitter)
            if self.observers:
                self._notify(EventKind.STARTED, queue.name)

    def _run(self, queue: SimulatedQueue, job: Job, seconds: float) -> None:
        """Keep a worker busy with a job for ``seconds``."""
        self._seq += 1
        queue.running[self._seq] = job
        heappush(self._events, (self.now + seconds, self._seq, queue, _no_action))

    def _finish(self, queue: SimulatedQueue, key: int) -> None:
        """Complete a job. The jobs that follow it are added first, as in Immich."""
        job = queue.running.get(key)
        if job is None:  # Its worker was killed.
            return
        kind = job.kind
        if kind.waits_for and any(self.queues[name].active for name in kind.waits_for):
            del queue.running[key]
            self._run(queue, job, RECHECK)
            return
        asset = job.asset
        if asset is not None and kind.makes_thumbnail:
            asset.thumbnail_done = self.now
        for name, following in kind.then:
            self.add(name, following, asset=asset)
        if kind.sometimes:
            self._completed[kind] += 1
            if self._completed[kind] % kind.every == 0:
                for name, following in kind.sometimes:
                    self.add(name, following, asset=asset)
        del queue.running[key]
        self._load -= kind.load
        self._count_removed(queue, job)
        if self.observers:
            self._notify(EventKind.COMPLETED, queue.name)
        self._start(queue)

    def _count_removed(self, queue: SimulatedQueue, job: Job) -> None:
        """Update the counters for a job that is completed or removed."""
        queue.unique.discard(job.kind)
        asset = job.asset
        if asset is not None:
            asset.jobs_left -= 1
            if not asset.jobs_left:
                asset.all_done = self.now

    def _set_paused(self, name: str, by: str, *, is_paused: bool) -> None:
        """Pause or resume a queue; notify the observers if that changed its state."""
        queue = self.queues[name]
        if queue.is_paused is not is_paused:
            queue.is_paused = is_paused
            self._notify(EventKind.PAUSED if is_paused else EventKind.RESUMED, name, by)

    def _notify(self, kind: EventKind, queue: str = "", by: str = "") -> None:
        """Notify the observers of an event at the current time."""
        event = Event(self.now, kind, queue, by)
        for observer in self.observers:
            observer(event)


def _no_action() -> None:
    """Serve as the action of the events that complete a job, which ``advance`` handles itself."""
