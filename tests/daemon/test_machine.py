"""A real daemon on a machine where something is wrong: the disk, the clock, signals, files.

Each time it lives, says what is wrong in words, and leaves nothing paused at its end.
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

# The folder of the ledger


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[str], None]]:
    """Mount a file system of 64 KiB; give what mounts it anew with options such as ``ro``."""

    def mount(*arguments: str) -> None:
        subprocess.run(["/bin/mount", *arguments, str(folder)], check=True)

    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs")
    try:
        yield lambda options: mount("-o", f"remount,{options}")
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def test_a_full_disk_is_told_once_and_the_work_goes_on(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "data"),
        simulated_immich_server() as server,
        daemon(server, tmp_path, DATA_DIR=str(tmp_path / "data"), POLL_INTERVAL=1) as process,
    ):
        watched = ObservedProcess(process.pid, tmp_path)
        wait_until(lambda: is_under_control(server))
        filler = fill(tmp_path / "data")
        assert_still_working(server)
        assert_still_working(server, "library")
        assert watched.log.count("cannot be written (No space left on device)") == 1
        filler.unlink()
        wait_until(lambda: "can be written again" in watched.log)
        held = json.loads((tmp_path / "data" / "ledger.json").read_text())["held"]
        assert set(held) >= paused(server)
        stop(process)
        watched.log_since(0)
        assert paused(server) == set()


def test_a_full_disk_at_the_start_is_told_and_at_the_end_all_is_open(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data"), simulated_immich_server() as server:
        fill(tmp_path / "data")
        with daemon(server, tmp_path, DATA_DIR=str(tmp_path / "data"), POLL_INTERVAL=1) as process:
            wait_until(lambda: is_under_control(server))
            assert_still_working(server)
            stop(process)
        assert paused(server) == set()
    assert "Make room, or check DATA_DIR" in ObservedProcess(process.pid, tmp_path).log_since(0)


def test_a_disk_that_becomes_read_only_is_told_once_and_its_end_too(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "data") as remount,
        simulated_immich_server() as server,
        daemon(server, tmp_path, DATA_DIR=str(tmp_path / "data"), POLL_INTERVAL=1) as process,
    ):
        watched = ObservedProcess(process.pid, tmp_path)
        wait_until(lambda: is_under_control(server))
        remount("ro")
        assert_still_working(server)
        assert_still_working(server, "library")
        assert watched.log.count("cannot be written (Read-only file system)") == 1
        remount("rw")
        wait_until(lambda: "can be written again" in watched.log)
        stop(process)
        watched.log_since(0)
        assert paused(server) == set()


def test_a_folder_that_vanishes_is_made_again_with_all_that_is_held(tmp_path: Path) -> None:
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


# The clock


def fake_clock() -> Path:
    """Return Debian's libfaketime, which gives a process a wall clock of its own."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "libfaketime is missing: run script/test, which installs it"
    return found[0]


@pytest.mark.parametrize("jump", ["-1h", "+1d"])
def test_a_wall_clock_that_is_set_changes_nothing_but_the_times_that_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: str
) -> None:
    """Only the wall clock of the process jumps, as it does where a machine's is set."""
    setting = tmp_path / "clock"
    setting.write_text("+0")
    monkeypatch.setenv("LD_PRELOAD", str(fake_clock()))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(setting))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("DONT_FAKE_MONOTONIC", "1")
    with (
        simulated_immich_server() as server,
        real_daemon(server, tmp_path, POLL_INTERVAL=1) as real,
    ):
        monkeypatch.delenv("LD_PRELOAD")
        watched = ObservedProcess(real.process.pid, tmp_path)
        assert_still_working(server)
        before, processor = real_time(real.status_port), watched.cpu_seconds
        setting.write_text(jump)
        wait_until(lambda: abs(real_time(real.status_port) - before) > 3000)
        assert_still_working(server, "library")
        assert_still_working(server)
        assert requests.get(f"http://127.0.0.1:{real.status_port}/health", timeout=90).ok
        assert requests.get(f"http://127.0.0.1:{real.page_port}/", timeout=90).ok
        # No round follows the other without a pause.
        assert watched.cpu_seconds - processor < 15
        assert "WARNING" not in watched.log_since(0)
        stop(real.process)
        assert paused(server) == set()


