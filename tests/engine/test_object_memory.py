"""The measurement of a daemon's Python objects."""

from pathlib import Path

from tests.cli.test_main import stop
from tests.engine import daemon_process
from tests.support.immich_server import is_under_control, simulated_immich_server
from tests.support.waiting import wait_until


def test_the_daemon_works_and_stops_as_usual_while_it_is_measured(tmp_path: Path) -> None:
    output = tmp_path / "object-memory.txt"
    with simulated_immich_server() as server:
        process = daemon_process.start(
            server.url, tmp_path, tmp_path / "log.txt", object_memory_file=output
        )
        try:
            wait_until(lambda: is_under_control(server))
            wait_until(output.exists)
            # Only what was allocated after the start is measured, not the code.
            assert 0.05 < float(output.read_text()) < 20
            stop(process)
        finally:
            process.kill()
            process.wait()
