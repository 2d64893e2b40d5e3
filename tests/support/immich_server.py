"""A simulated Immich over real HTTP, and checks of what the daemon does with its queues."""

from collections.abc import Iterator
from contextlib import contextmanager

from immich_job_daemon.model.queue import PROTECTED
from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine
from simulator.immich.pipeline import lasting
from simulator.immich.server import SimulatedServer
from tests.support.waiting import wait_until

STOP_GRACE_PERIOD = 10.0
"""Seconds that Docker gives a container to end after SIGTERM; the add-on has more."""
KEY = "a-secret-key-of-tests"
MANAGED = {name for name in Engine().queues if name not in PROTECTED}


@contextmanager
def simulated_immich_server(
    permissions: frozenset[str] = frozenset({"all"}),
) -> Iterator[SimulatedServer]:
    """Run an idle Immich on a free port; KEY has the given permissions."""
    engine = Engine()
    api = Api(engine, keys={KEY: Key(permissions=permissions, name="daemon")})
    with SimulatedServer(engine, api) as server:
        yield server


def paused(server: SimulatedServer) -> set[str]:
    """Return the names of the paused queues."""
    with server.present() as engine:
        return {name for name, queue in engine.queues.items() if queue.is_paused}


def is_idle(server: SimulatedServer) -> bool:
    """Return whether every job is done."""
    with server.present() as engine:
        return engine.is_idle


def is_under_control(server: SimulatedServer, but: str = "metadataExtraction") -> bool:
    """Return whether the daemon has paused every managed queue but one.

    By default that is the queue that gets the spare slot. The spare slot is given last, so no
    pause is still to come.
    """
    return paused(server) == MANAGED - {but}


def assert_still_working(server: SimulatedServer, name: str = "ocr") -> None:
    """Assert that the daemon lets a queue run its job and then pauses it again."""
    with server.present() as engine:
        engine.resume(name, by="user")
        engine.add(name, lasting(0.1))

    def is_done() -> bool:
        with server.present() as engine:
            return engine.queues[name].is_paused and engine.queues[name].active == 0

    wait_until(is_done)
    wait_until(lambda: is_under_control(server))