def real_time(port: int) -> float:
    """Return when the daemon says that it looked at Immich last, in seconds since 1970."""
    metrics = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=90).text
    (line,) = [line for line in metrics.splitlines() if line.startswith(LAST_LOOK)]
    return float(line.split()[1])


LAST_LOOK: Final = "immich_job_daemon_last_look_timestamp_seconds "


# Signals


def test_a_stop_at_any_moment_of_the_start_leaves_nothing_paused(tmp_path: Path) -> None:
    """Before the first import is done SIGTERM ends any process as it ends this one."""
    moments = random.Random(7)  # noqa: S311 - the same moments each time
    with simulated_immich_server() as server:
        for _ in range(8):
            with daemon(server, tmp_path) as process:
                time.sleep(moments.uniform(0.0, 0.8))
                process.terminate()
                assert process.wait(TIMEOUT) in (0, -signal.SIGTERM)
            assert paused(server) == set()
    ObservedProcess(process.pid, tmp_path).log_since(0)


def test_a_second_signal_does_not_tear_the_release_apart(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        released = []

        def note(method: str, _: str) -> None:
            if method == "PUT":
                released.append(method)

        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            server.latency = 1.0
            server.faults = note
            process.terminate()
            wait_until(lambda: bool(released))
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                process.send_signal(number)
            assert process.wait(TIMEOUT) == 0
        assert paused(server) == set()
        assert json.loads((tmp_path / "ledger.json").read_text())["held"] == []


def test_with_an_immich_that_hangs_a_container_ends_within_its_grace(tmp_path: Path) -> None:
    """And the next start makes it good."""
    with simulated_immich_server() as server:
        # On a slow machine any stop takes its time.
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            usual = stop(process)
        with real_daemon(server, tmp_path) as real:
            asked = []

            def hang(method: str, path: str) -> Fault:
                asked.append((method, path))
                return Fault.HANG

            server.faults = hang
            wait_until(lambda: bool(asked))
            assert stop(real.process) < STOP_GRACE_PERIOD + usual
            said = ObservedProcess(real.process.pid, tmp_path).log_since(0)
        assert "Not resumed, so it may stay paused: " in said
        held = json.loads((tmp_path / "ledger.json").read_text())["held"]
        assert set(held) == paused(server) != set()
        server.faults = None
        with daemon(server, tmp_path) as process:
            wait_until(lambda: (tmp_path / "log.txt").read_text().count("Connected") == 2)
            stop(process)
        assert paused(server) == set()


# Files


@contextmanager
def crowd(*ports: int) -> Iterator[None]:
    """Keep 150 connections to each port, of which most are never taken."""
    with ExitStack() as stack:
        for port in ports:
            for _ in range(150):
                one = stack.enter_context(socket.socket())
                one.setblocking(False)  # noqa: FBT003 - socket's own way
                one.connect_ex(("127.0.0.1", port))
        yield


def test_where_few_files_may_be_open_a_crowd_keeps_none_from_the_daemon(tmp_path: Path) -> None:
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
            watched = ObservedProcess(process.pid, tmp_path)
            few = watched.open_files
            with crowd(*ports.values()):
                wait_until(lambda: watched.open_files >= few + 20)
                processor, began = watched.cpu_seconds, time.monotonic()
                for _ in range(3):
                    assert_still_working(server)
                share = (watched.cpu_seconds - processor) / (time.monotonic() - began)
                assert share < 0.25, "it turns round and round"
                process.terminate()
                assert process.wait(TIMEOUT) == 0
            said = watched.log_since(0)
            assert "WARNING" not in said
            assert paused(server) == set()
        finally:
            process.kill()
            process.wait()


def test_without_a_file_left_it_says_so_and_is_well_when_there_are_some(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        server.keep_alive = 0.2
        with daemon(server, tmp_path, POLL_INTERVAL=1) as process:
            watched = ObservedProcess(process.pid, tmp_path)
            wait_until(lambda: is_under_control(server))
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, hard))
            wait_until(lambda: "there is no file left for a connection" in watched.log)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (hard, hard))
            wait_until(lambda: "All is well again" in watched.log)
            assert_still_working(server)
            stop(process)
        watched.log_since(0)
        assert paused(server) == set()
