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
from immich_job_daemon.immich.transport import MAX_BODY_BYTES, HttpTransport, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Script = Callable[["Peer"], None]
    Serve = Callable[..., "Server"]
    Connect = Callable[..., HttpTransport]

KEY = "s3cret-key-of-the-test"

LIMIT = 60.0
"""Seconds after which a test has failed."""


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._read = b""

    def request(self) -> bytes:
        """Read one request, head and body; return nothing if the client hung up."""
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
        total = len(head) + 4 + length
        while len(self._read) < total and self._receive():
            pass
        request, self._read = self._read[:total], self._read[total:]
        return request

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def respond(self, status: int = 200, body: object = b"", **headers: str) -> None:
        """Send a response; a body that is not bytes is encoded as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content_type": "application/json; charset=utf-8", **headers}
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines += [f"content-length: {len(content)}", "", ""]
        self.send("\r\n".join(lines).encode() + content)

    def wait(self) -> None:
        """Wait until the client hangs up or the test ends."""
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
    """Runs a script in a thread for each connection; the last script is repeated."""

    def __init__(self, *scripts: Script) -> None:
        self.connections = 0
        self._scripts = scripts
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._is_closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        if self._is_closed.is_set():
            return
        self._is_closed.set()
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
            if self._is_closed.is_set():
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
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers with these scripts; they stop with the test."""
    with ExitStack() as stack:
        yield lambda *scripts: stack.enter_context(closing(Server(*scripts)))


@pytest.fixture
def refusing_url() -> str:
    """The address of a port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(autouse=True)
def no_certificate_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Create transports; they are closed with the test."""
    with ExitStack() as stack:

        def make(url: str, key: str = KEY, **timeouts: float) -> HttpTransport:
            return stack.enter_context(closing(HttpTransport(url, key, **timeouts)))

        yield make


def test_the_key_is_removed_from_a_response_that_quotes_it(
    serve: Callable[..., Server], connect: Connect
) -> None:
    body = b'{"message": "Invalid API key ' + KEY.encode() + b'"}'
    server = serve(always(401, body, location=f"https://elsewhere/?key={KEY}"))
    response = connect(server.url).send("GET", "/api/queues")
    assert KEY.encode() not in response.body
    assert response.body == b'{"message": "Invalid API key (hidden)"}'
    assert response.location == "https://elsewhere/?key=(hidden)"


def always(status: int = 200, body: object = b"{}", **headers: str) -> Script:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.respond(status, body, **headers)

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


def one_response_then_reset(peer: Peer) -> None:
    peer.request()
    peer.respond(body=b"1")
    peer.request()
    peer.reset()


def failure_message(transport: HttpTransport, *, timeout: float | None = None) -> str:
    """Send a request that must fail and return the error message."""
    with pytest.raises(UnreachableError) as caught:
        transport.send("GET", "/api/queues", timeout=timeout)
    return str(caught.value)


# Requests


def test_a_request_has_the_key_the_user_agent_and_the_json(serve: Serve, connect: Connect) -> None:
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        while request := peer.request():
            requests.append(request)
            peer.respond(body=b"[]")

    transport = connect(serve(script).url + "/")
    response = transport.send("PUT", "/api/queues/ocr", b'{"isPaused": true}')
    transport.send("GET", "/api/queues")

    assert response == Response(200, "application/json; charset=utf-8", b"[]")
    put, get = requests
    assert put.startswith(b"PUT /api/queues/ocr HTTP/1.1\r\n")
    assert put.endswith(b'\r\n\r\n{"isPaused": true}')
    assert b"\r\nContent-Type: application/json\r\n" in put
    assert get.startswith(b"GET /api/queues HTTP/1.1\r\n")
    assert b"Content-Type" not in get
    for request in requests:
        assert f"\r\nx-api-key: {KEY}\r\n".encode() in request
        assert f"\r\nUser-Agent: immich-job-daemon/{__version__}\r\n".encode() in request


def test_a_path_in_the_address_is_kept(serve: Serve, connect: Connect) -> None:
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        requests.append(peer.request())
        peer.respond()

    connect(serve(script).url + "/photos/").send("GET", "/api/queues")
    assert requests[0].startswith(b"GET /photos/api/queues HTTP/1.1\r\n")


def test_proxy_variables_and_netrc_are_ignored(
    serve: Serve,
    connect: Connect,
    refusing_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, refusing_url)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password netrc-secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        requests.append(peer.request())
        peer.respond()

    assert connect(serve(script).url).send("GET", "/").status == 200
    assert b"Authorization" not in requests[0]


# Kept-alive connections


def test_requests_share_one_connection(serve: Serve, connect: Connect) -> None:
    server = serve(always())
    transport = connect(server.url)
    for _ in range(3):
        transport.send("GET", "/")
    assert server.connections == 1


