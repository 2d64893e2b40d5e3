"""Watches a simulated Immich: which queue ran when, and when work waited while none did."""

from collections.abc import Collection
from typing import Final, NamedTuple

from immich_job_daemon.model.queue import PROTECTED
from simulator.immich.engine import Engine, Event, EventKind
from simulator.immich.pipeline import QUEUES

MANAGED: Final = tuple(name for name in QUEUES if name not in PROTECTED)
"""The queues that count: those that this daemon runs unless it is told otherwise."""


class Span(NamedTuple):
    """A time, in seconds on the engine's clock, in which a queue had active jobs throughout."""

    queue: str
    start: float
    end: float


class Record:
    """What an engine's queues did, from its own events: no look of a client stands in between.

    It must be the engine's first observer. Jobs that are added from outside are no event:
    ``notice`` tells of them.

    Attributes:
        spans: which queue ran when, in the order of their ends.
        stalled: seconds in which work was ready and no queue ran.
        over: seconds in which more queues than the limit ran.
        handovers: seconds from the end of a queue's last job to the first job of another queue
            that waited then, for each time that happened while a slot was free.

    Args:
        engine: whose queues are watched.
        limit: how many may run at once.
        managed: the names of the queues that count.
    """

    def __init__(self, engine: Engine, limit: int, managed: Collection[str] = MANAGED) -> None:
        self.spans: list[Span] = []
        self.stalled = 0.0
        self.over = 0.0
        self.handovers: list[float] = []
        self._engine = engine
        self._limit = limit
        self._queues = {name: engine.queues[name] for name in managed}
        self._busy: dict[str, float] = {}
        self._stalled_since: float | None = None
        self._over_since: float | None = None
        self._drained: list[tuple[str, float]] = []
        engine.observers.append(self._observe)

    @property
    def last_end(self) -> float:
        """When the last queue stopped, in seconds on the engine's clock; 0 if none ever ran."""
        return self.spans[-1].end if self.spans else 0.0

    def notice(self) -> None:
        """Take note of jobs that were added just now from outside."""
        if not self._busy and self._stalled_since is None and self._is_waiting():
            self._stalled_since = self._engine.now

    def _observe(self, event: Event) -> None:
        if event.queue not in self._queues:
            return
        if event.kind is EventKind.STARTED:
            if event.queue not in self._busy:
                self._begin(event.queue, event.time)
        elif event.kind is EventKind.COMPLETED:
            queue = self._queues[event.queue]
            # With a backlog and open, it starts the next job at this very moment.
            if not queue.active and (queue.is_paused or not queue.ready):
                self._end(event.queue, event.time)

    def _begin(self, name: str, now: float) -> None:
        self._busy[name] = now
        if self._stalled_since is not None:
            self.stalled += now - self._stalled_since
            self._stalled_since = None
        if self._over_since is None and len(self._busy) > self._limit:
            self._over_since = now
        if self._drained:
            before, since = self._drained.pop(0)
            # One that goes on after a moment without jobs has handed nothing over.
            if before != name:
                self.handovers.append(now - since)
            if not self._is_waiting():
                self._drained.clear()

    def _end(self, name: str, now: float) -> None:
        self.spans.append(Span(name, self._busy.pop(name), now))
        if self._over_since is not None and len(self._busy) <= self._limit:
            self.over += now - self._over_since
            self._over_since = None
        if self._is_waiting():
            if not self._busy:
                self._stalled_since = now
            if len(self._busy) < self._limit and not self._queues[name].ready:
                self._drained.append((name, now))

    def _is_waiting(self) -> bool:
        """Return whether a queue that does not run has jobs ready to."""
        return any(queue.ready and name not in self._busy for name, queue in self._queues.items())
