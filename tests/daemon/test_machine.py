"""A real daemon on a machine with faults: the disk, the clock, signals, open files.

Each time the daemon stays up, logs what is wrong, and leaves nothing paused when it stops.
"""

import json
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest
import requests

from simulator.immich.faults import Fault
from simulator.immich.ports import free_port
from tests.cli.test_main import daemon, environment, stop
from tests.support.immich_server import (
    KEY,
    STOP_GRACE_PERIOD,
    assert_still_working,
    is_under_control,
    paused,
    simulated_immich_server,
)
from tests.support.observed_process import ObservedProcess
from tests.support.waiting import TIMEOUT, wait_until
from tests.web.daemon_process import real_daemon

# DATA_DIR


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[str], None]]:
    """Mount a file system of 64 KiB; yield a function that remounts it with options like ``ro``."""

    def mount(*arguments: str) -> None:
        subprocess.run(["/bin/mount", *arguments, str(folder)], check=True)

    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs")
    try:
        yield lambda options: mount("-o", f"remount,{options}")
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


FULL: Final = "cannot be written (No space left on device)"


def fill(folder: Path) -> Path:
    """Fill the file system; return the file that does so."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def paused_in_ledger(folder: Path) -> set[str]:
    return set(json.loads((folder / "ledger.json").read_text())["paused_by_daemon"])


def test_a_full_disk_is_logged_once_and_the_daemon_keeps_working(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "data"),
        simulated_immich_server() as server,
        daemon(server, tmp_path, DATA_DIR=str(tmp_path / "data"), POLL_INTERVAL=1) as process,
    ):
        observed = ObservedProcess(process.pid, tmp_path)
        wait_until(lambda: is_under_control(server))
        filler = fill(tmp_path / "data")

        def is_logged() -> bool:
            # A write that was going on meanwhile leaves the space of the file it replaced.
            fill(tmp_path / "data")
            assert_still_working(server)
            return FULL in observed.log

        wait_until(is_logged)
        assert_still_working(server, "library")
        assert observed.log.count(FULL) == 1
        filler.unlink()
        wait_until(lambda: "can be written again" in observed.log)
        wait_until(lambda: paused_in_ledger(tmp_path / "data") >= paused(server))
        stop(process)
        observed.log_since(0)
        assert paused(server) == set()


def test_with_a_full_disk_at_the_start_nothing_stays_paused(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data"), simulated_immich_server() as server:
        fill(tmp_path / "data")
        with daemon(server, tmp_path, DATA_DIR=str(tmp_path / "data"), POLL_INTERVAL=1) as process:
            wait_until(lambda: is_under_control(server))
            assert_still_working(server)
            stop(process)
        assert paused(server) == set()
    assert "Free some space, or check DATA_DIR" in ObservedProcess(process.pid, tmp_path).log_since(
        0
    )


def test_a_read_only_disk_is_logged_once_and_its_end_as_well(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "data") as remount,
        simulated_immich_server() as server,
        daemon(server, tmp_path, DATA_DIR=str(tmp_path / "data"), POLL_INTERVAL=1) as process,
    ):
        observed = ObservedProcess(process.pid, tmp_path)
        wait_until(lambda: is_under_control(server))
        remount("ro")
        assert_still_working(server)
        assert_still_working(server, "library")
        assert observed.log.count("cannot be written (Read-only file system)") == 1
        remount("rw")
        wait_until(lambda: "can be written again" in observed.log)
        stop(process)
        observed.log_since(0)
        assert paused(server) == set()


def test_a_deleted_data_dir_is_created_again_with_a_full_ledger(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with simulated_immich_server() as server:
        with daemon(server, tmp_path, DATA_DIR=str(folder), POLL_INTERVAL=1) as process:
            wait_until(lambda: is_under_control(server))
            folder.rename(tmp_path / "gone")
            wait_until((folder / "ledger.json").exists)
            process.kill()
            process.wait()
        assert is_under_control(server)
        with daemon(server, tmp_path, DATA_DIR=str(folder)) as process:
            wait_until(lambda: (tmp_path / "log.txt").read_text().count("Connected") == 2)
            stop(process)
        assert paused(server) == set()


# Clock


def libfaketime() -> Path:
    """Return the path of libfaketime, which gives a process its own wall clock."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "libfaketime is missing: run script/test, which installs it"
    return found[0]


@pytest.mark.parametrize("jump", ["-1h", "+1d"])
def test_setting_the_wall_clock_changes_only_the_displayed_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: str
) -> None:
    """As when the clock of a machine is set, the monotonic clock goes on."""
    setting = tmp_path / "clock"
    setting.write_text("+0")
    monkeypatch.setenv("LD_PRELOAD", str(libfaketime()))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(setting))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("DONT_FAKE_MONOTONIC", "1")
    with (
        simulated_immich_server() as server,
        real_daemon(server, tmp_path, POLL_INTERVAL=1) as real,
    ):
        monkeypatch.delenv("LD_PRELOAD")
        observed = ObservedProcess(real.process.pid, tmp_path)
        assert_still_working(server)
        before, cpu_before = last_poll_time(real.status_port), observed.cpu_seconds
        setting.write_text(jump)
        wait_until(lambda: abs(last_poll_time(real.status_port) - before) > 3000)
        assert_still_working(server, "library")
        assert_still_working(server)
        assert requests.get(f"http://127.0.0.1:{real.status_port}/health", timeout=90).ok
        assert requests.get(f"http://127.0.0.1:{real.page_port}/", timeout=90).ok
        # The loop does not spin.
        assert observed.cpu_seconds - cpu_before < 15
        assert "WARNING" not in observed.log_since(0)
        stop(real.process)
        assert paused(server) == set()


