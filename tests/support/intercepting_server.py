"""What pretends to be Immich: passes requests on to a simulated one, or answers what it likes.

Over real HTTP, with sockets of its own: no library of a server would send such answers.
"""

import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from simulator.immich.server import SimulatedServer

Say = Callable[[], Iterable[bytes]]
"""What is sent instead of an answer, piece by piece, until the client hangs up."""

LOOKS = r"GET /api/(queues|jobs)$"
EVERYTHING = r""


class InterceptingServer:
    """Listens on a free port; ``instead`` says which requests get what, of a kind or all."""

    def __init__(self, behind: SimulatedServer) -> None:
        self._behind = behind
        self._instead: tuple[str, Say] | None = None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    @contextmanager
    def instead(self, requests: str, say: Say) -> Iterator[None]:
        """Answer so, as long as the context lasts, to requests such as ``GET /api/queues``."""
        self._instead = (requests, say)
        try:
            yield
        finally:
            self._instead = None

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # One request a connection: who is answered with rubbish must hang up anyway.
        with connection, suppress(OSError), connection.makefile("rb") as read:
            first = read.readline().decode("latin-1")
            if not first:
                return
            method, path, _ = first.split(" ")
            headers = {}
            while (line := read.readline().decode("latin-1").strip()) != "":
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            body = read.read(int(headers.get("content-length", 0)))
            instead = self._instead
            if instead and re.match(instead[0], f"{method} {path}"):
                for piece in instead[1]():
                    connection.sendall(piece)
                return
            answer = self._behind.process(method, path, headers, body or None)
            if answer:
                head = f"content-type: {answer.content_type}\r\nconnection: close"
                connection.sendall(whole(answer.body, f"{answer.status} Any", head))


def whole(body: bytes, status: str = "200 OK", headers: str = "connection: close") -> bytes:
    """Return a whole answer."""
    head = f"HTTP/1.1 {status}\r\n{headers}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body
