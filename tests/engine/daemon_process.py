"""The daemon as a process, in front of an Immich at some address."""

import json
import subprocess
import sys
from pathlib import Path

from tests.cli.test_main import environment
from tests.engine.object_memory import TARGET
from tests.support.immich_server import KEY
from tests.support.repository import ROOT


def start(
    url: str, data: Path, log: Path, *, counted: Path | None = None, **options: object
) -> subprocess.Popen[bytes]:
    """Start the daemon as the add-on does.

    Args:
        url: of Immich.
        data: its DATA_DIR.
        log: what it says is written behind what is there.
        counted: where it writes what its Python objects take, which makes it slower.
        options: whatever else it is told.
    """
    process = spawn(log, counted)
    tell(process, url, data, **options)
    return process


def spawn(log: Path, counted: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a process that waits for what it is told, and does nothing until then."""
    module = "tests.engine.object_memory" if counted else "immich_job_daemon"
    command = [sys.executable, "-m", module, "run", "--options", "-"]
    surroundings = environment() | ({TARGET: str(counted)} if counted else {})
    with log.open("ab") as file:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=file, env=surroundings, cwd=ROOT
        )


def tell(process: subprocess.Popen[bytes], url: str, data: Path, **options: object) -> None:
    """Tell such a process its options: it is the daemon from now on."""
    given = {"IMMICH_URL": url, "API_KEY": KEY, "DATA_DIR": str(data), **options}
    assert process.stdin is not None
    process.stdin.write(json.dumps(given).encode())
    process.stdin.close()
