"""How long it takes from the start of a container to the first look at Immich.

Run by script/image --measure; the argument is the folder of the unpacked image.
"""

import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from tests.held import immich, is_held, until
from tests.test_service import MAY, container, options_for

STARTS: Final = 7
MOST: Final = 1.5
"""Seconds that it may take in the median."""


def first_look(image: Path) -> float:
    """Start a container once; return the seconds until Immich is asked for its queues."""
    looks: list[float] = []

    def seen(_method: str, path: str) -> None:
        if path == "/api/queues":
            looks.append(time.monotonic())

    with TemporaryDirectory() as folder, immich(MAY) as server:
        server.faults = seen
        began = time.monotonic()
        with container(image, Path(folder), options=options_for(server)) as running:
            until(lambda: is_held(server))
            running.stop()
    return looks[0] - began


def main(image: Path) -> int:
    """Say the median of some starts; return 1 if that is too long."""
    took = median(first_look(image) for _ in range(STARTS))
    sys.stdout.write(
        f"From the start of the container to the first look at Immich: {took:.2f} s, the median "
        f"of {STARTS}; at most {MOST} s\n"
    )
    return 0 if took <= MOST else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
