"""What a daemon says that its Python objects take."""

from pathlib import Path

from tests.cli.test_main import stop
from tests.engine import daemon_process
from tests.support.immich_server import immich, is_under_control, until


def test_it_counts_while_it_does_its_work_and_ends_as_ever(tmp_path: Path) -> None:
    counted = tmp_path / "counted.txt"
    with immich() as server:
        process = daemon_process.start(server.url, tmp_path, tmp_path / "log.txt", counted=counted)
        try:
            until(lambda: is_under_control(server))
            until(counted.exists)
            # The daemon's code was there before: a page that nobody asked for takes nothing yet.
            assert 0.05 < float(counted.read_text()) < 20
            stop(process)
        finally:
            process.kill()
            process.wait()
