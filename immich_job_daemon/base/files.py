"""Files that are written whole or not at all."""

import os
from pathlib import Path


def write_atomically(path: Path, text: str) -> os.stat_result:
    """Write ``text`` to ``path``; after a crash the file holds the old or the new text.

    The folder is created if it does not exist.

    Returns:
        the status of the new file, from before the rename: another process may replace it at once.

    Raises:
        OSError: the file could not be written. The old one may have been replaced all the same.
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
    # The rename is on the disk only once the folder is.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return status
