"""How long it takes from the start of a container to the first look at Immich, and to its end.

Run by script/image --measure; the argument is the folder of the unpacked image.
"""

import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from tests.image.test_service import MAY, container, options_for
from tests.support.immich_server import is_under_control, simulated_immich_server
from tests.support.waiting import wait_until

STARTS: Final = 7
MOST: Final = 1.5
"""Seconds that it may take in the median."""
MOST_STOP: Final = 5.0
"""The same of a stop."""


def start_and_stop(image: Path) -> tuple[float, float]:
    """Run a container once.

    Returns:
        the seconds until Immich is asked for its queues, and those that a stop takes in which all
        held queues are resumed.
    """
    looks: list[float] = []

    def seen(_method: str, path: str) -> None:
        if path == "/api/queues":
            looks.append(time.monotonic())

    with TemporaryDirectory() as folder, simulated_immich_server(MAY) as server:
        server.faults = seen
        began = time.monotonic()
        with container(image, Path(folder), options=options_for(server)) as running:
            wait_until(lambda: is_under_control(server))
            stopped = running.stop()
    return looks[0] - began, stopped


def main(image: Path) -> int:
    """Say the medians of some starts; return 1 if anything takes too long."""
    looks, stops = zip(*(start_and_stop(image) for _ in range(STARTS)), strict=True)
    sys.stdout.write(
        f"From the start of the container to the first look at Immich: {median(looks):.2f} s, of "
        f"at most {MOST} s; a stop: {median(stops):.2f} s, of at most {MOST_STOP} s (medians of "
        f"{STARTS})\n"
    )
    return 0 if median(looks) <= MOST and median(stops) <= MOST_STOP else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
