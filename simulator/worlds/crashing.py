"""The outside of a daemon that may be killed at any request, any write and any wait."""

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

_PAUSES: Final = frozenset(api.body(paused=True) for api in APIS)


class CrashingClient(VirtualClient):
    """The client; while all held queues are resumed at the end there is no limit."""

    def __init__(self, world: "World") -> None:
        super().__init__(CrashingTransport(world))
        self.world = world

    def fetch_queues(self) -> Snapshot:
        """Look; what others opened before that is known from now on, so it counts."""
        opened = set(self.world.judge.opened_by_others)
        snapshot = super().fetch_queues()
        self.world.judge.opened_by_others -= opened
        return snapshot

    def resume_all(self, names: Iterable[str], *, within: float) -> dict[str, ImmichError | None]:
        """Resume the queues; from then on there is no limit."""
        self.world.is_releasing = True
        return super().resume_all(names, within=within)


class CrashingTransport:
    """The transport, with the daemon's death at any request."""

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
                self.world.judge.excuse(name)
        try:
            return self.world.io(
                lambda: self.world.transport.send(method, path, body, timeout=timeout)
            )
        finally:
            self.world.in_flight = None

    def new_connection(self) -> "CrashingTransport":
        """Return this line: a connection costs nothing here."""
        return self

    def close(self) -> None:
        """Do nothing: there is no connection."""


class CrashingLedger(VirtualLedger):
    """The ledger, with the daemon's death at any write; the text stays the world's."""

    def __init__(self, world: "World") -> None:
        super().__init__()
        self.world = world

    def load(self) -> DaemonState | None:
        """Return what the world kept."""
        return self.world.ledger.load()

    def save(self, state: DaemonState) -> None:
        """Keep it, unless the daemon is killed."""
        self.world.io(lambda: self.world.ledger.save(state))


class CrashingClock(VirtualDaemonClock):
    """The clock, with the daemon's death while it waits."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.engine, world.must_stop)
        self.world = world

    def sleep(self, seconds: float) -> None:
        """Let time pass, unless the daemon is killed."""
        self.world.io(lambda: super(CrashingClock, self).sleep(seconds))
