"""The daemon, measuring its Python objects: ``python -m tests.engine.object_memory run ...``.

A process grows for a while without keeping anything: memory is not given back in the order in
which it was taken, and CPython keeps lists of freed objects for the next ones, up to a bound. What
is counted here is only what is in use and came after the start, so whatever is kept for ever shows.
"""

import gc
import os
import sys
import tracemalloc
from pathlib import Path
from threading import Event, Thread
from typing import Final

from immich_job_daemon.cli.main import main

TARGET: Final = "COUNTED"
"""The variable that names the file for the latest count, in MiB."""
EVERY: Final = 10.0
"""Seconds between two counts."""


def count(target: Path, is_over: Event) -> None:
    """Count again and again, until it is over."""
    new = target.with_suffix(".new")
    while not is_over.wait(EVERY):
        # All of it: this gives the lists of freed objects back, too.
        gc.collect()
        new.write_text(f"{tracemalloc.get_traced_memory()[0] / 2**20:.4f}")
        new.replace(target)


if __name__ == "__main__":
    tracemalloc.start()
    is_over = Event()
    counting = Thread(target=count, args=(Path(os.environ[TARGET]), is_over))
    counting.start()
    try:
        sys.exit(main())
    finally:
        is_over.set()
        counting.join()
