"""The addresses of a host name, found within a time.

The system's own look-up keeps the thread that asks for as long as the machine's name servers are
silent: ten seconds and more, in which not even a request to stop is heard.
"""

import ipaddress
import socket
from queue import Empty, SimpleQueue
from threading import Thread

from urllib3.util.connection import allowed_gai_family


def addresses(host: str, *, within: float) -> list[str]:
    """Return the addresses of a host, the best first; one that is an address is its own.

    Args:
        host: a name or an address.
        within: seconds.

    Raises:
        socket.gaierror: there is none, or (EAI_AGAIN) nobody told in time.
        UnicodeError: no host can be called so.

    >>> addresses("[::1]", within=1.0)
    ['::1']
    """
    bare = host.strip("[]")
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return _looked_up(bare, within)
    return [bare]


def _looked_up(name: str, within: float) -> list[str]:
    told: SimpleQueue[list[str] | OSError | UnicodeError] = SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(name, None, allowed_gai_family(), socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            told.put(error)
        else:
            told.put([str(address[0]) for *_, address in found])

    # Daemonic, so that one that nobody waits for any more does not keep the process alive.
    Thread(target=ask, name=f"look up {name}", daemon=True).start()
    try:
        answer = told.get(timeout=within)
    except Empty:
        raise socket.gaierror(socket.EAI_AGAIN, "no answer in time") from None
    if isinstance(answer, list):
        return answer
    raise answer
