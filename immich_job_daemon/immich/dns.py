"""The addresses of a host name, found within a time.

The system's own look-up keeps the thread that asks for as long as the machine's name servers are
silent: ten seconds and more, in which not even a request to stop is heard.
"""

import ipaddress
import socket
from concurrent.futures import wait

from urllib3.util.connection import allowed_gai_family

from immich_job_daemon.base.worker import Errands


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
    asked = Errands()
    asked.start()
    answer = asked.ask(
        lambda: socket.getaddrinfo(name, None, allowed_gai_family(), socket.SOCK_STREAM)
    )
    asked.end()
    wait([answer], within)
    if not answer.done():
        raise socket.gaierror(socket.EAI_AGAIN, "no answer in time")
    return [str(address[0]) for *_, address in answer.result()]
