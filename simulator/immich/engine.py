"""The queues of an Immich that does not exist: jobs, workers, pauses and restarts, event by event.

The engine knows no HTTP and no real time: whoever owns it moves its clock with ``advance``.

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

STALLED: Final = (29.0, 60.0)
"""Seconds after a kill at which BullMQ notices the jobs in flight (seen on Immich 3.1.0)."""

KILLS: Final = 1
"""A job whose worker was killed more often fails when its turn comes (BullMQ's default)."""

JITTER: Final = 0.05
"""The share by which a job's duration varies, up and down."""


class Engine:
    """All queues of one Immich, on a clock of its own. The same seed gives the same life.

    Args:
        bullmq: 5 counts a paused queue's ready jobs as paused, 6 leaves them waiting.
        seed: of the jitter of durations and of the moment at which stalled jobs are noticed.
        start: the clock's first time, in seconds.
        concurrency: jobs at once, by queue, where Immich's defaults are not wanted.
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
        self._turns: Counter[Kind] = Counter()
        self._boots_at = start
        self._after_boot: list[Callable[[], None]] = []
        self._stalled: list[tuple[SimulatedQueue, list[Job]]] = []

    @property
    def is_idle(self) -> bool:
        """Whether no queue has anything active, ready, prioritized or delayed."""
        return all(queue.is_empty for queue in self.queues.values())

    def next_event(self) -> float | None:
        """Return when something happens next, in seconds on this clock, or None: nothing will."""
        return self._events[0][0] if self._events else None

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Run ``action`` when the clock reaches ``when``; at the next advance if that is past."""
        self._seq += 1
        heappush(self._events, (when, self._seq, None, action))

    def advance(self, to: float) -> None:
        """Run everything due up to and including ``to``, in order, and set the clock to it."""
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
        """Advance until no job is left or nothing more happens, at most ``limit`` seconds.

        Returns:
            the clock's time then.
        """
        end = self.now + limit
        while not self.is_idle and (when := self.next_event()) is not None and when <= end:
            self.advance(when)
        return self.now

    def upload(self, photos: int = 0, videos: int = 0) -> list[Asset]:
        """Let someone upload photos, then videos, all at this moment; return them."""
        first = len(self.assets)
        for number in range(first, first + photos + videos):
            asset = Asset(number, is_video=number >= first + photos, uploaded=self.now)
            self.assets.append(asset)
            self.add(ENTRY, VIDEO if asset.is_video else PHOTO, asset=asset)
        return self.assets[first:]

    def reindex(self, queue: str, count: int) -> None:
        """Add what "run on all assets" of this queue adds for ``count`` assets."""
        self.add(queue, REINDEX[queue], count=count)

    def add(  # noqa: PLR0913 - everything that BullMQ lets one say of a new job
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
            queue: its name.
            kind: what each of them does and costs.
            count: how many.
            asset: whose jobs they are; it is all done when none of its jobs is left.
            delay: seconds until they are ready to run.
            priority: 0 for none; the smallest other number runs first.
        """
        place = self.queues[queue]
        if kind.is_single:
            if kind in place.single:
                return
            place.single.add(kind)
        if asset is not None:
            asset.jobs_left += count
        put = partial(self._put, place, kind, count, asset, priority)
        if delay > 0:
            place.delayed += count
            self.at(self.now + delay, partial(self._due, place, count, put))
        else:
            put()

    def fail(self, queue: str, count: int) -> None:
        """Put so many jobs among the failed ones of a queue."""
        self.queues[queue].failed += count

    def clear_failed(self, queue: str) -> None:
        """Forget a queue's failed jobs."""
        self.queues[queue].failed = 0

    def empty(self, queue: str) -> None:
        """Drop a queue's jobs that wait for their turn; active and delayed ones stay."""
        place = self.queues[queue]
        for job in place.drop_waiting():
            self._forget(place, job)

    def pause(self, queue: str, by: str = "") -> None:
        """Start no more jobs of this queue; those that run go on. ``by`` is for observers."""
        self._set_paused(queue, by, is_paused=True)

    def resume(self, queue: str, by: str = "") -> None:
        """Run this queue's jobs again. ``by`` is for observers."""
        self._set_paused(queue, by, is_paused=False)
        self._start(self.queues[queue])

    def restart(self, downtime: float) -> None:
        """Kill Immich; it is back after ``downtime`` seconds, later if it was away already.

        Jobs in flight stay counted as active until BullMQ notices, 29 to 60 seconds later and
        not while Immich is away; then they wait again, first in the line. A job to which that
        happens a second time fails as soon as a worker takes it: not while its queue is
        paused. metadataExtraction comes back open, the other queues as they were (seen on Immich
        3.1.0).
        """
        for queue in self.queues.values():
            if queue.running:
                stalled = queue, [*queue.running.values()]
                queue.running.clear()
                queue.ghosts += len(stalled[1])
                self._stalled.append(stalled)
                noticed = self.now + self._random.uniform(*STALLED)
                self.at(noticed, partial(self._notice, stalled))
        self._load = 0.0
        self._boots_at = max(self._boots_at, self.now + downtime)
        self.at(self._boots_at, self._boot)
        if self.is_up:
            self.is_up = False
            self._tell(EventKind.DOWN)

    def notice(self) -> None:
        """Let BullMQ notice the jobs in flight at the last kills now, not half a minute later."""
        for stalled in tuple(self._stalled):
            self._notice(stalled)

    def _boot(self) -> None:
        """Come back, unless a later restart moved that moment."""
        if self.is_up or self.now < self._boots_at:
            return
        self.is_up = True
        self.boots += 1
        self._tell(EventKind.UP)
        self._set_paused(ENTRY, "immich", is_paused=False)
        postponed, self._after_boot = self._after_boot, []
        for action in postponed:
            action()
        for queue in self.queues.values():
            self._start(queue)

    def _put(
        self, queue: SimulatedQueue, kind: Kind, count: int, asset: Asset | None, priority: int
    ) -> None:
        """Make jobs ready to run."""
        if asset is None and not priority and count > 1:
            queue.put_bulk(kind, count)
        else:
            for _ in range(count):
                queue.put(Job(kind, asset), priority)
        self._start(queue)

    def _due(self, queue: SimulatedQueue, count: int, put: Callable[[], None]) -> None:
        """Make delayed jobs ready: a running Immich does that, not BullMQ's store."""
        if not self.is_up:
            self._after_boot.append(partial(self._due, queue, count, put))
            return
        queue.delayed -= count
        put()

    def _notice(self, stalled: tuple[SimulatedQueue, list[Job]]) -> None:
        """Let jobs wait again whose worker was killed, unless that was noticed already."""
        if stalled not in self._stalled:
            return
        if not self.is_up:
            self._after_boot.append(partial(self._notice, stalled))
            return
        self._stalled.remove(stalled)
        queue, jobs = stalled
        queue.ghosts -= len(jobs)
        for job in reversed(jobs):
            job.kills += 1
            queue.put_back(job)
        self._start(queue)

    def _start(self, queue: SimulatedQueue) -> None:
        """Let free workers of a queue take what is ready."""
        while (
            not queue.is_paused
            and len(queue.running) < queue.concurrency
            and self.is_up
            and (job := queue.take()) is not None
        ):
            kind = job.kind
            if job.kills > KILLS:
                queue.failed += 1
                queue.single.discard(kind)
                continue
            self._load += kind.load
            share = max(1.0, self._load / CORES)
            jitter = 1.0 + JITTER * (2.0 * self._random.random() - 1.0)
            self._run(queue, job, (kind.wait + kind.cpu * share) * jitter)
            if self.observers:
                self._tell(EventKind.STARTED, queue.name)

    def _run(self, queue: SimulatedQueue, job: Job, seconds: float) -> None:
        """Let a worker be busy with a job for so long."""
        self._seq += 1
        queue.running[self._seq] = job
        heappush(self._events, (self.now + seconds, self._seq, queue, _nothing))

    def _finish(self, queue: SimulatedQueue, key: int) -> None:
        """Complete a job: what follows it is added first, as Immich does."""
        job = queue.running.get(key)
        if job is None:  # its worker was killed
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
            self._turns[kind] += 1
            if self._turns[kind] % kind.every == 0:
                for name, following in kind.sometimes:
                    self.add(name, following, asset=asset)
        del queue.running[key]
        self._load -= kind.load
        self._forget(queue, job)
        if self.observers:
            self._tell(EventKind.COMPLETED, queue.name)
        self._start(queue)

    def _forget(self, queue: SimulatedQueue, job: Job) -> None:
        """Count a job that is no more."""
        queue.single.discard(job.kind)
        asset = job.asset
        if asset is not None:
            asset.jobs_left -= 1
            if not asset.jobs_left:
                asset.all_done = self.now

    def _set_paused(self, name: str, by: str, *, is_paused: bool) -> None:
        """Pause or resume, and tell of it if that changed anything."""
        queue = self.queues[name]
        if queue.is_paused is not is_paused:
            queue.is_paused = is_paused
            self._tell(EventKind.PAUSED if is_paused else EventKind.RESUMED, name, by)

    def _tell(self, kind: EventKind, queue: str = "", by: str = "") -> None:
        """Tell the observers what happened just now."""
        event = Event(self.now, kind, queue, by)
        for observer in self.observers:
            observer(event)


def _nothing() -> None:
    """Stand for the action of an event that is the end of a job."""
