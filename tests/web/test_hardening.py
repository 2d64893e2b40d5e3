"""One connection, byte by byte: what is no HTTP is answered, and nobody can cost much."""

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
from immich_job_daemon.web.application import Face
from immich_job_daemon.web.server import Listener
from tests.web.hostile import sent
from tests.web.sample_statuses import BUSY, shown

GET: Final = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=90) as connection:
        yield connection


def everything(connection: socket.socket) -> bytes:
    """Return what comes until the server closes the connection."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def status_of_next(connection: socket.socket) -> int:
    """Return the status of one answer after it was read to its end."""
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def drip(connection: socket.socket) -> None:
    """Send byte after byte, for half a minute at most."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        connection.sendall(b"c")


def said(request: bytes) -> tuple[int, bytes]:
    """Return the status and the body of the answer to bytes after which the client is silent."""
    with shown(BUSY) as url:
        answer = sent(int(url.rpartition(":")[2]), request).content
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.fixture
def address() -> Iterator[str]:
    with shown(BUSY) as url:
        yield url


@pytest.mark.parametrize(
    ("request_line", "status", "told"),
    [
        (b"GET http://[ HTTP/1.1", 400, "The request cannot be read"),
        (b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000, 400, "The request cannot be read"),
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
def test_what_is_no_http_is_answered_in_json(request_line: bytes, status: int, told: str) -> None:
    found, body = said(request_line + b"\r\n\r\n")
    assert found == status
    assert told in json.loads(body)["error"]


def test_what_of_it_comes_back_cannot_break_the_json() -> None:
    status, body = said(b'GET / HTTP/1.1\r\n "\\\x00\xff<script>: ' + b"x" * 900 + b"\r\n\r\n")
    assert status == 400
    assert len(json.loads(body)["error"]) == 200


TOO_LONG = (
    b"GET / HTTP/1.1\r\nA: " + b"b" * 40_000,
    b"POST /ask HTTP/1.1\r\nContent-Length: 70000\r\n\r\n",
)


@pytest.mark.parametrize("request_line", TOO_LONG, ids=["head", "body"])
def test_who_still_sends_when_it_is_refused_gets_the_answer_all_the_same(
    address: str, request_line: bytes
) -> None:
    with connected(address) as connection:
        connection.sendall(request_line)
        answer = connection.recv(1)
        connection.sendall(b"c" * 40_000)
        connection.sendall(b"c" * 40_000)
        connection.shutdown(socket.SHUT_WR)
        # Reset, it would raise here.
        while part := connection.recv(65536):
            answer += part
    assert int(answer.split()[1]) in {413, 431}
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


def test_who_goes_on_sending_after_it_was_refused_is_cut_off(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardening, "LONGEST_FAREWELL", 0.2)
    with connected(address) as connection:
        connection.sendall(TOO_LONG[0])
        with pytest.raises(ConnectionError):
            drip(connection)


def test_an_address_without_a_path_is_that_of_the_root() -> None:
    status, body = said(b"GET http://evil.example HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert (status, json.loads(body)["waiting"]) == (200, 1242)


def test_a_body_that_nobody_asked_for_is_passed_over() -> None:
    chunked = b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert said(chunked + b"3\r\nabc\r\n0\r\n\r\n")[0] == 200
    assert said(chunked + b"zz\r\n")[0] == 400
    assert said(chunked + b"fffffff\r\n" + b"x" * 70_000)[0] == 413


def test_one_request_after_the_other_goes_over_one_connection(address: str) -> None:
    with connected(address) as connection:
        for _ in range(3):
            connection.sendall(GET)
            assert status_of_next(connection) == 200


def test_who_sends_too_many_at_once_is_cut_off(address: str) -> None:
    with connected(address) as connection:
        connection.sendall(GET * 200)
        answers = everything(connection).count(b"HTTP/1.1 200 OK")
    # The first may be on its way before the others are read.
    assert answers <= 1 + hardening.MOST_AT_ONCE


def test_who_sends_as_many_as_a_browser_may_gets_all_answers(address: str) -> None:
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with connected(address) as connection:
        connection.sendall(GET * (hardening.MOST_AT_ONCE - 1) + last)
        answers = everything(connection).count(b"HTTP/1.1 200 OK")
    assert answers == hardening.MOST_AT_ONCE


def test_who_takes_too_long_over_a_request_is_cut_off_though_bytes_come(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardening, "LONGEST_REQUEST", 0.2)
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
            assert everything(connection) == b""
        finally:
            ended.set()
            thread.join()


def test_the_time_counts_for_each_request_anew(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardening, "LONGEST_REQUEST", 0.0)
    with connected(address) as connection:
        for _ in range(3):
            connection.sendall(GET)
            assert status_of_next(connection) == 200


def test_who_is_silent_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LONGEST_SILENCE", 1)
    with shown(BUSY) as url, connected(url) as connection:
        connection.sendall(b"GET / HT")
        assert everything(connection) == b""


def test_one_more_than_may_be_connected_waits_until_another_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 8)
    with shown(BUSY) as url, ExitStack() as idle:
        for _ in range(8):
            idle.enter_context(connected(url))
        with connected(url) as late:
            late.sendall(GET)
            late.settimeout(0.3)
            with pytest.raises(TimeoutError):
                late.recv(1)
            idle.close()
            late.settimeout(30)
            assert status_of_next(late) == 200


@pytest.mark.parametrize(
    ("files", "connections"),
    [(64, 16), (1024, server.MOST_CONNECTIONS), (RLIM_INFINITY, server.MOST_CONNECTIONS)],
)
def test_files_are_left_for_the_daemons_own_work(
    monkeypatch: pytest.MonkeyPatch, files: int, hardening: int
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (files, files))
    with shown(BUSY) as url, ExitStack() as idle:
        for _ in range(hardening):
            idle.enter_context(connected(url))
        with connected(url) as late:
            late.sendall(GET)
            late.settimeout(0.3)
            with pytest.raises(TimeoutError):
                late.recv(1)


def test_clients_that_read_nothing_keep_nobody_else_waiting() -> None:
    """More of them than there are threads, each with as much to read as it can ask for."""
    large = b"x" * 60_000

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = large if environ["PATH_INFO"] == "/large" else b"small"
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    listener = Listener(Face.PEOPLE, 0, application)
    url = f"http://127.0.0.1:{listener.port}"
    try:
        with ExitStack() as greedy:
            for _ in range(4 * server.THREADS):
                connection = greedy.enter_context(connected(url))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                connection.sendall(b"GET /large HTTP/1.1\r\n\r\n" * hardening.MOST_AT_ONCE)
            with connected(url) as connection:
                connection.sendall(GET)
                assert status_of_next(connection) == 200
    finally:
        listener.close()


def test_a_client_that_is_gone_before_its_answer_harms_nobody(address: str) -> None:
    for _ in range(50):
        with connected(address) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(GET)

    with connected(address) as connection:
        connection.sendall(GET)
        assert status_of_next(connection) == 200
