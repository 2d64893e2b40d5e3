"""Sends requests to Immich over HTTP, with the requests library, on one kept-alive connection."""

import contextlib
import errno
import http.client
import io
import ipaddress
import os
import socket
import time
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util.connection import allowed_gai_family

from immich_job_daemon import __version__
from immich_job_daemon.base.errors import KeyRejectedError, UnreachableError
from immich_job_daemon.base.redaction import redactor
from immich_job_daemon.base.worker import Worker, is_call_awaited
from immich_job_daemon.immich.connection_errors import (
    CONNECTION_CLOSED,
    INVALID_URL,
    ResponseTooLargeError,
    causes_of,
    explain_failure,
)

MIN_KEY_LENGTH: Final = 8
MAX_BODY_BYTES: Final = 1024 * 1024
"""Largest body of a response. A list of all queues has 4 KB (seen on Immich 3.1.0)."""
MAX_WIRE_BYTES: Final = 2 * MAX_BODY_BYTES
"""Largest response including headers, interim responses and chunk sizes."""

_CHUNK_SIZE: Final = 64 * 1024

# Errors that requests raises or lets through.
_REQUEST_ERRORS: Final = (requests.RequestException, HTTPError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Response:
    """A response, not validated yet."""

    status: int
    content_type: str
    body: bytes
    location: str | None = None


class Transport(Protocol):
    """Sends requests to one Immich server."""

    def send(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float | None = None
    ) -> Response:
        """Send one request, with a body of encoded JSON, and return the response with any status.

        The timeout is in seconds, for the whole request; None stands for the transport's default.

        Raises:
            UnreachableError: there was no complete response.
            KeyRejectedError: the API key contains a character that is not valid in a header.
        """

    def new_connection(self) -> "Transport":
        """Return a transport to the same server with its own connection, for another thread."""

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""


class HttpTransport:
    """Sends requests over HTTP(S) on one kept-alive connection. Not thread-safe.

    Redirects are not followed; proxies and ``.netrc`` are not used. REQUESTS_CA_BUNDLE or
    SSL_CERT_FILE may name the certificates to trust. A request on a kept-alive connection that the
    server has closed is repeated once over a new connection.

    The timeout needs two mechanisms, since the libraries offer neither: getaddrinfo has no timeout,
    so name lookups run in a worker thread, and responses are read through `_BoundedStream`. A third
    one is the caller's: to leave a request before its timeout, run it in a `Worker` and abandon it.

    The connect timeout in seconds applies to the name lookup, and again to each address of the
    server; the read timeout to the whole request, up to the last byte of the response.
    """

    def __init__(
        self, url: str, key: str, *, connect_timeout: float = 5.0, read_timeout: float = 10.0
    ) -> None:
        self._url = url.rstrip("/")
        self._display_url = _without_password(self._url)
        self._key = key
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        # Error messages quote responses, so the key is removed from every response. A very short
        # key could occur in any text; keys of Immich have 43 characters.
        self._redact = redactor(key if len(key) >= MIN_KEY_LENGTH else "")
        self._session = _new_session(key)
        # Set after a response: the server may close a kept-alive connection at any time.
        self._is_kept_alive = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._display_url!r})"

    def new_connection(self) -> "HttpTransport":
        """Return a transport to the same server with its own connection, for another thread."""
        return HttpTransport(
            self._url,
            self._key,
            connect_timeout=self._connect_timeout,
            read_timeout=self._read_timeout,
        )

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        self._session.close()
        self._is_kept_alive = False

    def send(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float | None = None
    ) -> Response:
        """Send one request and return the response; see `Transport.send`."""
        self._check_request()
        seconds = self._read_timeout if timeout is None else timeout
        until = time.monotonic() + seconds
        try:
            return self._exchange(method, path, body, until)
        except _REQUEST_ERRORS as error:
            failure: Exception = error
        if self._is_kept_alive and any(
            isinstance(cause, CONNECTION_CLOSED) for cause in causes_of(failure)
        ):
            try:
                return self._exchange(method, path, body, until)
            except _REQUEST_ERRORS as error:
                failure = error
        self._is_kept_alive = False
        connect = min(self._connect_timeout, seconds)
        # Raised outside of the except clauses: the library's exceptions hold the request with its
        # headers, and would be the context of this one.
        raise UnreachableError(
            explain_failure(failure, url=self._display_url, connect=connect, timeout=seconds)
        )

    def _exchange(self, method: str, path: str, body: bytes | None, until: float) -> Response:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        # requests accepts urllib3's Timeout, the only one with a total, but its types do not.
        timeouts = cast(
            "Any", urllib3.Timeout(connect=min(self._connect_timeout, left), total=left)
        )
        with self._session.request(
            method,
            self._url + path,
            data=body,
            headers={"Content-Type": "application/json"} if body else None,
            timeout=timeouts,
            stream=True,
        ) as response:
            # The response has begun. A connection that breaks from here on was not closed before.
            self._is_kept_alive = False
            content = bytearray()
            for chunk in response.iter_content(_CHUNK_SIZE):
                content += chunk
                if len(content) > MAX_BODY_BYTES:
                    raise ResponseTooLargeError
            self._is_kept_alive = True
            location = response.headers.get("location")
            return Response(
                status=response.status_code,
                content_type=self._redact(response.headers.get("content-type", "")),
                body=self._redact(content.decode("latin-1")).encode("latin-1"),
                location=None if location is None else self._redact(location),
            )

    def _check_request(self) -> None:
        """Reject invalid keys and addresses: the library's own errors would quote them."""
        if not (self._key.isascii() and self._key.isprintable()) or self._key != self._key.strip():
            raise KeyRejectedError(
                "API_KEY contains a space, a line break or another character that no key has: copy "
                "the key from Immich again"
            )
        try:
            parts = urlsplit(self._url)
            is_valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            is_valid = False
        if not is_valid:
            raise UnreachableError(INVALID_URL.format(url=repr(self._display_url)))
        bundle = self._session.verify
        if parts.scheme == "https" and isinstance(bundle, str) and not Path(bundle).exists():
            raise UnreachableError(
                f"the certificates for {self._display_url} are missing: {bundle} does not exist, "
                "correct REQUESTS_CA_BUNDLE or SSL_CERT_FILE"
            )


