"""Free TCP ports for servers whose port must be known before they start."""

import random
import socket
from contextlib import suppress
from typing import Final

NON_EPHEMERAL: Final = range(10_000, 32_000)
"""Below Linux's ephemeral ports, so no outgoing connection takes one of these by chance."""

_random = random.SystemRandom()


def free_port() -> int:
    """Return a port on which nothing listens."""
    while True:
        port = _random.choice(NON_EPHEMERAL)
        with suppress(OSError), socket.create_server(("", port)):
            return port
