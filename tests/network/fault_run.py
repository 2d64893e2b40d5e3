"""One daemon's course through what goes wrong between it and a simulated Immich."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from simulator.immich.pipeline import lasting
from simulator.immich.server import SimulatedServer
from tests.cli.test_main import daemon_through, stop
from tests.support.immich_server import is_idle, is_under_control, paused
from tests.support.observed_process import ObservedProcess
from tests.support.scenario import FACES, SEARCH, VIDEO, most_at_once
from tests.support.waiting import wait_until


class Course:
    """What is asked of a daemon meanwhile."""

    def __init__(
        self, watched: ObservedProcess, process: subprocess.Popen[str], server: SimulatedServer
    ) -> None:
        self.watched = watched
        self.process = process
        self._server = server
        with server.present() as engine:
            self._most = most_at_once(engine)

    def add_backlog(self) -> None:
        """Give three queues work for some seconds."""
        with self._server.present() as engine:
            for name in (SEARCH, FACES, VIDEO):
                engine.add(name, lasting(0.1), count=5)

    def says(self, *words: str) -> None:
        """Wait until one of these is in the log."""
        wait_until(lambda: any(one in self.watched.log for one in words))

    def is_well(self) -> None:
        """Wait until the work is done; at most one queue ever ran at once."""
        wait_until(lambda: is_idle(self._server))
        wait_until(lambda: is_under_control(self._server))
        assert self._most() == 1
        assert self.process.poll() is None
        self.watched.log_since(0)


def running(
    server: SimulatedServer, folder: Path, url: str, command: Sequence[str] = ()
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run a daemon that reaches the server at an address; ``command`` takes it to its host."""
    return daemon_through(command, server, folder, {"IMMICH_URL": url, "POLL_INTERVAL": 1})


@contextmanager
def course(
    server: SimulatedServer, folder: Path, url: str, command: Sequence[str] = ()
) -> Iterator[Course]:
    """Run a daemon that has Immich in hand; at the end it stops, and nothing is left paused."""
    with running(server, folder, url, command) as process:
        wait_until(lambda: is_under_control(server))
        yield Course(ObservedProcess(process.pid, folder), process, server)
        stop(process)
    assert paused(server) == set()


def in_the_middle(server: SimulatedServer) -> None:
    """Wait until Immich has a request that it does not answer yet."""
    asked: list[str] = []

    def note(_: str, path: str) -> None:
        asked.append(path)

    server.latency = 1.0
    server.faults = note
    wait_until(lambda: bool(asked))
    server.latency = 0.0
