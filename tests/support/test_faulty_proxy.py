"""The faulty proxy: forwarding, delay, loss and resets."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.faulty_proxy import RETRANSMISSION_DELAY, FaultyProxy
from tests.support.immich_server import KEY, simulated_immich_server
from tests.support.waiting import TIMEOUT, wait_until


@pytest.fixture
def proxy() -> Iterator[FaultyProxy]:
    with (
        simulated_immich_server() as server,
        FaultyProxy(int(server.url.rpartition(":")[2])) as proxy,
    ):
        yield proxy


def poll(proxy: FaultyProxy, session: requests.Session) -> requests.Response:
    return session.get(f"{proxy.url}/api/queues", headers={"x-api-key": KEY}, timeout=TIMEOUT)


def test_requests_are_forwarded_and_polls_are_noted(proxy: FaultyProxy) -> None:
    with requests.Session() as session:
        assert len(poll(proxy, session).json()) == 19
        assert session.get(f"{proxy.url}/api/server/ping", timeout=TIMEOUT).json() == {
            "res": "pong"
        }
        assert len(poll(proxy, session).json()) == 19
    assert len(proxy.polls) == 2


def test_both_directions_are_delayed(proxy: FaultyProxy) -> None:
    proxy.delay = 0.3
    began = time.monotonic()
    with requests.Session() as session:
        poll(proxy, session)
    assert time.monotonic() - began >= 0.6


def test_lost_data_arrives_later(proxy: FaultyProxy) -> None:
    proxy.loss = 1.0
    began = time.monotonic()
    with requests.Session() as session:
        assert len(poll(proxy, session).json()) == 19
    assert time.monotonic() - began >= 2 * RETRANSMISSION_DELAY


def test_an_unplugged_cable_keeps_data_until_it_is_plugged_in(proxy: FaultyProxy) -> None:
    with (
        requests.Session() as session,
        requests.Session() as another,
        ThreadPoolExecutor() as pool,
    ):
        poll(proxy, session)
        proxy.unplug()
        responses = [pool.submit(poll, proxy, session), pool.submit(poll, proxy, another)]
        with pytest.raises(TimeoutError):
            responses[0].result(0.3)
        proxy.plug_in()
        assert [len(response.result().json()) for response in responses] == [19, 19]


def test_connections_can_be_reset_during_a_request(proxy: FaultyProxy) -> None:
    proxy.delay = TIMEOUT
    with requests.Session() as session, ThreadPoolExecutor() as pool:
        response = pool.submit(poll, proxy, session)
        wait_until(lambda: len(proxy.polls) == 1)
        proxy.reset_connections()
        with pytest.raises(requests.ConnectionError):
            response.result()


def test_a_connection_to_a_closed_port_ends() -> None:
    with simulated_immich_server() as server:
        port = int(server.url.rpartition(":")[2])
    with (
        FaultyProxy(port) as proxy,
        requests.Session() as session,
        pytest.raises(requests.ConnectionError),
    ):
        poll(proxy, session)
