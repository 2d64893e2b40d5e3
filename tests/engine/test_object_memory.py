"""What a daemon says that its Python objects take."""

from pathlib import Path

from tests.cli.test_main import stop
from tests.engine import daemon_process
from tests.support.immich_server import is_under_control, simulated_immich_server
from tests.support.waiting import wait_until


def test_it_counts_while_it_does_its_work_and_ends_as_ever(tmp_path: Path) -> None:
    counted = tmp_path / "counted.txt"
    with simulated_immich_server() as server:
        process = daemon_process.start(server.url, tmp_path, tmp_path / "log.txt", counted=counted)
        try:
            wait_until(lambda: is_under_control(server))
            wait_until(counted.exists)
            # The daemon's code was there before: a page that nobody asked for takes nothing yet.
            assert 0.05 < float(counted.read_text()) < 20
            stop(process)
        finally:
            process.kill()
            process.wait()
