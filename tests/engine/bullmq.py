"""The real BullMQ, in both major versions, from npm: installed beside package.json, once."""

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
    """Install what package-lock.json lists, unless that is done; return the folder with Node code.

    Processes that ask at the same time wait for the first one.
    """
    wanted = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not (STAMP.exists() and STAMP.read_text() == wanted):
            # Nothing of these packages has to be built: the scripts would only ask for a compiler.
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
            STAMP.write_text(wanted)
    finally:
        os.close(folder)
    return FOLDER
