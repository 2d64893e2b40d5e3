"""Ten thousand requests that nobody should send: each is answered or cut, and all goes on."""

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
from immich_job_daemon.web.application import Face, with_faces
from immich_job_daemon.web.server import Listener
from immich_job_daemon.web.ui.app import create_people
from tests.support.immich_server import KEY, simulated_immich_server
from tests.web.daemon_process import is_answering, real_daemon
from tests.web.hostile import complaints, hostile, sent
from tests.web.sample_statuses import BUSY, LOST, NOTHING, Clock

PASSWORD: Final = "a password of tests"
EACH: Final = 5000
MORE_MEMORY: Final = 32.0
"""MiB by which ten thousand requests may have made the process larger."""


def fuzzed(port: int, seed: int, number: int) -> Counter[int | None]:
    """Send them, and return how often each status came; any complaint is a failure."""
    found: Counter[int | None] = Counter()
    for request in hostile(seed, number):
        outcome = sent(port, request)
        found[outcome.status] += 1
        wrong = list(complaints(request, outcome))
        assert not wrong, (wrong, request[:2000], outcome.content[:2000])
    return found


def test_ten_thousand_hostile_requests_harm_nobody(tmp_path: Path) -> None:
    options = {"UI_PASSWORD": PASSWORD, "LOG_LEVEL": "debug"}
    with simulated_immich_server() as server, real_daemon(server, tmp_path, **options) as real:
        before = real.resident
        for seed, port in enumerate((real.status_port, real.page_port)):
            found = fuzzed(port, seed, EACH)
            # Not all of them fail at the door.
            assert found[200] > EACH / 40
            assert found[404] > EACH / 40
            assert found[400] > EACH / 40
        assert real.process.poll() is None
        assert is_answering(real)
        assert real.resident < before + MORE_MEMORY
        log = real.log
    assert "Traceback" not in log
    assert "ERROR" not in log
    assert [line for line in log.splitlines() if not re.match(r"\[..:..:..\] [A-Z]+: ", line)] == []
    assert KEY not in log
    assert PASSWORD not in log
    assert b64encode(PASSWORD.encode()).decode() not in log


class Wishes(StatusHub):
    """A board that counts what was wished for."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.asked: list[Change] = []

    def ask(self, change: Change) -> bool:
        """Remember it; there is room for it now and then."""
        self.asked.append(change)
        return len(self.asked) % 2 == 0


@contextmanager
def page_behind_ingress(status: Status) -> Iterator[tuple[int, Wishes]]:
    """Give the port of a page that lets this machine in as Home Assistant's gateway."""
    hub = Wishes(status)
    settings, _ = read_settings({"API_KEY": KEY}, None)
    face = create_people(hub, settings, behind_ingress=True, gateway="127.0.0.1", clock=Clock())
    listener = Listener(Face.PEOPLE, 0, with_faces({Face.PEOPLE: face}))
    try:
        yield listener.port, hub
    finally:
        listener.close()


def test_hostile_requests_that_home_assistant_lets_through_harm_nobody() -> None:
    for seed, status in enumerate((BUSY, NOTHING, LOST)):
        with page_behind_ingress(status) as (port, hub):
            assert fuzzed(port, seed, 1000)[200] > 20
            # Some of them are as right as the page's own.
            assert hub.asked or status is not BUSY


def test_what_the_chance_makes_is_the_same_for_the_same_seed() -> None:
    made: Callable[[int], list[bytes]] = lambda seed: list(hostile(seed, 50))  # noqa: E731 - short
    assert made(3) == made(3) != made(4)
