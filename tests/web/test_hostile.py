"""Ten thousand hostile requests: each gets a response or is cut off, and the daemon survives."""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from immich_job_daemon.config.schema import read_settings
from immich_job_daemon.model.controls import Change
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.server import App, Listener, create_dispatcher
from immich_job_daemon.web.ui.app import create_ui
from tests.support.immich_server import KEY, simulated_immich_server
from tests.web.daemon_process import is_answering, real_daemon
from tests.web.hostile import hostile_requests, send, violations
from tests.web.sample_statuses import BUSY, LOST, NOTHING, Clock

PASSWORD: Final = "a password of tests"
REQUESTS_PER_PORT: Final = 5000
MAX_MEMORY_GROWTH: Final = 32.0
"""MiB by which the memory of the process may grow."""


def fuzz(port: int, seed: int, number: int) -> Counter[int | None]:
    """Send requests and return how often each status came; fail on any violation."""
    statuses: Counter[int | None] = Counter()
    for request in hostile_requests(seed, number):
        response = send(port, request)
        statuses[response.status] += 1
        problems = list(violations(request, response))
        assert not problems, (problems, request[:2000], response.content[:2000])
    return statuses


def test_the_daemon_survives_ten_thousand_hostile_requests(tmp_path: Path) -> None:
    options = {"UI_PASSWORD": PASSWORD, "LOG_LEVEL": "debug"}
    with simulated_immich_server() as server, real_daemon(server, tmp_path, **options) as daemon:
        before = daemon.memory
        for seed, port in enumerate((daemon.status_port, daemon.page_port)):
            statuses = fuzz(port, seed, REQUESTS_PER_PORT)
            # Some requests get past the parser.
            assert statuses[200] > REQUESTS_PER_PORT / 40
            assert statuses[404] > REQUESTS_PER_PORT / 40
            assert statuses[400] > REQUESTS_PER_PORT / 40
        assert daemon.process.poll() is None
        assert is_answering(daemon)
        assert daemon.memory < before + MAX_MEMORY_GROWTH
        log = daemon.log
    assert "Traceback" not in log
    assert "ERROR" not in log
    assert [line for line in log.splitlines() if not re.match(r"\[..:..:..\] [A-Z]+: ", line)] == []
    assert KEY not in log
    assert PASSWORD not in log
    assert b64encode(PASSWORD.encode()).decode() not in log


class RecordingHub(StatusHub):
    """A hub that records the submitted changes."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.submitted: list[Change] = []

    def submit(self, change: Change) -> bool:
        """Record the change; reject every other one as too many."""
        self.submitted.append(change)
        return len(self.submitted) % 2 == 0


@contextmanager
def page_behind_ingress(status: Status) -> Iterator[tuple[int, RecordingHub]]:
    """Serve the page to this machine as Home Assistant's gateway; yield the port and the hub."""
    hub = RecordingHub(status)
    settings, _ = read_settings({"API_KEY": KEY}, None)
    page = create_ui(hub, settings, behind_ingress=True, gateway="127.0.0.1", clock=Clock())
    listener = Listener(App.UI, 0, create_dispatcher({App.UI: page}))
    try:
        yield listener.port, hub
    finally:
        listener.close()


def test_the_page_survives_hostile_requests_through_home_assistant() -> None:
    for seed, status in enumerate((BUSY, NOTHING, LOST)):
        with page_behind_ingress(status) as (port, hub):
            assert fuzz(port, seed, 1000)[200] > 20
            # Some of the requests are valid.
            assert hub.submitted or status is not BUSY


def test_the_same_seed_generates_the_same_requests() -> None:
    generate: Callable[[int], list[bytes]] = lambda seed: list(hostile_requests(seed, 50))  # noqa: E731 - short
    assert generate(3) == generate(3) != generate(4)
