import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from simulator.immich import KEY, simulated_immich
from simulator.immich.faults import LATE_BY, Fault, FaultQueue
from simulator.immich.pipeline import lasting
from simulator.immich.server import SimulatedServer

PAUSE = b'{"isPaused": true}'
HEADERS = {"x-api-key": KEY, "content-type": "application/json"}
LIMIT = 30.0

Serve = Callable[[SimulatedServer], SimulatedServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Give what starts a server and closes it after the test."""
    with ExitStack() as stack:
        yield stack.enter_context


def connect(server: SimulatedServer, *, timeout: float = LIMIT) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=timeout)


def pause(server: SimulatedServer, *, timeout: float = LIMIT) -> tuple[int, str, bytes]:
    with closing(connect(server, timeout=timeout)) as connection:
        connection.request("PUT", "/api/queues/ocr", PAUSE, HEADERS)
        response = connection.getresponse()
        return response.status, response.headers["content-type"], response.read()


def ping(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/api/server/ping")
    connection.getresponse().read()


def is_paused(server: SimulatedServer) -> bool:
    with server.present() as engine:
        return engine.queues["ocr"].is_paused


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def test_a_connection_carries_many_requests(serve: Serve) -> None:
    server = serve(SimulatedServer(*simulated_immich()))
    with closing(connect(server)) as connection:
        connection.connect()
        used = connection.sock
        for method in ("GET", "PUT", "HEAD", "GET"):
            body = PAUSE if method == "PUT" else None
            connection.request(method, "/api/queues/ocr", body, HEADERS)
            assert len(connection.getresponse().read()) > 0 or method == "HEAD"
        assert connection.sock is used


def test_an_idle_connection_is_closed_after_the_time_it_announces(serve: Serve) -> None:
    server = serve(SimulatedServer(*simulated_immich(), keep_alive=1.0))
    with closing(connect(server)) as connection:
        began = time.monotonic()
        connection.request("GET", "/api/server/ping")
        response = connection.getresponse()
        response.read()
        assert response.headers["keep-alive"] == "timeout=1"
        assert connection.sock.recv(1) == b""
        assert time.monotonic() - began > 0.9


def test_header_names_are_lower_case_and_nothing_tells_of_python(serve: Serve) -> None:
    server = serve(SimulatedServer(*simulated_immich()))
    address = (server.url.split("/")[2].split(":")[0], int(server.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=LIMIT) as raw:
        raw.sendall(b"GET /api/server/ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        text = b"".join(iter(lambda: raw.recv(4096), b"")).decode()
    head = text.partition("\r\n\r\n")[0]
    names = [line.partition(":")[0] for line in head.split("\r\n")[1:]]
    assert names == ["content-type", "content-length", "connection"]
    assert text.endswith('{"res":"pong"}')


def test_time_passes_in_the_engine_as_fast_as_asked(serve: Serve) -> None:
    engine, api = simulated_immich()
    engine.add("ocr", lasting(60.0))
    server = serve(SimulatedServer(engine, api, speed=6000.0))

    def active() -> int:
        with closing(connect(server)) as connection:
            connection.request("GET", "/api/queues/ocr", headers=HEADERS)
            counts: dict[str, int] = json.loads(connection.getresponse().read())["statistics"]
            return counts["active"]

    wait_for(lambda: active() == 0)
    with server.present() as present:
        assert present.now > 57.0


def test_an_immich_that_is_away_takes_no_connection_until_it_is_back(serve: Serve) -> None:
    engine, api = simulated_immich()
    server = serve(SimulatedServer(engine, api, speed=0.0))
    with closing(connect(server)) as kept:
        ping(kept)
        with server.present():
            engine.restart(8.0)
        with pytest.raises((ConnectionError, http.client.BadStatusLine)):
            pause(server)
        with pytest.raises((ConnectionError, http.client.BadStatusLine)):
            ping(kept)
    with server.present():
        engine.restart(0.0)
        engine.advance(engine.now + 8.0)
    assert pause(server)[0] == 200


@pytest.mark.parametrize(
    ("fault", "is_carried_out"),
    [(Fault.REFUSED, False), (Fault.RESET, False), (Fault.LOST_RESPONSE, True)],
)
def test_a_cut_connection_ends_with_a_reset(
    serve: Serve, fault: Fault, *, is_carried_out: bool
) -> None:
    server = serve(SimulatedServer(*simulated_immich(), faults=FaultQueue([fault])))
    with pytest.raises(ConnectionResetError):
        pause(server)
    assert is_paused(server) is is_carried_out


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "is_carried_out"),
    [
        (Fault.SERVER_ERROR, 500, "application/json; charset=utf-8", False),
        (Fault.BAD_GATEWAY, 502, "text/html", False),
        (Fault.HTML, 200, "text/html; charset=utf-8", False),
        (Fault.TRUNCATED, 200, "application/json; charset=utf-8", True),
    ],
)
def test_a_wrong_answer_is_whole_for_http(
    serve: Serve, fault: Fault, status: int, content_type: str, *, is_carried_out: bool
) -> None:
    server = serve(SimulatedServer(*simulated_immich(), faults=FaultQueue([fault])))
    found = pause(server)
    assert found[:2] == (status, content_type)
    assert is_paused(server) is is_carried_out
    if fault is Fault.TRUNCATED:
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            json.loads(found[2])


def test_a_hanging_request_is_never_answered_nor_carried_out(serve: Serve) -> None:
    server = serve(SimulatedServer(*simulated_immich(), faults=FaultQueue([Fault.HANG])))
    with pytest.raises(TimeoutError):
        pause(server, timeout=0.2)
    assert not is_paused(server)
    assert pause(server)[0] == 200


def test_a_late_request_is_carried_out_after_the_client_gave_up(serve: Serve) -> None:
    engine, api = simulated_immich()
    paused_at: list[float] = []
    engine.observers.append(lambda event: paused_at.append(event.time))
    server = serve(SimulatedServer(engine, api, faults=FaultQueue([Fault.LATE])))
    with server.present():
        asked_at = engine.now
    with pytest.raises(TimeoutError):
        pause(server, timeout=0.2)

    def has_come() -> bool:
        with server.present():
            engine.advance(engine.now + 60.0)
        return bool(paused_at)

    wait_for(has_come)
    assert engine.queues["ocr"].is_paused
    assert paused_at[0] - asked_at >= 0.2 + LATE_BY


def test_latency_is_added(serve: Serve) -> None:
    server = serve(SimulatedServer(*simulated_immich(), latency=0.2))
    began = time.monotonic()
    assert pause(server)[0] == 200
    assert time.monotonic() - began >= 0.2


def test_closing_is_quick_also_with_clients_that_wait(serve: Serve) -> None:
    faults = FaultQueue([None, Fault.HANG])
    server = serve(SimulatedServer(*simulated_immich(), faults=faults))
    caught: list[BaseException] = []

    def hang() -> None:
        try:
            pause(server)
        except (ConnectionError, http.client.HTTPException) as error:
            caught.append(error)

    with closing(connect(server)) as idle:
        ping(idle)
        client = threading.Thread(target=hang)
        client.start()
        wait_for(lambda: not faults.left)
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < LIMIT / 2
        client.join()
    assert len(caught) == 1
    server.close()


def test_a_client_that_vanishes_is_no_noise(
    serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    server = serve(SimulatedServer(*simulated_immich(), latency=0.1))
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(3):
        raw = socket.create_connection((host, int(port)), timeout=LIMIT)
        raw.sendall(b"GET /api/server/config HTTP/1.1\r\n\r\n")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
    assert pause(server)[0] == 200
    server.close()
    assert capfd.readouterr() == ("", "")


def test_an_error_of_the_simulation_is_no_fault_of_the_clients() -> None:
    engine, api = simulated_immich()

    def broken(method: str, path: str) -> Fault:
        raise LookupError(f"{method} {path}")

    server = SimulatedServer(engine, api, faults=broken)
    server.start()
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        pause(server)
    with pytest.raises(RuntimeError, match="simulated Immich failed") as caught:
        server.close()
    assert isinstance(caught.value.__cause__, LookupError)
