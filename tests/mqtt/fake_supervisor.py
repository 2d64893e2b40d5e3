"""Fakes of Home Assistant's Supervisor: HTTP servers with one fixed response, or with none."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Final

TOKEN: Final = "token-of-the-supervisor"


@contextmanager
def fake_supervisor(status: int, body: bytes, requests: list[str] | None = None) -> Iterator[str]:
    """Yield the base URL of a Supervisor that sends this response to requests with the token.

    Args:
        status: the HTTP status of the response.
        body: the body of the response.
        requests: receives the path of each request.
    """

    class Handler(_QuietHandler):
        def do_GET(self) -> None:
            if requests is not None:
                requests.append(self.path)
            has_token = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            is_known_path = self.path == "/services/mqtt"
            is_valid = has_token and is_known_path
            self.send_response(status if is_valid else 401 if is_known_path else 404)
            self.end_headers()
            if is_valid:
                self.wfile.write(body)

    with _serving(Handler) as url:
        yield url


@contextmanager
def hanging_supervisor() -> Iterator[str]:
    """Yield the base URL of a Supervisor that accepts requests and never responds."""
    ended = Event()

    class Handler(_QuietHandler):
        def do_GET(self) -> None:
            ended.wait()

    with _serving(Handler) as url:
        try:
            yield url
        finally:
            ended.set()


class _QuietHandler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
