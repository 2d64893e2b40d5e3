"""DRY_RUN: the daemon decides and shows everything, and sends no command.

Each decision depends on the responses to the commands before it. So the commands are simulated:
whether a queue is paused is what the daemon's commands would have made of it; everything else is
what Immich reports.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from immich_job_daemon.base.errors import ImmichError
from immich_job_daemon.daemon.ledger import StateStore
from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.immich.client import Connection, ImmichServer
from immich_job_daemon.model.queue import Queue, Snapshot

log = logging.getLogger(__name__)


class DryRunServer:
    """A server that is polled but never changed."""

    def __init__(self, server: ImmichServer) -> None:
        self._server = server
        self._polled: dict[str, Queue] = {}
        self._paused: dict[str, bool] = {}

    def connect(self) -> Connection:
        """Connect to the real server."""
        return self._server.connect()

    def fetch_version(self) -> str:
        """Return Immich's version."""
        return self._server.fetch_version()

    def fetch_queues(self) -> Snapshot:
        """Return every queue, paused or open as the simulated commands left it."""
        self._polled = dict(self._server.fetch_queues())
        return {name: self._simulated(name) for name in self._polled}

    def pause(self, name: str) -> Queue:
        """Simulate pausing a queue."""
        self._paused[name] = True
        return self._simulated(name)

    def resume(self, name: str) -> Queue:
        """Simulate resuming a queue."""
        self._paused[name] = False
        return self._simulated(name)

    def start(self, name: str) -> Queue:
        """Simulate a scan that finds nothing."""
        return self._simulated(name)

    def resume_all(
        self, names: Iterable[str], *, within: float
    ) -> Mapping[str, ImmichError | None]:
        """Simulate resuming queues."""
        del within
        return dict.fromkeys(names)

    def _simulated(self, name: str) -> Queue:
        queue = self._polled[name]
        return replace(queue, is_paused=self._paused.get(name, queue.is_paused))


class ReadOnlyStore:
    """A store that is only read: the next real run must not take a simulated state for true."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def load(self) -> DaemonState | None:
        """Return the saved state; log which queues the previous run left paused."""
        state = self._store.load()
        if state is not None and state.scheduler.paused_by_daemon:
            log.warning(
                "An earlier run left these queues paused, and a dry run resumes nothing: %s. To "
                "resume them, run the command `release`.",
                ", ".join(sorted(state.scheduler.paused_by_daemon)),
            )
        return state

    def save(self, state: DaemonState) -> None:
        """Save nothing."""
