"""A real daemon behind a faulty proxy, and behind proxies that answer in Immich's place.

These tests need no network namespaces; test_hosts.py covers more faults.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from simulator.immich.faults import Fault
from simulator.immich.server import SimulatedServer
from tests.cli.test_main import daemon, stop
from tests.network.fault_run import fault_run, running_daemon, wait_for_request_in_flight
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

Setup = tuple[SimulatedServer, FaultyProxy]


@pytest.fixture
def setup() -> Iterator[Setup]:
    """Immich, and the proxy in front of it."""
    with simulated_immich_server() as server:
        port = urlsplit(server.url).port
        assert port is not None
        with FaultyProxy(port) as proxy:
            yield server, proxy


def test_with_a_latency_of_200_ms_all_jobs_are_done_without_a_warning(
    setup: Setup, tmp_path: Path
) -> None:
    server, proxy = setup
    proxy.delay = 0.1
    with fault_run(server, tmp_path, proxy.url) as run:
        run.add_backlog()
        run.wait_for_recovery()
        assert "WARNING" not in run.observed.log


def test_with_lost_data_all_jobs_are_done(setup: Setup, tmp_path: Path) -> None:
    server, proxy = setup
    with fault_run(server, tmp_path, proxy.url) as run:
        proxy.loss = 0.2
        run.add_backlog()
        run.wait_for_recovery()


def test_a_connection_closed_by_immich_during_a_request_is_no_failure(
    setup: Setup, tmp_path: Path
) -> None:
    """Immich closes idle connections after 5 s; here after 1.15 s, with the next poll in transit.

    A response takes 0.2 s, the daemon waits for 1 s, and a request takes 0.2 s again.
    """
    server, proxy = setup
    server.keep_alive = 1.15
    with fault_run(server, tmp_path, proxy.url) as run:
        proxy.delay = 0.2
        wait_until(lambda: proxy.requests_after_close >= 3)
        proxy.delay = 0.0
        run.add_backlog()
        run.wait_for_recovery()
        assert "WARNING" not in run.observed.log


def test_it_recovers_from_a_cable_unplugged_during_a_request(setup: Setup, tmp_path: Path) -> None:
    server, proxy = setup
    with fault_run(server, tmp_path, proxy.url) as run:
        run.add_backlog()
        wait_for_request_in_flight(server)
        proxy.unplug()
        run.wait_for_log("sent no complete response within 10 s")
        proxy.plug_in()
        run.wait_for_log("All is well again")
        run.wait_for_recovery()


def test_it_recovers_from_reset_connections(setup: Setup, tmp_path: Path) -> None:
    server, proxy = setup
    with fault_run(server, tmp_path, proxy.url) as run:
        for _ in range(3):
            run.add_backlog()
            wait_for_request_in_flight(server)
            proxy.reset_connections()
            run.wait_for_recovery()


def test_a_stop_with_the_cable_unplugged_is_in_time_and_the_next_run_resumes(
    setup: Setup, tmp_path: Path
) -> None:
    server, proxy = setup
    with running_daemon(server, tmp_path, proxy.url) as process:
        wait_until(lambda: is_under_control(server))
        proxy.unplug()
        assert stop(process) < STOP_GRACE_PERIOD
    assert "Not resumed, so these may stay paused: " in ObservedProcess(
        process.pid, tmp_path
    ).log_since(0)
    proxy.plug_in()
    with fault_run(server, tmp_path, proxy.url) as run:
        wait_until(lambda: run.observed.log.count("Connected") == 2)


def test_it_recovers_from_requests_without_a_response(setup: Setup, tmp_path: Path) -> None:
    server, proxy = setup
    with fault_run(server, tmp_path, proxy.url) as run:
        run.add_backlog()
        server.faults = lambda *_: Fault.HANG
        run.wait_for_log("sent no complete response within 10 s")
        server.faults = None
        run.wait_for_log("All is well again")
        run.wait_for_recovery()


# Proxies that answer themselves


@pytest.mark.parametrize("requests", [POLLS, ALL_REQUESTS], ids=["polls", "all requests"])
@pytest.mark.parametrize(
    ("response", "text"),
    [
        (
            http_response(b"", "301 Moved", "location: https://photos.example/api/queues"),
            "Immich redirects to https://photos.example: set IMMICH_URL to https://photos.example",
        ),
        (
            http_response(
                b"<!doctype html><title>Log in</title>", headers="content-type: text/html"
            ),
            "the server at IMMICH_URL is not Immich (it sent an HTML page with status 200)",
        ),
    ],
    ids=["https", "login"],
)
def test_it_recovers_from_a_proxy_that_redirects_or_asks_for_a_login(
    tmp_path: Path, requests: str, response: bytes, text: str
) -> None:
    with simulated_immich_server() as server, closing(InterceptingServer(server)) as intercepting:
        with daemon(server, tmp_path, IMMICH_URL=intercepting.url, POLL_INTERVAL=1) as process:
            observed = ObservedProcess(process.pid, tmp_path)
            wait_until(lambda: is_under_control(server))
            with intercepting.intercept(requests, lambda: [response]):
                wait_until(lambda: text in observed.log)
            wait_until(lambda: "All is well again" in observed.log)
            stop(process)
        observed.log_since(0)
        assert paused(server) == set()