class _BoundedStream(io.RawIOBase):
    """The stream of a response, with a deadline and a limit on its size.

    A socket's own timeout starts again with every byte, so a response that trickles in would never
    end. And http.client limits neither the number of interim responses nor the trailers of a body.
    """

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        super().__init__()
        self._sock = sock
        self._stream = raw
        self._deadline = time.monotonic() + (sock.gettimeout() or 0)
        self._bytes_left = MAX_WIRE_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        count = self._stream.readinto(buffer)
        self._bytes_left -= count or 0
        if self._bytes_left < 0:
            raise ResponseTooLargeError
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _BoundedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (as in http.client)
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_BoundedStream(sock, self.fp.detach()))


class _HttpConnection(HTTPConnection):
    response_class = _BoundedResponse

    def send(self, data: Any) -> None:  # noqa: ANN401 (as in http.client)
        """Send part of a request. An abandoned request must not go out."""
        if not is_call_awaited():
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
        super().send(data)

    def _new_conn(self) -> socket.socket:
        """Connect to the first address of the host that accepts."""
        host = self._dns_host
        failure: Exception | None = None
        for address in resolve(host, within=self.timeout or 0.0):
            self._dns_host = address
            try:
                return super()._new_conn()
            except HTTPError as error:
                failure = error
            finally:
                self._dns_host = host
        raise failure or socket.gaierror(socket.EAI_NONAME, "no address")


class _HttpsConnection(_HttpConnection, HTTPSConnection):
    pass


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow no redirect: the key would be sent along, and a PUT would become a GET."""


def _new_session(key: str) -> requests.Session:
    session = _Session()
    session.trust_env = False
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True
    session.headers["Accept"] = "application/json"
    session.headers["User-Agent"] = f"immich-job-daemon/{__version__}"
    session.headers["x-api-key"] = key
    for scheme in ("http://", "https://"):
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1)
        adapter.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        session.mount(scheme, adapter)
    return session


def _without_password(url: str) -> str:
    """Return the URL without its ``user:password@``.

    >>> _without_password("https://ann:secret@photos.example:8443/immich")
    'https://photos.example:8443/immich'
    >>> _without_password("ann:secret@photos.example")
    'photos.example'
    """
    address, _, host = url.rpartition("@")
    scheme, slashes, _ = address.partition("//")
    return scheme + slashes + host if slashes else host


def resolve(host: str, *, within: float) -> list[str]:
    """Return the IP addresses of a host name or address, the preferred one first.

    The timeout ``within`` is in seconds. The system's own is several times longer.

    Raises:
        socket.gaierror: the name is unknown, or (EAI_AGAIN) no name server responded in time.
        UnicodeError: the name is not a valid host name.

    >>> resolve("[::1]", within=1.0)
    ['::1']
    """
    name = host.strip("[]")
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return [name]
    worker = Worker()
    worker.start()
    future = worker.submit(
        lambda: socket.getaddrinfo(name, None, allowed_gai_family(), socket.SOCK_STREAM)
    )
    worker.shut_down()
    wait([future], within)
    if not future.done():
        raise socket.gaierror(socket.EAI_AGAIN, "no response in time")
    return [str(address[0]) for *_, address in future.result()]
