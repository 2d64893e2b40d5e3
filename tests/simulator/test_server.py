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
from simulator.immich.faults import LATE_DELAY, Fault, FaultQueue
from simulator.immich.pipeline import lasting
from simulator.immich.server import SimulatedServer

PAUSE = b'{"isPaused": true}'
HEADERS = {"x-api-key": KEY, "content-type": "application/json"}
LIMIT = 30.0

Serve = Callable[[SimulatedServer], SimulatedServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts a server, which is closed after the test."""
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


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "the condition is still false"
        time.sleep(0.005)


def test_a_connection_is_kept_for_many_requests(serve: Serve) -> None:
    server = serve(SimulatedServer(*simulated_immich()))
    with closing(connect(server)) as connection:
        connection.connect()
        used = connection.sock
        for method in ("GET", "PUT", "HEAD", "GET"):
            body = PAUSE if method == "PUT" else None
            connection.request(method, "/api/queues/ocr", body, HEADERS)
            assert len(connection.getresponse().read()) > 0 or method == "HEAD"
        assert connection.sock is used


def test_an_idle_connection_is_closed_after_its_keep_alive_timeout(serve: Serve) -> None:
    server = serve(SimulatedServer(*simulated_immich(), keep_alive=1.0))
    with closing(connect(server)) as connection:
        began = time.monotonic()
        connection.request("GET", "/api/server/ping")
        response = connection.getresponse()
        response.read()
        assert response.headers["keep-alive"] == "timeout=1"
        assert connection.sock.recv(1) == b""
        assert time.monotonic() - began > 0.9


def test_header_names_are_lower_case_and_do_not_reveal_python(serve: Serve) -> None:
    server = serve(SimulatedServer(*simulated_immich()))
    address = (server.url.split("/")[2].split(":")[0], int(server.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=LIMIT) as raw:
        raw.sendall(b"GET /api/server/ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        text = b"".join(iter(lambda: raw.recv(4096), b"")).decode()
    head = text.partition("\r\n\r\n")[0]
    names = [line.partition(":")[0] for line in head.split("\r\n")[1:]]
    assert names == ["content-type", "content-length", "connection"]
    assert text.endswith('{"res":"pong"}')


def test_speed_sets_how_fast_engine_time_passes(serve: Serve) -> None:
    engine, api = simulated_immich()
    engine.add("ocr", lasting(60.0))
    server = serve(SimulatedServer(engine, api, speed=6000.0))

    def active() -> int:
        with closing(connect(server)) as connection:
            connection.request("GET", "/api/queues/ocr", headers=HEADERS)
            counts: dict[str, int] = json.loads(connection.getresponse().read())["statistics"]
            return counts["active"]

    wait_until(lambda: active() == 0)
    with server.present() as present:
        assert present.now > 57.0


def test_a_server_that_is_down_refuses_connections(serve: Serve) -> None:
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
    ("fault", "is_processed"),
    [(Fault.REFUSED, False), (Fault.RESET, False), (Fault.LOST_RESPONSE, True)],
)
def test_a_fault_can_reset_the_connection(
    serve: Serve, fault: Fault, *, is_processed: bool
) -> None:
    server = serve(SimulatedServer(*simulated_immich(), faults=FaultQueue([fault])))
    with pytest.raises(ConnectionResetError):
        pause(server)
    assert is_paused(server) is is_processed


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "is_processed"),
    [
        (Fault.SERVER_ERROR, 500, "application/json; charset=utf-8", False),
        (Fault.BAD_GATEWAY, 502, "text/html", False),
        (Fault.HTML, 200, "text/html; charset=utf-8", False),
        (Fault.TRUNCATED, 200, "application/json; charset=utf-8", True),
    ],
)
def test_a_faulty_response_is_valid_http(
    serve: Serve, fault: Fault, status: int, content_type: str, *, is_processed: bool
) -> None:
    server = serve(SimulatedServer(*simulated_immich(), faults=FaultQueue([fault])))
    found = pause(server)
    assert found[:2] == (status, content_type)
    assert is_paused(server) is is_processed
    if fault is Fault.TRUNCATED:
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            json.loads(found[2])


def test_a_hanging_request_gets_no_response_and_is_not_processed(serve: Serve) -> None:
    server = serve(SimulatedServer(*simulated_immich(), faults=FaultQueue([Fault.HANG])))
    with pytest.raises(TimeoutError):
        pause(server, timeout=0.2)
    assert not is_paused(server)
    assert pause(server)[0] == 200


def test_a_late_request_is_processed_after_the_client_has_given_up(serve: Serve) -> None:
    engine, api = simulated_immich()
    paused_at: list[float] = []
    engine.observers.append(lambda event: paused_at.append(event.time))
    server = serve(SimulatedServer(engine, api, faults=FaultQueue([Fault.LATE])))
    with server.present():
        sent_at = engine.now
    with pytest.raises(TimeoutError):
        pause(server, timeout=0.2)

    def is_processed() -> bool:
        with server.present():
            engine.advance(engine.now + 60.0)
        return bool(paused_at)

    wait_until(is_processed)
    assert engine.queues["ocr"].is_paused
    assert paused_at[0] - sent_at >= 0.2 + LATE_DELAY


def test_latency_is_added(serve: Serve) -> None:
    server = serve(SimulatedServer(*simulated_immich(), latency=0.2))
    began = time.monotonic()
    assert pause(server)[0] == 200
    assert time.monotonic() - began >= 0.2


def test_closing_does_not_wait_for_clients(serve: Serve) -> None:
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
        wait_until(lambda: not faults.left)
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < LIMIT / 2
        client.join()
    assert len(caught) == 1
    server.close()


def test_a_client_that_disconnects_causes_no_output(
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


def test_an_error_in_the_simulation_is_raised_when_the_server_closes() -> None:
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
