"""Stands in for Home Assistant's Supervisor: answers one request, over real HTTP, in one way."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

TOKEN: Final = "token-of-the-supervisor"


@contextmanager
def standing_in(status: int, body: bytes, asked: list[str] | None = None) -> Iterator[str]:
    """Give the address of a Supervisor that says this to whoever has the token.

    Args:
        status: of the answer.
        body: the answer.
        asked: gets each path that was asked for.
    """

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(self.path)
            is_known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            is_there = self.path == "/services/mqtt"
            self.send_response(status if is_known and is_there else 401 if is_there else 404)
            self.end_headers()
            if is_known and is_there:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
