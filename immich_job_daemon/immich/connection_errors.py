"""Why a request brought no answer, in words for a person.

The requests library wraps a failure up to four times, and its own words quote what was sent.
Here the cause is looked up, and none of those words is passed on.
"""

import errno
import http.client
import socket
import ssl
from collections.abc import Iterator
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


class TooLongError(ValueError):
    """The answer is longer than any of Immich's."""


CLOSED: Final = (
    BrokenPipeError,
    ConnectionAbortedError,
    ConnectionResetError,
    ssl.SSLEOFError,
)
"""What happens to a request on a connection that the server has closed meanwhile."""

INVALID_URL: Final = (
    "{url} is not a valid address: set IMMICH_URL to one such as http://192.168.1.5:2283"
)

_CUT_OFF: Final = (
    "{url} cut the connection off before the answer was complete: if this goes on, read Immich's "
    "log"
)

_NO_FILE: Final = (
    "there is no file left for a connection to {url} ({cause.strerror}): raise the limit on open "
    "files, or see what keeps so many of them open"
)

_NO_NAME_SERVER: Final = (
    "no name server tells where the host in {url} is: see whether the router or whatever else "
    "answers for names is up, or use the IP address in IMMICH_URL"
)

# The first row of which any cause of a failure is an instance explains it.
_EXPLANATIONS: Final[tuple[tuple[tuple[type[BaseException], ...], str], ...]] = (
    (
        (ssl.SSLCertVerificationError,),
        (
            "{url} shows a certificate that is not trusted ({cause.verify_message}): name the file "
            "of your own certificate authority in REQUESTS_CA_BUNDLE, or correct IMMICH_URL"
        ),
    ),
    (
        (socket.gaierror,),
        "the host name in {url} is not found: correct IMMICH_URL, or use the IP address",
    ),
    (
        (ConnectionRefusedError,),
        "{url} refuses the connection: start Immich, or correct IMMICH_URL and its port",
    ),
    (
        (ConnectTimeoutError,),
        (
            "{url} accepts no connection within {connect:.2g} s: correct IMMICH_URL, or look for a "
            "firewall in between"
        ),
    ),
    (
        (ReadTimeoutError, TimeoutError),
        "{url} gave no complete answer within {timeout:.2g} s: if this goes on, read Immich's log",
    ),
    (
        (*CLOSED, http.client.IncompleteRead),
        _CUT_OFF,
    ),
    (
        (ssl.SSLError,),
        (
            "TLS with {url} failed ({cause.reason}): if Immich has no certificate, IMMICH_URL "
            "starts with http://"
        ),
    ),
    (
        (DecodeError,),
        "{url} sent an answer that cannot be unpacked: look at the proxy in front of Immich",
    ),
    (
        (TooLongError,),
        "{url} sent an answer of more than 1 MiB, which none of Immich's is: correct IMMICH_URL",
    ),
    (
        (http.client.HTTPException,),
        "{url} does not answer in HTTP: correct IMMICH_URL and its port",
    ),
    ((ProtocolError,), _CUT_OFF),
    ((InvalidSchema, InvalidURL, LocationValueError, UnicodeError), INVALID_URL),
    ((OSError,), "{url} cannot be reached ({cause.strerror}): check IMMICH_URL and the network"),
)


def explain(failure: Exception, *, url: str, connect: float, timeout: float) -> str:
    """Say what went wrong, where, and what to do next.

    Args:
        failure: what the requests library, urllib3 or the system raised.
        url: the server's address as it may be shown.
        connect: seconds that were allowed for connecting.
        timeout: seconds that were allowed for everything.

    >>> explain(ConnectionRefusedError(), url="http://127.0.0.1:2283", connect=5, timeout=10)[:40]
    'http://127.0.0.1:2283 refuses the connec'
    """
    # To urllib3 a network that is down is a time limit as well.
    causes = [one for one in causes_of(failure) if not isinstance(one, NewConnectionError)]
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return _NO_FILE.format(url=url, cause=cause)
        if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN:
            return _NO_NAME_SERVER.format(url=url)
    for kinds, text in _EXPLANATIONS:
        for cause in causes:
            # requests' own exceptions are OSErrors too, without a text of the system.
            if isinstance(cause, kinds) and (
                kinds != (OSError,) or getattr(cause, "strerror", None)
            ):
                return text.format(url=url, cause=cause, connect=connect, timeout=timeout)
    kind = type(failure).__name__
    return f"the request to {url} failed ({kind}): check IMMICH_URL and what is in between"


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything that it was made of, the outermost first."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [*cause.args, getattr(cause, "reason", None)]
            waiting += [cause.__cause__, cause.__context__]
