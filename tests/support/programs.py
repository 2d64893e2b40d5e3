"""Programs of the system that tests run, and servers among them. script/packages installs them."""

import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final, Self

from tests.support.immich_server import until

USUAL_ADDRESSES: Final = (
    "/usr/local/bin",
    "/usr/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/bin",
    "/sbin",
)
"""An ordinary user's PATH lacks half of them."""


def program(name: str) -> str:
    """Return the path of a program: one of the tests' own Python, or of the system."""
    found = shutil.which(name, path=":".join((str(Path(sys.executable).parent), *USUAL_ADDRESSES)))
    assert found, f"{name} is missing: run script/test, which installs it"
    return found


class Serving(ABC):
    """A server in a process of its own, as a context manager; killed and started again meanwhile.

    Args:
        log: where it writes what it says.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return what starts it."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether it is there."""

    def start(self) -> None:
        """Start it, and return when it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        until(self._is_up)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        return self.answers()
