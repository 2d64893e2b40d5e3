"""A real Redis that keeps its data when it is killed."""

import subprocess
from contextlib import suppress
from pathlib import Path

from simulator.immich.ports import free_port
from tests.support.programs import ServerProcess, find_program


class Redis(ServerProcess):
    """A Redis on a free port.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "redis.txt")
        self.port = free_port()
        self._folder = folder

    def command(self) -> list[str]:
        """Return the command that starts it, with an append-only file."""
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._folder),
            "appendonly": "yes",
            # "everysec" delays writes while the disk is slow, and a kill would lose them.
            "appendfsync": "no",
            "save": "",
        }
        command = [find_program("redis-server")]
        for name, value in settings.items():
            command += [f"--{name}", value]
        return command

    def is_ready(self) -> bool:
        """Return whether it has loaded its data."""
        with suppress(subprocess.CalledProcessError):
            return self._run("PING") == "PONG\n"
        return False

    def keys(self, pattern: str) -> list[str]:
        """Return the keys that match a pattern."""
        return self._run("--raw", "KEYS", pattern).split()

    def delete(self, keys: list[str]) -> None:
        if keys:
            self._run("DEL", *keys)

    def _run(self, *command: str) -> str:
        return subprocess.run(
            [find_program("redis-cli"), "-p", str(self.port), *command],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
