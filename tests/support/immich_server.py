"""A simulated Immich over real HTTP, and whether a daemon has it in hand."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from immich_job_daemon.model.queue import PROTECTED
from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine
from simulator.immich.pipeline import lasting
from simulator.immich.server import SimulatedServer

LIMIT = 180.0
"""Seconds after which a thing that should happen is taken for not happening."""
GRACE = 10.0
"""Seconds that Docker gives a container to end after SIGTERM; the add-on has more."""
KEY = "a-secret-key-of-tests"
MANAGED = {name for name in Engine().queues if name not in PROTECTED}


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@contextmanager
def immich(permissions: frozenset[str] = frozenset({"all"})) -> Iterator[SimulatedServer]:
    engine = Engine()
    api = Api(engine, keys={KEY: Key(permissions=permissions, name="daemon")})
    with SimulatedServer(engine, api) as server:
        yield server


def paused(server: SimulatedServer) -> set[str]:
    with server.present() as engine:
        return {name for name, queue in engine.queues.items() if queue.is_paused}


def is_idle(server: SimulatedServer) -> bool:
    """Whether every job is done."""
    with server.present() as engine:
        return engine.is_idle


def is_under_control(server: SimulatedServer, but: str = "metadataExtraction") -> bool:
    """Whether the daemon has the server in hand: every managed queue is paused but one.

    By default that one has the spare slot, which is given last: no pause is under way any more.
    """
    return paused(server) == MANAGED - {but}


def works(server: SimulatedServer, name: str = "ocr") -> None:
    """Assert that the daemon still does its work: it lets a queue run and holds it again."""
    with server.present() as engine:
        engine.resume(name, by="person")
        engine.add(name, lasting(0.1))

    def is_done() -> bool:
        with server.present() as engine:
            return engine.queues[name].is_paused and engine.queues[name].active == 0

    until(is_done)
    until(lambda: is_under_control(server))
