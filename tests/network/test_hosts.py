"""A real daemon and a simulated Immich on two hosts, with network faults between them.

Each time the daemon stays up, logs what is wrong, keeps the limit, processes the backlog after the
fault, and leaves nothing paused when it stops. Where such hosts are not permitted, test_proxy.py
has to suffice.
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
from tests.network.fault_run import FaultRun, running_daemon, wait_for_request_in_flight
from tests.network.fault_run import fault_run as fault_run_at
from tests.network.namespaces import IMMICH_ADDRESS, Host, can_create_hosts, two_hosts
from tests.network.resolver import NAME, Behaviour, Resolver
from tests.support.immich_server import KEY, STOP_GRACE_PERIOD, is_under_control, paused
from tests.support.observed_process import ObservedProcess
from tests.support.waiting import wait_until

MINUTE: Final = 60.0

pytestmark = pytest.mark.skipif(
    not can_create_hosts(),
    reason="network namespaces are not permitted: test_proxy.py tests the same with a faulty proxy",
)


@dataclass(frozen=True, slots=True)
class Hosts:
    """The two hosts, and Immich on its host."""

    daemon: Host
    immich: Host
    server: SimulatedServer

    @property
    def port(self) -> int:
        """Immich's port."""
        port = urlsplit(self.server.url).port
        assert port is not None
        return port


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    engine = Engine()
    api = Api(engine, keys={KEY: Key(name="daemon")})
    with two_hosts() as (daemon, simulated_immich_server):
        server = SimulatedServer(engine, api, host=IMMICH_ADDRESS)
        with simulated_immich_server.sockets():
            server.start()
        yield Hosts(daemon, simulated_immich_server, server)
        with simulated_immich_server.sockets():
            server.close()


def daemon_on_host(
    hosts: Hosts, folder: Path, url: str | None = None
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run a daemon on its host, without checks."""
    return running_daemon(hosts.server, folder, url or hosts.server.url, hosts.daemon.command)


def fault_run(
    hosts: Hosts, folder: Path, url: str | None = None
) -> AbstractContextManager[FaultRun]:
    """Run a daemon on its host, with the checks of a fault run."""
    return fault_run_at(hosts.server, folder, url or hosts.server.url, hosts.daemon.command)


def test_with_packet_loss_all_jobs_are_done(hosts: Hosts, tmp_path: Path) -> None:
    with fault_run(hosts, tmp_path) as run, hosts.immich.loss(0.1), hosts.daemon.loss(0.1):
        run.add_backlog()
        run.wait_for_recovery()


def test_it_recovers_from_a_cable_unplugged_for_a_minute_during_a_request(
    hosts: Hosts, tmp_path: Path
) -> None:
    with fault_run(hosts, tmp_path) as run:
        run.add_backlog()
        wait_for_request_in_flight(hosts.server)
        hosts.immich.unplug()
        unplugged_at = monotonic()
        run.wait_for_log("sent no complete response within 10 s")
        # The next tries time out or find no route.
        run.wait_for_log("did not accept a connection within 5 s", "cannot be reached (")
        wait_until(lambda: monotonic() > unplugged_at + MINUTE, timeout=2 * MINUTE)
        assert run.process.poll() is None
        hosts.immich.plug_in()
        run.wait_for_log("All is well again")
        run.wait_for_recovery()


def test_a_stop_with_the_cable_unplugged_is_in_time_and_the_next_run_resumes(
    hosts: Hosts, tmp_path: Path
) -> None:
    with daemon_on_host(hosts, tmp_path) as process:
        wait_until(lambda: is_under_control(hosts.server))
        hosts.immich.unplug()
        assert stop(process) < STOP_GRACE_PERIOD
    log = ObservedProcess(process.pid, tmp_path).log_since(0)
    assert "Not resumed, so these may stay paused: " in log
    assert set(json.loads((tmp_path / "ledger.json").read_text())["paused_by_daemon"]) == paused(
        hosts.server
    )
    hosts.immich.plug_in()
    with fault_run(hosts, tmp_path) as run:
        wait_until(lambda: run.observed.log.count("Connected") == 2)


def test_without_a_network_at_the_start_it_waits_for_one(hosts: Hosts, tmp_path: Path) -> None:
    hosts.daemon.unplug()
    with daemon_on_host(hosts, tmp_path) as process:
        observed = ObservedProcess(process.pid, tmp_path)
        wait_until(lambda: "cannot be reached (Network is unreachable)" in observed.log)
        hosts.daemon.plug_in()
        wait_until(lambda: is_under_control(hosts.server))
        stop(process)
    assert paused(hosts.server) == set()


# DNS


@pytest.fixture
def resolver(hosts: Hosts) -> Iterator[Resolver]:
    """A DNS server on Immich's host that the daemon's host uses."""
    (hosts.daemon.files / "resolv.conf").write_text(f"nameserver {IMMICH_ADDRESS}\n")
    (hosts.daemon.files / "nsswitch.conf").write_text("hosts: dns\n")
    with hosts.immich.sockets():
        resolver = Resolver(IMMICH_ADDRESS, IMMICH_ADDRESS)
    with closing(resolver):
        yield resolver


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (Behaviour.FAILS, "no name server could look up the host name in {}: "),
        (Behaviour.SILENT, "no name server could look up the host name in {}: "),
        (Behaviour.NAME_UNKNOWN, "the host name in {} is not found"),
    ],
)
def test_it_recovers_from_a_failing_name_server(
    hosts: Hosts, tmp_path: Path, resolver: Resolver, behaviour: Behaviour, text: str
) -> None:
    hosts.server.keep_alive = 0.1
    with fault_run(hosts, tmp_path, f"http://{NAME}:{hosts.port}") as run:
        run.add_backlog()
        resolver.behaviour = behaviour
        run.wait_for_log(text.format(f"http://{NAME}:{hosts.port}"))
        resolver.behaviour = Behaviour.RESOLVES
        run.wait_for_log("All is well again")
        run.wait_for_recovery()


def test_a_stop_during_a_dns_query_without_a_response_is_in_time(
    hosts: Hosts, tmp_path: Path, resolver: Resolver
) -> None:
    url = f"http://{NAME}:{hosts.port}"
    hosts.server.keep_alive = 0.1
    with daemon_on_host(hosts, tmp_path, url) as process:
        wait_until(lambda: is_under_control(hosts.server))
        queries_before = resolver.queries
        resolver.behaviour = Behaviour.SILENT
        wait_until(lambda: resolver.queries > queries_before)
        assert stop(process) < STOP_GRACE_PERIOD
    assert "Not resumed, so these may stay paused: " in (tmp_path / "log.txt").read_text()
    resolver.behaviour = Behaviour.RESOLVES
    with fault_run(hosts, tmp_path, url) as run:
        wait_until(lambda: run.observed.log.count("Connected") == 2)
