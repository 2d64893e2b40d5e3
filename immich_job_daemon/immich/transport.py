"""How a request reaches Immich: over HTTP, with the requests library, on one kept-alive session."""

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
    CLOSED,
    INVALID_URL,
    TooLongError,
    causes_of,
    explain,
)

SHORTEST_KEY: Final = 8
LARGEST_ANSWER: Final = 1024 * 1024
"""Bytes of the longest answer that is read. All queues take 4 KB (seen on Immich 3.1.0)."""
LARGEST_ON_THE_WIRE: Final = 2 * LARGEST_ANSWER
"""Bytes that are read in all for one answer, with its headers and whatever stands around it."""

_CHUNK: Final = 64 * 1024

# What the library lets through: not all of it is its own.
_FAILURES: Final = (requests.RequestException, HTTPError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: nothing of it is believed yet."""

    status: int
    content_type: str
    body: bytes
    location: str | None = None


class Transport(Protocol):
    """Something that carries requests to one Immich server."""

    def send(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float | None = None
    ) -> Response:
        """Send one request and return the answer, whatever its status.

        Args:
            method: GET or PUT.
            path: below the server's address, such as ``/api/queues``.
            body: JSON, encoded, or None.
            timeout: seconds for the whole answer; None is the transport's own default.

        Raises:
            UnreachableError: no complete answer came.
            KeyRejectedError: the API key holds a character that no request can carry.
        """
        ...

    def new_connection(self) -> "Transport":
        """Return a transport to the same server with a connection of its own, for a thread."""
        ...

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        ...


class HttpTransport:
    """Carries requests over HTTP(S) on one kept-alive connection, for one thread at a time.

    Redirects are not followed, proxies and ``.netrc`` are not used. Certificates are checked
    against the file that REQUESTS_CA_BUNDLE or SSL_CERT_FILE names, if one does. A request that
    meets a connection which the server has closed meanwhile is sent again once.

    Args:
        url: the server's address, such as ``http://127.0.0.1:2283``.
        key: the API key; it goes into the requests and nowhere else.
        connect_timeout: seconds within which the server's name must be found, and one of its
            addresses must accept.
        read_timeout: seconds for everything up to the last byte of the answer.
    """

    def __init__(
        self, url: str, key: str, *, connect_timeout: float = 5.0, read_timeout: float = 10.0
    ) -> None:
        self._url = url.rstrip("/")
        self._shown = _without_password(self._url)
        self._key = key
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        # What an answer quotes of the key ends here: errors tell what Immich said. A key so short
        # that it may stand in any answer is none of Immich's, which have 43 characters.
        self._redact = redactor(key if len(key) >= SHORTEST_KEY else "")
        self._session = _session(key)
        # The connection has carried an answer, so the server may have closed it since.
        self._is_kept = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown!r})"

    def new_connection(self) -> "HttpTransport":
        """Return a transport to the same server with a connection of its own, for a thread."""
        return HttpTransport(
            self._url,
            self._key,
            connect_timeout=self._connect_timeout,
            read_timeout=self._read_timeout,
        )

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        self._session.close()
        self._is_kept = False

    def send(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float | None = None
    ) -> Response:
        """Send one request and return the answer, whatever its status; see `Transport.send`."""
        self._refuse_nonsense()
        seconds = self._read_timeout if timeout is None else timeout
        until = time.monotonic() + seconds
        try:
            return self._exchange(method, path, body, until)
        except _FAILURES as error:
            failure: Exception = error
        if self._is_kept and any(isinstance(cause, CLOSED) for cause in causes_of(failure)):
            try:
                return self._exchange(method, path, body, until)
            except _FAILURES as error:
                failure = error
        self._is_kept = False
        connect = min(self._connect_timeout, seconds)
        # Outside of the except clauses: as a context, the library's exceptions would bring the
        # request and its headers along.
        raise UnreachableError(explain(failure, url=self._shown, connect=connect, timeout=seconds))

    def _exchange(self, method: str, path: str, body: bytes | None, until: float) -> Response:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        # requests takes urllib3's Timeout, the only one that knows a total; its types do not.
        limits = cast("Any", urllib3.Timeout(connect=min(self._connect_timeout, left), total=left))
        with self._session.request(
            method,
            self._url + path,
            data=body,
            headers={"Content-Type": "application/json"} if body else None,
            timeout=limits,
            stream=True,
        ) as response:
            # An answer has begun: if the connection breaks now, it was not closed meanwhile.
            self._is_kept = False
            content = bytearray()
            for chunk in response.iter_content(_CHUNK):
                content += chunk
                if len(content) > LARGEST_ANSWER:
                    raise TooLongError
            self._is_kept = True
            location = response.headers.get("location")
            return Response(
                status=response.status_code,
                content_type=self._redact(response.headers.get("content-type", "")),
                body=self._redact(content.decode("latin-1")).encode("latin-1"),
                location=None if location is None else self._redact(location),
            )

    def _refuse_nonsense(self) -> None:
        """Refuse beforehand what the library would refuse in words that quote the key."""
        if not (self._key.isascii() and self._key.isprintable()) or self._key != self._key.strip():
            raise KeyRejectedError(
                "API_KEY holds a space, a line break or another character that no key has: copy "
                "the key from Immich once more"
            )
        try:
            parts = urlsplit(self._url)
            is_valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            is_valid = False
        if not is_valid:
            raise UnreachableError(INVALID_URL.format(url=repr(self._shown)))
        bundle = self._session.verify
        if parts.scheme == "https" and isinstance(bundle, str) and not Path(bundle).exists():
            raise UnreachableError(
                f"the certificates to check {self._shown} with are missing: {bundle} does not "
                "exist, correct REQUESTS_CA_BUNDLE or SSL_CERT_FILE"
            )


class _TimedStream(io.RawIOBase):
    """What a server sends, until the time for its whole answer is over, or there is too much of it.

    A socket's own timeout starts anew with every byte: a trickle would never end. And what stands
    around a body (headers, interim answers, the ends of chunks) has no length of its own.
    """

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        super().__init__()
        self._sock = sock
        self._raw = raw
        self._until = time.monotonic() + (sock.gettimeout() or 0)
        self._left = LARGEST_ON_THE_WIRE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        count = self._raw.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise TooLongError
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (as http.client passes them)
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimedStream(sock, self.fp.detach()))


class _PlainConnection(HTTPConnection):
    response_class = _TimedResponse

    def send(self, data: Any) -> None:  # noqa: ANN401 (as http.client passes it)
        """Send a part of a request, unless nobody waits for it: it must not happen any more."""
        if not is_call_awaited():
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
        super().send(data)

    def _new_conn(self) -> socket.socket:
        """Connect to the first of the host's addresses that accepts; the library knows no names."""
        name = self._dns_host
        failure: Exception | None = None
        for address in addresses(name, within=self.timeout or 0.0):
            self._dns_host = address
            try:
                return super()._new_conn()
            except HTTPError as error:
                failure = error
            finally:
                self._dns_host = name
        raise failure or socket.gaierror(socket.EAI_NONAME, "no address")


class _SecureConnection(_PlainConnection, HTTPSConnection):
    pass


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Show the library no redirect: the key would go along, and a PUT become a GET."""


def _session(key: str) -> requests.Session:
    session = _Session()
    session.trust_env = False
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True
    session.headers["Accept"] = "application/json"
    session.headers["User-Agent"] = f"immich-job-daemon/{__version__}"
    session.headers["x-api-key"] = key
    for scheme in ("http://", "https://"):
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1)
        adapter.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
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


def addresses(host: str, *, within: float) -> list[str]:
    """Return the addresses of a host, the best first; one that is an address is its own.

    Args:
        host: a name or an address.
        within: seconds.

    Raises:
        socket.gaierror: there is none, or (EAI_AGAIN) nobody told in time.
        UnicodeError: no host can be called so.

    >>> addresses("[::1]", within=1.0)
    ['::1']
    """
    bare = host.strip("[]")
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return _looked_up(bare, within)
    return [bare]


def _looked_up(name: str, within: float) -> list[str]:
    asked = Worker()
    asked.start()
    answer = asked.submit(
        lambda: socket.getaddrinfo(name, None, allowed_gai_family(), socket.SOCK_STREAM)
    )
    asked.shut_down()
    wait([answer], within)
    if not answer.done():
        raise socket.gaierror(socket.EAI_AGAIN, "no answer in time")
    return [str(address[0]) for *_, address in answer.result()]
