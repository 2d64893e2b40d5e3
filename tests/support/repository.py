"""Which files the repository has."""

import subprocess
from pathlib import Path

from tests.support.programs import program

ROOT = Path(__file__).parents[2]


def tracked() -> list[Path]:
    """Return every file of the repository: what git knows, and what is new and not ignored."""
    listed = subprocess.run(
        [program("git"), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
