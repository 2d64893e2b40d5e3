"""The daemon as a process, in front of an Immich at some address."""

import json
import subprocess
import sys
from pathlib import Path

from tests.held import KEY
from tests.test_cli import environment


def start(url: str, data: Path, log: Path, **options: object) -> subprocess.Popen[bytes]:
    """Start the daemon as the add-on does.

    Args:
        url: of Immich.
        data: its DATA_DIR.
        log: what it says is written behind what is there.
        options: whatever else it is told.
    """
    process = spawn(log)
    tell(process, url, data, **options)
    return process


def spawn(log: Path) -> subprocess.Popen[bytes]:
    """Start a process that waits for what it is told, and does nothing until then."""
    command = [sys.executable, "-m", "immich_job_daemon", "run", "--options", "-"]
    with log.open("ab") as file:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=file, env=environment())


def tell(process: subprocess.Popen[bytes], url: str, data: Path, **options: object) -> None:
    """Tell such a process its options: it is the daemon from now on."""
    given = {"IMMICH_URL": url, "API_KEY": KEY, "DATA_DIR": str(data), **options}
    assert process.stdin is not None
    process.stdin.write(json.dumps(given).encode())
    process.stdin.close()
