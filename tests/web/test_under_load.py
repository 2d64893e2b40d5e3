"""Two hundred requests a second: all get a response, and the loop keeps running.

The benchmark measures how much they delay the loop.
"""

import time
from collections import Counter
from pathlib import Path
from typing import Final

from benchmark.process_cost import CLIENTS, http_load
from tests.support.immich_server import simulated_immich_server
from tests.support.waiting import wait_until
from tests.web.daemon_process import real_daemon

POLLS: Final = 8


def test_the_daemon_responds_to_two_hundred_requests_a_second_and_keeps_polling(
    tmp_path: Path,
) -> None:
    polls: list[float] = []

    def record(method: str, path: str) -> None:
        if (method, path) == ("GET", "/api/queues"):
            polls.append(time.monotonic())

    with (
        simulated_immich_server() as server,
        real_daemon(server, tmp_path, POLL_INTERVAL=1) as daemon,
    ):
        with http_load(daemon.status_port, daemon.page_port) as clients:
            wait_until(lambda: all(client.responses for client in clients))
            server.faults = record
            wait_until(lambda: len(polls) >= POLLS)
        statuses = sum((client.responses for client in clients), Counter[int]())
    assert statuses == {200: sum(client.requests for client in clients)}
    assert statuses[200] > CLIENTS * POLLS
    assert "ERROR" not in daemon.log
    assert "WARNING" not in daemon.log
