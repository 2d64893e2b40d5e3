"""Delays after wrong passwords: longer after each one, in bounded memory.

No request is ever kept waiting: within the delay it is rejected at once.
"""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Lock
from typing import Final

FIRST_DELAY: Final = 1.0
"""Seconds after the first wrong password; the delay doubles with each further one."""
MAX_DELAY: Final = 60.0
FORGET_AFTER: Final = 900.0
"""Seconds without a wrong password after which a client starts afresh."""
MAX_CLIENTS: Final = 1000
"""Clients in memory; beyond that the one whose last failure is the oldest is dropped."""

_NETWORK_BITS: Final = 64
"""IPv6 bits that identify a client: it can choose the other 64 freely."""


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    last: float
    digest: bytes
    """Of the last wrong password."""

    @property
    def until(self) -> float:
        """When the client may try again."""
        return self.last + min(FIRST_DELAY * 2.0 ** min(self.count - 1, 16), MAX_DELAY)


class LoginRateLimit:
    """The wrong passwords of all clients. Thread-safe; times are the caller's seconds.

    >>> limit = LoginRateLimit()
    >>> limit.failed("192.0.2.1", "a", now=0.0), limit.failed("192.0.2.1", "b", now=1.0)
    (1.0, 2.0)
    >>> limit.remaining("192.0.2.1", now=2.5), limit.remaining("192.0.2.2", now=2.5)
    (0.5, 0.0)
    """

    def __init__(self) -> None:
        self._clients: OrderedDict[str, _Failures] = OrderedDict()
        self._lock = Lock()

    def remaining(self, address: str, now: float) -> float:
        """Return the seconds until the client's next password is checked."""
        with self._lock:
            failures = self._clients.get(client_key(address))
        return max(0.0, failures.until - now) if failures else 0.0

    def failed(self, address: str, password: str, now: float) -> float:
        """Record a wrong password and return the delay in seconds that it costs.

        A browser repeats the password that it knows with each request, even after the password was
        changed. Repeating the same wrong password helps no attacker, so it costs no further delay.
        """
        client = client_key(address)
        digest = sha256(password.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            before = self._clients.get(client)
            is_new = before is None or now - before.last > FORGET_AFTER
            if before is not None and not is_new and before.digest == digest:
                return 0.0
            count = 1 if before is None or is_new else before.count + 1
            after = self._clients[client] = _Failures(count, now, digest)
            self._clients.move_to_end(client)
            if len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)
        return after.until - now

    def succeeded(self, address: str) -> None:
        """Forget the client's failures: it sent the right password."""
        with self._lock:
            self._clients.pop(client_key(address), None)


def client_key(address: str) -> str:
    """Return one key for all addresses that a single client can use.

    >>> client_key("2001:db8::1") == client_key("2001:db8::2"), client_key("::ffff:192.0.2.1")
    (True, '192.0.2.1')
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ip_network((ip, _NETWORK_BITS), strict=False))
    return str(ip)
