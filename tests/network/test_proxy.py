"""A faulty proxy between a real daemon and a simulated Immich; proxies that let nothing through.

What can be done to whole connections without network hosts of one's own: test_hosts.py does more.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from simulator.immich.faults import Fault
from simulator.immich.server import SimulatedServer
from tests.cli.test_main import daemon, stop
from tests.network.fault_run import course, in_the_middle, running
from tests.support.faulty_proxy import FaultyProxy
from tests.support.immich_server import (
    STOP_GRACE_PERIOD,
    is_under_control,
    paused,
    simulated_immich_server,
)
from tests.support.intercepting_server import ALL_REQUESTS, POLLS, InterceptingServer, http_response
from tests.support.observed_process import ObservedProcess
from tests.support.waiting import wait_until

Way = tuple[SimulatedServer, FaultyProxy]


@pytest.fixture
def way() -> Iterator[Way]:
    """Immich, and the line to it."""
    with simulated_immich_server() as server:
        port = urlsplit(server.url).port
        assert port is not None
        with FaultyProxy(port) as line:
            yield server, line


def test_where_every_answer_takes_200_ms_the_work_is_done_without_a_complaint(
    way: Way, tmp_path: Path
) -> None:
    server, line = way
    line.delay = 0.1
    with course(server, tmp_path, line.url) as one:
        one.add_backlog()
        one.is_well()
        assert "WARNING" not in one.watched.log


def test_where_one_piece_in_five_is_lost_the_work_is_done(way: Way, tmp_path: Path) -> None:
    server, line = way
    with course(server, tmp_path, line.url) as one:
        line.loss = 0.2
        one.add_backlog()
        one.is_well()


def test_a_connection_that_immich_closes_while_a_request_is_on_its_way_is_no_failure(
    way: Way, tmp_path: Path
) -> None:
    """Immich closes after 5 idle seconds; here just when the next look is on its way to it.

    An answer takes 0.2 s, the daemon waits for 1 s, and a request takes 0.2 s again.
    """
    server, line = way
    server.keep_alive = 1.15
    with course(server, tmp_path, line.url) as one:
        line.delay = 0.2
        wait_until(lambda: line.requests_after_close >= 3)
        line.delay = 0.0
        one.add_backlog()
        one.is_well()
        assert "WARNING" not in one.watched.log


def test_a_cable_that_is_pulled_in_the_middle_of_a_request_is_told_and_waited_for(
    way: Way, tmp_path: Path
) -> None:
    server, line = way
    with course(server, tmp_path, line.url) as one:
        one.add_backlog()
        in_the_middle(server)
        line.unplug()
        one.says("gave no complete answer within 10 s")
        line.plug_in()
        one.says("All is well again")
        one.is_well()


def test_connections_that_are_cut_are_made_anew(way: Way, tmp_path: Path) -> None:
    server, line = way
    with course(server, tmp_path, line.url) as one:
        for _ in range(3):
            one.add_backlog()
            in_the_middle(server)
            line.reset_connections()
            one.is_well()


def test_a_stop_while_the_cable_is_out_is_in_time_and_the_next_start_makes_it_good(
    way: Way, tmp_path: Path
) -> None:
    server, line = way
    with running(server, tmp_path, line.url) as process:
        wait_until(lambda: is_under_control(server))
        line.unplug()
        assert stop(process) < STOP_GRACE_PERIOD
    assert "Not resumed, so it may stay paused: " in ObservedProcess(
        process.pid, tmp_path
    ).log_since(0)
    line.plug_in()
    with course(server, tmp_path, line.url) as one:
        wait_until(lambda: one.watched.log.count("Connected") == 2)


def test_a_connection_that_is_taken_and_never_answered_is_told_and_left(
    way: Way, tmp_path: Path
) -> None:
    server, line = way
    with course(server, tmp_path, line.url) as one:
        one.add_backlog()
        server.faults = lambda *_: Fault.HANG
        one.says("gave no complete answer within 10 s")
        server.faults = None
        one.says("All is well again")
        one.is_well()


# Proxies in between


@pytest.mark.parametrize("requests", [POLLS, ALL_REQUESTS], ids=["looks", "everything"])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            http_response(b"", "301 Moved", "location: https://photos.example/api/queues"),
            "Immich redirects to https://photos.example: set IMMICH_URL to https://photos.example",
        ),
        (
            http_response(
                b"<!doctype html><title>Log in</title>", headers="content-type: text/html"
            ),
            "what answers at IMMICH_URL is not Immich (it sends a page, with status 200)",
        ),
    ],
    ids=["https", "login"],
)
def test_a_proxy_that_does_not_let_through_is_told_and_waited_for(
    tmp_path: Path, requests: str, answer: bytes, words: str
) -> None:
    with simulated_immich_server() as server, closing(InterceptingServer(server)) as impostor:
        with daemon(server, tmp_path, IMMICH_URL=impostor.url, POLL_INTERVAL=1) as process:
            watched = ObservedProcess(process.pid, tmp_path)
            wait_until(lambda: is_under_control(server))
            with impostor.intercept(requests, lambda: [answer]):
                wait_until(lambda: words in watched.log)
            wait_until(lambda: "All is well again" in watched.log)
            stop(process)
        watched.log_since(0)
        assert paused(server) == set()
