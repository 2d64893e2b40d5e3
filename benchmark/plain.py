"""The plain algorithm: the shell daemon that people use today.

Each round it looks at all queues. If any has active jobs, the first N of these by priority go on;
if none has, the first N that have work. It resumes those and pauses all others, and sends a
command only where it differs from the last one that it sent itself.
"""

from typing import Final, Protocol

from immich_job_daemon.model.queue import PRIORITY, Queue, Snapshot, by_priority

EVERY: Final = 10.0
"""Seconds that it sleeps between two rounds, by default."""

ROUND: Final = 1.2
"""Seconds that a round takes besides: it starts hundreds of processes.

Follows from what was measured of it on Immich 3.1.0: one photo is done after seven rounds and
the rest of another, 83 to 90 s with its default of 10 s, 17.5 to 17.9 s with a sleep of one.
"""


class ImmichServer(Protocol):
    """What it needs of an Immich server."""

    def fetch_queues(self) -> Snapshot:
        """Return every queue as it is now."""
        ...

    def pause(self, name: str) -> Queue:
        """Pause a queue."""
        ...

    def resume(self, name: str) -> Queue:
        """Resume a queue."""
        ...


class Clock(Protocol):
    """How it waits."""

    def wait(self, seconds: float) -> None:
        """Let time pass; raises StopRequested at the end."""
        ...


class Plain:
    """The plain algorithm on one server.

    Args:
        server: the Immich server.
        clock: how it waits.
        limit: how many queues may run at once.
        every: seconds between the end of a round and the next.
        takes: seconds of a round between its look and its commands.
    """

    def __init__(
        self,
        server: ImmichServer,
        clock: Clock,
        limit: int,
        *,
        every: float = EVERY,
        takes: float = ROUND,
    ) -> None:
        self._server = server
        self._clock = clock
        self._limit = limit
        self._every = every
        self._takes = takes
        self._is_open: dict[str, bool] = {}

    def run(self) -> None:
        """Run rounds until the clock raises StopRequested."""
        while True:
            self.round()
            self._clock.wait(self._every)

    def round(self) -> None:
        """Look, choose, and send what differs from what was sent before."""
        queues = by_priority(self._server.fetch_queues(), PRIORITY)
        self._clock.wait(self._takes)
        chosen = [queue.name for queue in queues if queue.is_busy]
        chosen = chosen or [queue.name for queue in queues if queue.backlog]
        chosen = chosen[: self._limit]
        for name in chosen:
            self._set(name, is_open=True)
        for queue in queues:
            if queue.name not in chosen:
                self._set(queue.name, is_open=False)

    def _set(self, name: str, *, is_open: bool) -> None:
        if self._is_open.get(name) is is_open:
            return
        self._is_open[name] = is_open
        if is_open:
            self._server.resume(name)
        else:
            self._server.pause(name)
