"""A DNS server for one name that can also fail or not respond."""

import socket
import struct
import threading
from contextlib import suppress
from enum import Enum
from typing import Final

NAME: Final = "immich.home"

_RESPONSE_FLAGS: Final = 0x8180
_ADDRESS, _INTERNET = 1, 1


class Behaviour(Enum):
    """How it responds; the values are DNS response codes, except for SILENT."""

    RESOLVES = 0
    FAILS = 2
    NAME_UNKNOWN = 3
    SILENT = -1


class Resolver:
    """A DNS server over UDP in the network of the calling thread.

    Args:
        address: where it listens, on port 53.
        address_of_name: the address that NAME resolves to.
    """

    def __init__(self, address: str, address_of_name: str) -> None:
        self.behaviour = Behaviour.RESOLVES
        self.queries = 0
        self._address_of_name = socket.inet_aton(address_of_name)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Stop responding."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                query, client = self._socket.recvfrom(512)
                if not query:
                    return
                self.queries += 1
                if self.behaviour is not Behaviour.SILENT:
                    self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        end = query.index(b"\0", 12) + 5
        question = query[12:end]
        (kind,) = struct.unpack("!H", question[-4:-2])
        record = b""
        if self.behaviour is Behaviour.RESOLVES and kind == _ADDRESS:
            # A pointer to the name in the question, and a TTL of 0.
            record = (
                b"\xc0\x0c"
                + struct.pack("!HHIH", _ADDRESS, _INTERNET, 0, 4)
                + self._address_of_name
            )
        flags = _RESPONSE_FLAGS | self.behaviour.value
        header = query[:2] + struct.pack("!HHHHH", flags, 1, 1 if record else 0, 0, 0)
        return header + question + record
