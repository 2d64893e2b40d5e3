"""A real daemon and a simulated Immich on two hosts, and what goes wrong on the way between them.

Each time the daemon lives and says what is wrong in words, keeps the limit, does the backlog when
all is well again, and leaves nothing paused at its end. Where a machine gives us no such hosts,
test_proxy.py has to do.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

import pytest

from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine
from simulator.immich.server import SimulatedServer
from tests.cli.test_main import stop
from tests.network.fault_run import Course, in_the_middle, running
from tests.network.fault_run import course as on_course
from tests.network.namespaces import IMMICHS, Host, may_have_hosts, two_hosts
from tests.network.resolver import NAME, Mood, Resolver
from tests.support.immich_server import KEY, STOP_GRACE_PERIOD, is_under_control, paused
from tests.support.observed_process import ObservedProcess
from tests.support.waiting import wait_until

MINUTE: Final = 60.0

pytestmark = pytest.mark.skipif(
    not may_have_hosts(),
    reason="no network namespaces on this machine: test_proxy.py does the same by a faulty proxy",
)


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


def there(
    way: Way, folder: Path, url: str | None = None
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run a daemon on its host."""
    return running(way.server, folder, url or way.server.url, way.daemons.command)


def course(way: Way, folder: Path, url: str | None = None) -> AbstractContextManager[Course]:
    """Let a daemon on its host go its course."""
    return on_course(way.server, folder, url or way.server.url, way.daemons.command)


def test_where_one_packet_in_five_is_lost_the_work_is_done(way: Way, tmp_path: Path) -> None:
    with course(way, tmp_path) as one, way.immichs.loss(0.1), way.daemons.loss(0.1):
        one.add_backlog()
        one.is_well()


def test_a_cable_that_is_pulled_for_a_minute_in_the_middle_of_a_request_is_told_and_waited_for(
    way: Way, tmp_path: Path
) -> None:
    with course(way, tmp_path) as one:
        one.add_backlog()
        in_the_middle(way.server)
        way.immichs.unplug()
        pulled = monotonic()
        one.says("gave no complete answer within 10 s")
        # The next tries end otherwise: nobody answers at the address, or at the card.
        one.says("accepts no connection within 5 s", "cannot be reached (")
        wait_until(lambda: monotonic() > pulled + MINUTE, timeout=2 * MINUTE)
        assert one.process.poll() is None
        way.immichs.plug_in()
        one.says("All is well again")
        one.is_well()


def test_a_stop_while_the_cable_is_out_is_in_time_and_the_next_start_makes_it_good(
    way: Way, tmp_path: Path
) -> None:
    with there(way, tmp_path) as process:
        wait_until(lambda: is_under_control(way.server))
        way.immichs.unplug()
        assert stop(process) < STOP_GRACE_PERIOD
    said = ObservedProcess(process.pid, tmp_path).log_since(0)
    assert "Not resumed, so it may stay paused: " in said
    assert set(json.loads((tmp_path / "ledger.json").read_text())["held"]) == paused(way.server)
    way.immichs.plug_in()
    with course(way, tmp_path) as one:
        wait_until(lambda: one.watched.log.count("Connected") == 2)


def test_without_a_network_at_the_start_it_says_so_and_begins_when_there_is_one(
    way: Way, tmp_path: Path
) -> None:
    way.daemons.unplug()
    with there(way, tmp_path) as process:
        watched = ObservedProcess(process.pid, tmp_path)
        wait_until(lambda: "cannot be reached (Network is unreachable)" in watched.log)
        way.daemons.plug_in()
        wait_until(lambda: is_under_control(way.server))
        stop(process)
    assert paused(way.server) == set()


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
        wait_until(lambda: is_under_control(way.server))
        asked = resolver.asked
        resolver.mood = Mood.SILENT
        wait_until(lambda: resolver.asked > asked)
        assert stop(process) < STOP_GRACE_PERIOD
    assert "Not resumed, so it may stay paused: " in (tmp_path / "log.txt").read_text()
    resolver.mood = Mood.KNOWS
    with course(way, tmp_path, url) as one:
        wait_until(lambda: one.watched.log.count("Connected") == 2)
