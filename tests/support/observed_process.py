"""A process of the daemon, seen from outside: what it says and what it costs."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.immich_server import KEY

LINE: Final = re.compile(r"\[\d\d:\d\d:\d\d\] [A-Z]+: [^\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class ObservedProcess:
    """The process ``pid``, which writes its log to log.txt in ``folder``."""

    pid: int
    folder: Path

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self.folder / "log.txt").read_text()

    def said_since(self, start: int) -> str:
        """Return what it has said from this character on, when all of it looks as it should."""
        said = self.log[start:]
        whole = said[: said.rfind("\n") + 1]
        for line in whole.splitlines():
            assert LINE.fullmatch(line), line
        assert KEY not in said
        return whole

    @property
    def processor(self) -> float:
        """The seconds of the processor that it has had."""
        stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak(self) -> float:
        """The most memory that it has had since the last ``forget_peak``, in MiB."""
        return self._status(r"VmHWM:\s+(\d+) kB") / 1024

    @property
    def threads(self) -> int:
        """How many threads it has."""
        return self._status(r"Threads:\s+(\d+)")

    @property
    def files(self) -> int:
        """How many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def forget_peak(self) -> None:
        """Let the peak be what it has now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, pattern: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        (found,) = re.findall(f"^{pattern}$", status, re.MULTILINE)
        return int(found)
