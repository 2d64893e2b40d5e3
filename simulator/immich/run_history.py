"""The history of an engine: which queue ran when, how many at once, and the gaps between runs."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from simulator.immich.engine import Engine, Event, EventKind

JOB_EVENTS: Final = frozenset({EventKind.STARTED, EventKind.COMPLETED})


@dataclass(slots=True)
class QueueRun:
    """A span of time in which a queue had active jobs, in seconds on the engine's clock."""

    queue: str
    start: float
    end: float
    jobs: int = 0


class RunHistory:
    """Records the runs of an engine's queues.

    Args:
        engine: the engine to observe, from now on.
        ignored: queues to leave out, such as the protected ones.
    """

    def __init__(self, engine: Engine, ignored: Container[str] = ()) -> None:
        self.engine = engine
        self.ignored = ignored
        self.runs: list[QueueRun] = []
        self.most_at_once = 0
        self._running: dict[str, QueueRun] = {}
        self._latest: dict[str, QueueRun] = {}
        engine.observers.append(self._observe)

    def gaps(self) -> list[float]:
        """Return the seconds of each gap between two runs in which no queue ran."""
        gaps = []
        busy_until = None
        for run in sorted(self.runs, key=lambda run: run.start):
            if busy_until is not None and run.start > busy_until:
                gaps.append(run.start - busy_until)
            busy_until = run.end if busy_until is None else max(busy_until, run.end)
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
            run.end = event.time
            if not self.engine.queues[event.queue].active:
                del self._running[event.queue]

    def _begin(self, event: Event) -> QueueRun:
        """Begin a run, or continue the one that ended at this very moment."""
        run = self._latest.get(event.queue)
        if run is None or run.end < event.time:
            run = QueueRun(event.queue, event.time, event.time)
            self.runs.append(run)
        self._running[event.queue] = self._latest[event.queue] = run
        return run
