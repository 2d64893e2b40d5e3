"""Errands: what a thread of its own does, and what becomes of it when nobody waits any more."""

import threading
from collections.abc import Iterator

import pytest

from immich_job_daemon.base.errors import UnreachableError
from immich_job_daemon.base.worker import Worker, is_call_awaited
from immich_job_daemon.immich.transport import HttpTransport
from simulator.immich import KEY, simulated_immich
from simulator.immich.faults import Fault
from simulator.immich.server import SimulatedServer

LIMIT = 90.0


@pytest.fixture
def errands() -> Iterator[Worker]:
    errands = Worker(lambda: None)
    errands.start()
    yield errands
    errands.shut_down()
    errands.join(LIMIT)
    assert not errands.is_alive()


def test_what_an_errand_returns_or_raises_is_where_its_asker_looks(errands: Worker) -> None:
    one, two = errands.submit(lambda: 1 + 1), errands.submit(lambda: 1 // 0)
    assert one.result(LIMIT) == 2
    with pytest.raises(ZeroDivisionError):
        two.result(LIMIT)
    assert errands.submit(lambda: "whatever was before").result(LIMIT)


def test_errands_are_done_one_after_the_other_in_a_thread_that_is_not_the_askers(
    errands: Worker,
) -> None:
    threads = [errands.submit(threading.get_ident) for _ in range(3)]
    idents = {one.result(LIMIT) for one in threads}
    assert len(idents) == 1
    assert threading.get_ident() not in idents


def test_after_each_errand_it_says_so() -> None:
    done: list[bool] = []
    errands = Worker(lambda: done.append(one.done()))
    one = errands.submit(lambda: None)
    errands.shut_down()
    errands.start()
    errands.join(LIMIT)
    assert done == [True]


def test_an_errand_is_awaited_until_its_asker_leaves_and_all_else_always(errands: Worker) -> None:
    assert errands.submit(is_call_awaited).result(LIMIT)
    errands.abandon()
    assert not errands.submit(is_call_awaited).result(LIMIT)
    assert is_call_awaited()


@pytest.mark.parametrize("is_kept", [False, True], ids=["on a new connection", "on a kept one"])
def test_what_nobody_waits_for_is_not_sent_any_more(errands: Worker, *, is_kept: bool) -> None:
    asked: list[str] = []

    def note(method: str, _: str) -> Fault | None:
        asked.append(method)
        return None

    engine, api = simulated_immich()
    with SimulatedServer(engine, api, faults=note) as server:
        transport = HttpTransport(server.url, KEY)
        if is_kept:
            transport.send("GET", "/api/queues")
        before = [*asked]
        errands.abandon()
        answer = errands.submit(lambda: transport.send("PUT", "/api/queues/ocr", b"{}"))
        with pytest.raises(UnreachableError):
            answer.result(LIMIT)
        assert asked == before
        assert transport.send("GET", "/api/queues").status == 200
        transport.close()


def test_a_request_that_nobody_waits_for_is_not_sent_again(errands: Worker) -> None:
    """A kept connection that was closed meanwhile is no reason any more."""
    asked: list[str] = []

    def cut(method: str, _: str) -> Fault | None:
        asked.append(method)
        if len(asked) == 1:
            return None
        errands.abandon()
        return Fault.RESET

    engine, api = simulated_immich()
    with SimulatedServer(engine, api, faults=cut) as server:
        transport = HttpTransport(server.url, KEY)
        transport.send("GET", "/api/queues")
        answer = errands.submit(lambda: transport.send("PUT", "/api/queues/ocr", b"{}"))
        with pytest.raises(UnreachableError):
            answer.result(LIMIT)
        assert asked == ["GET", "PUT"]
        transport.close()
