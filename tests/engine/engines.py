"""One interface to the real engine and to the simulated one, for tests of both."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypedDict, Unpack

import requests

from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine, Event, EventKind
from simulator.immich.pipeline import Kind
from simulator.immich.server import SimulatedServer
from simulator.immich.simulated_queue import Counts
from tests.engine.facade import USER_KEY, Facade, FollowUp, real_immich
from tests.support.waiting import TIMEOUT, wait_until

STALLED_INTERVAL: Final = 1.0
"""Seconds between two checks for stalled jobs, whose worker is gone."""
DOWNTIME: Final = 0.3
ENDLESS: Final = 1e9


class JobOptions(TypedDict, total=False):
    """Options of new jobs: ``delay`` in seconds, ``then`` the jobs added when they finish."""

    count: int
    delay: float
    priority: int
    then: tuple[FollowUp, ...]


class EngineUnderTest(Protocol):
    """An engine whose jobs run until ``finish`` is called."""

    bullmq: Literal[5, 6]

    @property
    def url(self) -> str: ...

    def add(self, queue: str, job: str, **options: Unpack[JobOptions]) -> None: ...

    def finish(self, queue: str) -> int: ...

    def started(self, queue: str) -> list[str]: ...

    def restart(self) -> None: ...

    def expire_locks(self) -> None:
        """Expire the locks of jobs that were active at the restart, as BullMQ does after 30 s."""
        ...

    def restart_redis(self) -> None: ...


class RealEngine:
    """BullMQ, behind the facade."""

    def __init__(self, facade: Facade) -> None:
        self.facade = facade
        self.bullmq = facade.bullmq
        self._locks: list[str] = []

    @property
    def url(self) -> str:
        return self.facade.url

    def add(self, queue: str, job: str, **options: Unpack[JobOptions]) -> None:
        self.facade.add(queue, job, seconds=None, **options)

    def finish(self, queue: str) -> int:
        return self.facade.finish(queue)

    def started(self, queue: str) -> list[str]:
        entries = self.facade.entries("started")
        return [entry["job"] for entry in entries if entry["queue"] == queue]

    def restart(self) -> None:
        self.facade.kill()
        self._locks += self.facade.redis.keys("*:lock")
        self.facade.start()

    def expire_locks(self) -> None:
        self.facade.redis.delete(self._locks)
        self._locks.clear()

    def restart_redis(self) -> None:
        self.facade.redis.kill()
        self.facade.redis.start()


class SimulatedEngine:
    """The simulator, over HTTP. It has no Redis that could be restarted."""

    def __init__(self, server: SimulatedServer, bullmq: Literal[5, 6]) -> None:
        self.server = server
        self.bullmq = bullmq
        self._started: list[tuple[str, str]] = []
        with server.present() as engine:
            engine.observers.append(self._observe)
            self._engine = engine

    @property
    def url(self) -> str:
        return self.server.url

    def add(self, queue: str, job: str, **options: Unpack[JobOptions]) -> None:
        then = tuple(
            (follow_up.queue, Kind(follow_up.job, wait=ENDLESS))
            for follow_up in options.get("then", ())
        )
        count = options.get("count", 1)
        with self.server.present() as engine:
            for number in range(count):
                name = f"{job}-{number}" if count > 1 else job
                kind = Kind(name, wait=ENDLESS, then=then)
                engine.add(
                    queue,
                    kind,
                    delay=options.get("delay", 0.0),
                    priority=options.get("priority", 0),
                )

    def finish(self, queue: str) -> int:
        with self.server.present() as engine:
            keys = [*engine.queues[queue].running]
            for key in keys:
                engine._finish(engine.queues[queue], key)  # noqa: SLF001 - these jobs have no end time
        return len(keys)

    def started(self, queue: str) -> list[str]:
        with self.server.present():
            return [job for name, job in self._started if name == queue]

    def restart(self) -> None:
        with self.server.present() as engine:
            engine.restart(DOWNTIME)
        wait_until(self._is_up)

    def expire_locks(self) -> None:
        with self.server.present() as engine:
            engine.detect_stalled()

    def restart_redis(self) -> None:
        pass

    def _is_up(self) -> bool:
        with self.server.present() as engine:
            return engine.is_up

    def _observe(self, event: Event) -> None:
        if event.kind is EventKind.STARTED:
            *_, latest = self._engine.queues[event.queue].running.values()
            self._started.append((event.queue, latest.kind.name))


@contextmanager
def simulated_engine(bullmq: Literal[5, 6]) -> Iterator[EngineUnderTest]:
    engine = Engine(bullmq=bullmq)
    api = Api(engine, keys={USER_KEY: Key(name="user")})
    with SimulatedServer(engine, api) as server:
        yield SimulatedEngine(server, bullmq)


@contextmanager
def real_engine(folder: Path, bullmq: Literal[5, 6]) -> Iterator[EngineUnderTest]:
    with real_immich(folder, bullmq, stalled_interval=STALLED_INTERVAL) as facade:
        yield RealEngine(facade)


# The queues as a client sees them.


def call_api(engine: EngineUnderTest, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON
    """Return the JSON of a response; an error status raises."""
    headers = {"x-api-key": USER_KEY}
    response = requests.request(
        method, f"{engine.url}/api/{path}", headers=headers, json=body, timeout=TIMEOUT
    )
    response.raise_for_status()
    return response.json()


def counts(engine: EngineUnderTest, queue: str) -> Counts:
    return Counts(**call_api(engine, "GET", f"queues/{queue}")["statistics"])


def is_paused(engine: EngineUnderTest, queue: str) -> bool:
    paused: bool = call_api(engine, "GET", f"queues/{queue}")["isPaused"]
    return paused


def pause(engine: EngineUnderTest, queue: str) -> Counts:
    return Counts(**call_api(engine, "PUT", f"queues/{queue}", {"isPaused": True})["statistics"])


def resume(engine: EngineUnderTest, queue: str) -> Counts:
    return Counts(**call_api(engine, "PUT", f"queues/{queue}", {"isPaused": False})["statistics"])


def open_counts(*, active: int = 0, failed: int = 0, delayed: int = 0, waiting: int = 0) -> Counts:
    """Return the counts of an open queue."""
    return Counts(active, 0, failed, delayed, waiting, 0)


def paused_counts(
    engine: EngineUnderTest, *, active: int = 0, failed: int = 0, delayed: int = 0, ready: int = 0
) -> Counts:
    """Return the counts of a paused queue: in BullMQ 5 its ready jobs have a state of their own."""
    if engine.bullmq == 6:
        return Counts(active, 0, failed, delayed, ready, 0)
    return Counts(active, 0, failed, delayed, 0, ready)


def wait_for_counts(engine: EngineUnderTest, queue: str, expected: Counts) -> None:
    """Wait until the API shows these counts."""
    latest: list[Counts] = []

    def is_expected() -> bool:
        latest[:] = [counts(engine, queue)]
        return latest == [expected]

    try:
        wait_until(is_expected)
    except AssertionError:
        raise AssertionError(f"{queue}: {latest[0]} instead of {expected}") from None
