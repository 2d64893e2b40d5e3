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
Immich = tuple[Engine, Api]


@pytest.fixture
def immich() -> Immich:
    return simulated_immich()


def pause(transport: Transport, *, timeout: float | None = None) -> None:
    transport.send("PUT", "/api/queues/ocr", PAUSE, timeout=timeout)


def test_sleeping_advances_the_engine() -> None:
    engine, _ = simulated_immich()
    clock = VirtualClock(engine)
    engine.add("ocr", lasting(2.0))
    clock.sleep(60.0)
    assert clock.monotonic() == engine.now == 60.0
    assert engine.is_idle
    clock.sleep(-1.0)
    assert clock.monotonic() == 60.0


def test_a_request_arrives_after_half_its_latency(immich: Immich) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, latency=4.0)
    engine.at(1.0, lambda: engine.fail("ocr", 1))
    engine.at(3.0, lambda: engine.fail("ocr", 1))
    response = transport.send("GET", "/api/queues/ocr")
    assert engine.now == 4.0
    assert json.loads(response.body)["statistics"]["failed"] == 1


def test_latency_can_vary_by_request(immich: Immich) -> None:
    engine, api = immich
    latencies = iter([1.0, 2.0])
    transport = VirtualTransport(engine, api, KEY, latency=lambda: next(latencies))
    transport.send("GET", "/api/queues")
    transport.new_connection().send("GET", "/api/queues")
    assert engine.now == 3.0


def test_requests_are_counted_by_method_including_failed_ones(immich: Immich) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, faults=FaultQueue([None, Fault.RESET]))
    transport.send("GET", "/api/queues")
    with pytest.raises(UnreachableError):
        transport.send("GET", "/api/queues")
    pause(transport)
    transport.close()
    assert transport.requests == {"GET": 2, "PUT": 1}


@pytest.mark.parametrize(
    ("fault", "takes", "is_processed"),
    [
        (Fault.REFUSED, 0.5, False),
        (Fault.HANG, 10.0, False),
        (Fault.RESET, 1.0, False),
        (Fault.LOST_RESPONSE, 2.0, True),
        (Fault.LATE, 10.0, False),
    ],
)
def test_a_fault_without_a_response_raises_unreachable(
    immich: Immich, fault: Fault, takes: float, *, is_processed: bool
) -> None:
    engine, api = immich
    transport = VirtualTransport(
        engine, api, KEY, latency=2.0, faults=FaultQueue([fault]), refused_after=0.5
    )
    with pytest.raises(UnreachableError) as caught:
        pause(transport)
    assert KEY not in str(caught.value)
    assert engine.now == takes
    assert engine.queues["ocr"].is_paused is is_processed


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "is_processed"),
    [
        (Fault.SERVER_ERROR, 500, "application/json", False),
        (Fault.BAD_GATEWAY, 502, "text/html", False),
        (Fault.HTML, 200, "text/html", False),
        (Fault.TRUNCATED, 200, "application/json", True),
    ],
)
def test_a_fault_can_replace_the_response(
    immich: Immich, fault: Fault, status: int, content_type: str, *, is_processed: bool
) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, faults=FaultQueue([fault]))
    response = transport.send("PUT", "/api/queues/ocr", PAUSE)
    assert (response.status, response.content_type.partition(";")[0]) == (status, content_type)
    assert engine.queues["ocr"].is_paused is is_processed
    if fault is not Fault.SERVER_ERROR:
        with pytest.raises(ValueError, match=r"Expecting|Unterminated|Invalid"):
            json.loads(response.body)


def test_a_late_request_is_processed_after_the_client_has_given_up(immich: Immich) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, faults=FaultQueue([Fault.LATE]))
    with pytest.raises(UnreachableError):
        pause(transport, timeout=5.0)
    assert engine.now == 5.0
    assert not engine.queues["ocr"].is_paused
    engine.advance(15.0)
    assert engine.queues["ocr"].is_paused


def test_a_late_request_is_lost_if_immich_is_down_by_then(immich: Immich) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, faults=FaultQueue([Fault.LATE]))
    with pytest.raises(UnreachableError):
        pause(transport, timeout=5.0)
    engine.restart(60.0)
    engine.advance(100.0)
    assert not engine.queues["ocr"].is_paused


def test_a_request_that_times_out_is_still_processed(
    immich: Immich,
) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, latency=8.0)
    with pytest.raises(UnreachableError, match="no response within 5 s"):
        pause(transport, timeout=5.0)
    assert engine.now == 5.0
    assert engine.queues["ocr"].is_paused


def test_a_server_that_is_down_refuses_connections(immich: Immich) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY)
    engine.restart(8.0)
    with pytest.raises(UnreachableError, match="refused"):
        transport.send("GET", "/api/queues")
    engine.advance(8.0)
    assert transport.send("GET", "/api/queues").status == 200


@pytest.mark.parametrize(("killed_at", "is_processed"), [(1.0, False), (3.0, True)])
def test_a_restart_during_a_request_resets_the_connection(
    immich: Immich, killed_at: float, *, is_processed: bool
) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY, latency=4.0)
    engine.at(killed_at, lambda: engine.restart(0.5))
    with pytest.raises(UnreachableError, match="reset"):
        pause(transport)
    assert engine.queues["ocr"].is_paused is is_processed


def test_a_request_takes_little_real_time(immich: Immich) -> None:
    engine, api = immich
    transport = VirtualTransport(engine, api, KEY)
    best = float("inf")
    for _ in range(10):
        began = time.process_time()
        for _ in range(200):
            transport.send("GET", "/api/queues")
        best = min(best, time.process_time() - began)
    # Many times the usual duration, so that only a serious regression fails on a slow machine.
    assert best / 200 < 0.001
