"""The ideal: the daemon's priorities and its limit, with perfect knowledge and no delay at all."""

from collections.abc import Iterable
from typing import Final

from benchmark.record import MANAGED
from immich_job_daemon.model.queue import PRIORITY
from simulator.immich.engine import Engine, Event, EventKind

ORDER: Final = (*PRIORITY, *(name for name in MANAGED if name not in PRIORITY))
"""The queues by priority: the named ones, then Immich's own order."""


class Ideal:
    """Passes a slot on at the very instant at which its queue is drained.

    It reads the engine itself, and asks nobody. A queue keeps its slot until it is drained; a
    free slot goes to the first queue by priority that has a backlog, also while others run.

    Args:
        engine: whose queues it runs; it pauses them at once.
        limit: how many may run at once.
        order: the names of the queues, best first.
    """

    def __init__(self, engine: Engine, limit: int, order: Iterable[str] = ORDER) -> None:
        self._engine = engine
        self._limit = limit
        self._queues = {name: engine.queues[name] for name in order}
        self._slots: set[str] = set()
        for name in self._queues:
            engine.pause(name)
        engine.observers.append(self._observe)

    def notice(self) -> None:
        """Take note of jobs that were added just now from outside."""
        self._pass_on()

    def _observe(self, event: Event) -> None:
        # What a job leads to was added just before its end.
        if event.kind is EventKind.COMPLETED:
            queue = self._engine.queues[event.queue]
            if len(self._slots) < self._limit or not (queue.active or queue.ready):
                self._pass_on()

    def _pass_on(self) -> None:
        for name in tuple(self._slots):
            queue = self._queues[name]
            if not (queue.active or queue.ready):
                self._slots.remove(name)
                self._engine.pause(name)
        for name, queue in self._queues.items():
            if len(self._slots) >= self._limit:
                return
            if queue.ready and name not in self._slots:
                self._slots.add(name)
                self._engine.resume(name)
