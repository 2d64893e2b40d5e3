"""The real daemon, client and scheduler against the simulated Immich, in virtual time."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Unpack

from immich_job_daemon.daemon.ledger import StateStore
from immich_job_daemon.daemon.loop import Daemon
from immich_job_daemon.immich.client import ImmichServer
from immich_job_daemon.immich.transport import Response
from immich_job_daemon.model.controls import Change
from immich_job_daemon.model.queue import PROTECTED
from immich_job_daemon.status.status import Status
from simulator.immich import KEY, simulated_immich
from simulator.immich.engine import Engine, Event, EventKind
from simulator.immich.pipeline import QUEUES, lasting
from simulator.immich.virtual_time import VirtualTransport
from simulator.worlds.virtual_daemon import (
    SettingOverrides,
    VirtualClient,
    VirtualDaemonClock,
    VirtualLedger,
    settings,
)

if TYPE_CHECKING:
    from simulator.immich.api import Api

DAEMON = "administrator"
"""As whom the daemon's key is known to the simulated Immich."""
PERSON = "person"
METADATA, THUMBNAIL, SEARCH, FACES, VIDEO = (
    "metadataExtraction",
    "thumbnailGeneration",
    "smartSearch",
    "faceDetection",
    "videoConversion",
)
MANAGED = tuple(name for name in QUEUES if name not in PROTECTED)


class Wire:
    """The line to the simulated Immich, and what went over it: reads, pauses, resumes, starts."""

    def __init__(self, transport: VirtualTransport) -> None:
        self.transport = transport
        self.sent: list[str] = []
        self.times: list[float] = []
        self.engine = transport._engine  # noqa: SLF001 - for the time alone
        self.arriving: Callable[[str], None] = lambda _: None
        self.instead: Callable[[str], Response | None] = lambda _: None

    def send(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float | None = None
    ) -> Response:
        request = self._named(method, path, body)
        self.sent.append(request)
        self.times.append(self.engine.now)
        self.arriving(request)
        return self.instead(request) or self.transport.send(method, path, body, timeout=timeout)

    def new_connection(self) -> "Wire":
        return self

    def close(self) -> None:
        pass

    def of(self, *verbs: str) -> list[str]:
        return [request for request in self.sent if request.split()[0] in verbs]

    def _named(self, method: str, path: str, body: bytes | None) -> str:
        if method == "GET":
            return f"GET {path}"
        text = (body or b"").decode()
        verb = "pause" if "true" in text or "pause" in text else "resume"
        return f"{'start' if 'start' in text else verb} {path.rpartition('/')[2]}"


class Scenario:
    """An Immich, a disk, and one daemon after the other.

    Args:
        ledger: instead of the disk.
        beside: the scene whose Immich this one's daemon works on as well.
        changes: settings that differ from the defaults.
    """

    def __init__(
        self,
        *,
        ledger: StateStore | None = None,
        beside: "Scenario | None" = None,
        **changes: Unpack[SettingOverrides],
    ) -> None:
        self.immich: tuple[Engine, Api] = beside.immich if beside else simulated_immich()
        self.engine, self.api = self.immich
        self.transport = VirtualTransport(self.engine, self.api, KEY)
        self.wire = Wire(self.transport)
        self.disk = VirtualLedger()
        self.ledger = ledger or self.disk
        self.settings = settings(**changes)
        self.published = list[Status]()
        self.take_changes: list[Change] = []
        self.is_over: Callable[[], bool] = lambda: False
        self.daemon = self.new_daemon()

    def new_daemon(self, server: Callable[[Wire], ImmichServer] = VirtualClient) -> Daemon:
        """Start a process anew: nothing but the ledger is left of the one before."""
        alarm = VirtualDaemonClock(self.engine, self._must_stop)
        self.daemon = Daemon(
            self.settings,
            server(self.wire),
            self.ledger,
            alarm,
            publish=self.published.append,
            take_changes=self._take,
        )
        return self.daemon

    def ask(self, *changes: Change) -> None:
        """Let a person ask for something on the page."""
        self.take_changes += changes

    def _take(self) -> list[Change]:
        taken, self.take_changes = self.take_changes, []
        return taken

    def _must_stop(self) -> bool:
        return self.is_over()

    def upload_at(self, when: float, photos: int) -> None:
        """Let someone upload photos at a time to come."""

        def upload() -> None:
            self.engine.upload(photos=photos)

        self.engine.at(when, upload)

    def run(self, until: Callable[[], bool], *, limit: float = 4 * 3600.0) -> None:
        """Run the daemon from its start until a condition holds, and let it stop."""
        end = self.engine.now + limit
        self.is_over = lambda: until() or self.engine.now > end
        try:
            self.daemon.run()
        finally:
            self.is_over = lambda: False
        assert self.engine.now <= end, "what was waited for did not happen"

    def run_for(self, seconds: float) -> None:
        end = self.engine.now + seconds
        self.run(lambda: self.engine.now >= end)

    def rounds(self, until: Callable[[], bool], *, limit: float = 3600.0) -> None:
        """Let the daemon, that is connected, do rounds until a condition holds."""
        end = self.engine.now + limit
        while not until():
            self.engine.advance(self.engine.now + self.daemon.round())
            assert self.engine.now <= end, "what was waited for did not happen"

    def backlog(self, *names: str, count: int = 20, seconds: float = 0.5) -> None:
        for name in names:
            self.engine.add(name, lasting(seconds), count=count)

    def pause_all(self, by: str = PERSON) -> None:
        for name in MANAGED:
            self.engine.pause(name, by=by)

    def paused(self) -> set[str]:
        return {name for name, queue in self.engine.queues.items() if queue.is_paused}


def order_of_starts(engine: Engine) -> list[str]:
    """Return a list that is filled with the queues in the order in which they begin to work."""
    order: list[str] = []

    def observe(event: Event) -> None:
        if event.kind is EventKind.STARTED and event.queue not in order:
            order.append(event.queue)

    engine.observers.append(observe)
    return order


def most_at_once(engine: Engine) -> Callable[[], int]:
    """Return what tells how many managed queues were busy at once, at most, from now on."""
    most = 0

    def observe(_: Event) -> None:
        nonlocal most
        most = max(most, sum(engine.queues[name].active > 0 for name in MANAGED))

    engine.observers.append(observe)
    return lambda: most


def problem_of(scenario: Scenario) -> str:
    problem = scenario.daemon.status.problem
    return "" if problem is None else problem.text
