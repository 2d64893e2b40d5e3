"""A daemon process for an Immich at a given URL."""

import json
import subprocess
import sys
from pathlib import Path

from tests.cli.test_main import environment
from tests.engine.object_memory import OUTPUT_VARIABLE
from tests.support.immich_server import KEY
from tests.support.repository import ROOT


def start(
    url: str,
    data_dir: Path,
    log: Path,
    *,
    object_memory_file: Path | None = None,
    **options: object,
) -> subprocess.Popen[bytes]:
    """Start the daemon as the add-on does.

    Args:
        url: Immich's.
        data_dir: DATA_DIR.
        log: the log file, which is appended to.
        object_memory_file: where to write the memory of its Python objects; this slows it down.
        options: more options of the daemon.
    """
    process = spawn(log, object_memory_file)
    send_options(process, url, data_dir, **options)
    return process


def spawn(log: Path, object_memory_file: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a process that waits for its options on standard input."""
    module = "tests.engine.object_memory" if object_memory_file else "immich_job_daemon"
    command = [sys.executable, "-m", module, "run", "--options", "-"]
    env = environment() | ({OUTPUT_VARIABLE: str(object_memory_file)} if object_memory_file else {})
    with log.open("ab") as file:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=file, env=env, cwd=ROOT)


def send_options(
    process: subprocess.Popen[bytes], url: str, data_dir: Path, **options: object
) -> None:
    """Send the options to a spawned process, which then starts to work."""
    all_options = {"IMMICH_URL": url, "API_KEY": KEY, "DATA_DIR": str(data_dir), **options}
    assert process.stdin is not None
    process.stdin.write(json.dumps(all_options).encode())
    process.stdin.close()
