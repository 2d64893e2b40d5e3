"""Two hundred requests a second: all are answered, and the rounds go on. How late: benchmark."""

import time
from collections import Counter
from pathlib import Path
from typing import Final

from benchmark.crowd import CLIENTS, crowd
from tests.support.immich_server import simulated_immich_server
from tests.support.waiting import wait_until
from tests.web.daemon_process import real_daemon

LOOKS: Final = 8
"""How many looks at Immich are waited for."""


def test_two_hundred_requests_a_second_are_answered_and_the_rounds_go_on(tmp_path: Path) -> None:
    looks: list[float] = []

    def seen(method: str, path: str) -> None:
        if (method, path) == ("GET", "/api/queues"):
            looks.append(time.monotonic())

    with (
        simulated_immich_server() as server,
        real_daemon(server, tmp_path, POLL_INTERVAL=1) as real,
    ):
        with crowd(real.status_port, real.page_port) as clients:
            wait_until(lambda: all(client.answers for client in clients))
            server.faults = seen
            wait_until(lambda: len(looks) >= LOOKS)
        answers = sum((client.answers for client in clients), Counter[int]())
    assert answers == {200: sum(client.asked for client in clients)}
    assert answers[200] > CLIENTS * LOOKS
    assert "ERROR" not in real.log
    assert "WARNING" not in real.log
