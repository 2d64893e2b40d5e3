"""Limits what one connection may cost, where waitress has no limit or fails.

waitress 3.0.2

- closes an idle connection, but not one that sends a byte now and then;
- accepts as many pipelined requests as fit into a packet;
- closes the connection without a response if Python cannot parse the request line or a length;
- closes the connection while a rejected client still sends, and the client may lose the response.

Requests that are not valid HTTP never reach an application, so the JSON errors for them are
written here.
"""

import json
import socket
import time
from typing import Any, Final

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask

REQUEST_TIMEOUT: Final = 30.0
"""Seconds from the first byte of a request to the last."""

MAX_PIPELINED: Final = 8
"""Requests of a connection that may wait for a response. Browsers and scrapers send one."""

DRAIN_TIMEOUT: Final = 2.0
"""Seconds for which the rest of a rejected request is read; the idle timeout still applies."""

_MAX_ERROR_LENGTH: Final = 200


class RequestParser(HTTPRequestParser):
    """Parses a request; whatever cannot be parsed is a client error."""

    path: str
    request_uri: str

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the request line and the headers.

        Raises:
            ParsingError: the request is invalid.
        """
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            # For example the URL http://[ or a length with thousands of digits.
            raise ParsingError(f"The request cannot be parsed: {error}") from None
        # werkzeug 3.1 raises on a query that is not ASCII, which no valid URL has.
        if not self.request_uri.isascii():
            raise ParsingError("The URL must be percent-encoded")
        # An empty path means the root, but werkzeug would redirect to it.
        self.path = self.path or "/"


class JsonErrorTask(ErrorTask):
    """Responds to a request that is not valid HTTP."""

    def execute(self) -> None:
        """Write the response; the connection is closed afterwards."""
        parser: Any = self.request
        error = parser.error
        text = f"{error.reason}: {error.body}"[:_MAX_ERROR_LENGTH]
        body = json.dumps({"error": text}).encode() + b"\n"
        self.status = f"{error.code} {error.reason}"
        self.response_headers = [
            ("Content-Type", "application/json"),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Connection(HTTPChannel):
    """A connection that is closed if a request takes too long or too many are pipelined."""

    parser_class = RequestParser
    error_task_class = JsonErrorTask
    _current: tuple[HTTPRequestParser, float] | None = None
    """The request being received, and when it began."""
    _is_rejected = False
    _rejected_at: float | None = None

    def received(self, data: bytes) -> bool:
        """Process received bytes; return whether waitress used them."""
        now = time.monotonic()
        if self._rejected_at is not None:
            self.will_close = now - self._rejected_at > DRAIN_TIMEOUT
            return False
        was_used = super().received(data)
        if self.request is None:
            self._current = None
        elif self._current is None or self._current[0] is not self.request:
            self._current = (self.request, now)
        elif now - self._current[1] > REQUEST_TIMEOUT:
            self.will_close = True
        return was_used

    def service(self) -> None:
        """Respond to the next request, or close the connection if too many are waiting.

        The check is made here, not in ``received``: there, another thread may be responding.
        """
        if len(self.requests) <= MAX_PIPELINED:
            self._is_rejected = self.requests[0].error is not None
            super().service()
            return
        self.will_close = True
        self.server.pull_trigger()

    def handle_close(self) -> None:
        """Close the connection; first read the rest of a rejected request.

        If a client still sends to a closed connection, TCP resets it, and the client may lose the
        response that it has not read yet.
        """
        if self._is_rejected and self.socket is not None:
            self._is_rejected = False
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # The client has closed the connection already.
            else:
                self.will_close = False
                self._rejected_at = time.monotonic()
                return
        super().handle_close()
