"""A line on which every byte takes its time, between a client on this side and a server."""

import socket
import threading
import time
from contextlib import suppress
from functools import partial
from queue import SimpleQueue

Line = SimpleQueue[tuple[float, bytes]]


class Relay:
    """Listens in the calling thread's network, and passes on what comes, later.

    Not in the kernel: its own way to delay packets, netem, is not in every kernel.

    Args:
        address: host and port to listen at; port 0 takes a free one.
        target: host and port of the server.
        delay: seconds that each byte takes, in both directions.
    """

    def __init__(self, address: tuple[str, int], target: tuple[str, int], delay: float) -> None:
        self.delay = delay
        self.crossed = 0
        """How many requests met a connection that the server had closed, but the client not yet."""
        self._target = target
        self._listener = socket.create_server(address)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                over = threading.Event()
                for read, write in ((client, server), (server, client)):
                    line: Line = SimpleQueue()
                    for work in (
                        partial(self._take, read, line, over, is_request=read is client),
                        partial(self._pass_on, line, read, write),
                    ):
                        threading.Thread(target=work, daemon=True).start()

    def _take(
        self, read: socket.socket, line: Line, over: threading.Event, *, is_request: bool
    ) -> None:
        data = b"more"
        while data:
            data = b""
            with suppress(OSError):
                data = read.recv(65536)
            line.put((time.monotonic() + self.delay, data))
            if data and is_request and over.is_set():
                self.crossed += 1
        over.set()

    def _pass_on(self, line: Line, read: socket.socket, write: socket.socket) -> None:
        data = b"more"
        while data:
            when, data = line.get()
            time.sleep(max(0.0, when - time.monotonic()))
            with suppress(OSError):
                write.sendall(data)
        for end in (read, write):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
