"""A stand-in for Home Assistant's frontend and ingress, between a browser and the add-on.

The proxy does what the Supervisor does: it strips its prefix from the path, passes it on in
X-Ingress-Path, and connects from its own address.
"""

import http.client
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

PATH: Final = "/api/hassio_ingress/Zm9vYmFy-_x"
GATEWAY: Final = "127.0.0.2"
"""The address that the proxy connects from; in production it is 172.30.32.2."""

_FRONTEND: Final = f'<!doctype html><title>Home</title><iframe src="{PATH}/"></iframe>'.encode()
_HOP_BY_HOP: Final = frozenset({"connection", "content-length", "host", "transfer-encoding"})


class _Request(BaseHTTPRequestHandler):
    server: "_Ingress"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Log nothing."""

    def do_GET(self) -> None:
        """Serve the frontend, or forward a request to the add-on."""
        if self.path == "/":
            self._respond(200, [("Content-Type", "text/html")], _FRONTEND)
        else:
            self._forward(None)

    def do_POST(self) -> None:
        """Forward a change to the add-on."""
        self._forward(self.rfile.read(int(self.headers["Content-Length"])))

    def _forward(self, body: bytes | None) -> None:
        if not self.path.startswith(f"{PATH}/"):
            self._respond(404, [], b"")
            return
        headers = {n: v for n, v in self.headers.items() if n.lower() not in _HOP_BY_HOP}
        headers = {**headers, "X-Ingress-Path": PATH}
        with closing(
            http.client.HTTPConnection(
                *self.server.upstream, timeout=90, source_address=(GATEWAY, 0)
            )
        ) as connection:
            connection.request(self.command, self.path.removeprefix(PATH), body, headers)
            response = connection.getresponse()
            content = response.read()
        kept = [(n, v) for n, v in response.getheaders() if n.lower() not in _HOP_BY_HOP]
        self._respond(response.status, kept, content)

    def _respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Ingress(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        super().__init__(("127.0.0.1", 0), _Request)


@contextmanager
def ingress(url: str) -> Iterator[str]:
    """Put ingress in front of the add-on's page; yield the URL of Home Assistant."""
    parts = urlsplit(url)
    with _Ingress((str(parts.hostname), int(parts.port or 0))) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()
