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
"""The name of the daemon's API key in the simulated Immich."""
USER = "user"
METADATA, THUMBNAIL, SEARCH, FACES, VIDEO = (
    "metadataExtraction",
    "thumbnailGeneration",
    "smartSearch",
    "faceDetection",
    "videoConversion",
)
MANAGED = tuple(name for name in QUEUES if name not in PROTECTED)


class RecordingTransport:
    """A transport to the simulated Immich that records each request.

    A request is recorded as ``GET <path>`` or as ``pause``, ``resume`` or ``start`` with the name
    of the queue.

    Attributes:
        sent: the requests, in order.
        times: when each was sent, in virtual time.
        before_request: is called with each request before it is sent.
        replace_response: may return a response; the request is then not sent.
    """

    def __init__(self, transport: VirtualTransport) -> None:
        self.transport = transport
        self.sent: list[str] = []
        self.times: list[float] = []
        self.engine = transport._engine  # noqa: SLF001 - for the time alone
        self.before_request: Callable[[str], None] = lambda _: None
        self.replace_response: Callable[[str], Response | None] = lambda _: None

    def send(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float | None = None
    ) -> Response:
        request = self._named(method, path, body)
        self.sent.append(request)
        self.times.append(self.engine.now)
        self.before_request(request)
        return self.replace_response(request) or self.transport.send(
            method, path, body, timeout=timeout
        )

    def new_connection(self) -> "RecordingTransport":
        return self

    def close(self) -> None:
        pass

    def of(self, *verbs: str) -> list[str]:
        """Return the requests with one of the verbs."""
        return [request for request in self.sent if request.split()[0] in verbs]

    def _named(self, method: str, path: str, body: bytes | None) -> str:
        if method == "GET":
            return f"GET {path}"
        text = (body or b"").decode()
        verb = "pause" if "true" in text or "pause" in text else "resume"
        return f"{'start' if 'start' in text else verb} {path.rpartition('/')[2]}"


class Scenario:
    """A simulated Immich, a ledger, and one daemon after another.

    Args:
        ledger: replaces the virtual ledger.
        beside: a scenario whose Immich this scenario's daemon shares.
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
        self.recorder = RecordingTransport(self.transport)
        self.disk = VirtualLedger()
        self.ledger = ledger or self.disk
        self.settings = settings(**changes)
        self.published = list[Status]()
        self.pending_changes: list[Change] = []
        self.must_stop: Callable[[], bool] = lambda: False
        self.daemon = self.new_daemon()

    def new_daemon(
        self, server: Callable[[RecordingTransport], ImmichServer] = VirtualClient
    ) -> Daemon:
        """Replace the daemon by a new one, which shares only the ledger with the old one."""
        clock = VirtualDaemonClock(self.engine, self._must_stop)
        self.daemon = Daemon(
            self.settings,
            server(self.recorder),
            self.ledger,
            clock,
            publish=self.published.append,
            take_changes=self._take_changes,
        )
        return self.daemon

    def request_changes(self, *changes: Change) -> None:
        """Request changes, as a user does on the page."""
        self.pending_changes += changes

    def _take_changes(self) -> list[Change]:
        taken, self.pending_changes = self.pending_changes, []
        return taken

    def _must_stop(self) -> bool:
        return self.must_stop()

    def upload_at(self, when: float, photos: int) -> None:
        """Schedule an upload at a virtual time."""

        def upload() -> None:
            self.engine.upload(photos=photos)

        self.engine.at(when, upload)

    def run(self, until: Callable[[], bool], *, limit: float = 4 * 3600.0) -> None:
        """Run the daemon from its start until a condition holds, and stop it.

        ``limit`` is the timeout, in virtual seconds.
        """
        end = self.engine.now + limit
        self.must_stop = lambda: until() or self.engine.now > end
        try:
            self.daemon.run()
        finally:
            self.must_stop = lambda: False
        assert self.engine.now <= end, "timed out in virtual time"

    def run_for(self, seconds: float) -> None:
        end = self.engine.now + seconds
        self.run(lambda: self.engine.now >= end)

    def run_rounds(self, until: Callable[[], bool], *, limit: float = 3600.0) -> None:
        """Run rounds of a connected daemon until a condition holds, without stopping it."""
        end = self.engine.now + limit
        while not until():
            self.engine.advance(self.engine.now + self.daemon.round())
            assert self.engine.now <= end, "timed out in virtual time"

    def add_backlog(self, *names: str, count: int = 20, seconds: float = 0.5) -> None:
        """Add ``count`` jobs to each queue; each job takes ``seconds``."""
        for name in names:
            self.engine.add(name, lasting(seconds), count=count)

    def pause_all(self, by: str = USER) -> None:
        for name in MANAGED:
            self.engine.pause(name, by=by)

    def paused(self) -> set[str]:
        return {name for name, queue in self.engine.queues.items() if queue.is_paused}


def order_of_starts(engine: Engine) -> list[str]:
    """Return a list that will contain the queues in the order of their first job starts."""
    order: list[str] = []

    def observe(event: Event) -> None:
        if event.kind is EventKind.STARTED and event.queue not in order:
            order.append(event.queue)

    engine.observers.append(observe)
    return order


def most_at_once(engine: Engine) -> Callable[[], int]:
    """Return a function that returns the largest number of busy managed queues from now on."""
    most = 0

    def observe(_: Event) -> None:
        nonlocal most
        most = max(most, sum(engine.queues[name].active > 0 for name in MANAGED))

    engine.observers.append(observe)
    return lambda: most


def problem_text(scenario: Scenario) -> str:
    problem = scenario.daemon.status.problem
    return "" if problem is None else problem.text
