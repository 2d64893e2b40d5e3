"""Ways in which a request can fail, and sources that choose one for each request."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from random import Random
from typing import Final

from immich_job_daemon.immich.transport import Response


class Fault(Enum):
    """One way in which a request fails. A request that is not processed changes nothing."""

    REFUSED = "the connection is refused"
    HANG = "not processed, no response at all"
    RESET = "not processed, the connection is reset"
    LOST_RESPONSE = "processed, the connection is reset before the response"
    SERVER_ERROR = "not processed, Immich responds with 500"
    BAD_GATEWAY = "not processed, a proxy responds with 502 in HTML"
    HTML = "not processed, the response is a login page with status 200"
    TRUNCATED = "processed, half of the response body is missing"
    LATE = "processed some seconds after the client gave up"


FaultSource = Callable[[str, str], Fault | None]
"""Called once per request with its method and path; returns its fault, or None for none."""

LATE_DELAY: Final = 3.0
"""Seconds from the timeout of a client to the moment at which a late request is processed."""

_PAGE: Final = (
    "<!doctype html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
)

FAULT_RESPONSES: Final = {
    Fault.SERVER_ERROR: Response(
        500, "application/json; charset=utf-8", b'{"message":"Internal server error"}'
    ),
    Fault.BAD_GATEWAY: Response(502, "text/html", _PAGE.format("502 Bad Gateway").encode()),
    Fault.HTML: Response(200, "text/html; charset=utf-8", _PAGE.format("Log in").encode()),
}
"""Responses that replace Immich's own."""


def truncated(response: Response) -> Response:
    """Return the response without the second half of its body."""
    half = len(response.body) // 2
    return Response(response.status, response.content_type, response.body[:half], response.location)


class FaultQueue:
    """Faults for the next requests, in order, then none.

    >>> faults = FaultQueue([Fault.RESET, None])
    >>> [faults("GET", "/api/queues") for _ in range(3)]
    [<Fault.RESET: 'not processed, the connection is reset'>, None, None]
    """

    def __init__(self, faults: Iterable[Fault | None] = ()) -> None:
        self.left = deque(faults)

    def __call__(self, method: str, path: str) -> Fault | None:  # noqa: ARG002 - the same for any request
        """Return the fault of the next request."""
        return self.left.popleft() if self.left else None


class RandomFaults:
    """Random faults: each request fails with the same probability. The seed repeats them."""

    def __init__(
        self, seed: int, probability: float, faults: Sequence[Fault] = tuple(Fault)
    ) -> None:
        self.probability = probability
        self._faults = faults
        self._random = Random(seed)

    def __call__(self, method: str, path: str) -> Fault | None:  # noqa: ARG002 - the same for any request
        """Return the fault of the next request, or None."""
        if self._random.random() >= self.probability:
            return None
        return self._random.choice(self._faults)
