"""A daemon process, seen from outside: its log and the resources it uses."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.immich_server import KEY

LINE: Final = re.compile(r"\[\d\d:\d\d:\d\d\] [A-Z]+: [^\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class ObservedProcess:
    """The process ``pid``, whose log is the file log.txt in ``folder``."""

    pid: int
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def log_since(self, start: int) -> str:
        """Return the complete log lines from a character on.

        Raises:
            AssertionError: a line is malformed, or the log contains the API key.
        """
        text = self.log[start:]
        complete = text[: text.rfind("\n") + 1]
        for line in complete.splitlines():
            assert LINE.fullmatch(line), line
        assert KEY not in text
        return complete

    @property
    def cpu_seconds(self) -> float:
        """The CPU time used so far, in user mode and in the kernel."""
        stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak_memory(self) -> float:
        """The largest resident memory since the last ``reset_peak_memory``, in MiB."""
        return self._status(r"VmHWM:\s+(\d+) kB") / 1024

    @property
    def threads(self) -> int:
        return self._status(r"Threads:\s+(\d+)")

    @property
    def open_files(self) -> int:
        """The number of open file descriptors, sockets included."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def reset_peak_memory(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, pattern: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        (found,) = re.findall(f"^{pattern}$", status, re.MULTILINE)
        return int(found)
