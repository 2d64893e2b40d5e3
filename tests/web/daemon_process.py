"""Runs a real daemon in its own process, with both listeners, against a simulated Immich."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from simulator.immich.ports import free_port
from simulator.immich.server import SimulatedServer
from tests.cli.test_main import environment
from tests.support.immich_server import KEY, is_under_control
from tests.support.waiting import wait_until


@dataclass(frozen=True, slots=True)
class DaemonProcess:
    """A running daemon."""

    process: subprocess.Popen[bytes]
    status_port: int
    page_port: int
    folder: Path

    @property
    def log(self) -> str:
        """The log so far."""
        return (self.folder / "log.txt").read_text()

    @property
    def memory(self) -> float:
        """Resident memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024


@contextmanager
def real_daemon(
    server: SimulatedServer, folder: Path, **options: object
) -> Iterator[DaemonProcess]:
    """Run a daemon until the context ends; enter it once the daemon controls the server."""
    ports = {"STATUS_PORT": free_port(), "UI_PORT": free_port()}
    settings = {
        "IMMICH_URL": server.url,
        "API_KEY": KEY,
        "DATA_DIR": str(folder),
        **ports,
        **options,
    }
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "immich_job_daemon", "run", "--options", "-"],
            stdin=subprocess.PIPE,
            stderr=log,
            env=environment(),
        )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(settings).encode())
        process.stdin.close()
        wait_until(lambda: is_under_control(server))
        daemon = DaemonProcess(process, ports["STATUS_PORT"], ports["UI_PORT"], folder)
        wait_until(lambda: is_answering(daemon))
        yield daemon
    finally:
        process.kill()
        process.wait()


def is_answering(daemon: DaemonProcess) -> bool:
    """Whether the API and the page respond with data from Immich."""
    try:
        totals = requests.get(f"http://127.0.0.1:{daemon.status_port}/", timeout=90)
        page = requests.get(f"http://127.0.0.1:{daemon.page_port}/", timeout=90)
    except requests.ConnectionError:
        return False
    return (totals.status_code, page.status_code) == (200, 200)
