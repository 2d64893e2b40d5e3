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

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def immich() -> Iterator[str]:
    with SimulatedServer(*simulated_immich()) as server:
        yield server.url


@pytest.fixture
def router() -> Iterator[str]:
    """Something that answers everything with a page."""

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


def test_the_first_place_at_which_immich_answers_is_taken_and_said(
    tmp_path: Path, immich: str, router: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert find_server.find(tmp_path, places=(NOBODY, router, immich, "http://later")) == immich
    assert f"Found Immich at {immich}." in caplog.text


def test_the_place_is_remembered_and_asked_first_the_next_time(tmp_path: Path) -> None:
    asked: list[str] = []

    def is_immich(url: str) -> bool:
        asked.append(url)
        return url == "http://third:3"

    places = ("http://first:1", "http://second:2", "http://third:3")
    for _ in range(2):
        assert find_server.find(tmp_path, places=places, is_immich=is_immich) == "http://third:3"
    assert asked == [*places, "http://third:3"]


def test_a_remembered_place_that_no_longer_answers_is_replaced(tmp_path: Path) -> None:
    for url in ("http://old:1", "http://new:2"):
        found = find_server.find(
            tmp_path, places=("http://old:1", "http://new:2"), is_immich=url.__eq__
        )
        assert found == url
    assert json.loads((tmp_path / find_server.FILE_NAME).read_text()) == {"url": "http://new:2"}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"url": 1}', '{"url": "ftp://x"}', "[" * 4000, "\0"]
)
def test_a_memory_of_rubbish_is_no_memory(tmp_path: Path, text: str) -> None:
    (tmp_path / find_server.FILE_NAME).write_text(text)
    found = find_server.find(tmp_path, places=("http://a:1",), is_immich=lambda _: True)
    assert found == "http://a:1"


def test_a_folder_that_cannot_be_written_does_not_matter(immich: str) -> None:
    assert find_server.find(Path("/dev/null/x"), places=(immich,)) == immich


def test_when_nobody_answers_all_that_was_tried_is_named_with_an_example(
    tmp_path: Path, router: str
) -> None:
    with pytest.raises(NotImmichError) as raised:
        find_server.find(tmp_path, places=(NOBODY, router))
    assert "127.0.0.1:9" in str(raised.value)
    assert router.partition("://")[2] in str(raised.value)
    assert "http://192.168.1.5:2283" in str(raised.value)


def test_it_is_waited_for_with_growing_pauses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine()

    def look(_folder: Path) -> str:
        if engine.now < 100:
            raise NotImmichError("nobody is there")
        return "http://found"

    assert find_server.wait_for(tmp_path, VirtualDaemonClock(engine), look) == "http://found"
    pauses = [int(record.getMessage().split()[-2]) for record in caplog.records]
    assert pauses == [1, 2, 4, 8, 16, 32, 60]


def test_waiting_for_it_can_be_stopped(tmp_path: Path) -> None:
    engine = Engine()

    def look(_folder: Path) -> str:
        raise NotImmichError("nobody is there")

    with pytest.raises(StopRequested):
        find_server.wait_for(tmp_path, VirtualDaemonClock(engine, lambda: engine.now > 50), look)


def test_the_places_are_the_ones_where_immich_is_found_in_homes() -> None:
    hosts = [url.removeprefix("http://") for url in find_server.USUAL_ADDRESSES]
    assert hosts[0] == "127.0.0.1:2283"
    assert hosts[1] == "db21ed7f-immich:8080"
    assert hosts[-1] == "immich-server:2283"
    assert len(set(hosts)) == len(hosts)
