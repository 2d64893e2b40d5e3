"""A name server that knows one name, or fails, or is silent."""

import socket
import struct
import threading
from contextlib import suppress
from enum import Enum
from typing import Final

NAME: Final = "immich.home"

_ANSWER: Final = 0x8180
_ADDRESS, _INTERNET = 1, 1


class Mood(Enum):
    """How it answers; the numbers are DNS's own."""

    KNOWS = 0
    FAILS = 2
    KNOWS_NOTHING = 3
    SILENT = -1


class Resolver:
    """Answers over UDP at an address of the calling thread's network.

    Args:
        address: where it listens, at port 53.
        known: the address of NAME.
    """

    def __init__(self, address: str, known: str) -> None:
        self.mood = Mood.KNOWS
        self.asked = 0
        self._known = socket.inet_aton(known)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                query, client = self._socket.recvfrom(512)
                if not query:
                    return
                self.asked += 1
                if self.mood is not Mood.SILENT:
                    self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        end = query.index(b"\0", 12) + 5
        question = query[12:end]
        (kind,) = struct.unpack("!H", question[-4:-2])
        record = b""
        if self.mood is Mood.KNOWS and kind == _ADDRESS:
            # The name is that of the question; it may be kept for no second.
            record = b"\xc0\x0c" + struct.pack("!HHIH", _ADDRESS, _INTERNET, 0, 4) + self._known
        flags = _ANSWER | self.mood.value
        head = query[:2] + struct.pack("!HHHHH", flags, 1, 1 if record else 0, 0, 0)
        return head + question + record
