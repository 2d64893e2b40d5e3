import json
import time

import pytest

from immich_job_daemon.base.errors import UnreachableError
from immich_job_daemon.immich.transport import Transport
from simulator.immich import KEY, simulated_immich
from simulator.immich.api import Api
from simulator.immich.engine import Engine
from simulator.immich.faults import Fault, FaultQueue
from simulator.immich.pipeline import lasting
from simulator.immich.virtual_time import VirtualClock, VirtualTransport

PAUSE = b'{"isPaused": true}'
ImmichClient = tuple[Engine, Api]


@pytest.fixture
def immich() -> ImmichClient:
    return simulated_immich()


def pause(transport: Transport, *, timeout: float | None = None) -> None:
    transport.send("PUT", "/api/queues/ocr", PAUSE, timeout=timeout)


def test_sleeping_lets_the_engine_live() -> None:
    engine, _ = simulated_immich()
    clock = VirtualClock(engine)
    engine.add("ocr", lasting(2.0))
    clock.sleep(60.0)
    assert clock.monotonic() == engine.now == 60.0
    assert engine.is_idle
    clock.sleep(-1.0)
    assert clock.monotonic() == 60.0


def test_a_request_arrives_after_half_of_its_latency(immich: ImmichClient) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, latency=4.0)
    engine.at(1.0, lambda: engine.fail("ocr", 1))
    engine.at(3.0, lambda: engine.fail("ocr", 1))
    answer = transport.send("GET", "/api/queues/ocr")
    assert engine.now == 4.0
    assert json.loads(answer.body)["statistics"]["failed"] == 1


def test_latency_may_differ_from_request_to_request(immich: ImmichClient) -> None:
    engine, api = immich
    latencies = iter([1.0, 2.0])
    transport = VirtualTransport(engine, api, KEY, latency=lambda: next(latencies))
    transport.send("GET", "/api/queues")
    transport.new_connection().send("GET", "/api/queues")
    assert engine.now == 3.0


def test_requests_are_counted_by_method_also_those_that_fail(immich: ImmichClient) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, faults=FaultQueue([None, Fault.RESET]))
    transport.send("GET", "/api/queues")
    with pytest.raises(UnreachableError):
        transport.send("GET", "/api/queues")
    pause(transport)
    transport.close()
    assert transport.requests == {"GET": 2, "PUT": 1}


@pytest.mark.parametrize(
    ("fault", "takes", "is_carried_out"),
    [
        (Fault.REFUSED, 0.5, False),
        (Fault.HANG, 10.0, False),
        (Fault.RESET, 1.0, False),
        (Fault.LOST_RESPONSE, 2.0, True),
        (Fault.LATE, 10.0, False),
    ],
)
def test_a_fault_without_an_answer_is_unreachable(
    immich: ImmichClient, fault: Fault, takes: float, *, is_carried_out: bool
) -> None:
    engine, api = immich
    transport = VirtualTransport(
        engine, api, KEY, latency=2.0, faults=FaultQueue([fault]), refused_after=0.5
    )
    with pytest.raises(UnreachableError) as caught:
        pause(transport)
    assert KEY not in str(caught.value)
    assert engine.now == takes
    assert engine.queues["ocr"].is_paused is is_carried_out


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "is_carried_out"),
    [
        (Fault.SERVER_ERROR, 500, "application/json", False),
        (Fault.BAD_GATEWAY, 502, "text/html", False),
        (Fault.HTML, 200, "text/html", False),
        (Fault.TRUNCATED, 200, "application/json", True),
    ],
)
def test_a_fault_with_an_answer_is_no_answer_of_immichs(
    immich: ImmichClient, fault: Fault, status: int, content_type: str, *, is_carried_out: bool
) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, faults=FaultQueue([fault]))
    answer = transport.send("PUT", "/api/queues/ocr", PAUSE)
    assert (answer.status, answer.content_type.partition(";")[0]) == (status, content_type)
    assert engine.queues["ocr"].is_paused is is_carried_out
    if fault is not Fault.SERVER_ERROR:
        with pytest.raises(ValueError, match=r"Expecting|Unterminated|Invalid"):
            json.loads(answer.body)


def test_a_late_request_is_carried_out_after_the_client_gave_up(immich: ImmichClient) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, faults=FaultQueue([Fault.LATE]))
    with pytest.raises(UnreachableError):
        pause(transport, timeout=5.0)
    assert engine.now == 5.0
    assert not engine.queues["ocr"].is_paused
    engine.advance(15.0)
    assert engine.queues["ocr"].is_paused


def test_a_late_request_is_lost_when_immich_is_away_by_then(immich: ImmichClient) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, faults=FaultQueue([Fault.LATE]))
    with pytest.raises(UnreachableError):
        pause(transport, timeout=5.0)
    engine.restart(60.0)
    engine.advance(100.0)
    assert not engine.queues["ocr"].is_paused


def test_an_answer_slower_than_the_timeout_is_given_up_but_carried_out(
    immich: ImmichClient,
) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, latency=8.0)
    with pytest.raises(UnreachableError, match="no answer within 5 s"):
        pause(transport, timeout=5.0)
    assert engine.now == 5.0
    assert engine.queues["ocr"].is_paused


def test_an_immich_that_is_away_refuses(immich: ImmichClient) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY)
    engine.restart(8.0)
    with pytest.raises(UnreachableError, match="refused"):
        transport.send("GET", "/api/queues")
    engine.advance(8.0)
    assert transport.send("GET", "/api/queues").status == 200


@pytest.mark.parametrize(("killed_at", "is_carried_out"), [(1.0, False), (3.0, True)])
def test_a_restart_during_a_request_cuts_it(
    immich: ImmichClient, killed_at: float, *, is_carried_out: bool
) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, latency=4.0)
    engine.at(killed_at, lambda: engine.restart(0.5))
    with pytest.raises(UnreachableError, match="cut"):
        pause(transport)
    assert engine.queues["ocr"].is_paused is is_carried_out


def test_a_look_costs_little_real_time(immich: ImmichClient) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY)
    best = float("inf")
    for _ in range(10):
        began = time.process_time()
        for _ in range(200):
            transport.send("GET", "/api/queues")
        best = min(best, time.process_time() - began)
    # Many times what it takes, so that a slow machine passes: it guards against a blunder.
    assert best / 200 < 0.001
