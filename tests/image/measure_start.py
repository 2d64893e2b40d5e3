"""Measure how long a container takes from its start to the first poll, and to stop.

Run by script/image --measure; the argument is the folder of the unpacked image.
"""

import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from tests.image.test_service import PERMISSIONS, container, options_for
from tests.support.immich_server import is_under_control, simulated_immich_server
from tests.support.waiting import wait_until

RUNS: Final = 7
MAX_START: Final = 1.5
"""Longest median time to the first poll, in seconds."""
MAX_STOP: Final = 5.0
"""Longest median time of a stop, in seconds."""


def start_and_stop(image: Path) -> tuple[float, float]:
    """Run a container once.

    Returns:
        the seconds until the first poll, and the seconds of a stop that resumes all queues.
    """
    polls: list[float] = []

    def note(_method: str, path: str) -> None:
        if path == "/api/queues":
            polls.append(time.monotonic())

    with TemporaryDirectory() as folder, simulated_immich_server(PERMISSIONS) as server:
        server.faults = note
        began = time.monotonic()
        with container(image, Path(folder), options=options_for(server)) as started:
            wait_until(lambda: is_under_control(server))
            stopped = started.stop()
    return polls[0] - began, stopped


def main(image: Path) -> int:
    """Print the medians of several runs; return 1 if one is too long."""
    polls, stops = zip(*(start_and_stop(image) for _ in range(RUNS)), strict=True)
    sys.stdout.write(
        f"From the start of the container to the first poll: {median(polls):.2f} s "
        f"(limit {MAX_START} s); "
        f"stop: {median(stops):.2f} s (limit {MAX_STOP} s); medians of {RUNS} runs\n"
    )
    return 0 if median(polls) <= MAX_START and median(stops) <= MAX_STOP else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
