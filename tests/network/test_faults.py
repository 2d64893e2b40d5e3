"""A real daemon and a simulated Immich on two hosts, and what goes wrong on the way between them.

Each time the daemon lives and says what is wrong in words, keeps the limit, does the backlog when
all is well again, and leaves nothing paused at its end.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from immich_job_daemon.simulator.api import Api, Key
from immich_job_daemon.simulator.engine import Engine
from immich_job_daemon.simulator.faults import Fault
from immich_job_daemon.simulator.pipeline import lasting
from immich_job_daemon.simulator.server import SimulatedServer
from tests.held import KEY, immich, is_held, paused, until
from tests.impostor import EVERYTHING, LOOKS, Impostor, whole
from tests.network.houses import IMMICHS, Host, two_hosts
from tests.network.relay import Relay
from tests.network.resolver import NAME, Mood, Resolver
from tests.scene import FACES, SEARCH, VIDEO, most_at_once
from tests.test_cli import daemon, daemon_through, stop
from tests.watched import Watched

GRACE: Final = 10.0
"""Seconds that a container has to end after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Way:
    """The two hosts, and Immich on its own."""

    daemons: Host
    immichs: Host
    server: SimulatedServer

    @property
    def port(self) -> int:
        """Where Immich listens."""
        port = urlsplit(self.server.url).port
        assert port is not None
        return port


@pytest.fixture
def way() -> Iterator[Way]:
    engine = Engine()
    api = Api(engine, keys={KEY: Key(name="daemon")})
    with two_hosts() as (daemons, immichs):
        server = SimulatedServer(engine, api, host=IMMICHS)
        with immichs.sockets():
            server.start()
        yield Way(daemons, immichs, server)
        with immichs.sockets():
            server.close()


class Course:
    """One daemon's course through what goes wrong."""

    def __init__(self, watched: Watched, process: subprocess.Popen[str], way: Way) -> None:
        self.watched = watched
        self.process = process
        self._server = way.server
        with way.server.present() as engine:
            self._most = most_at_once(engine)

    def add_backlog(self) -> None:
        """Give three queues work for some seconds."""
        with self._server.present() as engine:
            for name in (SEARCH, FACES, VIDEO):
                engine.add(name, lasting(0.1), count=5)

    def says(self, *words: str) -> None:
        """Wait until one of these is in the log."""
        until(lambda: any(one in self.watched.log for one in words))

    def is_well(self) -> None:
        """Wait until the work is done; at most one queue ever ran at once."""

        def is_done() -> bool:
            with self._server.present() as engine:
                return engine.is_idle

        until(is_done)
        until(lambda: is_held(self._server))
        assert self._most() == 1
        assert self.process.poll() is None
        self.watched.said_since(0)


