"""A real daemon in a process of its own, with both listeners, beside a simulated Immich."""

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
class Real:
    """What runs, and where it is seen."""

    process: subprocess.Popen[bytes]
    status_port: int
    page_port: int
    folder: Path

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self.folder / "log.txt").read_text()

    @property
    def resident(self) -> float:
        """Its memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024


@contextmanager
def real_daemon(server: SimulatedServer, folder: Path, **options: object) -> Iterator[Real]:
    """Run one that has the server in hand."""
    ports = {"STATUS_PORT": free_port(), "UI_PORT": free_port()}
    given = {"IMMICH_URL": server.url, "API_KEY": KEY, "DATA_DIR": str(folder), **ports, **options}
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "immich_job_daemon", "run", "--options", "-"],
            stdin=subprocess.PIPE,
            stderr=log,
            env=environment(),
        )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(given).encode())
        process.stdin.close()
        wait_until(lambda: is_under_control(server))
        real = Real(process, ports["STATUS_PORT"], ports["UI_PORT"], folder)
        wait_until(lambda: is_answering(real))
        yield real
    finally:
        process.kill()
        process.wait()


def is_answering(real: Real) -> bool:
    """Whether both faces show what Immich told."""
    try:
        totals = requests.get(f"http://127.0.0.1:{real.status_port}/", timeout=90)
        page = requests.get(f"http://127.0.0.1:{real.page_port}/", timeout=90)
    except requests.ConnectionError:
        return False
    return (totals.status_code, page.status_code) == (200, 200)
