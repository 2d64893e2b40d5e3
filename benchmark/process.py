"""What the daemon's own process costs: real time, real HTTP, a process of its own. Linux only."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event
from time import monotonic, sleep
from typing import Final

from benchmark import crowd
from benchmark.crowd import CrowdCost
from benchmark.page_cost import PageCost
from immich_job_daemon.immich.transport import Response
from simulator.immich import KEY
from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine
from simulator.immich.ports import free_port
from simulator.immich.server import SimulatedServer
from simulator.immich.virtual_time import LATENCY

LONGEST_START: Final = 30.0
"""Seconds within which the first look must come."""

_LONGEST_STOP: Final = 20.0
_LISTS: Final = frozenset({"/api/queues", "/api/jobs"})


@dataclass(frozen=True, slots=True)
class Sample:
    """How long it is watched: starts, seconds to settle and to idle, gaps beside a crowd."""

    starts: int
    settle: float
    idle: float
    crowded: int


FULL: Final = Sample(starts=7, settle=10.0, idle=90.0, crowded=30)
QUICK: Final = Sample(starts=3, settle=8.0, idle=18.0, crowded=5)


@dataclass(frozen=True, slots=True)
class Cost:
    """What was seen.

    Attributes:
        resident: memory in MiB after the idling (VmRSS).
        peak: the most memory that it ever had, in MiB (VmHWM).
        share: of one core while nothing is to be done, 0 to 1.
        first_look: seconds from the start of the process to the first look at the queues, median.
        crowd: what 200 requests a second do to it.
        page: what the page costs whoever looks at it; None where that was not measured.
    """

    resident: float
    peak: float
    share: float
    first_look: float
    crowd: CrowdCost
    page: PageCost | None = None


def is_possible() -> bool:
    """Return whether this system tells what a process costs: Linux does."""
    return Path("/proc/self/stat").exists()


def measure(sample: Sample) -> Cost:
    """Return what the daemon costs beside a simulated Immich that is idle.

    Raises:
        RuntimeError: the daemon did not start or did not end well; with what it said.
    """
    first_looks = []
    for _ in range(sample.starts - 1):
        with _daemon() as daemon:
            first_looks.append(daemon.first_look)
    with _daemon() as daemon:
        first_looks.append(daemon.first_look)
        sleep(sample.settle)
        began, before = monotonic(), processor_seconds(daemon.pid)
        sleep(sample.idle)
        used, lasted = processor_seconds(daemon.pid) - before, monotonic() - began
        sizes = memory(daemon.pid)
    # Often enough that a late look is seen.
    with _daemon(POLL_INTERVAL=1) as daemon:
        sleep(sample.settle)
        crowded = crowd.measure(daemon.status_port, daemon.page_port, daemon.looks, sample.crowded)
    return Cost(
        resident=sizes["VmRSS"],
        peak=sizes["VmHWM"],
        share=used / lasted,
        first_look=median(first_looks),
        crowd=crowded,
    )


def processor_seconds(pid: int) -> float:
    """Return the processor time in seconds that a process has used up to now."""
    # What follows the program's name, which stands in parentheses and may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> Mapping[str, float]:
    """Return the sizes of a process's memory in MiB, by Linux's names for them."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    fields = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) / 1024 for name, size, _ in fields}


@dataclass(frozen=True, slots=True)
class _Running:
    """A daemon that runs.

    Attributes:
        pid: its process.
        first_look: seconds from its start to its first look.
        looks: when it looked at the queues, up to now; seconds.
        status_port, page_port: where it answers.
    """

    pid: int
    first_look: float
    looks: Sequence[float]
    status_port: int
    page_port: int


class _Watched(Api):
    """An API that knows when it was asked for all queues."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, keys={KEY: Key()})
        self.is_looked_at = Event()
        self.looks: list[float] = []

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        """Answer, and note the time of a look."""
        if method == "GET" and path in _LISTS:
            self.looks.append(monotonic())
            self.is_looked_at.set()
        return super().answer(method, path, headers, body)


@contextmanager
def _daemon(**given: object) -> Iterator[_Running]:
    """Run a daemon with these options, and give it when it has looked at Immich."""
    engine = Engine()
    api = _Watched(engine)
    # With the page and the totals, as most people run it.
    status_port, page_port = free_port(), free_port()
    with TemporaryDirectory() as folder, SimulatedServer(engine, api, latency=LATENCY) as server:
        said = Path(folder, "said")
        options = {
            "IMMICH_URL": server.url,
            "API_KEY": KEY,
            "DATA_DIR": folder,
            "UI_PORT": page_port,
            "STATUS_PORT": status_port,
            **given,
        }
        began = monotonic()
        with (
            said.open("wb") as log,
            subprocess.Popen(
                (sys.executable, "-m", "immich_job_daemon", "run", "--options", "-"),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            ) as process,
        ):
            try:
                if process.stdin is not None:
                    process.stdin.write(json.dumps(options).encode())
                    process.stdin.close()
                if not api.is_looked_at.wait(LONGEST_START):
                    raise RuntimeError(f"the daemon never looked at Immich: {said.read_text()}")
                first_look = api.looks[0] - began
                yield _Running(process.pid, first_look, api.looks, status_port, page_port)
                process.terminate()
                if code := process.wait(_LONGEST_STOP):
                    raise RuntimeError(f"the daemon ended with {code}: {said.read_text()}")
            finally:
                process.kill()
