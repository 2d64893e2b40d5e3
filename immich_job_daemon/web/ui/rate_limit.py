"""How long whoever gave a wrong password has to wait: longer each time, in bounded memory.

Nobody sleeps here: a request within the delay is answered at once, with how long is left.
"""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Lock
from typing import Final

FIRST: Final = 1.0
"""Seconds to wait after the first wrong password; they double with each one more."""
LONGEST: Final = 60.0
FORGOTTEN_AFTER: Final = 900.0
"""Seconds without a wrong password after which a client begins anew."""
MOST_CLIENTS: Final = 1000
"""Clients that are remembered; beyond that the one that failed longest ago is forgotten."""

_NETWORK: Final = 64
"""The bits of an IPv6 address that name a household: the others anybody there may choose."""


@dataclass(frozen=True, slots=True)
class _Failures:
    """What one client did wrong: how often, when last, and with what."""

    number: int
    last: float
    guess: bytes

    @property
    def until(self) -> float:
        """When the client may try again."""
        return self.last + min(FIRST * 2.0 ** min(self.number - 1, 16), LONGEST)


class Delays:
    """The wrong passwords of all clients, for any number of threads.

    Times are the caller's seconds.

    >>> delays = Delays()
    >>> delays.failed("192.0.2.1", "a", now=0.0), delays.failed("192.0.2.1", "b", now=1.0)
    (1.0, 2.0)
    >>> delays.left("192.0.2.1", now=2.5), delays.left("192.0.2.2", now=2.5)
    (0.5, 0.0)
    """

    def __init__(self) -> None:
        self._clients: OrderedDict[str, _Failures] = OrderedDict()
        self._lock = Lock()

    def left(self, address: str, now: float) -> float:
        """Return how many seconds a client has to wait before its next try counts."""
        with self._lock:
            found = self._clients.get(household(address))
        return max(0.0, found.until - now) if found else 0.0

    def failed(self, address: str, guess: str, now: float) -> float:
        """Take note of a wrong password; return the seconds that the client has to wait for it.

        A browser sends the password that it knows with each request, also when it is another by
        now: the same one again teaches nobody anything, and costs no further delay.
        """
        client = household(address)
        seen = sha256(guess.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            before = self._clients.get(client)
            is_new = before is None or now - before.last > FORGOTTEN_AFTER
            if before is not None and not is_new and before.guess == seen:
                return 0.0
            number = 1 if before is None or is_new else before.number + 1
            after = self._clients[client] = _Failures(number, now, seen)
            self._clients.move_to_end(client)
            if len(self._clients) > MOST_CLIENTS:
                self._clients.popitem(last=False)
        return after.until - now

    def succeeded(self, address: str) -> None:
        """Forget what a client did wrong: it knows the password."""
        with self._lock:
            self._clients.pop(household(address), None)


def household(address: str) -> str:
    """Return what stands for all addresses that one client can choose from.

    >>> household("2001:db8::1") == household("2001:db8::2"), household("::ffff:192.0.2.1")
    (True, '192.0.2.1')
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ip_network((found, _NETWORK), strict=False))
    return str(found)
