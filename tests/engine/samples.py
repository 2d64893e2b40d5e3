"""What a process costs over time, and whether any of it grows."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final, Self

MORE_MEMORY: Final = 2.0
"""MiB that the last tenth of a long run may need more than the first."""
MORE_BYTES: Final = 65536
"""Bytes that any file may be larger in the last tenth than the largest was in the first."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process and its files; ``memory`` in MiB, ``files`` in bytes by name."""

    at: float
    memory: float
    threads: int
    descriptors: int
    files: dict[str, int]
    is_healthy: bool

    @classmethod
    def take(cls, at: float, pid: int, folder: Path, *, is_healthy: bool) -> Self:
        """Look now."""
        process = Path("/proc") / str(pid)
        lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        files = {}
        for path in folder.iterdir():
            try:
                files[path.name] = path.stat().st_size
            except FileNotFoundError:  # A new ledger that has become the ledger just now.
                continue
        return cls(
            at=at,
            memory=int(lines["VmRSS"].split()[0]) / 1024,
            threads=int(lines["Threads"]),
            descriptors=len([*(process / "fd").iterdir()]),
            files=files,
            is_healthy=is_healthy,
        )

    def __str__(self) -> str:
        files = ", ".join(f"{name} {size}" for name, size in sorted(self.files.items()))
        return (
            f"{self.at / 60:7.1f} min: {self.memory:.2f} MiB, {self.threads} threads, "
            f"{self.descriptors} open files; {files}"
        )


class Course:
    """All samples of a run, in order; at least ten."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        tenth = max(len(samples) // 10, 1)
        self.samples = samples
        self.first, self.last = samples[:tenth], samples[-tenth:]

    @property
    def more_memory(self) -> float:
        """How many MiB more were needed in the last tenth than in the first, in the median."""
        return median(one.memory for one in self.last) - median(one.memory for one in self.first)

    def complaints(self) -> list[str]:
        """Return what grows that must not."""
        found = []
        if self.more_memory >= MORE_MEMORY:
            found.append(f"memory grew by {self.more_memory:.2f} MiB")
        # Connections come and go: at some moment of the last tenth it must be as at the start.
        if min(one.threads for one in self.last) > max(one.threads for one in self.first):
            found.append("threads are left over")
        if min(one.descriptors for one in self.last) > max(one.descriptors for one in self.first):
            found.append("open files are left over")
        sizes = {name: size for one in self.first for name, size in one.files.items()}
        for name, size in self.last[-1].files.items():
            if size > sizes.get(name, 0) + MORE_BYTES:
                found.append(f"{name} grew to {size} bytes")
        names = [one.files.keys() - {"ledger.new"} for one in (self.first[-1], self.last[-1])]
        if len(names[1]) > len(names[0]) + 1:
            found.append(f"files are left over: {sorted(names[1] - names[0])}")
        if not all(one.is_healthy for one in self.samples):
            found.append("it was not healthy all the time")
        return found


def late(looks: Sequence[float], troubles: Sequence[tuple[float, float]], most: float) -> list[str]:
    """Return which looks came later than they must.

    Args:
        looks: when they came.
        troubles: from when to when something was wrong that may keep the daemon from looking.
        most: seconds between two looks.
    """
    return [
        f"{later - earlier:.1f} s without a look"
        for earlier, later in pairwise(looks)
        if later - earlier > most
        and not any(begin < later and earlier < end for begin, end in troubles)
    ]
