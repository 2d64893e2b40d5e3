"""Clock, ledger and client of a daemon that may be killed at any request, write and wait."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from immich_job_daemon.base.errors import ImmichError
from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.immich.apis import APIS
from immich_job_daemon.immich.transport import Response
from immich_job_daemon.model.queue import Snapshot
from simulator.worlds.virtual_daemon import VirtualClient, VirtualDaemonClock, VirtualLedger

if TYPE_CHECKING:
    from simulator.worlds.world import World

_PAUSES: Final = frozenset(api.pause_body(paused=True) for api in APIS)


class CrashingClient(VirtualClient):
    """The client. The limit does not apply while it resumes all queues at the end."""

    def __init__(self, world: "World") -> None:
        super().__init__(CrashingTransport(world))
        self.world = world

    def fetch_queues(self) -> Snapshot:
        """Poll; queues that others resumed before that are known now, so they count."""
        resumed = set(self.world.judge.resumed_by_others)
        snapshot = super().fetch_queues()
        self.world.judge.resumed_by_others -= resumed
        return snapshot

    def resume_all(self, names: Iterable[str], *, within: float) -> dict[str, ImmichError | None]:
        """Resume the queues; from now on the limit does not apply."""
        self.world.is_releasing = True
        return super().resume_all(names, within=within)


class CrashingTransport:
    """The transport; any request may kill the daemon."""

    def __init__(self, world: "World") -> None:
        self.world = world

    def send(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float | None = None
    ) -> Response:
        """Send one request, unless the daemon is killed."""
        if method == "PUT":
            name = path.rpartition("/")[2]
            self.world.in_flight = name
            if body in _PAUSES:
                self.world.judge.forgive_resume(name)
        try:
            return self.world.perform_io(
                lambda: self.world.transport.send(method, path, body, timeout=timeout)
            )
        finally:
            self.world.in_flight = None

    def new_connection(self) -> "CrashingTransport":
        """Return this transport: there are no connections in virtual time."""
        return self

    def close(self) -> None:
        """Do nothing: there are no connections in virtual time."""


class CrashingLedger(VirtualLedger):
    """The ledger; any write may kill the daemon. The world keeps its text across crashes."""

    def __init__(self, world: "World") -> None:
        super().__init__()
        self.world = world

    def load(self) -> DaemonState | None:
        """Return the state that the world keeps."""
        return self.world.ledger.load()

    def save(self, state: DaemonState) -> None:
        """Save the state, unless the daemon is killed."""
        self.world.perform_io(lambda: self.world.ledger.save(state))


class CrashingClock(VirtualDaemonClock):
    """The clock; any wait may kill the daemon."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.engine, world.should_stop)
        self.world = world

    def sleep(self, seconds: float) -> None:
        """Advance the engine, unless the daemon is killed."""
        self.world.perform_io(lambda: super(CrashingClock, self).sleep(seconds))
