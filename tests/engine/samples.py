"""Resource use of a process over time, and whether it grows."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final, Self

MORE_MEMORY: Final = 2.0
"""MiB by which the memory may grow from the first tenth of a long run to the last."""
MORE_BYTES: Final = 65536
"""Bytes by which a file may grow from its largest size in the first tenth to its last size."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of a process; ``memory`` in MiB, ``files`` in bytes by name."""

    at: float
    memory: float
    threads: int
    descriptors: int
    files: dict[str, int]
    is_healthy: bool

    @classmethod
    def take(cls, at: float, pid: int, folder: Path, *, is_healthy: bool) -> Self:
        """Measure a process and the files of a folder now."""
        process = Path("/proc") / str(pid)
        lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        files = {}
        for path in folder.iterdir():
            try:
                files[path.name] = path.stat().st_size
            except FileNotFoundError:  # The new ledger was renamed just now.
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


class SampleSeries:
    """All samples of a run, in order; at least ten."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        tenth = max(len(samples) // 10, 1)
        self.samples = samples
        self.first, self.last = samples[:tenth], samples[-tenth:]

    @property
    def more_memory(self) -> float:
        """The growth of the median memory from the first tenth to the last, in MiB."""
        return median(sample.memory for sample in self.last) - median(
            sample.memory for sample in self.first
        )

    def problems(self) -> list[str]:
        """Return what grew, was left over or was unhealthy."""
        problems = []
        if self.more_memory >= MORE_MEMORY:
            problems.append(f"memory grew by {self.more_memory:.2f} MiB")
        # Connections come and go, so one low sample in the last tenth is enough.
        if min(sample.threads for sample in self.last) > max(
            sample.threads for sample in self.first
        ):
            problems.append("threads leaked")
        if min(sample.descriptors for sample in self.last) > max(
            sample.descriptors for sample in self.first
        ):
            problems.append("open files leaked")
        sizes = {name: size for sample in self.first for name, size in sample.files.items()}
        for name, size in self.last[-1].files.items():
            if size > sizes.get(name, 0) + MORE_BYTES:
                problems.append(f"{name} grew to {size} bytes")
        file_names = [
            sample.files.keys() - {"ledger.new"} for sample in (self.first[-1], self.last[-1])
        ]
        if len(file_names[1]) > len(file_names[0]) + 1:
            problems.append(f"files were left: {sorted(file_names[1] - file_names[0])}")
        if not all(sample.is_healthy for sample in self.samples):
            problems.append("the daemon was unhealthy at times")
        return problems


def late_polls(
    polls: Sequence[float], faults: Sequence[tuple[float, float]], max_gap: float
) -> list[str]:
    """Return the gaps between polls that are too long.

    Args:
        polls: their times.
        faults: the start and end times of faults, during which polls may be late.
        max_gap: the longest allowed gap in seconds.
    """
    return [
        f"{later - earlier:.1f} s without a poll"
        for earlier, later in pairwise(polls)
        if later - earlier > max_gap
        and not any(begin < later and earlier < end for begin, end in faults)
    ]
