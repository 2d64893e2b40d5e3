"""The effect of 200 HTTP requests per second on the daemon: late polls and late responses."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import cycle, pairwise
from statistics import median, quantiles
from threading import Event, Thread
from typing import Final

RATE: Final = 200
"""Requests per second of all clients together."""
CLIENTS: Final = 8
POLL_TIMEOUT: Final = 30.0
"""Longest time in seconds to wait for each poll of the daemon."""

_STATUS_PATHS: Final = ("/", "/queues", "/metrics", "/health")
_PAGE_PATH: Final = "/now"


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The same daemon without and with load. Intervals are seconds between two polls of Immich.

    Attributes:
        unloaded: the intervals without load.
        loaded: the intervals with load.
        answered: share of the requests due that had a successful response at the end, 0 to 1.
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


class Client(Thread):
    """Sends requests at fixed times over persistent connections until ``end`` is set.

    Attributes:
        requests: number of requests sent.
        responses: number of responses by HTTP status.
    """

    def __init__(self, number: int, ports: tuple[int, int], end: Event) -> None:
        super().__init__()
        self.requests = 0
        self.responses: Counter[int] = Counter()
        self._number = number
        self._end = end
        status_port, page_port = ports
        self._targets = cycle(
            [*((status_port, path) for path in _STATUS_PATHS), (page_port, _PAGE_PATH)]
        )

    def run(self) -> None:
        """Send a request every CLIENTS / RATE seconds, in turn with the other clients."""
        began = time.monotonic()
        with ExitStack() as stack:
            connections: dict[int, HTTPConnection] = {}
            for number, (port, path) in enumerate(self._targets):
                due = began + (self._number + number * CLIENTS) / RATE
                if self._end.wait(max(0.0, due - time.monotonic())):
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
    end = Event()
    clients = [Client(number, (status_port, page_port), end) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        end.set()
        for client in clients:
            client.join()


def measure(status_port: int, page_port: int, polls: Sequence[float], count: int) -> LoadResult:
    """Measure the intervals between a daemon's polls without load, then with load.

    Args:
        status_port: port of the status for dashboards.
        page_port: port of the page.
        polls: times of the daemon's polls in seconds; the list grows meanwhile.
        count: number of intervals to measure each time; at least 2.

    Raises:
        RuntimeError: the daemon has stopped polling.
    """
    unloaded = _next_intervals(count, polls)
    with http_load(status_port, page_port) as clients:
        began = time.monotonic()
        loaded = _next_intervals(count, polls)
        answered = sum(client.responses[200] for client in clients)
        due = (time.monotonic() - began) * RATE
    return LoadResult(unloaded, loaded, answered=min(1.0, answered / due))


def _next_intervals(count: int, polls: Sequence[float]) -> tuple[float, ...]:
    """Wait for ``count`` more intervals between polls and return them."""
    seen = len(polls)
    end = time.monotonic() + POLL_TIMEOUT * (count + 1)
    while len(polls) < seen + count + 1:
        if time.monotonic() > end:
            raise RuntimeError("the daemon does not poll Immich any more")
        time.sleep(0.01)
    return tuple(later - earlier for earlier, later in pairwise(polls[seen:]))
