"""A clock and a transport in virtual time: simulating a day takes seconds."""

from collections import Counter
from collections.abc import Callable
from threading import RLock
from typing import Final, NoReturn

from immich_job_daemon.base.errors import UnreachableError
from immich_job_daemon.immich.transport import Response
from simulator.immich.api import Api
from simulator.immich.engine import Engine
from simulator.immich.faults import FAULT_RESPONSES, LATE_DELAY, Fault, FaultSource, truncated

TIMEOUT: Final = 10.0
"""Default timeout of a request in seconds of virtual time."""

LATENCY: Final = 0.006
"""Median response time in seconds of a request for all queues (seen on Immich 3.1.0)."""


class VirtualClock:
    """A clock that shows the engine's time and advances it when it sleeps."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self._engine.now

    def sleep(self, seconds: float) -> None:
        """Advance the engine by ``seconds``."""
        self._engine.advance(self._engine.now + max(0.0, seconds))


class VirtualTransport:
    """A ``transport.Transport`` to the simulated Immich.

    A request reaches Immich after half of its latency, and the response arrives after the other
    half. ``requests`` counts the requests by method. Threads may share the transport; it sends
    one request at a time.

    Args:
        engine: the engine whose time passes during a request.
        api: processes the requests.
        key: the API key to send.
        latency: seconds from a request to its response, or a function that returns them.
        faults: chooses the fault of each request.
        refused_after: seconds until a refused connection fails.
    """

    def __init__(  # noqa: PLR0913 - each describes the connection
        self,
        engine: Engine,
        api: Api,
        key: str,
        *,
        latency: Callable[[], float] | float = LATENCY,
        faults: FaultSource | None = None,
        refused_after: float = 0.001,
    ) -> None:
        self.requests: Counter[str] = Counter()
        self.faults = faults
        self._engine = engine
        self._api = api
        self._headers = {"x-api-key": key, "content-type": "application/json"}
        self._latency = latency
        self._refused_after = refused_after
        self._lock = RLock()

    def send(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float | None = None
    ) -> Response:
        """Send one request; virtual time passes until the response or the failure.

        Raises:
            UnreachableError: Immich is down, or a fault prevents the response.
        """
        with self._lock:
            self.requests[method] += 1
            fault = self.faults(method, path) if self.faults else None
            return self._send(method, path, body, TIMEOUT if timeout is None else timeout, fault)

    def new_connection(self) -> "VirtualTransport":
        """Return this transport: there are no connections in virtual time."""
        return self

    def close(self) -> None:
        """Do nothing: there are no connections in virtual time."""

    def _send(
        self, method: str, path: str, body: bytes | None, timeout: float, fault: Fault | None
    ) -> Response:
        engine = self._engine
        if fault is Fault.REFUSED or not engine.is_up:
            self._fail(self._refused_after, "refused the connection")
        if fault is Fault.HANG:
            self._fail(timeout, f"sent no response within {timeout:g} s")
        latency = self._latency() if callable(self._latency) else self._latency
        if fault is Fault.LATE or latency > timeout:
            arrives = timeout + LATE_DELAY if fault is Fault.LATE else latency / 2
            engine.at(engine.now + arrives, lambda: self._process_late(method, path, body))
            self._fail(timeout, f"sent no response within {timeout:g} s")
        boots = engine.boots
        engine.advance(engine.now + latency / 2)
        if fault is Fault.RESET or not engine.is_up or engine.boots != boots:
            self._fail(0.0, "reset the connection")
        response = FAULT_RESPONSES.get(fault) if fault else None
        if response is None:
            response = self._api.respond(method, path, self._headers, body)
        engine.advance(engine.now + latency / 2)
        if fault is Fault.LOST_RESPONSE or not engine.is_up or engine.boots != boots:
            self._fail(0.0, "reset the connection")
        return truncated(response) if fault is Fault.TRUNCATED else response

    def _process_late(self, method: str, path: str, body: bytes | None) -> None:
        """Process a request whose client has given up."""
        if self._engine.is_up:
            self._api.respond(method, path, self._headers, body)

    def _fail(self, after: float, what: str) -> NoReturn:
        """Advance the engine by ``after`` seconds and raise an error with ``what`` happened."""
        self._engine.advance(self._engine.now + after)
        raise UnreachableError(
            f"The simulated Immich {what}. It is down, or the test injects a fault: try again later"
        )
