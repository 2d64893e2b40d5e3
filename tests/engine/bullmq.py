"""Installation of the real BullMQ, versions 5 and 6, from npm."""

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path
from typing import Final

from tests.support.programs import find_program

FOLDER: Final = Path(__file__).parent
MODULES: Final = FOLDER / "node_modules"
STAMP: Final = MODULES / "installed.txt"


def install() -> Path:
    """Install the packages of package-lock.json once; return the folder with the Node code.

    Concurrent calls, also from other processes, wait for the first one.
    """
    lockfile_hash = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not (STAMP.exists() and STAMP.read_text() == lockfile_hash):
            # The install scripts would need a compiler. The packages work without them.
            subprocess.run(
                [
                    find_program("npm"),
                    "ci",
                    "--ignore-scripts",
                    "--no-audit",
                    "--no-fund",
                    "--silent",
                ],
                cwd=FOLDER,
                check=True,
            )
            STAMP.write_text(lockfile_hash)
    finally:
        os.close(folder)
    return FOLDER
