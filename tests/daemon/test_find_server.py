"""The search for Immich when IMMICH_URL is empty."""

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from immich_job_daemon.base.clock import StopRequested
from immich_job_daemon.base.errors import NotImmichError
from immich_job_daemon.daemon import find_server
from simulator.immich import simulated_immich
from simulator.immich.engine import Engine
from simulator.immich.server import SimulatedServer
from simulator.worlds.virtual_daemon import VirtualDaemonClock

UNUSED = "http://127.0.0.1:9"


@pytest.fixture
def immich() -> Iterator[str]:
    with SimulatedServer(*simulated_immich()) as server:
        yield server.url


@pytest.fixture
def router() -> Iterator[str]:
    """A server that answers every request with a login page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>log in</html>")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_first_server_that_is_an_immich_is_found_and_logged(
    tmp_path: Path, immich: str, router: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert find_server.find(tmp_path, candidates=(UNUSED, router, immich, "http://later")) == immich
    assert f"Found Immich at {immich}." in caplog.text


def test_the_last_url_is_probed_first_the_next_time(tmp_path: Path) -> None:
    probed: list[str] = []

    def is_immich(url: str) -> bool:
        probed.append(url)
        return url == "http://third:3"

    candidates = ("http://first:1", "http://second:2", "http://third:3")
    for _ in range(2):
        assert (
            find_server.find(tmp_path, candidates=candidates, is_immich=is_immich)
            == "http://third:3"
        )
    assert probed == [*candidates, "http://third:3"]


def test_a_last_url_that_no_longer_answers_is_replaced(tmp_path: Path) -> None:
    for url in ("http://old:1", "http://new:2"):
        found = find_server.find(
            tmp_path, candidates=("http://old:1", "http://new:2"), is_immich=url.__eq__
        )
        assert found == url
    assert json.loads((tmp_path / find_server.FILE_NAME).read_text()) == {"url": "http://new:2"}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"url": 1}', '{"url": "ftp://x"}', "[" * 4000, "\0"]
)
def test_a_damaged_file_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / find_server.FILE_NAME).write_text(text)
    found = find_server.find(tmp_path, candidates=("http://a:1",), is_immich=lambda _: True)
    assert found == "http://a:1"


def test_an_unwritable_folder_does_not_stop_the_search(immich: str) -> None:
    assert find_server.find(Path("/dev/null/x"), candidates=(immich,)) == immich


def test_the_error_lists_all_probed_addresses_and_an_example(tmp_path: Path, router: str) -> None:
    with pytest.raises(NotImmichError) as raised:
        find_server.find(tmp_path, candidates=(UNUSED, router))
    assert "127.0.0.1:9" in str(raised.value)
    assert router.partition("://")[2] in str(raised.value)
    assert "http://192.168.1.5:2283" in str(raised.value)


def test_the_search_is_repeated_with_growing_delays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine()

    def search(_data_dir: Path) -> str:
        if engine.now < 100:
            raise NotImmichError("not found")
        return "http://found"

    assert find_server.wait_for(tmp_path, VirtualDaemonClock(engine), search) == "http://found"
    delays = [int(record.getMessage().split()[-2]) for record in caplog.records]
    assert delays == [1, 2, 4, 8, 16, 32, 60]


def test_the_search_can_be_stopped(tmp_path: Path) -> None:
    engine = Engine()

    def search(_data_dir: Path) -> str:
        raise NotImmichError("not found")

    with pytest.raises(StopRequested):
        find_server.wait_for(tmp_path, VirtualDaemonClock(engine, lambda: engine.now > 50), search)


def test_the_candidates_start_with_this_machine_and_the_most_popular_add_on() -> None:
    hosts = [url.removeprefix("http://") for url in find_server.CANDIDATE_URLS]
    assert hosts[0] == "127.0.0.1:2283"
    assert hosts[1] == "db21ed7f-immich:8080"
    assert hosts[-1] == "immich-server:2283"
    assert len(set(hosts)) == len(hosts)
