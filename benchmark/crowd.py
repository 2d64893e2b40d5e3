"""What 200 requests a second do to the daemon: which are answered, and how late its rounds get."""

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
"""Requests a second, of all clients together."""
CLIENTS: Final = 8
LONGEST_LOOK: Final = 30.0
"""Seconds between two looks after which nothing is waited for any more."""

_TOTALS: Final = ("/", "/queues", "/metrics", "/health")
_PAGE: Final = "/now"


@dataclass(frozen=True, slots=True)
class CrowdCost:
    """What the same daemon does without and with a crowd, in seconds between two looks at Immich.

    Attributes:
        alone: without one.
        crowded: with one.
        answered: how many of the requests that were due were answered by the end, 0 to 1.
    """

    alone: tuple[float, ...]
    crowded: tuple[float, ...]
    answered: float

    @property
    def later(self) -> float:
        """By how much a look comes later with the crowd, in the median; at least 0."""
        return max(0.0, median(self.crowded) - median(self.alone))

    @property
    def latest(self) -> float:
        """By how much the latest tenth is later than the latest alone, at least; not below 0."""
        return max(0.0, quantiles(self.crowded, n=10)[-1] - max(self.alone))


class Client(Thread):
    """Asks at its own times, late or not, over connections that it keeps, until it is told to end.

    Attributes:
        asked: how often it has asked.
        answers: how often there was an answer with each status.
    """

    def __init__(self, number: int, ports: tuple[int, int], end: Event) -> None:
        super().__init__()
        self.asked = 0
        self.answers: Counter[int] = Counter()
        self._number = number
        self._end = end
        status_port, page_port = ports
        self._wanted = cycle([*((status_port, path) for path in _TOTALS), (page_port, _PAGE)])

    def run(self) -> None:
        """Ask every 1 / RATE seconds, in turn with the others."""
        began = time.monotonic()
        with ExitStack() as stack:
            kept: dict[int, HTTPConnection] = {}
            for number, (port, path) in enumerate(self._wanted):
                at = began + (self._number + number * CLIENTS) / RATE
                if self._end.wait(max(0.0, at - time.monotonic())):
                    return
                if port not in kept:
                    kept[port] = HTTPConnection("127.0.0.1", port, timeout=30)
                    stack.callback(kept[port].close)
                self.asked += 1
                kept[port].request("GET", path)
                answer = kept[port].getresponse()
                answer.read()
                self.answers[answer.status] += 1


@contextmanager
def crowd(status_port: int, page_port: int) -> Iterator[list[Client]]:
    """Ask the daemon RATE times a second, each path of both faces, until the end."""
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


def measure(status_port: int, page_port: int, looks: Sequence[float], gaps: int) -> CrowdCost:
    """Watch a daemon for some looks at Immich without a crowd, and for as many with one.

    Args:
        status_port: of its totals.
        page_port: of its page.
        looks: when it looked at Immich, a sequence that grows; seconds.
        gaps: how many times between two looks are measured without it, and with it; at least 2.

    Raises:
        RuntimeError: it does not look any more.
    """
    alone = _next(gaps, looks)
    with crowd(status_port, page_port) as clients:
        began = time.monotonic()
        crowded = _next(gaps, looks)
        answered = sum(client.answers[200] for client in clients)
        due = (time.monotonic() - began) * RATE
    return CrowdCost(alone, crowded, answered=min(1.0, answered / due))


def _next(number: int, looks: Sequence[float]) -> tuple[float, ...]:
    """Wait until there are so many gaps more, and return them."""
    seen = len(looks)
    end = time.monotonic() + LONGEST_LOOK * (number + 1)
    while len(looks) < seen + number + 1:
        if time.monotonic() > end:
            raise RuntimeError("the daemon does not look at Immich any more")
        time.sleep(0.01)
    return tuple(later - earlier for earlier, later in pairwise(looks[seen:]))
