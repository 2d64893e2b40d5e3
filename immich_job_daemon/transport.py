"""How a request reaches Immich: over HTTP, with the requests library, on one kept-alive session."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: nothing of it is believed yet."""

    status: int
    content_type: str
    body: bytes
    location: str | None = None


class Transport(Protocol):
    """Something that carries requests to one Immich server."""

    def send(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float | None = None
    ) -> Answer:
        """Send one request and return the answer, whatever its status.

        Args:
            method: GET or PUT.
            path: below the server's address, such as ``/api/queues``.
            body: JSON, encoded, or None.
            timeout: seconds for the whole answer; None is the transport's own default.

        Raises:
            UnreachableError: no complete answer came.
        """
        ...

    def another(self) -> "Transport":
        """Return a transport to the same server with a connection of its own, for a thread."""
        ...

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        ...
