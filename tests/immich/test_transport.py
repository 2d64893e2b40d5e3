from __future__ import annotations

import gzip
import json
import logging
import socket
import struct
import threading
import time
import traceback
from contextlib import ExitStack, closing, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from immich_job_daemon import __version__
from immich_job_daemon.base.errors import ImmichError, KeyRejectedError, UnreachableError
from immich_job_daemon.immich.transport import LARGEST_ANSWER, HttpTransport, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Script = Callable[["Peer"], None]
    Listen = Callable[..., "Server"]
    Connect = Callable[..., HttpTransport]

KEY = "s3cret-key-of-the-test"

LIMIT = 60.0
"""Seconds after which a test that waits has failed."""


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._read = b""

    def request(self) -> bytes:
        """Read one request, head and body; nothing if the client hung up."""
        while b"\r\n\r\n" not in self._read:
            if not self._receive():
                return b""
        head, _, _ = self._read.partition(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            ),
            0,
        )
        whole = len(head) + 4 + length
        while len(self._read) < whole and self._receive():
            pass
        request, self._read = self._read[:whole], self._read[whole:]
        return request

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self, status: int = 200, body: object = b"", **headers: str) -> None:
        """Send an answer; a body that is not bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content_type": "application/json; charset=utf-8", **headers}
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines += [f"content-length: {len(content)}", "", ""]
        self.send("\r\n".join(lines).encode() + content)

    def wait(self) -> None:
        """Wait until the client hangs up, or the test is over."""
        while self._receive():
            pass

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _receive(self) -> bytes:
        data = self.connection.recv(65536)
        self._read += data
        return data


class Server:
    """Plays a script for every connection, each in a thread; the last script again and again."""

    def __init__(self, *scripts: Script) -> None:
        self.connections = 0
        self._scripts = scripts
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._is_over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        if self._is_over.is_set():
            return
        self._is_over.set()
        socket.create_connection(("127.0.0.1", self.port), LIMIT).close()
        self._accepting.join(LIMIT)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._is_over.is_set():
                connection.close()
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._play, args=(script, connection), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, script: Script, connection: socket.socket) -> None:
        peer = Peer(connection)
        with connection, suppress(OSError):
            script(peer)
        peer.connection.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Server]]:
    """Start servers with the scripts given; they end with the test."""
    with ExitStack() as stack:
        yield lambda *scripts: stack.enter_context(closing(Server(*scripts)))


@pytest.fixture
def refused() -> str:
    """The address of a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(autouse=True)
