"""Why there is no connection to the broker, in words for a person. Pure.

>>> reason(ConnectionRefusedError(111, "Connection refused"))
'refuses the connection: see whether it runs, and whether that is its port'
"""

import socket
import ssl
from typing import Final

_REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (
        ssl.SSLCertVerificationError,
        (
            "shows a certificate that is not trusted: name the file of your own certificate "
            "authority in SSL_CERT_FILE, or use mqtt:// within your own network"
        ),
    ),
    (ssl.SSLError, "does not speak TLS as expected: use mqtts:// only at its port for TLS"),
    (socket.gaierror, "is not found: correct its name, or use the IP address"),
    (
        ConnectionRefusedError,
        "refuses the connection: see whether it runs, and whether that is its port",
    ),
    (TimeoutError, "does not answer: see whether it runs, and whether a firewall is in between"),
)
# The first row of which the error is an instance explains it.

NO_ANSWER: Final = "no answer"
"""The broker ended the connection before it had said anything."""

LOST: Final = "Unspecified error"
"""The connection was lost, nobody knows why."""

_CODES: Final = {
    NO_ANSWER: "ends the connection without a word: see whether that is its port",
    LOST: "has cut the connection",
    "Bad user name or password": "does not know the user or the password",
    "Not authorized": "does not let the user in, or does not know the password",
    "Client identifier not valid": "does not take the name that the daemon has there",
    "Server unavailable": "is not ready yet",
    "Server busy": "is too busy",
    "Banned": "has banned the user",
    "Session taken over": (
        "was asked for the same place by another daemon: two of them work with a copy of the same "
        "DATA_DIR, of which one must be emptied"
    ),
    "Keep alive timeout": "has not heard from the daemon for too long",
    "Server shutting down": "shuts down",
}
"""What a broker says, by MQTT's own names for it."""

TOO_NEW: Final = "Unsupported protocol version"
"""What a broker says that does not know the version of MQTT."""

REFUSED: Final = frozenset({"Bad user name or password", "Not authorized", "Banned"})
"""What does not go away by itself."""


def reason(error: Exception) -> str:
    """Return what an error in reaching the broker means, as the rest of a sentence about it."""
    for kind, words in _REASONS:
        if isinstance(error, kind):
            return words
    said = error.strerror if isinstance(error, OSError) else None
    return f"cannot be reached ({said or type(error).__name__})"


def said(code: str) -> str:
    """Return what a broker said, by MQTT's name for it, as the rest of a sentence about it."""
    return _CODES.get(code, f"ends the connection ({code})")
