"""Worker threads, and calls that their caller abandons."""

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
"""Seconds after which a test has failed."""


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(lambda: None)
    worker.start()
    yield worker
    worker.shut_down()
    worker.join(LIMIT)
    assert not worker.is_alive()


def test_a_future_has_the_result_or_the_exception_of_its_call(worker: Worker) -> None:
    first, second = worker.submit(lambda: 1 + 1), worker.submit(lambda: 1 // 0)
    assert first.result(LIMIT) == 2
    with pytest.raises(ZeroDivisionError):
        second.result(LIMIT)
    assert worker.submit(lambda: "after a failure").result(LIMIT)


def test_calls_run_one_after_the_other_in_the_same_other_thread(
    worker: Worker,
) -> None:
    threads = [worker.submit(threading.get_ident) for _ in range(3)]
    idents = {first.result(LIMIT) for first in threads}
    assert len(idents) == 1
    assert threading.get_ident() not in idents


def test_the_callback_runs_after_each_call() -> None:
    done: list[bool] = []
    worker = Worker(lambda: done.append(first.done()))
    first = worker.submit(lambda: None)
    worker.shut_down()
    worker.start()
    worker.join(LIMIT)
    assert done == [True]


def test_a_call_is_awaited_until_its_worker_is_abandoned(worker: Worker) -> None:
    assert worker.submit(is_call_awaited).result(LIMIT)
    worker.abandon()
    assert not worker.submit(is_call_awaited).result(LIMIT)
    assert is_call_awaited()


@pytest.mark.parametrize("is_kept", [False, True], ids=["new connection", "kept-alive connection"])
def test_an_abandoned_request_is_not_sent(worker: Worker, *, is_kept: bool) -> None:
    requests: list[str] = []

    def record(method: str, _: str) -> Fault | None:
        requests.append(method)
        return None

    engine, api = simulated_immich()
    with SimulatedServer(engine, api, faults=record) as server:
        transport = HttpTransport(server.url, KEY)
        if is_kept:
            transport.send("GET", "/api/queues")
        before = [*requests]
        worker.abandon()
        future = worker.submit(lambda: transport.send("PUT", "/api/queues/ocr", b"{}"))
        with pytest.raises(UnreachableError):
            future.result(LIMIT)
        assert requests == before
        assert transport.send("GET", "/api/queues").status == 200
        transport.close()


def test_an_abandoned_request_is_not_repeated(worker: Worker) -> None:
    """Even if its kept-alive connection was closed."""
    requests: list[str] = []

    def cut(method: str, _: str) -> Fault | None:
        requests.append(method)
        if len(requests) == 1:
            return None
        worker.abandon()
        return Fault.RESET

    engine, api = simulated_immich()
    with SimulatedServer(engine, api, faults=cut) as server:
        transport = HttpTransport(server.url, KEY)
        transport.send("GET", "/api/queues")
        future = worker.submit(lambda: transport.send("PUT", "/api/queues/ocr", b"{}"))
        with pytest.raises(UnreachableError):
            future.result(LIMIT)
        assert requests == ["GET", "PUT"]
        transport.close()
