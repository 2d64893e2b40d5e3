"""Two hundred requests a second: all are answered, and the loop's rounds stay on time."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from threading import Thread
from typing import Final

from tests.held import immich, until
from tests.web.real import Real, real_daemon

RATE: Final = 200
SECONDS: Final = 10
CLIENTS: Final = 8
LATE: Final = 0.5
"""Seconds by which a look may be later than without load; the daemon's longest wait is 1 s."""


def requests_of(real: Real) -> Iterator[tuple[int, str]]:
    """Yield where and what is asked, over and over: each path of both faces."""
    while True:
        yield from ((real.status_port, path) for path in ("/", "/queues", "/metrics", "/health"))
        yield real.page_port, "/now"


class Client(Thread):
    """Asks at its own times, whether or not it is late, over connections that it keeps."""

    def __init__(self, real: Real, number: int, began: float) -> None:
        super().__init__()
        self.answers: Counter[int] = Counter()
        self._wanted = requests_of(real)
        self._times = [began + i / RATE for i in range(number, RATE * SECONDS, CLIENTS)]

    def run(self) -> None:
        kept: dict[int, HTTPConnection] = {}
        for at, (port, path) in zip(self._times, self._wanted, strict=False):
            time.sleep(max(0.0, at - time.monotonic()))
            connection = kept.setdefault(port, HTTPConnection("127.0.0.1", port, timeout=30))
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            self.answers[answer.status] += 1
        for connection in kept.values():
            connection.close()


@contextmanager
def load(real: Real) -> Iterator[list[Client]]:
    """Ask 200 times a second, and wait for the last answer."""
    began = time.monotonic()
    clients = [Client(real, number, began) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    yield clients
    for client in clients:
        client.join()


def gaps(looks: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(looks)]


def test_two_hundred_requests_a_second_do_not_make_the_rounds_late(tmp_path: Path) -> None:
    looks: list[float] = []

    def seen(method: str, path: str) -> None:
        if (method, path) == ("GET", "/api/queues"):
            looks.append(time.monotonic())

    with immich() as server, real_daemon(server, tmp_path, POLL_INTERVAL=1) as real:
        server.faults = seen
        until(lambda: len(looks) > 6)
        alone = gaps(looks)
        looks.clear()
        began = time.monotonic()
        with load(real) as clients:
            pass
        lasted = time.monotonic() - began
        under_load = gaps(looks)
    assert sum((client.answers for client in clients), Counter()) == {200: RATE * SECONDS}
    assert lasted < 1.5 * SECONDS, "it keeps up with them"
    # Whatever else this machine is busy with may make one look late, but not one in ten.
    assert len(under_load) > SECONDS / (max(alone) + LATE) - 1
    assert median(under_load) < median(alone) + LATE / 2
    assert quantiles(under_load, n=10)[-1] < max(alone) + LATE, under_load
    assert "ERROR" not in real.log
    assert "WARNING" not in real.log