def test_a_request_after_close_opens_a_new_connection(serve: Serve, connect: Connect) -> None:
    server = serve(always())
    transport = connect(server.url)
    transport.send("GET", "/")
    transport.close()
    assert transport.send("GET", "/").status == 200
    assert server.connections == 2


def test_new_connection_returns_a_transport_with_its_own_connection(
    serve: Serve, connect: Connect
) -> None:
    server = serve(always())
    transport = connect(server.url, read_timeout=50.0)
    with closing(transport.new_connection()) as other:
        assert transport.send("GET", "/") == other.send("GET", "/")
        assert repr(other) == repr(transport)
    assert server.connections == 2


def test_a_request_is_repeated_if_the_kept_alive_connection_was_reset(
    serve: Serve, connect: Connect
) -> None:
    server = serve(one_response_then_reset, always(body=b"2"))
    transport = connect(server.url)
    assert transport.send("GET", "/").body == b"1"
    assert transport.send("GET", "/").body == b"2"
    assert server.connections == 2


def test_a_request_is_repeated_if_the_kept_alive_connection_closes_without_a_response(
    serve: Serve, connect: Connect
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.respond(body=b"1")
        peer.request()

    server = serve(script, always(body=b"2"))
    transport = connect(server.url)
    transport.send("GET", "/")
    assert transport.send("PUT", "/", b"{}").body == b"2"
    assert server.connections == 2


def test_a_request_succeeds_if_the_idle_connection_was_closed(
    serve: Serve, connect: Connect
) -> None:
    is_closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.respond()
        peer.connection.shutdown(socket.SHUT_RDWR)
        is_closed.set()

    transport = connect(serve(script, always()).url)
    transport.send("GET", "/")
    assert is_closed.wait(60)
    assert transport.send("GET", "/").status == 200


def test_a_request_is_repeated_only_once(serve: Serve, connect: Connect) -> None:
    server = serve(one_response_then_reset, reset)
    transport = connect(server.url)
    transport.send("GET", "/")
    assert "closed the connection before" in failure_message(transport)
    assert server.connections == 2


def test_a_request_on_a_new_connection_is_not_repeated(serve: Serve, connect: Connect) -> None:
    server = serve(reset)
    assert "closed the connection before" in failure_message(connect(server.url))
    assert server.connections == 1


def test_a_request_is_not_repeated_if_the_response_has_begun(
    serve: Serve, connect: Connect
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.respond()
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
        peer.connection.shutdown(socket.SHUT_RDWR)

    server = serve(script, always())
    transport = connect(server.url)
    transport.send("GET", "/")
    assert "closed the connection before" in failure_message(transport)
    assert server.connections == 1


def test_a_request_is_not_repeated_after_a_timeout(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.respond()
        peer.wait()

    server = serve(script)
    transport = connect(server.url)
    transport.send("GET", "/")
    assert "within 0.2 s" in failure_message(transport, timeout=0.2)
    assert server.connections == 1


def test_the_next_request_after_a_failure_succeeds(serve: Serve, connect: Connect) -> None:
    transport = connect(serve(reset, always(body=b"[]")).url)
    failure_message(transport)
    assert transport.send("GET", "/").body == b"[]"


# Responses


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503])
def test_a_response_with_any_status_is_returned(
    serve: Serve, connect: Connect, status: int
) -> None:
    response = connect(serve(always(status, b"no", content_type="text/plain")).url).send("GET", "/")
    assert response == Response(status, "text/plain", b"no")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/login", "http://[", "https://photos.example/api/queues"])
def test_a_redirect_is_returned_and_not_followed(
    serve: Serve, connect: Connect, status: int, location: str
) -> None:
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        while request := peer.request():
            requests.append(request)
            peer.respond(status, b"moved", location=location)

    response = connect(serve(script).url).send("PUT", "/api/queues/ocr", b"{}")
    assert (response.status, response.location, response.body) == (status, location, b"moved")
    assert len(requests) == 1


def test_gzip_is_decompressed(serve: Serve, connect: Connect) -> None:
    compressed = gzip.compress(b"[1, 2]")
    server = serve(always(body=compressed, content_encoding="gzip"))
    assert connect(server.url).send("GET", "/").body == b"[1, 2]"


def test_invalid_gzip_is_a_failure(serve: Serve, connect: Connect) -> None:
    server = serve(always(body=b"[1, 2]", content_encoding="gzip"))
    assert "cannot be decompressed" in failure_message(connect(server.url))


def test_a_chunked_response_is_joined(serve: Serve, connect: Connect) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    server = serve(once(head, b"3\r\n[1,\r\n", b"2\r\n2]\r\n", b"0\r\n\r\n"))
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
def test_a_truncated_response_is_a_failure(serve: Serve, connect: Connect, pieces: bytes) -> None:
    assert "closed the connection before" in failure_message(connect(serve(once(pieces)).url))


def test_a_server_that_does_not_speak_http_is_reported(serve: Serve, connect: Connect) -> None:
    server = serve(once(b"SSH-2.0-OpenSSH_9.6\r\n"))
    assert "does not speak HTTP" in failure_message(connect(server.url))


# Limits


def test_a_response_of_more_than_1_mib_is_refused(serve: Serve, connect: Connect) -> None:
    server = serve(always(body=b" " * MAX_BODY_BYTES), always(body=b" " * (MAX_BODY_BYTES + 1)))
    transport = connect(server.url, read_timeout=60.0)
    assert len(transport.send("GET", "/").body) == MAX_BODY_BYTES
    transport.close()
    assert "more than 1 MiB" in failure_message(transport)


def test_an_endless_response_is_cut_off(serve: Serve, connect: Connect) -> None:
    sent: list[int] = []
    mebibytes = 100

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(f"HTTP/1.1 200 OK\r\ncontent-length: {mebibytes << 20}\r\n\r\n".encode())
        for _ in range(mebibytes):
            peer.send(bytes(1 << 20))
            sent.append(1)

    server = serve(script)
    assert "more than 1 MiB" in failure_message(connect(server.url, read_timeout=60.0))
    server.close()
    assert len(sent) < mebibytes / 2


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"0" * 4096),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
    ],
    ids=["interim responses", "chunk size", "trailers"],
)
def test_the_rest_of_a_response_is_limited_too(
    serve: Serve, connect: Connect, start: bytes, again: bytes
) -> None:
    sent: list[int] = []
    block = again * ((1 << 20) // len(again))

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(start)
        for _ in range(100):
            peer.send(block)
            sent.append(1)

    server = serve(script)
    failure_message(connect(server.url, read_timeout=60.0))
    server.close()
    assert len(sent) < 50


def test_a_compressed_response_is_limited_by_its_decompressed_size(
    serve: Serve, connect: Connect
) -> None:
    compressed = gzip.compress(bytes(64 << 20), compresslevel=1)
    assert len(compressed) < MAX_BODY_BYTES
    server = serve(always(body=compressed, content_encoding="gzip"))
    assert "more than 1 MiB" in failure_message(connect(server.url, read_timeout=60.0))


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
def test_a_response_that_trickles_in_is_cut_off_at_the_timeout(
    serve: Serve, connect: Connect, start: bytes, drop: bytes
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(start)
        pause = threading.Event()
        for _ in range(6000):
            peer.send(drop)
            pause.wait(0.01)

    before = time.monotonic()
    assert "within 0.3 s" in failure_message(connect(serve(script).url, read_timeout=0.3))
    assert time.monotonic() - before < 30


def test_a_server_that_does_not_respond_times_out_after_the_read_timeout(
    serve: Serve, connect: Connect
) -> None:
    server = serve(hang)
    message = failure_message(connect(server.url, read_timeout=0.2))
    assert message.startswith(f"{server.url} sent no complete response within 0.2 s: ")


def test_a_request_with_no_time_left_fails(serve: Serve, connect: Connect) -> None:
    assert "within 0 s" in failure_message(connect(serve(always()).url), timeout=0.0)


# Secrets


def all_text_of(error: BaseException) -> str:
    """Return all text of an error that can get into a log."""
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
        always(body=b" " * (MAX_BODY_BYTES + 1)),
    ],
)
def test_no_error_and_no_log_line_contains_the_key(
    serve: Serve, connect: Connect, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    transport = connect(serve(script).url, read_timeout=1.0)
    with pytest.raises(ImmichError) as caught:
        transport.send("GET", "/api/queues")
    assert caught.value.__context__ is None
    assert KEY not in all_text_of(caught.value) + caplog.text + repr(transport)


@pytest.mark.parametrize("key", ["ümlaut", "line\nbreak", "tab\t", " before", "after ", "\x7f"])
def test_a_key_that_is_invalid_in_a_header_is_rejected_and_not_shown(
    connect: Connect, refusing_url: str, key: str
) -> None:
    with pytest.raises(
        KeyRejectedError, match="API_KEY contains a space, a line break or another character"
    ) as caught:
        connect(refusing_url, key).send("GET", "/")
    assert key not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("scheme", ["http", "https", "ftp"])
def test_a_password_in_the_address_is_not_shown(
    connect: Connect, refusing_url: str, scheme: str
) -> None:
    address = refusing_url.removeprefix("http://")
    transport = connect(f"{scheme}://ann:pass-word@{address}")
    message = failure_message(transport)
    assert address in message
    assert "pass-word" not in message + repr(transport)
    assert "ann" not in message + repr(transport)
    assert repr(transport) == f"HttpTransport('{scheme}://{address}')"
