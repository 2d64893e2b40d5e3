"""What one client's connection may cost, where waitress by itself sets no bound or gives up.

waitress 3.0.2 closes a connection on which nothing comes, but not one on which a byte comes now
and then; it takes as many requests at once as fit in a packet; a request line or a length that
Python cannot read ends a connection without an answer; and whoever still sends when it is refused
may lose the answer with the connection. What is wrong with HTTP itself is answered in JSON here,
since no face ever sees it.
"""

import json
import socket
import time
from typing import Any, Final

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask

LONGEST_REQUEST: Final = 30.0
"""Seconds from a request's first byte to its last."""

MOST_AT_ONCE: Final = 8
"""Requests of one connection that wait for their answers; browsers and scrapers send one."""

LONGEST_FAREWELL: Final = 2.0
"""Seconds for which the rest of a refused request is passed over; silence has its own limit."""

_LONGEST_REASON: Final = 200


class Parser(HTTPRequestParser):
    """Reads a request; whatever of it cannot be read is the client's mistake."""

    path: str
    request_uri: str

    def parse_header(self, header_plus: bytes) -> None:
        """Read the request line and the headers, or raise ParsingError."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            # An address such as http://[ or a length of thousands of digits.
            raise ParsingError(f"The request cannot be read: {error}") from None
        # werkzeug 3.1 falls over a query of other bytes, which no address can have; and it
        # redirects from no path to /, which are the same.
        if not self.request_uri.isascii():
            raise ParsingError("The address has to be percent-encoded")
        self.path = self.path or "/"


class JsonError(ErrorTask):
    """Answers what is no request that a face could answer."""

    def execute(self) -> None:
        """Write the answer and close the connection."""
        parser: Any = self.request
        error = parser.error
        reason = f"{error.reason}: {error.body}"[:_LONGEST_REASON]
        body = json.dumps({"error": reason}).encode() + b"\n"
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
    """A connection that ends when it takes too long over one request or sends too many at once."""

    parser_class = Parser
    error_task_class = JsonError
    _begun: tuple[HTTPRequestParser, float] | None = None
    _is_refused = False
    _refused_at: float | None = None

    def received(self, data: bytes) -> bool:
        """Take what came, and say whether it was of use."""
        now = time.monotonic()
        if self._refused_at is not None:
            self.will_close = now - self._refused_at > LONGEST_FAREWELL
            return False
        was_of_use = super().received(data)
        if self.request is None:
            self._begun = None
        elif self._begun is None or self._begun[0] is not self.request:
            self._begun = (self.request, now)
        elif now - self._begun[1] > LONGEST_REQUEST:
            self.will_close = True
        return was_of_use

    def service(self) -> None:
        """Answer one request, or none any more: here no other thread is in between."""
        if len(self.requests) <= MOST_AT_ONCE:
            self._is_refused = self.requests[0].error is not None
            super().service()
            return
        self.will_close = True
        self.server.pull_trigger()

    def handle_close(self) -> None:
        """Close; to who was refused say so first, and hear the rest out.

        TCP takes an answer back from who still sends to a connection that is closed.
        """
        if self._is_refused and self.socket is not None:
            self._is_refused = False
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # The client is gone already.
            else:
                self.will_close = False
                self._refused_at = time.monotonic()
                return
        super().handle_close()
