"""What happened in an engine: which queue ran when, how many at once, and the gaps between them."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from simulator.immich.engine import Engine, Event, EventKind

JOB_EVENTS: Final = frozenset({EventKind.STARTED, EventKind.COMPLETED})


@dataclass(slots=True)
class Run:
    """One stretch of time in which a queue had active jobs; seconds of the engine's clock."""

    queue: str
    began: float
    ended: float
    jobs: int = 0


class RunHistory:
    """Writes down the runs of an engine's queues, from now on.

    Args:
        engine: what to watch.
        ignored: queues that count for nothing, such as the protected ones.
    """

    def __init__(self, engine: Engine, ignored: Container[str] = ()) -> None:
        self.engine = engine
        self.ignored = ignored
        self.runs: list[Run] = []
        self.most_at_once = 0
        self._running: dict[str, Run] = {}
        self._latest: dict[str, Run] = {}
        engine.observers.append(self._observe)

    def gaps(self) -> list[float]:
        """Return the seconds between one run's end and the next one's begin, nothing running."""
        gaps = []
        busy_until = None
        for run in sorted(self.runs, key=lambda run: run.began):
            if busy_until is not None and run.began > busy_until:
                gaps.append(run.began - busy_until)
            busy_until = run.ended if busy_until is None else max(busy_until, run.ended)
        return gaps

    def _observe(self, event: Event) -> None:
        if event.kind not in JOB_EVENTS or event.queue in self.ignored:
            return
        run = self._running.get(event.queue)
        if event.kind is EventKind.STARTED:
            if run is None:
                run = self._begin(event)
                self.most_at_once = max(self.most_at_once, len(self._running))
            run.jobs += 1
        elif run is not None:
            run.ended = event.time
            if not self.engine.queues[event.queue].active:
                del self._running[event.queue]

    def _begin(self, event: Event) -> Run:
        """Begin a run, or go on with the one that ended at this very moment."""
        run = self._latest.get(event.queue)
        if run is None or run.ended < event.time:
            run = Run(event.queue, event.time, event.time)
            self.runs.append(run)
        self._running[event.queue] = self._latest[event.queue] = run
        return run