def no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make transports; they are closed with the test."""
    with ExitStack() as stack:

        def make(url: str, key: str = KEY, **timeouts: float) -> HttpTransport:
            return stack.enter_context(closing(HttpTransport(url, key, **timeouts)))

        yield make


def test_what_an_answer_quotes_of_the_key_ends_here(
    listen: Callable[..., Server], connect: Connect
) -> None:
    body = b'{"message": "Invalid API key ' + KEY.encode() + b'"}'
    server = listen(always(401, body, location=f"https://elsewhere/?key={KEY}"))
    answer = connect(server.url).send("GET", "/api/queues")
    assert KEY.encode() not in answer.body
    assert answer.body == b'{"message": "Invalid API key (hidden)"}'
    assert answer.location == "https://elsewhere/?key=(hidden)"


def always(status: int = 200, body: object = b"{}", **headers: str) -> Script:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.answer(status, body, **headers)

    return script


def once(*pieces: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        for piece in pieces:
            peer.send(piece)

    return script


def hang(peer: Peer) -> None:
    peer.wait()


def reset(peer: Peer) -> None:
    peer.request()
    peer.reset()


def one_answer_then_reset(peer: Peer) -> None:
    peer.request()
    peer.answer(body=b"1")
    peer.request()
    peer.reset()


def failure(transport: HttpTransport, *, timeout: float | None = None) -> str:
    """Send a request that must fail, and return what a person is told."""
    with pytest.raises(UnreachableError) as caught:
        transport.send("GET", "/api/queues", timeout=timeout)
    return str(caught.value)


# What is sent


def test_a_request_carries_the_key_the_user_agent_and_the_json(
    listen: Listen, connect: Connect
) -> None:
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        while request := peer.request():
            requests.append(request)
            peer.answer(body=b"[]")

    transport = connect(listen(script).url + "/")
    answer = transport.send("PUT", "/api/queues/ocr", b'{"isPaused": true}')
    transport.send("GET", "/api/queues")

    assert answer == Response(200, "application/json; charset=utf-8", b"[]")
    put, get = requests
    assert put.startswith(b"PUT /api/queues/ocr HTTP/1.1\r\n")
    assert put.endswith(b'\r\n\r\n{"isPaused": true}')
    assert b"\r\nContent-Type: application/json\r\n" in put
    assert get.startswith(b"GET /api/queues HTTP/1.1\r\n")
    assert b"Content-Type" not in get
    for request in requests:
        assert f"\r\nx-api-key: {KEY}\r\n".encode() in request
        assert f"\r\nUser-Agent: immich-job-daemon/{__version__}\r\n".encode() in request


def test_an_address_below_a_path_is_kept(listen: Listen, connect: Connect) -> None:
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        requests.append(peer.request())
        peer.answer()

    connect(listen(script).url + "/photos/").send("GET", "/api/queues")
    assert requests[0].startswith(b"GET /photos/api/queues HTTP/1.1\r\n")


def test_neither_a_proxy_nor_a_netrc_gets_in_between(
    listen: Listen,
    connect: Connect,
    refused: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, refused)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password netrc-secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        requests.append(peer.request())
        peer.answer()

    assert connect(listen(script).url).send("GET", "/").status == 200
    assert b"Authorization" not in requests[0]


# One connection


def test_requests_share_one_connection(listen: Listen, connect: Connect) -> None:
    server = listen(always())
    transport = connect(server.url)
    for _ in range(3):
        transport.send("GET", "/")
    assert server.connections == 1


def test_a_request_after_close_opens_a_new_connection(listen: Listen, connect: Connect) -> None:
    server = listen(always())
    transport = connect(server.url)
    transport.send("GET", "/")
    transport.close()
    assert transport.send("GET", "/").status == 200
    assert server.connections == 2


def test_another_transport_has_a_connection_of_its_own(listen: Listen, connect: Connect) -> None:
    server = listen(always())
    transport = connect(server.url, read_timeout=50.0)
    with closing(transport.new_connection()) as other:
        assert transport.send("GET", "/") == other.send("GET", "/")
        assert repr(other) == repr(transport)
    assert server.connections == 2


def test_a_kept_connection_reset_meanwhile_is_no_failure(listen: Listen, connect: Connect) -> None:
    server = listen(one_answer_then_reset, always(body=b"2"))
    transport = connect(server.url)
    assert transport.send("GET", "/").body == b"1"
    assert transport.send("GET", "/").body == b"2"
    assert server.connections == 2


def test_a_kept_connection_closed_without_an_answer_is_no_failure(
    listen: Listen, connect: Connect
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.answer(body=b"1")
        peer.request()

    server = listen(script, always(body=b"2"))
    transport = connect(server.url)
    transport.send("GET", "/")
    assert transport.send("PUT", "/", b"{}").body == b"2"
    assert server.connections == 2


def test_a_kept_connection_that_idled_too_long_is_no_failure(
    listen: Listen, connect: Connect
) -> None:
    is_closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.answer()
        peer.connection.shutdown(socket.SHUT_RDWR)
        is_closed.set()

    transport = connect(listen(script, always()).url)
    transport.send("GET", "/")
    assert is_closed.wait(60)
    assert transport.send("GET", "/").status == 200


def test_a_request_is_sent_again_only_once(listen: Listen, connect: Connect) -> None:
    server = listen(one_answer_then_reset, reset)
    transport = connect(server.url)
    transport.send("GET", "/")
    assert "cut the connection off" in failure(transport)
    assert server.connections == 2


def test_a_new_connection_that_is_reset_is_a_failure(listen: Listen, connect: Connect) -> None:
    server = listen(reset)
    assert "cut the connection off" in failure(connect(server.url))
    assert server.connections == 1


def test_a_kept_connection_cut_in_the_middle_of_an_answer_is_a_failure(
    listen: Listen, connect: Connect
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.answer()
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
        peer.connection.shutdown(socket.SHUT_RDWR)

    server = listen(script, always())
    transport = connect(server.url)
    transport.send("GET", "/")
    assert "cut the connection off" in failure(transport)
    assert server.connections == 1


def test_a_timeout_is_not_repeated(listen: Listen, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.answer()
        peer.wait()

    server = listen(script)
    transport = connect(server.url)
    transport.send("GET", "/")
    assert "within 0.2 s" in failure(transport, timeout=0.2)
    assert server.connections == 1


def test_it_works_again_after_a_failure(listen: Listen, connect: Connect) -> None:
    transport = connect(listen(reset, always(body=b"[]")).url)
    failure(transport)
    assert transport.send("GET", "/").body == b"[]"


# What comes back


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503])
def test_any_status_is_an_answer(listen: Listen, connect: Connect, status: int) -> None:
    answer = connect(listen(always(status, b"no", content_type="text/plain")).url).send("GET", "/")
    assert answer == Response(status, "text/plain", b"no")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/login", "http://[", "https://photos.example/api/queues"])
def test_a_redirect_is_an_answer_and_not_followed(
    listen: Listen, connect: Connect, status: int, location: str
) -> None:
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        while request := peer.request():
            requests.append(request)
            peer.answer(status, b"moved", location=location)

    answer = connect(listen(script).url).send("PUT", "/api/queues/ocr", b"{}")
    assert (answer.status, answer.location, answer.body) == (status, location, b"moved")
    assert len(requests) == 1


def test_gzip_is_unpacked(listen: Listen, connect: Connect) -> None:
    packed = gzip.compress(b"[1, 2]")
    server = listen(always(body=packed, content_encoding="gzip"))
    assert connect(server.url).send("GET", "/").body == b"[1, 2]"


def test_rubbish_that_calls_itself_gzip_is_a_failure(listen: Listen, connect: Connect) -> None:
    server = listen(always(body=b"[1, 2]", content_encoding="gzip"))
    assert "cannot be unpacked" in failure(connect(server.url))


def test_a_chunked_answer_is_put_together(listen: Listen, connect: Connect) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    server = listen(once(head, b"3\r\n[1,\r\n", b"2\r\n2]\r\n", b"0\r\n\r\n"))
    assert connect(server.url).send("GET", "/").body == b"[1,2]"


@pytest.mark.parametrize(
    "pieces",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n[1, 2\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n[1, 2",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[1, 2",
        b"",
    ],
)
def test_an_answer_cut_short_is_a_failure(listen: Listen, connect: Connect, pieces: bytes) -> None:
    assert "cut the connection off" in failure(connect(listen(once(pieces)).url))


def test_a_server_that_speaks_no_http_is_named_so(listen: Listen, connect: Connect) -> None:
    server = listen(once(b"SSH-2.0-OpenSSH_9.6\r\n"))
    assert "does not answer in HTTP" in failure(connect(server.url))


# Bounds


def test_an_answer_of_1_mib_is_taken_and_one_byte_more_is_not(
    listen: Listen, connect: Connect
) -> None:
    server = listen(always(body=b" " * LARGEST_ANSWER), always(body=b" " * (LARGEST_ANSWER + 1)))
    transport = connect(server.url, read_timeout=60.0)
    assert len(transport.send("GET", "/").body) == LARGEST_ANSWER
    transport.close()
    assert "more than 1 MiB" in failure(transport)


def test_an_endless_answer_is_cut_off(listen: Listen, connect: Connect) -> None:
    sent: list[int] = []
    whole = 100

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(f"HTTP/1.1 200 OK\r\ncontent-length: {whole << 20}\r\n\r\n".encode())
        for _ in range(whole):
            peer.send(bytes(1 << 20))
            sent.append(1)

    server = listen(script)
    assert "more than 1 MiB" in failure(connect(server.url, read_timeout=60.0))
    server.close()
    assert len(sent) < whole / 2


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"0" * 4096),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
    ],
    ids=["interim answers", "the length of a chunk", "what follows the last chunk"],
)
def test_what_stands_around_an_answer_is_bounded_too(
    listen: Listen, connect: Connect, start: bytes, again: bytes
) -> None:
    sent: list[int] = []
    block = again * ((1 << 20) // len(again))

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(start)
        for _ in range(100):
            peer.send(block)
            sent.append(1)

    server = listen(script)
    failure(connect(server.url, read_timeout=60.0))
    server.close()
    assert len(sent) < 50


def test_a_packed_answer_is_bounded_by_its_unpacked_size(listen: Listen, connect: Connect) -> None:
    packed = gzip.compress(bytes(64 << 20), compresslevel=1)
    assert len(packed) < LARGEST_ANSWER
    server = listen(always(body=packed, content_encoding="gzip"))
    assert "more than 1 MiB" in failure(connect(server.url, read_timeout=60.0))


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"y"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    ],
)
def test_an_answer_that_trickles_is_bounded_in_time(
    listen: Listen, connect: Connect, start: bytes, drop: bytes
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(start)
        pause = threading.Event()
        for _ in range(6000):
            peer.send(drop)
            pause.wait(0.01)

    before = time.monotonic()
    assert "within 0.3 s" in failure(connect(listen(script).url, read_timeout=0.3))
    assert time.monotonic() - before < 30


def test_a_server_that_never_answers_is_left_after_the_read_timeout(
    listen: Listen, connect: Connect
) -> None:
    server = listen(hang)
    said = failure(connect(server.url, read_timeout=0.2))
    assert said.startswith(f"{server.url} gave no complete answer within 0.2 s: ")


def test_a_request_without_any_time_left_fails(listen: Listen, connect: Connect) -> None:
    assert "within 0 s" in failure(connect(listen(always()).url), timeout=0.0)


# Secrets


def everything_of(error: BaseException) -> str:
    """Return all text that an error can bring into a log."""
    chain: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        link = pending.pop()
        if link is not None and link not in chain:
            chain.append(link)
            pending += [link.__cause__, link.__context__]
    texts = [f"{link} {link!r} {link.args!r} {vars(link)!r}" for link in chain]
    return "".join([*texts, *traceback.format_exception(error)])


@pytest.mark.parametrize(
    "script",
    [
        hang,
        reset,
        once(b"SSH-2.0-OpenSSH_9.6\r\n"),
        once(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n["),
        once(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n[[[[[[[[[[[["),
        always(body=b" " * (LARGEST_ANSWER + 1)),
    ],
)
def test_no_failure_and_no_log_line_holds_the_key(
    listen: Listen, connect: Connect, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    transport = connect(listen(script).url, read_timeout=1.0)
    with pytest.raises(ImmichError) as caught:
        transport.send("GET", "/api/queues")
    assert caught.value.__context__ is None
    assert KEY not in everything_of(caught.value) + caplog.text + repr(transport)


@pytest.mark.parametrize("key", ["ümlaut", "line\nbreak", "tab\t", " before", "after ", "\x7f"])
def test_a_key_that_no_request_can_carry_is_refused_without_showing_it(
    connect: Connect, refused: str, key: str
) -> None:
    with pytest.raises(
        KeyRejectedError, match="API_KEY holds a space, a line break or another character"
    ) as caught:
        connect(refused, key).send("GET", "/")
    assert key not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("scheme", ["http", "https", "ftp"])
def test_a_password_in_the_address_is_not_shown(
    connect: Connect, refused: str, scheme: str
) -> None:
    address = refused.removeprefix("http://")
    transport = connect(f"{scheme}://ann:pass-word@{address}")
    said = failure(transport)
    assert address in said
    assert "pass-word" not in said + repr(transport)
    assert "ann" not in said + repr(transport)
    assert repr(transport) == f"HttpTransport('{scheme}://{address}')"
