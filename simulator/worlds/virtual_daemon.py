"""The real daemon in virtual time: only the clock, the disk and the wire are stand-ins."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Final, TypedDict, TypeVar, Unpack

from immich_job_daemon.base.clock import StopRequested
from immich_job_daemon.base.errors import ImmichError
from immich_job_daemon.config.schema import read_settings
from immich_job_daemon.daemon.ledger import decode, durable_fields, encode
from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.immich.client import ImmichClient
from immich_job_daemon.model.settings import OnExit, Scan, Settings
from immich_job_daemon.model.windows import Window
from simulator.immich import KEY
from simulator.immich.engine import Engine
from simulator.immich.virtual_time import VirtualClock

EPOCH: Final = 1_795_000_000.0
"""When an engine's time begins, in seconds since 1970."""


_T = TypeVar("_T")


_DEFAULTS, _ = read_settings({"API_KEY": KEY, "IMMICH_URL": "http://simulated"}, None)


class Changes(TypedDict, total=False):
    """Settings that differ from the defaults."""

    max_concurrent_jobs: int
    poll_interval: float
    queue_priority: tuple[str, ...]
    protected_queues: frozenset[str]
    unrestricted_below: int
    on_exit: OnExit
    schedule: tuple[Window, ...]
    exclusive: tuple[frozenset[str], ...]
    yield_after: float | None
    max_wait: float | None
    pause_above_load: float | None
    scan: Scan | None


def settings(**changes: Unpack[Changes]) -> Settings:
    """Return the default settings with these changes."""
    return replace(_DEFAULTS, **changes)


class VirtualDaemonClock(VirtualClock):
    """The loop's clock on an engine's time: waiting is free, and ends when ``is_over`` says so."""

    def __init__(self, engine: Engine, is_over: Callable[[], bool] = lambda: False) -> None:
        super().__init__(engine)
        self.is_over = is_over
        self.zone: tzinfo = UTC

    def time(self) -> float:
        """Return the seconds since 1970 in a world that began in November 2026."""
        return EPOCH + self.monotonic()

    def local(self) -> datetime:
        """Return the time of the wall clock in the zone of this world."""
        return datetime.fromtimestamp(self.time(), self.zone)

    def wait(self, seconds: float) -> None:
        """Let the engine's time pass, or raise StopRequested."""
        if self.is_over():
            raise StopRequested
        self.sleep(seconds)
        if self.is_over():
            raise StopRequested

    def run_interruptibly(self, work: Callable[[], _T], *, grace: float = 0.0) -> _T:
        """Do the work: in virtual time nobody asks in the middle of a request."""
        del grace
        return work()


class VirtualLedger:
    """A ledger on a disk that is a variable; its text is the real one's."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.writes = 0
        self._written: tuple[dict[str, object], str | None] | None = None

    @property
    def paused_by_daemon(self) -> frozenset[str]:
        """The queues that the disk says are held."""
        return frozenset() if self.text is None else decode(self.text).scheduler.paused_by_daemon

    def load(self) -> DaemonState | None:
        """Return what is kept."""
        return None if self.text is None else decode(self.text)

    def save(self, state: DaemonState) -> None:
        """Keep what is to be kept."""
        new = durable_fields(state)
        if self._written != (new, self.text):
            self.text = encode(state)
            self._written = new, self.text
            self.writes += 1


class VirtualClient(ImmichClient):
    """The real client; its one use of threads is made one request after another."""

    def resume_all(self, names: Iterable[str], *, within: float) -> dict[str, ImmichError | None]:
        """Resume the queues in turn: on a virtual clock threads would make luck of the order."""
        del within  # Virtual time has no deadline to miss that a test does not set itself.
        results: dict[str, ImmichError | None] = {}
        for name in names:
            try:
                self.resume(name)
            except ImmichError as error:
                results[name] = error
            else:
                results[name] = None
        return results
