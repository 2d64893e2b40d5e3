"""Two hosts of this machine's kernel with a cable between them: the daemon's, and Immich's.

Each is a network namespace with one end of a veth pair. Needs root, and Debian's iproute2 and
iptables, which script/test installs.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Final

from tests.support.programs import find_program

DAEMONS: Final = "10.107.0.1"
IMMICHS: Final = "10.107.0.2"
"""Addresses of the two; each pair of hosts has a network of its own, so no two are in the way."""

_NEW_NETWORK: Final = 0x40000000
_FILES: Final = Path("/etc/netns")
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Host:
    """One of the two."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.files = _FILES / name
        """What is in this folder when a program starts there, it sees in /etc."""

    @property
    def command(self) -> list[str]:
        """What runs a command there, as the process that it is started as."""
        return [find_program("ip"), "netns", "exec", self.name]

    @contextmanager
    def sockets(self) -> Iterator[None]:
        """Let the sockets that this thread makes meanwhile be of this host."""
        with Path("/proc/thread-self/ns/net").open("rb") as before:
            with Path(f"/run/netns/{self.name}").open("rb") as there:
                _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def plug_in(self) -> None:
        """Connect the cable at this end."""
        run("ip", "-n", self.name, "link", "set", "eth0", "up")

    def unplug(self) -> None:
        """Disconnect the cable at this end; the other end loses its carrier too."""
        run("ip", "-n", self.name, "link", "set", "eth0", "down")

    @contextmanager
    def loss(self, probability: float) -> Iterator[None]:
        """Lose packets, on their way in and on their way out."""
        rule = ["-m", "statistic", "--mode", "random", "--probability", str(probability)]
        for way in ("INPUT", "OUTPUT"):
            run(*self.command, "iptables", "--append", way, *rule, "--jump", "DROP")
        try:
            yield
        finally:
            run(*self.command, "iptables", "--flush")


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Give the daemon's host and Immich's, with the cable in."""
    chance = token_hex(4)
    with ExitStack() as stack:
        hosts = []
        for role in ("daemon", "immich"):
            host = Host(f"{role}-{chance}")
            host.files.mkdir(parents=True)
            stack.callback(shutil.rmtree, host.files)
            run("ip", "netns", "add", host.name)
            stack.callback(run, "ip", "netns", "delete", host.name)
            hosts.append(host)
        daemons, immichs = hosts
        ends = ["name", "eth0", "type", "veth", "peer", "name", "eth0", "netns", immichs.name]
        run("ip", "-n", daemons.name, "link", "add", *ends)
        for host, address in ((daemons, DAEMONS), (immichs, IMMICHS)):
            run("ip", "-n", host.name, "address", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", host.name, "link", "set", "lo", "up")
            host.plug_in()
        yield daemons, immichs


def may_have_hosts() -> bool:
    """Return whether this machine lets us have such hosts: a container often may not."""
    name = f"try-{token_hex(4)}"
    added = subprocess.run(
        [find_program("ip"), "netns", "add", name], capture_output=True, text=True, check=False
    )
    if added.returncode != 0:
        return False
    run("ip", "netns", "delete", name)
    return True


def run(name: str, *arguments: str) -> None:
    """Run a command of the system, that succeeds."""
    done = subprocess.run(
        [find_program(name), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (name, arguments, done.stderr)


def _enter(namespace: int) -> None:
    # os.setns is there from Python 3.12 on.
    if _LIBC.setns(namespace, _NEW_NETWORK) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
