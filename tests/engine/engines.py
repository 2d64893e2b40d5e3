"""The same small bench in front of the real engine and of the simulated one."""

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
from tests.engine.facade import PERSONS_KEY, Facade, Following, real_immich
from tests.support.waiting import TIMEOUT, wait_until

SEARCH: Final = 1.0
"""Seconds between two searches for jobs whose worker is gone."""
DOWNTIME: Final = 0.3
ENDLESS: Final = 1e9


class How(TypedDict, total=False):
    """What BullMQ lets one say of new jobs; ``delay`` in seconds, ``then`` what they lead to."""

    count: int
    delay: float
    priority: int
    then: tuple[Following, ...]


class Bench(Protocol):
    """A place where jobs are put, and run until they are told to end."""

    bullmq: Literal[5, 6]

    @property
    def url(self) -> str: ...

    def add(self, queue: str, job: str, **how: Unpack[How]) -> None: ...

    def finish(self, queue: str) -> int: ...

    def started(self, queue: str) -> list[str]: ...

    def restart(self) -> None: ...

    def notice(self) -> None:
        """Let half a minute pass for what was in flight at the restart, and for nothing else."""
        ...

    def restart_store(self) -> None: ...


class RealBench:
    """The facade."""

    def __init__(self, facade: Facade) -> None:
        self.facade = facade
        self.bullmq = facade.bullmq
        self._locks: list[str] = []

    @property
    def url(self) -> str:
        return self.facade.url

    def add(self, queue: str, job: str, **how: Unpack[How]) -> None:
        self.facade.add(queue, job, seconds=None, **how)

    def finish(self, queue: str) -> int:
        return self.facade.finish(queue)

    def started(self, queue: str) -> list[str]:
        found = self.facade.entries("started")
        return [entry["job"] for entry in found if entry["queue"] == queue]

    def restart(self) -> None:
        self.facade.kill()
        self._locks += self.facade.redis.keys("*:lock")
        self.facade.start()

    def notice(self) -> None:
        self.facade.redis.delete(self._locks)
        self._locks.clear()

    def restart_store(self) -> None:
        self.facade.redis.kill()
        self.facade.redis.start()


class SimulatedBench:
    """The simulator, over HTTP as well. It keeps its jobs in no store: that can't be restarted."""

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

    def add(self, queue: str, job: str, **how: Unpack[How]) -> None:
        then = tuple((one.queue, Kind(one.job, wait=ENDLESS)) for one in how.get("then", ()))
        count = how.get("count", 1)
        with self.server.present() as engine:
            for number in range(count):
                name = f"{job}-{number}" if count > 1 else job
                kind = Kind(name, wait=ENDLESS, then=then)
                engine.add(
                    queue, kind, delay=how.get("delay", 0.0), priority=how.get("priority", 0)
                )

    def finish(self, queue: str) -> int:
        with self.server.present() as engine:
            keys = [*engine.queues[queue].running]
            for key in keys:
                engine._finish(engine.queues[queue], key)  # noqa: SLF001 - its end has no date
        return len(keys)

    def started(self, queue: str) -> list[str]:
        with self.server.present():
            return [job for name, job in self._started if name == queue]

    def restart(self) -> None:
        with self.server.present() as engine:
            engine.restart(DOWNTIME)
        wait_until(self._is_up)

    def notice(self) -> None:
        with self.server.present() as engine:
            engine.notice()

    def restart_store(self) -> None:
        pass

    def _is_up(self) -> bool:
        with self.server.present() as engine:
            return engine.is_up

    def _observe(self, event: Event) -> None:
        if event.kind is EventKind.STARTED:
            *_, latest = self._engine.queues[event.queue].running.values()
            self._started.append((event.queue, latest.kind.name))


@contextmanager
def simulated_bench(bullmq: Literal[5, 6]) -> Iterator[Bench]:
    engine = Engine(bullmq=bullmq)
    api = Api(engine, keys={PERSONS_KEY: Key(name="person")})
    with SimulatedServer(engine, api) as server:
        yield SimulatedBench(server, bullmq)


@contextmanager
def real_bench(folder: Path, bullmq: Literal[5, 6]) -> Iterator[Bench]:
    with real_immich(folder, bullmq, search=SEARCH) as facade:
        yield RealBench(facade)


# What a client sees, over either API.


def ask(bench: Bench, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON
    """Return the answer to a request; one that fails is an error."""
    headers = {"x-api-key": PERSONS_KEY}
    answer = requests.request(
        method, f"{bench.url}/api/{path}", headers=headers, json=body, timeout=TIMEOUT
    )
    answer.raise_for_status()
    return answer.json()


def counts(bench: Bench, queue: str) -> Counts:
    return Counts(**ask(bench, "GET", f"queues/{queue}")["statistics"])


def is_paused(bench: Bench, queue: str) -> bool:
    paused: bool = ask(bench, "GET", f"queues/{queue}")["isPaused"]
    return paused


def pause(bench: Bench, queue: str) -> Counts:
    return Counts(**ask(bench, "PUT", f"queues/{queue}", {"isPaused": True})["statistics"])


def resume(bench: Bench, queue: str) -> Counts:
    return Counts(**ask(bench, "PUT", f"queues/{queue}", {"isPaused": False})["statistics"])


def seen(*, active: int = 0, failed: int = 0, delayed: int = 0, waiting: int = 0) -> Counts:
    """Return the counts of an open queue."""
    return Counts(active, 0, failed, delayed, waiting, 0)


def hidden(
    bench: Bench, *, active: int = 0, failed: int = 0, delayed: int = 0, ready: int = 0
) -> Counts:
    """Return the counts of a paused one: BullMQ 5 has a state of its own for what is ready."""
    if bench.bullmq == 6:
        return Counts(active, 0, failed, delayed, ready, 0)
    return Counts(active, 0, failed, delayed, 0, ready)


def becomes(bench: Bench, queue: str, wanted: Counts) -> None:
    """Wait until a client sees these counts."""
    latest: list[Counts] = []

    def is_so() -> bool:
        latest[:] = [counts(bench, queue)]
        return latest == [wanted]

    try:
        wait_until(is_so)
    except AssertionError:
        raise AssertionError(f"{queue}: {latest[0]} instead of {wanted}") from None
