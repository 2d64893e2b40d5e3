"""A daemon that has to survive network faults between it and a simulated Immich."""

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


class FaultRun:
    """A running daemon, its work and its log."""

    def __init__(
        self, observed: ObservedProcess, process: subprocess.Popen[str], server: SimulatedServer
    ) -> None:
        self.observed = observed
        self.process = process
        self._server = server
        with server.present() as engine:
            self._max_busy_queues = most_at_once(engine)

    def add_backlog(self) -> None:
        """Add jobs for a few seconds to three queues."""
        with self._server.present() as engine:
            for name in (SEARCH, FACES, VIDEO):
                engine.add(name, lasting(0.1), count=5)

    def wait_for_log(self, *words: str) -> None:
        """Wait until the log contains one of the texts."""
        wait_until(lambda: any(word in self.observed.log for word in words))

    def wait_for_recovery(self) -> None:
        """Wait until all jobs are done; assert that never more than one queue ran."""
        wait_until(lambda: is_idle(self._server))
        wait_until(lambda: is_under_control(self._server))
        assert self._max_busy_queues() == 1
        assert self.process.poll() is None
        self.observed.log_since(0)


def running_daemon(
    server: SimulatedServer, folder: Path, url: str, command: Sequence[str] = ()
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run a daemon for the server at a URL; the prefix ``command`` runs it on its host."""
    return daemon_through(command, server, folder, {"IMMICH_URL": url, "POLL_INTERVAL": 1})


@contextmanager
def fault_run(
    server: SimulatedServer, folder: Path, url: str, command: Sequence[str] = ()
) -> Iterator[FaultRun]:
    """Run a daemon that is under way; at the end it must stop and leave nothing paused."""
    with running_daemon(server, folder, url, command) as process:
        wait_until(lambda: is_under_control(server))
        yield FaultRun(ObservedProcess(process.pid, folder), process, server)
        stop(process)
    assert paused(server) == set()


def wait_for_request_in_flight(server: SimulatedServer) -> None:
    """Wait until Immich has received a request that it has not answered."""
    requested: list[str] = []

    def note(_: str, path: str) -> None:
        requested.append(path)

    server.latency = 1.0
    server.faults = note
    wait_until(lambda: bool(requested))
    server.latency = 0.0
