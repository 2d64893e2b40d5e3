"""One connection, byte by byte: responses to invalid HTTP, and limits on every connection."""

import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from resource import RLIM_INFINITY
from typing import Final
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from immich_job_daemon.web import hardening, server
from immich_job_daemon.web.server import App, Listener
from tests.web.hostile import send
from tests.web.sample_statuses import BUSY, serve_status

GET: Final = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=90) as connection:
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """Return all bytes until the server closes the connection."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def next_status(connection: socket.socket) -> int:
    """Read one response to its end and return its status."""
    response = HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def drip(connection: socket.socket) -> None:
    """Send single bytes for up to 30 seconds."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        connection.sendall(b"c")


def response_to(request: bytes) -> tuple[int, bytes]:
    """Send only these bytes; return the status and the body of the response."""
    with serve_status(BUSY) as url:
        content = send(int(url.rpartition(":")[2]), request).content
    head, _, body = content.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.fixture
def address() -> Iterator[str]:
    with serve_status(BUSY) as url:
        yield url


@pytest.mark.parametrize(
    ("request_line", "status", "message"),
    [
        (b"GET http://[ HTTP/1.1", 400, "The request cannot be parsed"),
        (b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000, 400, "The request cannot be parsed"),
        (b"GET //?\x80 HTTP/1.1", 400, "percent-encoded"),
        (b"GET /\xc3\xbc HTTP/1.1", 400, "Bad URI"),
        (b"GET / HTTP/1.1\r\nContent-Length: -1", 400, "Content-Length is invalid"),
        (b"GET / HTTP/1.1\r\nContent-Length: 70000", 413, "exceeds max_body"),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip", 501, "Transfer-Encoding"),
        (b"GET / HTTP/1.1\r\nno colon", 400, "Invalid header"),
        (b"GET / HTTP/1.1\r\n folded: first", 400, "Malformed header line"),
        (b"get / HTTP/1.1", 400, "Malformed HTTP method"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "Start line is invalid"),
        (b"GET /\r\nA: " + b"b" * 40_000, 431, "exceeds max_header"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_invalid_http_gets_a_json_error(request_line: bytes, status: int, message: str) -> None:
    found, body = response_to(request_line + b"\r\n\r\n")
    assert found == status
    assert message in json.loads(body)["error"]


def test_a_quoted_request_cannot_break_the_json() -> None:
    status, body = response_to(
        b'GET / HTTP/1.1\r\n "\\\x00\xff<script>: ' + b"x" * 900 + b"\r\n\r\n"
    )
    assert status == 400
    assert len(json.loads(body)["error"]) == 200


TOO_LARGE = (
    b"GET / HTTP/1.1\r\nA: " + b"b" * 40_000,
    b"POST /ask HTTP/1.1\r\nContent-Length: 70000\r\n\r\n",
)


@pytest.mark.parametrize("request_line", TOO_LARGE, ids=["head", "body"])
def test_a_client_that_still_sends_when_it_is_rejected_gets_the_response(
    address: str, request_line: bytes
) -> None:
    with connected(address) as connection:
        connection.sendall(request_line)
        response = connection.recv(1)
        connection.sendall(b"c" * 40_000)
        connection.sendall(b"c" * 40_000)
        connection.shutdown(socket.SHUT_WR)
        # If the connection were reset, this would raise.
        while part := connection.recv(65536):
            response += part
    assert int(response.split()[1]) in {413, 431}
    assert json.loads(response.partition(b"\r\n\r\n")[2])["error"]


def test_a_client_that_keeps_sending_after_a_rejection_is_disconnected(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardening, "DRAIN_TIMEOUT", 0.2)
    with connected(address) as connection:
        connection.sendall(TOO_LARGE[0])
        with pytest.raises(ConnectionError):
            drip(connection)


def test_a_url_without_a_path_is_the_root() -> None:
    status, body = response_to(b"GET http://evil.example HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert (status, json.loads(body)["waiting"]) == (200, 1242)


def test_the_body_of_a_get_request_is_ignored() -> None:
    chunked = b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert response_to(chunked + b"3\r\nabc\r\n0\r\n\r\n")[0] == 200
    assert response_to(chunked + b"zz\r\n")[0] == 400
    assert response_to(chunked + b"fffffff\r\n" + b"x" * 70_000)[0] == 413


def test_a_connection_serves_several_requests_in_turn(address: str) -> None:
    with connected(address) as connection:
        for _ in range(3):
            connection.sendall(GET)
            assert next_status(connection) == 200


def test_a_client_that_pipelines_too_many_requests_is_disconnected(address: str) -> None:
    with connected(address) as connection:
        connection.sendall(GET * 200)
        responses = read_all(connection).count(b"HTTP/1.1 200 OK")
    # The first response may be sent before the other requests are read.
    assert responses <= 1 + hardening.MAX_PIPELINED


def test_a_client_may_pipeline_as_many_requests_as_the_limit(address: str) -> None:
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with connected(address) as connection:
        connection.sendall(GET * (hardening.MAX_PIPELINED - 1) + last)
        responses = read_all(connection).count(b"HTTP/1.1 200 OK")
    assert responses == hardening.MAX_PIPELINED


def test_a_client_that_sends_a_request_too_slowly_is_disconnected(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardening, "REQUEST_TIMEOUT", 0.2)
    with connected(address) as connection:
        ended = threading.Event()

        def drip() -> None:
            try:
                while not ended.wait(0.01):
                    connection.sendall(b"x")
            except OSError:
                ended.set()

        thread = threading.Thread(target=drip)
        connection.sendall(b"GET / HTTP/1.1\r\nA: ")
        thread.start()
        try:
            assert read_all(connection) == b""
        finally:
            ended.set()
            thread.join()


def test_the_request_timeout_restarts_with_each_request(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardening, "REQUEST_TIMEOUT", 0.0)
    with connected(address) as connection:
        for _ in range(3):
            connection.sendall(GET)
            assert next_status(connection) == 200


def test_an_idle_client_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_TIMEOUT", 1)
    with serve_status(BUSY) as url, connected(url) as connection:
        connection.sendall(b"GET / HT")
        assert read_all(connection) == b""


def test_a_connection_beyond_the_limit_waits_until_another_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 8)
    with serve_status(BUSY) as url, ExitStack() as idle:
        for _ in range(8):
            idle.enter_context(connected(url))
        with connected(url) as late:
            late.sendall(GET)
            late.settimeout(0.3)
            with pytest.raises(TimeoutError):
                late.recv(1)
            idle.close()
            late.settimeout(30)
            assert next_status(late) == 200


@pytest.mark.parametrize(
    ("files", "connections"),
    [(64, 16), (1024, server.MAX_CONNECTIONS), (RLIM_INFINITY, server.MAX_CONNECTIONS)],
)
def test_the_connection_limit_leaves_files_for_the_daemon(
    monkeypatch: pytest.MonkeyPatch, files: int, connections: int
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (files, files))
    with serve_status(BUSY) as url, ExitStack() as idle:
        for _ in range(connections):
            idle.enter_context(connected(url))
        with connected(url) as late:
            late.sendall(GET)
            late.settimeout(0.3)
            with pytest.raises(TimeoutError):
                late.recv(1)


def test_clients_that_read_nothing_do_not_block_other_clients() -> None:
    """There are more such clients than threads, each with as many responses as it may request."""
    large = b"x" * 60_000

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = large if environ["PATH_INFO"] == "/large" else b"small"
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    listener = Listener(App.UI, 0, application)
    url = f"http://127.0.0.1:{listener.port}"
    try:
        with ExitStack() as greedy:
            for _ in range(4 * server.THREADS):
                connection = greedy.enter_context(connected(url))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                connection.sendall(b"GET /large HTTP/1.1\r\n\r\n" * hardening.MAX_PIPELINED)
            with connected(url) as connection:
                connection.sendall(GET)
                assert next_status(connection) == 200
    finally:
        listener.close()


def test_a_client_that_disconnects_before_its_response_does_no_harm(address: str) -> None:
    for _ in range(50):
        with connected(address) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(GET)

    with connected(address) as connection:
        connection.sendall(GET)
        assert next_status(connection) == 200
