"""A server in front of a simulated Immich that can replace responses by arbitrary bytes.

It writes to its sockets directly, because no HTTP library would send such responses.
"""

import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from simulator.immich.server import SimulatedServer

RawResponse = Callable[[], Iterable[bytes]]
"""Makes the chunks to send instead of a response; sending ends when the client disconnects."""

POLLS = r"GET /api/(queues|jobs)$"
ALL_REQUESTS = r""


class InterceptingServer:
    """Listen on a free port and pass requests on, except those that ``intercept`` names."""

    def __init__(self, server: SimulatedServer) -> None:
        self._server = server
        self._intercepted: tuple[str, RawResponse] | None = None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    @contextmanager
    def intercept(self, requests: str, response: RawResponse) -> Iterator[None]:
        """Answer matching requests with ``response`` while the context lasts.

        Args:
            requests: a pattern for the start of method and path, such as ``GET /api/queues``.
            response: is called once a request.
        """
        self._intercepted = (requests, response)
        try:
            yield
        finally:
            self._intercepted = None

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # One request a connection: after a broken response the client has to disconnect anyway.
        with connection, suppress(OSError), connection.makefile("rb") as stream:
            request_line = stream.readline().decode("latin-1")
            if not request_line:
                return
            method, path, _ = request_line.split(" ")
            headers = {}
            while (line := stream.readline().decode("latin-1").strip()) != "":
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            body = stream.read(int(headers.get("content-length", 0)))
            intercepted = self._intercepted
            if intercepted and re.match(intercepted[0], f"{method} {path}"):
                for chunk in intercepted[1]():
                    connection.sendall(chunk)
                return
            response = self._server.process(method, path, headers, body or None)
            if response:
                head = f"content-type: {response.content_type}\r\nconnection: close"
                connection.sendall(http_response(response.body, f"{response.status} Any", head))


def http_response(body: bytes, status: str = "200 OK", headers: str = "connection: close") -> bytes:
    """Return a complete response with its content-length."""
    head = f"HTTP/1.1 {status}\r\n{headers}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body
