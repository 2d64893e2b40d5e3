"""Two hosts on this machine, one for the daemon and one for Immich, with a cable between them.

Each is a network namespace with one end of a veth pair. This needs root, iproute2 and iptables;
script/test installs the two.
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

DAEMON_ADDRESS: Final = "10.107.0.1"
IMMICH_ADDRESS: Final = "10.107.0.2"
"""The same for each pair of hosts: a pair has a network of its own."""

_NEW_NETWORK: Final = 0x40000000
_ETC_NETNS: Final = Path("/etc/netns")
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Host:
    """A network namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.files = _ETC_NETNS / name
        """Files that a program started on the host sees in /etc."""

    @property
    def command(self) -> list[str]:
        """The prefix that runs a command on the host, by exec and not as a child."""
        return [find_program("ip"), "netns", "exec", self.name]

    @contextmanager
    def sockets(self) -> Iterator[None]:
        """Create this thread's sockets on the host while the context lasts."""
        with Path("/proc/thread-self/ns/net").open("rb") as before:
            with Path(f"/run/netns/{self.name}").open("rb") as namespace:
                _enter(namespace.fileno())
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
        """Drop packets in both directions."""
        rule = ["-m", "statistic", "--mode", "random", "--probability", str(probability)]
        for chain in ("INPUT", "OUTPUT"):
            run(*self.command, "iptables", "--append", chain, *rule, "--jump", "DROP")
        try:
            yield
        finally:
            run(*self.command, "iptables", "--flush")


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Yield the daemon's host and Immich's, with the cable connected."""
    suffix = token_hex(4)
    with ExitStack() as stack:
        hosts = []
        for role in ("daemon", "immich"):
            host = Host(f"{role}-{suffix}")
            host.files.mkdir(parents=True)
            stack.callback(shutil.rmtree, host.files)
            run("ip", "netns", "add", host.name)
            stack.callback(run, "ip", "netns", "delete", host.name)
            hosts.append(host)
        daemon, immich = hosts
        ends = ["name", "eth0", "type", "veth", "peer", "name", "eth0", "netns", immich.name]
        run("ip", "-n", daemon.name, "link", "add", *ends)
        for host, address in ((daemon, DAEMON_ADDRESS), (immich, IMMICH_ADDRESS)):
            run("ip", "-n", host.name, "address", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", host.name, "link", "set", "lo", "up")
            host.plug_in()
        yield daemon, immich


def can_create_hosts() -> bool:
    """Return whether network namespaces are permitted; in a container they often are not."""
    name = f"test-{token_hex(4)}"
    added = subprocess.run(
        [find_program("ip"), "netns", "add", name], capture_output=True, text=True, check=False
    )
    if added.returncode != 0:
        return False
    run("ip", "netns", "delete", name)
    return True


def run(name: str, *arguments: str) -> None:
    """Run a command and assert that it succeeds."""
    result = subprocess.run(
        [find_program(name), *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, (name, arguments, result.stderr)


def _enter(namespace: int) -> None:
    # os.setns needs Python 3.12.
    if _LIBC.setns(namespace, _NEW_NETWORK) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
