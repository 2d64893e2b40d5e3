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
from immich_job_daemon.immich.connection_errors import explain_failure
from immich_job_daemon.immich.transport import HttpTransport, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Behaviour = Callable[[socket.socket], None]

# Self-signed, for 127.0.0.1, made for these tests, valid until 2120.
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
def refusing_url() -> str:
    """The address of a port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], int]]:
    """Start servers that treat every connection in the same way; return the port."""
    with ExitStack() as stack:

        def start(behave: Behaviour) -> int:
            class Handler(socketserver.BaseRequestHandler):
                def handle(self) -> None:
                    with suppress(OSError):  # the client may hang up first
                        behave(self.request)

            server = stack.enter_context(socketserver.TCPServer(("127.0.0.1", 0), Handler))
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return int(server.server_address[1])

        yield start


@pytest.fixture
def https_url(
    serve: Callable[[Behaviour], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The address of an HTTPS server whose certificate is in certificate.pem."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_text(CERTIFICATE)
    key.write_text(CERTIFICATE_KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def behave(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(65536)
            wrapped.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")

    return f"https://127.0.0.1:{serve(behave)}"


def send_request(url: str, *, connect_timeout: float = 5.0) -> Response:
    with closing(HttpTransport(url, "key", connect_timeout=connect_timeout)) as transport:
        return transport.send("GET", "/api/queues")


def failure_message(url: str, *, connect_timeout: float = 5.0) -> str:
    """Send a request that must fail and return the error message."""
    with pytest.raises(UnreachableError) as caught:
        send_request(url, connect_timeout=connect_timeout)
    return str(caught.value)


def test_a_refused_connection_names_the_address_and_what_to_do(refusing_url: str) -> None:
    assert failure_message(refusing_url) == (
        f"{refusing_url} refuses the connection: start Immich, or correct IMMICH_URL and its port"
    )


def test_a_server_that_does_not_accept_times_out_after_the_connect_timeout() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(8):  # fills the backlog
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(address)
        message = failure_message(f"http://127.0.0.1:{address[1]}", connect_timeout=0.2)
    assert "did not accept a connection within 0.2 s" in message


def test_an_unknown_host_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    message = failure_message("http://immich.invalid:2283")
    assert message.startswith("the host name in http://immich.invalid:2283 is not found: ")


def connection_error(cause: OSError) -> requests.ConnectionError:
    """Return a failed connect with this cause, wrapped as the libraries wrap it."""
    new = NewConnectionError(HTTPConnection("immich"), "Failed to establish a new connection")
    new.__cause__ = cause
    return requests.ConnectionError(
        MaxRetryError(urllib3.HTTPConnectionPool("immich"), "/api/queues", new)
    )


def test_an_unreachable_address_is_reported_with_the_systems_message() -> None:
    error = connection_error(OSError(EHOSTUNREACH, "No route to host"))
    message = explain_failure(error, url="http://immich", connect=5.0, timeout=10.0)
    assert message.startswith("http://immich cannot be reached (No route to host): check ")


@pytest.mark.parametrize("number", [EMFILE, ENFILE])
def test_a_lack_of_file_descriptors_is_reported(number: int) -> None:
    error = connection_error(OSError(number, "Too many open files"))
    message = explain_failure(error, url="http://immich", connect=5.0, timeout=10.0)
    assert message.startswith("no file descriptor is left for a connection to http://immich (Too ")
    assert "raise the limit on open files" in message


def test_an_unknown_error_is_reported_by_its_class_only() -> None:
    message = explain_failure(
        ArithmeticError("key"), url="http://immich", connect=5.0, timeout=10.0
    )
    assert message.startswith("the request to http://immich failed (ArithmeticError): ")
    assert "key" not in message


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
def test_an_invalid_address_is_reported(url: str) -> None:
    message = failure_message(url)
    assert url in message
    assert "is not a valid address: set IMMICH_URL" in message


def test_https_to_a_plain_http_server_is_reported(serve: Callable[[Behaviour], int]) -> None:
    port = serve(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    message = failure_message(f"https://127.0.0.1:{port}")
    assert message.startswith(f"TLS with https://127.0.0.1:{port} failed (")
    assert "http://" in message


def test_an_untrusted_certificate_is_reported(https_url: str) -> None:
    message = failure_message(https_url)
    assert message.startswith(f"{https_url} shows a certificate that is not trusted (self")
    assert "REQUESTS_CA_BUNDLE" in message


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_certificate_of_a_private_authority_can_be_trusted(
    https_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "certificate.pem"))
    assert send_request(https_url).body == b"[]"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_missing_certificate_file_is_reported(
    https_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "missing.pem"))
    message = failure_message(https_url)
    assert "missing.pem does not exist" in message
    assert variable in message
