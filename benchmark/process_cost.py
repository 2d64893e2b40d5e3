"""The cost of the daemon's process and of its page, in real time over real HTTP. Linux only."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import cycle, pairwise
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic, sleep
from typing import Final

import psutil
from playwright.sync_api import Browser, sync_playwright

from immich_job_daemon.immich.transport import Response
from simulator.immich import KEY
from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine
from simulator.immich.ports import free_port
from simulator.immich.server import SimulatedServer
from simulator.immich.virtual_time import LATENCY
from simulator.worlds.browser import ARGUMENTS, CHROMIUM, serving_page
from simulator.worlds.day import simulate_day

RATE: Final = 200
"""Requests per second of all clients together."""
CLIENTS: Final = 8

POLL_TIMEOUT: Final = 30.0
"""Longest time in seconds to wait for each poll of the daemon."""

START_TIMEOUT: Final = 30.0
"""Seconds from the start of the process within which it must poll Immich."""

PAGE_LOADS: Final = 15

_STOP_TIMEOUT: Final = 20.0
_POLLED: Final = frozenset({"/api/queues", "/api/jobs"})

_FIRST_PAINT: Final = """
() => new Promise((resolve) => new PerformanceObserver((list) => {
  for (const entry of list.getEntriesByName("first-contentful-paint")) resolve(entry.startTime);
}).observe({ type: "paint", buffered: true }))
"""
_BYTES: Final = """
() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .reduce((sum, entry) => sum + entry.encodedBodySize, 0)
"""


@dataclass(frozen=True, slots=True)
class CostSizes:
    """How long to measure: starts, seconds to settle and to idle, intervals under load."""

    starts: int
    settle: float
    idle: float
    loaded: int


FULL: Final = CostSizes(starts=7, settle=10.0, idle=90.0, loaded=30)
QUICK: Final = CostSizes(starts=3, settle=8.0, idle=18.0, loaded=5)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Seconds between two polls of Immich by the same daemon, without and with load.

    ``answered`` is the share of the requests due that had a successful response at the end, 0 to 1.
    """

    unloaded: tuple[float, ...]
    loaded: tuple[float, ...]
    answered: float

    @property
    def median_delay(self) -> float:
        """Seconds by which load delays a poll, as a difference of medians; at least 0."""
        return max(0.0, median(self.loaded) - median(self.unloaded))

    @property
    def tail_delay(self) -> float:
        """Seconds from the longest interval without load to the 90th percentile with load, or 0."""
        return max(0.0, quantiles(self.loaded, n=10)[-1] - max(self.unloaded))


@dataclass(frozen=True, slots=True)
class PageCost:
    """The cost of the page, each time loaded with an empty cache.

    Attributes:
        first_paints: milliseconds from the request to the first text on the screen, per load.
        size: bytes of the page and of all files that it loads, as transferred.
    """

    first_paints: tuple[float, ...]
    size: int

    @property
    def median(self) -> float:
        """Median time to the first paint in milliseconds."""
        return median(self.first_paints)


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """The cost of the daemon.

    Attributes:
        resident: memory in MiB after idling (VmRSS).
        peak: peak memory in MiB (VmHWM).
        cpu_share: share of one core while Immich is idle, 0 to 1.
        first_poll: median seconds from the start of the process to its first poll.
        load: the effect of 200 HTTP requests per second.
        page: the cost of the page; None if it was not measured.
    """

    resident: float
    peak: float
    cpu_share: float
    first_poll: float
    load: LoadResult
    page: PageCost | None = None


def is_supported() -> bool:
    """Return whether this system reports the cost of a process, as Linux does."""
    return Path("/proc/self/stat").exists()


def measure(sizes: CostSizes) -> ProcessCost:
    """Measure the daemon with an idle simulated Immich.

    Raises:
        RuntimeError: the daemon did not start or stop properly; the message contains its log.
    """
    first_polls = []
    for _ in range(sizes.starts - 1):
        with _daemon() as daemon:
            first_polls.append(daemon.first_poll)
    with _daemon() as daemon:
        first_polls.append(daemon.first_poll)
        sleep(sizes.settle)
        began, before = monotonic(), cpu_seconds(daemon.pid)
        sleep(sizes.idle)
        used, elapsed = cpu_seconds(daemon.pid) - before, monotonic() - began
        memory = memory_sizes(daemon.pid)
    # Poll every second, so that the delay of a poll becomes visible.
    with _daemon(POLL_INTERVAL=1) as daemon:
        sleep(sizes.settle)
        load = _measure_load(daemon, sizes.loaded)
    return ProcessCost(
        resident=memory["VmRSS"],
        peak=memory["VmHWM"],
        cpu_share=used / elapsed,
        first_poll=median(first_polls),
        load=load,
    )


def cpu_seconds(pid: int) -> float:
    """Return the CPU time in seconds that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def memory_sizes(pid: int) -> Mapping[str, float]:
    """Return the memory sizes of a process in MiB by their names in Linux."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    fields = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) / 1024 for name, size, _ in fields}


