"""Ports for servers that must be told theirs before they start."""

import random
import socket
from contextlib import suppress
from typing import Final

BELOW_THE_KERNELS_OWN: Final = range(10_000, 32_000)
"""No connection that a test makes gets one of these for its own end by chance."""

_chance = random.SystemRandom()


def free_port() -> int:
    """Return a port at which nothing listens."""
    while True:
        port = _chance.choice(BELOW_THE_KERNELS_OWN)
        with suppress(OSError), socket.create_server(("", port)):
            return port
