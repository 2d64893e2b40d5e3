"""The simulated Immich in virtual time, in this process: a day of queue life takes seconds."""

from collections import Counter
from collections.abc import Callable
from threading import RLock
from typing import Final, NoReturn

from immich_job_daemon.base.errors import UnreachableError
from immich_job_daemon.immich.transport import Response
from simulator.immich.api import Api
from simulator.immich.engine import Engine
from simulator.immich.faults import INSTEAD, LATE_BY, Fault, FaultSource, truncated

TIMEOUT: Final = 10.0
"""Seconds of virtual time for which a request is waited for where the caller does not say."""

LATENCY: Final = 0.006
"""Seconds from a request to its answer, in the median (seen on Immich 3.1.0, all queues)."""


class VirtualClock:
    """A clock that shows the engine's time, and moves it by sleeping."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self._engine.now

    def sleep(self, seconds: float) -> None:
        """Let so much time pass, with all that happens in it."""
        self._engine.advance(self._engine.now + max(0.0, seconds))


class VirtualTransport:
    """Carries requests to the simulated Immich; it is a ``transport.Transport``.

    A request reaches Immich after half of its latency, its answer is there after the other half.
    ``requests`` counts what was sent, by method. Threads may share it: one request at a time.

    Args:
        engine: whose time passes meanwhile.
        api: answers.
        key: the API key that is sent.
        latency: seconds from a request to its answer, or what returns them for each request.
        faults: decides what goes wrong with which request.
        refused_after: seconds until it is known that nobody takes the connection.
    """

    def __init__(  # noqa: PLR0913 - each of them is a fact about the line to Immich
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
        self._one_at_a_time = RLock()

    def send(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float | None = None
    ) -> Response:
        """Send one request; virtual time passes until its answer is there.

        Raises:
            UnreachableError: Immich is away, or a fault lets no answer through.
        """
        with self._one_at_a_time:
            self.requests[method] += 1
            fault = self.faults(method, path) if self.faults else None
            return self._send(method, path, body, TIMEOUT if timeout is None else timeout, fault)

    def new_connection(self) -> "VirtualTransport":
        """Return this transport: a connection costs nothing here."""
        return self

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _send(
        self, method: str, path: str, body: bytes | None, timeout: float, fault: Fault | None
    ) -> Response:
        engine = self._engine
        if fault is Fault.REFUSED or not engine.is_up:
            self._give_up(self._refused_after, "refused the connection")
        if fault is Fault.HANG:
            self._give_up(timeout, f"gave no answer within {timeout:g} s")
        latency = self._latency() if callable(self._latency) else self._latency
        if fault is Fault.LATE or latency > timeout:
            arrives = timeout + LATE_BY if fault is Fault.LATE else latency / 2
            engine.at(engine.now + arrives, lambda: self._carry_out_late(method, path, body))
            self._give_up(timeout, f"gave no answer within {timeout:g} s")
        boots = engine.boots
        engine.advance(engine.now + latency / 2)
        if fault is Fault.RESET or not engine.is_up or engine.boots != boots:
            self._give_up(0.0, "cut the connection")
        answer = INSTEAD.get(fault) if fault else None
        if answer is None:
            answer = self._api.answer(method, path, self._headers, body)
        engine.advance(engine.now + latency / 2)
        if fault is Fault.LOST_RESPONSE or not engine.is_up or engine.boots != boots:
            self._give_up(0.0, "cut the connection")
        return truncated(answer) if fault is Fault.TRUNCATED else answer

    def _carry_out_late(self, method: str, path: str, body: bytes | None) -> None:
        """Carry out a request whose answer nobody waits for any more."""
        if self._engine.is_up:
            self._api.answer(method, path, self._headers, body)

    def _give_up(self, after: float, what: str) -> NoReturn:
        """Let time pass and raise: the simulated Immich did ``what``."""
        self._engine.advance(self._engine.now + after)
        raise UnreachableError(
            f"The simulated Immich {what}: it is down, or a fault was asked for: try again later"
        )
