"""What stands between a browser and the add-on: Home Assistant's page, and its ingress.

A small proxy that does what the Supervisor does: it takes its own part of the path away, tells it
in X-Ingress-Path, and asks from an address of its own.
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
"""The address that the proxy asks from; in production that is 172.30.32.2."""

_FRONTEND: Final = f'<!doctype html><title>Home</title><iframe src="{PATH}/"></iframe>'.encode()
_ONE_HOP: Final = frozenset({"connection", "content-length", "host", "transfer-encoding"})


class _Request(BaseHTTPRequestHandler):
    server: "_Ingress"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer with Home Assistant's own page, or the add-on's."""
        if self.path == "/":
            self._answer(200, [("Content-Type", "text/html")], _FRONTEND)
        else:
            self._pass_on(None)

    def do_POST(self) -> None:
        """Pass a change on."""
        self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

    def _pass_on(self, body: bytes | None) -> None:
        if not self.path.startswith(f"{PATH}/"):
            self._answer(404, [], b"")
            return
        self.server.asked.append(self.path)
        headers = {n: v for n, v in self.headers.items() if n.lower() not in _ONE_HOP}
        given = {**headers, "X-Ingress-Path": PATH}
        with closing(
            http.client.HTTPConnection(*self.server.behind, timeout=90, source_address=(GATEWAY, 0))
        ) as connection:
            connection.request(self.command, self.path.removeprefix(PATH), body, given)
            answer = connection.getresponse()
            content = answer.read()
        kept = [(n, v) for n, v in answer.getheaders() if n.lower() not in _ONE_HOP]
        self._answer(answer.status, kept, content)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Ingress(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, behind: tuple[str, int]) -> None:
        self.behind = behind
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Request)


@contextmanager
def ingress(url: str) -> Iterator[str]:
    """Put Home Assistant before the add-on's page and give the address of Home Assistant."""
    parts = urlsplit(url)
    with _Ingress((str(parts.hostname), int(parts.port or 0))) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()
