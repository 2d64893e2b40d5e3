"""A real Redis on a port of this machine, that keeps what it has when it is killed."""

import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from immich_job_daemon.simulator.ports import free_port
from tests.engine.installed import program
from tests.held import until


class Redis:
    """Redis, as a context manager; it can be killed and started again meanwhile.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and return when it has read what it kept."""
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._folder),
            "appendonly": "yes",
            "save": "",
        }
        command = [program("redis-server")]
        for name, value in settings.items():
            command += [f"--{name}", value]
        with (self._folder / "redis.txt").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def keys(self, pattern: str) -> list[str]:
        """Return the names of what is kept."""
        return self._ask("--raw", "KEYS", pattern).split()

    def delete(self, keys: list[str]) -> None:
        """Forget what is kept under these names."""
        if keys:
            self._ask("DEL", *keys)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "redis.txt").read_text()
        with suppress(subprocess.CalledProcessError):
            return self._ask("PING") == "PONG\n"
        return False

    def _ask(self, *command: str) -> str:
        return subprocess.run(
            [program("redis-cli"), "-p", str(self.port), *command],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
