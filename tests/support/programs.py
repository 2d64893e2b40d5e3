"""Programs that the tests run; script/packages installs those of the system."""

import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final, Self

from tests.support.waiting import wait_until

_SYSTEM_PATH: Final = (
    "/usr/local/bin",
    "/usr/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/bin",
    "/sbin",
)
"""Searched whatever PATH says: an ordinary user's PATH lacks the sbin folders."""


def find_program(name: str) -> str:
    """Return the path of a program from the virtual environment or from the system."""
    found = shutil.which(name, path=":".join((str(Path(sys.executable).parent), *_SYSTEM_PATH)))
    assert found, f"{name} is missing: run script/test, which installs it"
    return found


class ServerProcess(ABC):
    """A server process, as a context manager; it can be killed and started again.

    Args:
        log: the file for its output.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that starts the server."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether the server takes requests."""

    def start(self) -> None:
        """Start the server and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        wait_until(self._is_running_and_ready)

    def kill(self) -> None:
        """Kill the server, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _is_running_and_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        return self.is_ready()
