"""Stand-ins that run the real daemon in virtual time: its clock, its ledger and its client."""

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
"""Unix time at which an engine's clock is 0: in November 2026."""

_T = TypeVar("_T")

_DEFAULTS, _ = read_settings({"API_KEY": KEY, "IMMICH_URL": "http://simulated"}, None)


class SettingOverrides(TypedDict, total=False):
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


def settings(**overrides: Unpack[SettingOverrides]) -> Settings:
    """Return the default settings with these overrides."""
    return replace(_DEFAULTS, **overrides)


class VirtualDaemonClock(VirtualClock):
    """The daemon's clock in virtual time. Waiting raises StopRequested when ``is_over`` is true."""

    def __init__(self, engine: Engine, is_over: Callable[[], bool] = lambda: False) -> None:
        super().__init__(engine)
        self.is_over = is_over
        self.zone: tzinfo = UTC

    def time(self) -> float:
        """Return the Unix time of the simulation."""
        return EPOCH + self.monotonic()

    def local(self) -> datetime:
        """Return the local time of the simulation."""
        return datetime.fromtimestamp(self.time(), self.zone)

    def wait(self, seconds: float) -> None:
        """Advance the engine, or raise StopRequested."""
        if self.is_over():
            raise StopRequested
        self.sleep(seconds)
        if self.is_over():
            raise StopRequested

    def run_interruptibly(self, work: Callable[[], _T], *, grace: float = 0.0) -> _T:
        """Do the work: in virtual time no signal arrives during a request."""
        del grace
        return work()


class VirtualLedger:
    """A ledger in memory; ``text`` is what the real one would write to its file."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.writes = 0
        self._written: tuple[dict[str, object], str | None] | None = None

    @property
    def paused_by_daemon(self) -> frozenset[str]:
        """The queues that are paused by the daemon according to ``text``."""
        return frozenset() if self.text is None else decode(self.text).scheduler.paused_by_daemon

    def load(self) -> DaemonState | None:
        """Return the saved state."""
        return None if self.text is None else decode(self.text)

    def save(self, state: DaemonState) -> None:
        """Save the state if its durable fields have changed, as the real ledger does."""
        new = durable_fields(state)
        if self._written != (new, self.text):
            self.text = encode(state)
            self._written = new, self.text
            self.writes += 1


class VirtualClient(ImmichClient):
    """The real client without threads."""

    def resume_all(self, names: Iterable[str], *, within: float) -> dict[str, ImmichError | None]:
        """Resume the queues in sequence: with threads the order would be random."""
        del within  # In sequence, each request has its own timeout.
        results: dict[str, ImmichError | None] = {}
        for name in names:
            try:
                self.resume(name)
            except ImmichError as error:
                results[name] = error
            else:
                results[name] = None
        return results