def there(
    way: Way, folder: Path, url: str | None = None
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run a daemon on its host."""
    options = {"IMMICH_URL": url or way.server.url, "POLL_INTERVAL": 1}
    return daemon_through(way.daemons.command, way.server, folder, options)


@contextmanager
def course(way: Way, folder: Path, url: str | None = None) -> Iterator[Course]:
    """Run a daemon that has Immich in hand; at the end it stops, and nothing is left paused."""
    with there(way, folder, url) as process:
        until(lambda: is_held(way.server))
        yield Course(Watched(process.pid, folder), process, way)
        stop(process)
    assert paused(way.server) == set()


def test_where_one_packet_in_five_is_lost_the_work_is_done(way: Way, tmp_path: Path) -> None:
    with course(way, tmp_path) as one, way.immichs.loss(0.1), way.daemons.loss(0.1):
        one.add_backlog()
        one.is_well()


def test_where_every_answer_takes_200_ms_the_work_is_done_without_a_complaint(
    way: Way, tmp_path: Path
) -> None:
    with way.daemons.sockets():
        relay = Relay(("127.0.0.1", 0), (IMMICHS, way.port), 0.1)
    with closing(relay), course(way, tmp_path, f"http://127.0.0.1:{relay.port}") as one:
        one.add_backlog()
        one.is_well()
        assert "WARNING" not in one.watched.log


def test_a_connection_that_immich_closes_while_a_request_is_on_its_way_is_no_failure(
    way: Way, tmp_path: Path
) -> None:
    """Immich closes after 5 idle seconds; here just when the next look is on its way to it.

    An answer takes 0.2 s, the daemon waits for 1 s, and a request takes 0.2 s again.
    """
    way.server.keep_alive = 1.15
    with way.daemons.sockets():
        relay = Relay(("127.0.0.1", 0), (IMMICHS, way.port), 0.0)
    with closing(relay), course(way, tmp_path, f"http://127.0.0.1:{relay.port}") as one:
        relay.delay = 0.2
        until(lambda: relay.crossed >= 3)
        relay.delay = 0.0
        one.add_backlog()
        one.is_well()
        assert "WARNING" not in one.watched.log


def test_a_cable_that_is_pulled_in_the_middle_of_a_request_is_told_and_waited_for(
    way: Way, tmp_path: Path
) -> None:
    with course(way, tmp_path) as one:
        one.add_backlog()
        in_the_middle(way)
        way.immichs.plug(in_=False)
        one.says("gave no complete answer within 10 s")
        # The next tries end otherwise: nobody answers at the address, or at the card.
        one.says("accepts no connection within 5 s", "cannot be reached (")
        way.immichs.plug(in_=True)
        one.says("All is well again")
        one.is_well()


def in_the_middle(way: Way) -> None:
    """Wait until Immich has a request that it does not answer yet."""
    asked: list[str] = []

    def note(_: str, path: str) -> None:
        asked.append(path)

    way.server.latency = 1.0
    way.server.faults = note
    until(lambda: bool(asked))
    way.server.latency = 0.0


def test_a_stop_while_the_cable_is_out_is_in_time_and_the_next_start_makes_it_good(
    way: Way, tmp_path: Path
) -> None:
    with there(way, tmp_path) as process:
        until(lambda: is_held(way.server))
        way.immichs.plug(in_=False)
        assert stop(process) < GRACE
    said = Watched(process.pid, tmp_path).said_since(0)
    assert "Not resumed, so it may stay paused: " in said
    assert set(json.loads((tmp_path / "ledger.json").read_text())["held"]) == paused(way.server)
    way.immichs.plug(in_=True)
    with course(way, tmp_path) as one:
        until(lambda: one.watched.log.count("Connected") == 2)


def test_without_a_network_at_the_start_it_says_so_and_begins_when_there_is_one(
    way: Way, tmp_path: Path
) -> None:
    way.daemons.plug(in_=False)
    with there(way, tmp_path) as process:
        watched = Watched(process.pid, tmp_path)
        until(lambda: "cannot be reached (Network is unreachable)" in watched.log)
        way.daemons.plug(in_=True)
        until(lambda: is_held(way.server))
        stop(process)
    assert paused(way.server) == set()


def test_a_connection_that_is_taken_and_never_answered_is_told_and_left(
    way: Way, tmp_path: Path
) -> None:
    with course(way, tmp_path) as one:
        one.add_backlog()
        way.server.faults = lambda *_: Fault.HANG
        one.says("gave no complete answer within 10 s")
        way.server.faults = None
        one.says("All is well again")
        one.is_well()


# Names


@pytest.fixture
def resolver(way: Way) -> Iterator[Resolver]:
    """Where the daemon's host asks for names: on Immich's host."""
    (way.daemons.files / "resolv.conf").write_text(f"nameserver {IMMICHS}\n")
    (way.daemons.files / "nsswitch.conf").write_text("hosts: dns\n")
    with way.immichs.sockets():
        resolver = Resolver(IMMICHS, IMMICHS)
    with closing(resolver):
        yield resolver


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        (Mood.FAILS, "no name server tells where the host in "),
        (Mood.SILENT, "no name server tells where the host in "),
        (Mood.KNOWS_NOTHING, "the host name in "),
    ],
)
def test_a_name_server_that_fails_is_told_and_waited_for(
    way: Way, tmp_path: Path, resolver: Resolver, mood: Mood, words: str
) -> None:
    way.server.keep_alive = 0.1
    with course(way, tmp_path, f"http://{NAME}:{way.port}") as one:
        one.add_backlog()
        resolver.mood = mood
        one.says(f"{words}http://{NAME}:{way.port} is")
        resolver.mood = Mood.KNOWS
        one.says("All is well again")
        one.is_well()


def test_a_stop_while_a_silent_name_server_is_asked_is_in_time(
    way: Way, tmp_path: Path, resolver: Resolver
) -> None:
    url = f"http://{NAME}:{way.port}"
    way.server.keep_alive = 0.1
    with there(way, tmp_path, url) as process:
        until(lambda: is_held(way.server))
        asked = resolver.asked
        resolver.mood = Mood.SILENT
        until(lambda: resolver.asked > asked)
        assert stop(process) < GRACE
    assert "Not resumed, so it may stay paused: " in (tmp_path / "log.txt").read_text()
    resolver.mood = Mood.KNOWS
    with course(way, tmp_path, url) as one:
        until(lambda: one.watched.log.count("Connected") == 2)


# Proxies in between


@pytest.mark.parametrize("requests", [LOOKS, EVERYTHING], ids=["looks", "everything"])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            whole(b"", "301 Moved", "location: https://photos.example/api/queues"),
            "Immich redirects to https://photos.example: set IMMICH_URL to https://photos.example",
        ),
        (
            whole(b"<!doctype html><title>Log in</title>", headers="content-type: text/html"),
            "what answers at IMMICH_URL is not Immich (it sends a page, with status 200)",
        ),
    ],
    ids=["https", "login"],
)
def test_a_proxy_that_does_not_let_through_is_told_and_waited_for(
    tmp_path: Path, requests: str, answer: bytes, words: str
) -> None:
    with immich() as server, closing(Impostor(server)) as impostor:
        with daemon(server, tmp_path, IMMICH_URL=impostor.url, POLL_INTERVAL=1) as process:
            watched = Watched(process.pid, tmp_path)
            until(lambda: is_held(server))
            with impostor.instead(requests, lambda: [answer]):
                until(lambda: words in watched.log)
            until(lambda: "All is well again" in watched.log)
            stop(process)
        watched.said_since(0)
        assert paused(server) == set()
