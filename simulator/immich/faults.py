"""What can go wrong with a request, and who decides when."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from random import Random
from typing import Final

from immich_job_daemon.immich.transport import Response


class Fault(Enum):
    """One way in which a request fails. What is not carried out changes nothing in Immich."""

    REFUSED = "nobody takes the connection"
    HANG = "not carried out, no answer ever"
    RESET = "not carried out, the connection is cut"
    LOST_RESPONSE = "carried out, the connection is cut before the answer"
    SERVER_ERROR = "not carried out, Immich answers 500"
    BAD_GATEWAY = "not carried out, a proxy answers 502 in HTML"
    HTML = "not carried out, a login page with status 200"
    TRUNCATED = "carried out, the answer is cut in half but says it is whole"
    LATE = "carried out some seconds after the client gave up"


FaultSource = Callable[[str, str], Fault | None]
"""Asked once a request, with method and path; None lets it pass unharmed."""

LATE_BY: Final = 3.0
"""Seconds after the client gave up at which a late request is carried out."""

_PAGE: Final = (
    "<!doctype html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
)

INSTEAD: Final = {
    Fault.SERVER_ERROR: Response(
        500, "application/json; charset=utf-8", b'{"message":"Internal server error"}'
    ),
    Fault.BAD_GATEWAY: Response(502, "text/html", _PAGE.format("502 Bad Gateway").encode()),
    Fault.HTML: Response(200, "text/html; charset=utf-8", _PAGE.format("Log in").encode()),
}
"""What comes back instead of Immich's answer, where something does."""


def truncated(answer: Response) -> Response:
    """Return the answer with the second half of its body missing."""
    half = len(answer.body) // 2
    return Response(answer.status, answer.content_type, answer.body[:half], answer.location)


class FaultQueue:
    """Faults for the next requests, one each, in order; then none.

    >>> faults = FaultQueue([Fault.RESET, None])
    >>> [faults("GET", "/api/queues") for _ in range(3)]
    [<Fault.RESET: 'not carried out, the connection is cut'>, None, None]
    """

    def __init__(self, faults: Iterable[Fault | None] = ()) -> None:
        self.left = deque(faults)

    def __call__(self, method: str, path: str) -> Fault | None:  # noqa: ARG002 - any request
        """Return the next request's fault."""
        return self.left.popleft() if self.left else None


class RandomFaults:
    """Faults at random: each request has the same probability of one. ``seed`` repeats them."""

    def __init__(
        self, seed: int, probability: float, faults: Sequence[Fault] = tuple(Fault)
    ) -> None:
        self.probability = probability
        self._faults = faults
        self._random = Random(seed)

    def __call__(self, method: str, path: str) -> Fault | None:  # noqa: ARG002 - any request
        """Return the next request's fault, or None."""
        if self._random.random() >= self.probability:
            return None
        return self._random.choice(self._faults)
