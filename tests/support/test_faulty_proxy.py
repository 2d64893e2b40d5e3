"""The line that fails: what it carries, delays and cuts."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.faulty_proxy import RESENT, FaultyProxy
from tests.support.immich_server import KEY, LIMIT, immich, until


@pytest.fixture
def line() -> Iterator[FaultyProxy]:
    with immich() as server, FaultyProxy(int(server.url.rpartition(":")[2])) as one:
        yield one


def look(line: FaultyProxy, session: requests.Session) -> requests.Response:
    return session.get(f"{line.url}/api/queues", headers={"x-api-key": KEY}, timeout=LIMIT)


def test_it_carries_requests_and_notes_the_looks(line: FaultyProxy) -> None:
    with requests.Session() as session:
        assert len(look(line, session).json()) == 19
        assert session.get(f"{line.url}/api/server/ping", timeout=LIMIT).json() == {"res": "pong"}
        assert len(look(line, session).json()) == 19
    assert len(line.looks) == 2


def test_it_can_be_slow_both_ways(line: FaultyProxy) -> None:
    line.delay = 0.3
    began = time.monotonic()
    with requests.Session() as session:
        look(line, session)
    assert time.monotonic() - began >= 0.6


def test_what_is_lost_comes_again(line: FaultyProxy) -> None:
    line.loss = 1.0
    began = time.monotonic()
    with requests.Session() as session:
        assert len(look(line, session).json()) == 19
    assert time.monotonic() - began >= 2 * RESENT


def test_without_a_cable_nothing_comes_until_it_is_in_again(line: FaultyProxy) -> None:
    with (
        requests.Session() as session,
        requests.Session() as another,
        ThreadPoolExecutor() as pool,
    ):
        look(line, session)
        line.plug(in_=False)
        answers = [pool.submit(look, line, session), pool.submit(look, line, another)]
        with pytest.raises(TimeoutError):
            answers[0].result(0.3)
        line.plug(in_=True)
        assert [len(answer.result().json()) for answer in answers] == [19, 19]


def test_it_can_be_cut_in_the_middle_of_a_request(line: FaultyProxy) -> None:
    line.delay = LIMIT
    with requests.Session() as session, ThreadPoolExecutor() as pool:
        answer = pool.submit(look, line, session)
        until(lambda: len(line.looks) == 1)
        line.cut()
        with pytest.raises(requests.ConnectionError):
            answer.result()


def test_where_nobody_listens_the_connection_ends() -> None:
    with immich() as server:
        port = int(server.url.rpartition(":")[2])
    with (
        FaultyProxy(port) as line,
        requests.Session() as session,
        pytest.raises(requests.ConnectionError),
    ):
        look(line, session)
