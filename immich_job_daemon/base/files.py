"""Atomic writes of files."""

import os
from pathlib import Path


def write_atomically(path: Path, text: str) -> os.stat_result:
    """Write ``text`` to ``path``; after a crash the file holds the old or the new text.

    The folder is created if it does not exist.

    Returns:
        The status of the new file. It is read before the rename, because another process may
        replace the file right after it.

    Raises:
        OSError: writing failed. The old file may have been replaced nevertheless.
    """
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        status = os.fstat(file.fileno())
    temporary.replace(path)
    # The rename reaches the disk only when the folder is synced.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return status
