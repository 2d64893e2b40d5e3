"""Who may see the page, who may change something, and which request is the page's own.

In the add-on the Supervisor's gateway is the only one that is answered: Home Assistant has checked
who it is by then. Anywhere else everybody may look, and to change something takes UI_PASSWORD.
The address counts that the connection comes from, never one that a header names.

A change must be the page's own wish, and not that of another page in the same browser, which would
send the password, or Home Assistant's cookie, along. It has a type and a header that no form can
send; a script of another page would have to ask first, and nothing here ever says yes. Where the
browser tells who asks (Sec-Fetch-Site, Origin), that is checked besides. Origin is compared with
Host only outside of the add-on: behind ingress it is Home Assistant's own and Host the add-on's,
so they differ rightly. There the other checks do, and ingress' own cookie, which browsers keep
from other sites (SameSite=Strict).
"""

import hmac
import logging
import re
from collections.abc import Callable
from enum import Enum
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.web.ui.rate_limit import Delays, household

GATEWAY: Final = "172.30.32.2"
"""Where Home Assistant's ingress asks from (source of the Supervisor)."""

OWN_HEADER: Final = "X-Immich-Job-Daemon"
"""What the page's script sends along; its value does not matter."""

INGRESS_PATH: Final = "X-Ingress-Path"
_LONGEST_PATH: Final = 200

log = logging.getLogger(__name__)


class Right(Enum):
    """What a request may do beside looking."""

    CHANGE = "change"
    SIGN_IN = "sign in"
    NOTHING = "nothing"


class Patience(Exception):  # noqa: N818 - no failure: the client is to come back
    """After a wrong password from there no other counts yet; ``seconds`` are left to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.1f} s are left to wait")
        self.seconds = seconds


class Door:
    """Decides about each request.

    Args:
        password: what changing something takes; empty: nobody may.
        behind_ingress: whether this is the add-on.
        gateway: the address that ingress asks from.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        password: Secret,
        clock: Callable[[], float],
        *,
        behind_ingress: bool,
        gateway: str = GATEWAY,
    ) -> None:
        self._password = password
        self._behind_ingress = behind_ingress
        self._gateway = gateway
        self._clock = clock
        self._delays = Delays()

    def admits(self, request: Request) -> bool:
        """Whether the request is answered at all."""
        return not self._behind_ingress or household(_address(request)) == self._gateway

    def right(self, request: Request) -> Right:
        """Return what the request may do.

        Raises:
            Patience: it has a password that does not count yet.
        """
        if self._behind_ingress:
            return Right.CHANGE
        if not self._password.reveal():
            return Right.NOTHING
        given = request.authorization
        if given is None or given.type != "basic":
            return Right.SIGN_IN
        address, password = _address(request), given.password or ""
        now = self._clock()
        if left := self._delays.left(address, now):
            raise Patience(left)
        if _is_same(password, self._password.reveal()):
            self._delays.succeeded(address)
            return Right.CHANGE
        if seconds := self._delays.failed(address, password, now):
            log.warning(
                "A wrong password for the page came from %s: no other counts for %.0f s.",
                household(address),
                seconds,
            )
        return Right.SIGN_IN

    def base(self, headers: Headers) -> str:
        """Return what stands before every path of the page, for the browser."""
        found = headers.get(INGRESS_PATH, "")
        return found if self._behind_ingress and is_path(found) else ""

    def is_own(self, request: Request) -> bool:
        """Whether a change is the page's own wish."""
        headers = request.headers
        if request.mimetype != "application/json" or OWN_HEADER not in headers:
            return False
        site = headers.get("Sec-Fetch-Site")
        if site is not None:
            return site == "same-origin"
        origin = headers.get("Origin")
        if origin is None or self._behind_ingress:
            return True
        try:
            # The scheme may differ: a proxy in front may speak TLS.
            return urlsplit(origin).netloc.lower() == headers.get("Host", "").lower()
        except ValueError:
            return False


def is_path(text: str) -> bool:
    """Whether a text can be the beginning of an address within a site, and nothing else.

    >>> [is_path(text) for text in ("/api/hassio_ingress/a-b_C", "//evil.example", "/../", "/a?b")]
    [True, False, False, False]
    """
    return len(text) <= _LONGEST_PATH and bool(
        re.fullmatch(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+", text)
    )


def _address(request: Request) -> str:
    return request.remote_addr or ""


def _is_same(given: str, expected: str) -> bool:
    """Compare two passwords in a time that tells nothing of either, not even its length."""
    digests = (sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (given, expected))
    return hmac.compare_digest(*digests)