def last_poll_time(port: int) -> float:
    """Return the time of the last poll from the metrics, in seconds since 1970."""
    metrics = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=90).text
    (line,) = [line for line in metrics.splitlines() if line.startswith(LAST_POLL)]
    return float(line.split()[1])


LAST_POLL: Final = "immich_job_daemon_last_look_timestamp_seconds "


# Signals


def test_a_stop_at_any_moment_of_the_start_leaves_nothing_paused(tmp_path: Path) -> None:
    """Until the handler is installed, SIGTERM kills the process without an exit code."""
    rng = random.Random(7)  # noqa: S311 - the same moments at each run
    with simulated_immich_server() as server:
        for _ in range(8):
            with daemon(server, tmp_path) as process:
                time.sleep(rng.uniform(0.0, 0.8))
                process.terminate()
                assert process.wait(TIMEOUT) in (0, -signal.SIGTERM)
            assert paused(server) == set()
    ObservedProcess(process.pid, tmp_path).log_since(0)


def test_further_signals_do_not_interrupt_the_release(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        resumed = []

        def note(method: str, _: str) -> None:
            if method == "PUT":
                resumed.append(method)

        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            server.latency = 1.0
            server.faults = note
            process.terminate()
            wait_until(lambda: bool(resumed))
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                process.send_signal(number)
            assert process.wait(TIMEOUT) == 0
        assert paused(server) == set()
        assert paused_in_ledger(tmp_path) == set()


def test_with_a_hanging_immich_a_stop_ends_within_the_grace_period(tmp_path: Path) -> None:
    """The next run resumes the queues."""
    with simulated_immich_server() as server:
        # A slow machine needs longer for any stop.
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            usual_stop_time = stop(process)
        with real_daemon(server, tmp_path) as real:
            requested = []

            def hang(method: str, path: str) -> Fault:
                requested.append((method, path))
                return Fault.HANG

            server.faults = hang
            wait_until(lambda: bool(requested))
            assert stop(real.process) < STOP_GRACE_PERIOD + usual_stop_time
            log = ObservedProcess(real.process.pid, tmp_path).log_since(0)
        assert "Not resumed, so these may stay paused: " in log
        assert paused_in_ledger(tmp_path) == paused(server) != set()
        server.faults = None
        with daemon(server, tmp_path) as process:
            wait_until(lambda: (tmp_path / "log.txt").read_text().count("Connected") == 2)
            stop(process)
        assert paused(server) == set()


# Open files


@contextmanager
def idle_connections(*ports: int) -> Iterator[None]:
    """Open 150 connections to each port; most of them are never accepted."""
    with ExitStack() as stack:
        for port in ports:
            for _ in range(150):
                connection = stack.enter_context(socket.socket())
                connection.setblocking(False)  # noqa: FBT003 - the signature of socket
                connection.connect_ex(("127.0.0.1", port))
        yield


def test_many_connections_do_not_take_the_last_open_files_from_the_daemon(tmp_path: Path) -> None:
    ports = {"STATUS_PORT": free_port(), "UI_PORT": free_port()}
    with simulated_immich_server() as server:
        server.keep_alive = 0.2
        options = {
            "IMMICH_URL": server.url,
            "API_KEY": KEY,
            "DATA_DIR": str(tmp_path),
            "POLL_INTERVAL": 1,
            **ports,
        }
        with (tmp_path / "log.txt").open("w") as log:
            process = subprocess.Popen(
                [
                    "/bin/sh",
                    "-c",
                    'ulimit -n 64; exec "$0" -m immich_job_daemon run',
                    sys.executable,
                ],
                env=environment(**{name: str(value) for name, value in options.items()}),
                stderr=log,
            )
        try:
            wait_until(lambda: is_under_control(server))
            observed = ObservedProcess(process.pid, tmp_path)
            idle_files = observed.open_files
            with idle_connections(*ports.values()):
                wait_until(lambda: observed.open_files >= idle_files + 20)
                cpu_before, began = observed.cpu_seconds, time.monotonic()
                for _ in range(3):
                    assert_still_working(server)
                share = (observed.cpu_seconds - cpu_before) / (time.monotonic() - began)
                assert share < 0.25, "the daemon spins"
                process.terminate()
                assert process.wait(TIMEOUT) == 0
            assert "WARNING" not in observed.log_since(0)
            assert paused(server) == set()
        finally:
            process.kill()
            process.wait()


def test_it_recovers_when_no_file_could_be_opened(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        server.keep_alive = 0.2
        with daemon(server, tmp_path, POLL_INTERVAL=1) as process:
            observed = ObservedProcess(process.pid, tmp_path)
            wait_until(lambda: is_under_control(server))
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, hard))
            wait_until(lambda: "no file descriptor is left for a connection" in observed.log)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (hard, hard))
            wait_until(lambda: "All is well again" in observed.log)
            assert_still_working(server)
            stop(process)
        observed.log_since(0)
        assert paused(server) == set()
