"""A real Redis on a port of this machine, that keeps what it has when it is killed."""

import subprocess
from contextlib import suppress
from pathlib import Path

from simulator.immich.ports import free_port
from tests.support.programs import ServerProcess, find_program


class Redis(ServerProcess):
    """Redis.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "redis.txt")
        self.port = free_port()
        self._folder = folder

    def command(self) -> list[str]:
        """Return what starts it: with all that it is told written down."""
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._folder),
            "appendonly": "yes",
            "save": "",
        }
        command = [find_program("redis-server")]
        for name, value in settings.items():
            command += [f"--{name}", value]
        return command

    def is_ready(self) -> bool:
        """Return whether it has read what it kept."""
        with suppress(subprocess.CalledProcessError):
            return self._ask("PING") == "PONG\n"
        return False

    def keys(self, pattern: str) -> list[str]:
        """Return the names of what is kept."""
        return self._ask("--raw", "KEYS", pattern).split()

    def delete(self, keys: list[str]) -> None:
        """Forget what is kept under these names."""
        if keys:
            self._ask("DEL", *keys)

    def _ask(self, *command: str) -> str:
        return subprocess.run(
            [find_program("redis-cli"), "-p", str(self.port), *command],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
