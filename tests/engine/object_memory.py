"""The daemon, with its Python objects measured: ``python -m tests.engine.object_memory run ...``.

The resident memory of a process grows for a while without a leak, because of fragmentation and of
CPython's free lists. This measures only objects that are in use and were allocated after the
start, so a leak shows.
"""

import gc
import os
import sys
import tracemalloc
from pathlib import Path
from threading import Event, Thread
from typing import Final

from immich_job_daemon.cli.main import main

OUTPUT_VARIABLE: Final = "OBJECT_MEMORY_FILE"
"""The environment variable that names the output file: the latest measurement in MiB."""
INTERVAL: Final = 10.0
"""Seconds between two measurements."""


def measure(output: Path, is_stopping: Event) -> None:
    """Measure at intervals until the event is set."""
    new = output.with_suffix(".new")
    while not is_stopping.wait(INTERVAL):
        # A full collection also clears the free lists.
        gc.collect()
        new.write_text(f"{tracemalloc.get_traced_memory()[0] / 2**20:.4f}")
        new.replace(output)


if __name__ == "__main__":
    tracemalloc.start()
    is_stopping = Event()
    measuring = Thread(target=measure, args=(Path(os.environ[OUTPUT_VARIABLE]), is_stopping))
    measuring.start()
    try:
        sys.exit(main())
    finally:
        is_stopping.set()
        measuring.join()
