"""Which requests are answered, which clients may use the controls, and CSRF protection.

As an add-on, the page answers only the Supervisor's ingress gateway: Home Assistant has
authenticated the user by then. Otherwise every client may view the page, and the controls need
UI_PASSWORD. The address that counts is the one the connection comes from; no header overrides it.

The browser sends the password, or Home Assistant's cookie, with requests from foreign pages too. So
a change needs a content type and a header that no HTML form can send, and that a foreign script may
send only after a CORS preflight, which is never granted. Sec-Fetch-Site and Origin are checked
where the browser sends them. Behind ingress Origin cannot be compared with Host: Origin is Home
Assistant's own, Host the add-on's. There the other checks apply, and browsers do not send ingress'
own cookie from other sites (SameSite=Strict).
"""

import hmac
import logging
import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.web.ui.rate_limit import LoginRateLimit, client_key

GATEWAY: Final = "172.30.32.2"
"""The address of Home Assistant's ingress gateway (source of the Supervisor)."""

CSRF_HEADER: Final = "X-Immich-Job-Daemon"
"""The header that the page's script adds to each change; any value will do."""

INGRESS_PATH: Final = "X-Ingress-Path"
_MAX_PATH_LENGTH: Final = 200

log = logging.getLogger(__name__)


class Access(Enum):
    """What a client may do."""

    FULL = "full"
    SIGN_IN = "sign in"
    """View the page now; use the controls after signing in."""
    VIEW_ONLY = "view only"


class TooManyAttempts(Exception):  # noqa: N818 - not a failure: the client is to try again later
    """A password arrived too soon after a wrong one; the next is checked after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no password is checked for another {seconds:.1f} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class AccessControl:
    """Decides what each request may do; without a ``password`` a client may only view the page.

    ``clock`` returns monotonic seconds. As an add-on the daemon is ``behind_ingress``.
    """

    password: Secret
    clock: Callable[[], float]
    _: KW_ONLY
    behind_ingress: bool
    gateway: str = GATEWAY
    rate_limit: LoginRateLimit = field(default_factory=LoginRateLimit, init=False)

    def admits(self, request: Request) -> bool:
        """Whether the request is answered at all."""
        return not self.behind_ingress or client_key(_address(request)) == self.gateway

    def access(self, request: Request) -> Access:
        """Check the password of the request, if it needs one.

        Raises:
            TooManyAttempts: the password was not checked.
        """
        if self.behind_ingress:
            return Access.FULL
        if not self.password.reveal():
            return Access.VIEW_ONLY
        credentials = request.authorization
        if credentials is None or credentials.type != "basic":
            return Access.SIGN_IN
        address, password = _address(request), credentials.password or ""
        now = self.clock()
        if remaining := self.rate_limit.remaining(address, now):
            raise TooManyAttempts(remaining)
        if _is_equal(password, self.password.reveal()):
            self.rate_limit.succeeded(address)
            return Access.FULL
        if delay := self.rate_limit.failed(address, password, now):
            log.warning(
                "Wrong password for the page from %s. The next attempt is possible in %.0f s.",
                client_key(address),
                delay,
            )
        return Access.SIGN_IN

    def base_path(self, headers: Headers) -> str:
        """Return the path under which the browser reaches the page; "" without ingress."""
        path = headers.get(INGRESS_PATH, "")
        return path if self.behind_ingress and is_path(path) else ""

    def is_from_page(self, request: Request) -> bool:
        """Whether the daemon's own page sent the request, and no foreign page."""
        headers = request.headers
        if request.mimetype != "application/json" or CSRF_HEADER not in headers:
            return False
        site = headers.get("Sec-Fetch-Site")
        if site is not None:
            return site == "same-origin"
        origin = headers.get("Origin")
        if origin is None or self.behind_ingress:
            return True
        try:
            # The schemes may differ: a reverse proxy may terminate TLS.
            return urlsplit(origin).netloc.lower() == headers.get("Host", "").lower()
        except ValueError:
            return False


def is_path(text: str) -> bool:
    """Whether a text is a clean absolute path, which cannot lead a browser to another site.

    >>> [is_path(text) for text in ("/api/hassio_ingress/a-b_C", "//evil.example", "/../", "/a?b")]
    [True, False, False, False]
    """
    return len(text) <= _MAX_PATH_LENGTH and bool(
        re.fullmatch(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+", text)
    )


def _address(request: Request) -> str:
    return request.remote_addr or ""


def _is_equal(password: str, expected: str) -> bool:
    """Compare two passwords in a time that depends on neither, not even on their lengths."""
    digests = (
        sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (password, expected)
    )
    return hmac.compare_digest(*digests)
