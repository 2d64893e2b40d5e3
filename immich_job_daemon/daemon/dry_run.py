"""DRY_RUN: everything is decided and shown, and no command is sent.

What is decided next depends on what came of the commands before. So they are carried out in
pretence: whether a queue is paused is what the daemon would have made of it, all else is real.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from immich_job_daemon.base.errors import ImmichError
from immich_job_daemon.daemon.ledger import Kept
from immich_job_daemon.immich.server import Connected, Server
from immich_job_daemon.model.queue import Queue, Snapshot
from immich_job_daemon.scheduler.state import Memory

log = logging.getLogger(__name__)


class Rehearsal:
    """A server that is looked at and not touched.

    Args:
        server: the real one.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seen: dict[str, Queue] = {}
        self._paused: dict[str, bool] = {}

    def connect(self) -> Connected:
        """Find out how to speak to the server."""
        return self._server.connect()

    def tell_version(self) -> str:
        """Return Immich's version."""
        return self._server.tell_version()

    def look(self) -> Snapshot:
        """Return every queue, paused or open as the daemon would have made it."""
        self._seen = dict(self._server.look())
        return {name: self._pretended(name) for name in self._seen}

    def pause(self, name: str) -> Queue:
        """Pretend to pause a queue."""
        self._paused[name] = True
        return self._pretended(name)

    def resume(self, name: str) -> Queue:
        """Pretend to resume a queue."""
        self._paused[name] = False
        return self._pretended(name)

    def start(self, name: str) -> Queue:
        """Pretend to let a queue look for what is missing: nothing is."""
        return self._pretended(name)

    def resume_all(
        self, names: Iterable[str], *, within: float
    ) -> Mapping[str, ImmichError | None]:
        """Pretend to resume queues."""
        del within
        return dict.fromkeys(names)

    def _pretended(self, name: str) -> Queue:
        queue = self._seen[name]
        return replace(queue, is_paused=self._paused.get(name, queue.is_paused))


class OnlyRead:
    """A ledger from which is read and into which nothing is written.

    Args:
        ledger: the real one.
    """

    def __init__(self, ledger: Kept) -> None:
        self._ledger = ledger

    def load(self) -> Memory | None:
        """Return what was kept, and say what an earlier run left paused."""
        memory = self._ledger.load()
        if memory is not None and memory.held:
            log.warning(
                "An earlier run left paused, and a rehearsal resumes nothing: %s. To resume them, "
                "run the command `release`.",
                ", ".join(sorted(memory.held)),
            )
        return memory

    def save(self, memory: Memory) -> None:
        """Keep nothing: what is pretended must not be taken for true by the next run."""
