from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from contextlib import ExitStack, closing, suppress
from errno import EHOSTUNREACH, EMFILE, ENFILE
from typing import TYPE_CHECKING

import pytest
import requests
import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import MaxRetryError, NewConnectionError

from immich_job_daemon.base.errors import UnreachableError
from immich_job_daemon.immich.connection_errors import explain
from immich_job_daemon.immich.transport import HttpTransport, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Play = Callable[[socket.socket], None]

# Of an authority that nobody knows, for 127.0.0.1, made for this test alone, until 2120.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBajCCARCgAwIBAgIBATAKBggqhkjOPQQDAjATMREwDwYDVQQDDAhsb29wYmFj
azAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowEzERMA8GA1UEAwwI
bG9vcGJhY2swWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAStmr/LuEEwPquD8BJk
/H80fuD56JJ0kQ3rS7SAAT5cKqPx0swEe0+6xAHQPNMcvXZPPuvkcy8ZSclHvfvA
fYaGo1MwUTAdBgNVHQ4EFgQUlA1DoJ8jn557fwxPvOZZNiAEST0wDwYDVR0TAQH/
BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMA4GA1UdDwEB/wQEAwIChDAKBggqhkjO
PQQDAgNIADBFAiEAy9uxiZFVJYGTtiKHPjuLaAZheqSaLXzb3z5wc0Sm9EoCIEN7
pHJD0/FJQ2u36JEK1hGH11rPRcrkDKwPcCgMnc5C
-----END CERTIFICATE-----
"""
CERTIFICATE_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWZbvuBGeGnE87aEi
acgwDKR7QpkbuspOvBHBlSlgOMyhRANCAAStmr/LuEEwPquD8BJk/H80fuD56JJ0
kQ3rS7SAAT5cKqPx0swEe0+6xAHQPNMcvXZPPuvkcy8ZSclHvfvAfYaG
-----END PRIVATE KEY-----
"""


@pytest.fixture
def refused() -> str:
    """The address of a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def play() -> Iterator[Callable[[Play], int]]:
    """Start servers that do one thing with every connection; return the port."""
    with ExitStack() as stack:

        def start(act: Play) -> int:
            class Handler(socketserver.BaseRequestHandler):
                def handle(self) -> None:
                    with suppress(OSError):  # the client hangs up when it has seen enough
                        act(self.request)

            server = stack.enter_context(socketserver.TCPServer(("127.0.0.1", 0), Handler))
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return int(server.server_address[1])

        yield start


@pytest.fixture
def secure(play: Callable[[Play], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a server with a certificate, which is in certificate.pem."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_text(CERTIFICATE)
    key.write_text(CERTIFICATE_KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def act(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(65536)
            wrapped.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")

    return f"https://127.0.0.1:{play(act)}"


def ask(url: str, *, connect_timeout: float = 5.0) -> Response:
    with closing(HttpTransport(url, "key", connect_timeout=connect_timeout)) as transport:
        return transport.send("GET", "/api/queues")


def failure(url: str, *, connect_timeout: float = 5.0) -> str:
    """Send a request that must fail, and return what a person is told."""
    with pytest.raises(UnreachableError) as caught:
        ask(url, connect_timeout=connect_timeout)
    return str(caught.value)


def test_a_refused_connection_is_told_with_the_address_and_what_to_do(refused: str) -> None:
    assert failure(refused) == (
        f"{refused} refuses the connection: start Immich, or correct IMMICH_URL and its port"
    )


def test_a_server_that_accepts_nobody_is_left_after_the_connect_timeout() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(8):  # they fill its queue
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(address)
        said = failure(f"http://127.0.0.1:{address[1]}", connect_timeout=0.2)
    assert "accepts no connection within 0.2 s" in said


def test_a_name_that_is_not_found_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = failure("http://immich.invalid:2283")
    assert said.startswith("the host name in http://immich.invalid:2283 is not found: ")


def not_connected(system: OSError) -> requests.ConnectionError:
    """Return the system's error when it made no connection, wrapped as the libraries do."""
    new = NewConnectionError(HTTPConnection("immich"), "Failed to establish a new connection")
    new.__cause__ = system
    return requests.ConnectionError(
        MaxRetryError(urllib3.HTTPConnectionPool("immich"), "/api/queues", new)
    )


def test_an_address_that_no_network_reaches_is_told_in_the_words_of_the_system() -> None:
    error = not_connected(OSError(EHOSTUNREACH, "No route to host"))
    said = explain(error, url="http://immich", connect=5.0, timeout=10.0)
    assert said.startswith("http://immich cannot be reached (No route to host): check ")


@pytest.mark.parametrize("number", [EMFILE, ENFILE])
def test_no_file_left_for_a_connection_is_told(number: int) -> None:
    error = not_connected(OSError(number, "Too many open files"))
    said = explain(error, url="http://immich", connect=5.0, timeout=10.0)
    assert said.startswith("there is no file left for a connection to http://immich (Too many ")
    assert "raise the limit on open files" in said


def test_a_failure_without_an_explanation_is_told_by_its_kind_alone() -> None:
    said = explain(ArithmeticError("key"), url="http://immich", connect=5.0, timeout=10.0)
    assert said.startswith("the request to http://immich failed (ArithmeticError): ")
    assert "key" not in said


@pytest.mark.parametrize(
    "url",
    [
        "",
        "immich",
        "192.168.1.5:2283",
        "ftp://immich:2283",
        "http://",
        "http://immich:port",
        "http://immich:99999",
        "http://[::1",
        "http://.immich",
        "http://" + "a" * 64 + ".example",
        "http://*immich",
        "http://im mich",
    ],
)
def test_an_invalid_address_is_told(url: str) -> None:
    said = failure(url)
    assert url in said
    assert "is not a valid address: set IMMICH_URL" in said


def test_tls_with_a_server_that_has_none_is_told(play: Callable[[Play], int]) -> None:
    port = play(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    said = failure(f"https://127.0.0.1:{port}")
    assert said.startswith(f"TLS with https://127.0.0.1:{port} failed (")
    assert "http://" in said


def test_a_certificate_that_is_not_trusted_is_told(secure: str) -> None:
    said = failure(secure)
    assert said.startswith(f"{secure} shows a certificate that is not trusted (self")
    assert "REQUESTS_CA_BUNDLE" in said


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_certificate_of_ones_own_authority_is_trusted(
    secure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "certificate.pem"))
    assert ask(secure).body == b"[]"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_bundle_that_does_not_exist_is_told(
    secure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "missing.pem"))
    said = failure(secure)
    assert "missing.pem does not exist" in said
    assert variable in said
