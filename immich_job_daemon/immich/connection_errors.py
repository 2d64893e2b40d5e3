"""Explains to a user why a request got no response.

The requests library wraps an error up to four times, and its messages quote the request. So the
cause is looked up among the wrapped errors, and no message of the library is passed on.
"""

import errno
import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Final

from requests.exceptions import InvalidSchema, InvalidURL
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    LocationValueError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)


class ResponseTooLargeError(ValueError):
    """The response is larger than any of Immich's."""


CONNECTION_CLOSED: Final = (
    BrokenPipeError,
    ConnectionAbortedError,
    ConnectionResetError,
    ssl.SSLEOFError,
)
"""Errors of a request on a kept-alive connection that the server has closed."""

INVALID_URL: Final = (
    "{url} is not a valid address: set IMMICH_URL to an address such as http://192.168.1.5:2283"
)

_CLOSED_EARLY: Final = (
    "{url} closed the connection before the response was complete: if this continues, check "
    "Immich's log"
)

# The first entry with a class of any of the causes explains the failure.
_EXPLANATIONS: Final[Mapping[type[BaseException] | tuple[type[BaseException], ...], str]] = {
    ssl.SSLCertVerificationError: (
        "{url} shows a certificate that is not trusted ({cause.verify_message}): set "
        "REQUESTS_CA_BUNDLE to the file of your own certificate authority, or correct IMMICH_URL"
    ),
    socket.gaierror: (
        "the host name in {url} is not found: correct IMMICH_URL, or use the IP address"
    ),
    ConnectionRefusedError: (
        "{url} refuses the connection: start Immich, or correct IMMICH_URL and its port"
    ),
    ConnectTimeoutError: (
        "{url} did not accept a connection within {connect:.2g} s: correct IMMICH_URL, or check "
        "for a firewall in between"
    ),
    (ReadTimeoutError, TimeoutError): (
        "{url} sent no complete response within {timeout:.2g} s: if this continues, check Immich's "
        "log"
    ),
    (*CONNECTION_CLOSED, http.client.IncompleteRead): _CLOSED_EARLY,
    ssl.SSLError: (
        "TLS with {url} failed ({cause.reason}): if Immich has no certificate, IMMICH_URL must "
        "start with http://"
    ),
    DecodeError: (
        "{url} sent a response that cannot be decompressed: check the proxy in front of Immich"
    ),
    ResponseTooLargeError: (
        "{url} sent a response of more than 1 MiB, larger than Immich's: correct IMMICH_URL"
    ),
    http.client.HTTPException: "{url} does not speak HTTP: correct IMMICH_URL and its port",
    ProtocolError: _CLOSED_EARLY,
    (InvalidSchema, InvalidURL, LocationValueError, UnicodeError): INVALID_URL,
    OSError: "{url} cannot be reached ({cause.strerror}): check IMMICH_URL and the network",
}


def explain_failure(failure: Exception, *, url: str, connect: float, timeout: float) -> str:
    """Return a message that says what failed, where, and what to do next.

    The URL must not contain a password. Both timeouts are in seconds, ``timeout`` for the whole
    request.

    >>> explain_failure(ConnectionRefusedError(), url="http://immich", connect=5, timeout=10)[:36]
    'http://immich refuses the connection'
    """
    # Leave out NewConnectionError: urllib3 derives it from ConnectTimeoutError, but raises it also
    # for a network that is down.
    causes = [one for one in causes_of(failure) if not isinstance(one, NewConnectionError)]
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return (
                f"no file descriptor is left for a connection to {url} ({cause.strerror}): raise "
                "the limit on open files, or find out what keeps so many files open"
            )
        if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN:
            return (
                f"no name server could look up the host name in {url}: check whether the name "
                "server (often the router) is up, or use the IP address in IMMICH_URL"
            )
    for kinds, text in _EXPLANATIONS.items():
        for cause in causes:
            # Exceptions of requests are OSErrors too, but have no strerror.
            has_text = kinds is not OSError or getattr(cause, "strerror", None)
            if isinstance(cause, kinds) and has_text:
                return text.format(url=url, cause=cause, connect=connect, timeout=timeout)
    kind = type(failure).__name__
    return f"the request to {url} failed ({kind}): check IMMICH_URL and the network"


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all errors that it wraps, the outermost first."""
    seen: set[int] = set()
    pending: list[object] = [error]
    while pending:
        cause = pending.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            pending += [*cause.args, getattr(cause, "reason", None)]
            pending += [cause.__cause__, cause.__context__]