@dataclass(frozen=True, slots=True)
class _RunningDaemon:
    """A running daemon; ``polls`` holds the times of its polls and grows."""

    pid: int
    first_poll: float
    polls: Sequence[float]
    status_port: int
    page_port: int


class _PolledApi(Api):
    """An API that records when it was polled."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, keys={KEY: Key()})
        self.is_polled = Event()
        self.polls: list[float] = []

    def respond(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        """Respond, and record the time of a poll."""
        if method == "GET" and path in _POLLED:
            self.polls.append(monotonic())
            self.is_polled.set()
        return super().respond(method, path, headers, body)


@contextmanager
def _daemon(**overrides: object) -> Iterator[_RunningDaemon]:
    """Run a daemon with these options; yield it when it has polled Immich."""
    engine = Engine()
    api = _PolledApi(engine)
    # With both web servers, as most people run it.
    status_port, page_port = free_port(), free_port()
    with TemporaryDirectory() as folder, SimulatedServer(engine, api, latency=LATENCY) as server:
        log_path = Path(folder, "log")
        options = {
            "IMMICH_URL": server.url,
            "API_KEY": KEY,
            "DATA_DIR": folder,
            "UI_PORT": page_port,
            "STATUS_PORT": status_port,
            **overrides,
        }
        began = monotonic()
        with (
            log_path.open("wb") as log,
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
                if not api.is_polled.wait(START_TIMEOUT):
                    raise RuntimeError(f"the daemon never polled Immich: {log_path.read_text()}")
                first_poll = api.polls[0] - began
                yield _RunningDaemon(process.pid, first_poll, api.polls, status_port, page_port)
                process.terminate()
                if code := process.wait(_STOP_TIMEOUT):
                    text = log_path.read_text()
                    raise RuntimeError(f"the daemon exited with code {code}: {text}")
            finally:
                process.kill()


def measure_page() -> PageCost:
    """Load the page repeatedly in Chromium, with the status at the end of a busy day."""
    day = simulate_day()
    with serving_page(day.status, day.now) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
        # The first load includes Chromium's own start, so it is not measured.
        _load_page(browser, url)
        loads = [_load_page(browser, url) for _ in range(PAGE_LOADS)]
        browser.close()
    return PageCost(tuple(paint for paint, _ in loads), max(size for _, size in loads))


def _load_page(browser: Browser, url: str) -> tuple[float, int]:
    """Return the milliseconds to the first paint, and the bytes transferred."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(url, wait_until="networkidle")
    paint: float = page.evaluate(_FIRST_PAINT)
    size: int = page.evaluate(_BYTES)
    context.close()
    return paint, size


class Client(Thread):
    """Sends requests at fixed times over persistent connections until ``end`` is set.

    ``responses`` counts the responses by HTTP status.
    """

    def __init__(self, number: int, targets: Sequence[tuple[int, str]], end: Event) -> None:
        super().__init__()
        self.requests = 0
        self.responses: Counter[int] = Counter()
        self._number = number
        self._end = end
        self._targets = cycle(targets)

    def run(self) -> None:
        """Send a request every CLIENTS / RATE seconds, in turn with the other clients."""
        began = monotonic()
        with ExitStack() as stack:
            connections: dict[int, HTTPConnection] = {}
            for number, (port, path) in enumerate(self._targets):
                due = began + (self._number + number * CLIENTS) / RATE
                if self._end.wait(max(0.0, due - monotonic())):
                    return
                if port not in connections:
                    connections[port] = HTTPConnection("127.0.0.1", port, timeout=30)
                    stack.callback(connections[port].close)
                self.requests += 1
                connections[port].request("GET", path)
                response = connections[port].getresponse()
                response.read()
                self.responses[response.status] += 1


@contextmanager
def http_load(status_port: int, page_port: int) -> Iterator[list[Client]]:
    """Send RATE requests per second to both web servers of the daemon while the block runs."""
    targets = [(status_port, path) for path in ("/", "/queues", "/metrics", "/health")]
    targets.append((page_port, "/now"))
    end = Event()
    clients = [Client(number, targets, end) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        end.set()
        for client in clients:
            client.join()


def _measure_load(daemon: _RunningDaemon, count: int) -> LoadResult:
    """Measure ``count`` intervals between a daemon's polls without load, then with load.

    Raises:
        RuntimeError: the daemon has stopped polling.
    """
    unloaded = _next_intervals(count, daemon.polls)
    with http_load(daemon.status_port, daemon.page_port) as clients:
        began = monotonic()
        loaded = _next_intervals(count, daemon.polls)
        answered = sum(client.responses[200] for client in clients)
        due = (monotonic() - began) * RATE
    return LoadResult(unloaded, loaded, answered=min(1.0, answered / due))


def _next_intervals(count: int, polls: Sequence[float]) -> tuple[float, ...]:
    """Wait for ``count`` more intervals between polls and return them."""
    seen = len(polls)
    end = monotonic() + POLL_TIMEOUT * (count + 1)
    while len(polls) < seen + count + 1:
        if monotonic() > end:
            raise RuntimeError("the daemon does not poll Immich any more")
        sleep(0.01)
    return tuple(later - earlier for earlier, later in pairwise(polls[seen:]))
