"""Connection errors as text for users. Pure.

Each text completes a sentence that begins with "The MQTT broker at ...".

>>> describe_error(ConnectionRefusedError(111, "Connection refused"))
'refused the connection: check that it is running and that the port is correct'
"""

import socket
import ssl
from typing import Final

# The first row that matches the error describes it, so subclasses come before their base classes.
_ERRORS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (
        ssl.SSLCertVerificationError,
        (
            "uses a certificate that is not trusted: set SSL_CERT_FILE to the file of your "
            "certificate authority, or use mqtt:// within your own network"
        ),
    ),
    (
        ssl.SSLError,
        "did not complete the TLS handshake: use mqtts:// only with the broker's TLS port",
    ),
    (socket.gaierror, "was not found: correct the host name, or use the IP address"),
    (
        ConnectionRefusedError,
        "refused the connection: check that it is running and that the port is correct",
    ),
    (
        TimeoutError,
        "did not respond: check that it is running and that no firewall blocks the connection",
    ),
)

CLOSED_WITHOUT_REPLY: Final = "closed without a reply"
"""The broker closed the connection before it sent a CONNACK. A name of our own, not MQTT's."""

CONNECTION_LOST: Final = "Unspecified error"
"""paho's reason when the connection is lost without a DISCONNECT."""

UNSUPPORTED_VERSION: Final = "Unsupported protocol version"

_CHECK_CREDENTIALS: Final = "check the user name and the password"

_REASON_CODES: Final = {
    CLOSED_WITHOUT_REPLY: "closed the connection without a reply: check the port",
    CONNECTION_LOST: "dropped the connection",
    "Bad user name or password": f"rejected the user name or the password: {_CHECK_CREDENTIALS}",
    "Not authorized": (
        f"did not authorize the user, or the password is wrong: {_CHECK_CREDENTIALS}"
    ),
    "Banned": f"has banned the user: {_CHECK_CREDENTIALS}",
    "Client identifier not valid": "rejected the daemon's client ID",
    "Server unavailable": "is not ready yet",
    "Server busy": "is too busy",
    "Session taken over": (
        "closed the connection because another daemon uses the same client ID: two daemons run "
        "with copies of the same DATA_DIR; empty one of the two"
    ),
    "Keep alive timeout": (
        "closed the connection because it received nothing from the daemon for too long"
    ),
    "Server shutting down": "is shutting down",
}
"""Texts by the MQTT names of reason codes."""

BAD_CREDENTIALS: Final = frozenset({"Bad user name or password", "Not authorized", "Banned"})
"""Reasons that persist until a user fixes the credentials."""


def describe_error(error: Exception) -> str:
    """Return why the broker could not be reached.

    The message of the exception is left out, except for the operating system's: it may quote what
    was sent.
    """
    for kind, text in _ERRORS:
        if isinstance(error, kind):
            return text
    cause = error.strerror if isinstance(error, OSError) else None
    return f"cannot be reached ({cause or type(error).__name__})"


def describe_reason_code(name: str) -> str:
    """Return why the broker ended the connection; ``name`` is MQTT's name of the reason code."""
    return _REASON_CODES.get(name, f"closed the connection ({name})")
