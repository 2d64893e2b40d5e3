"""The commands, run as real processes with real signals and real HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from fcntl import ioctl
from pathlib import Path
from termios import FIONREAD

import pytest

from immich_job_daemon.config.schema import SETTINGS
from simulator.immich.engine import Engine
from simulator.immich.faults import Fault
from simulator.immich.pipeline import lasting
from simulator.immich.server import SimulatedServer
from tests.support.immich_server import (
    KEY,
    MANAGED,
    STOP_GRACE_PERIOD,
    is_idle,
    is_under_control,
    paused,
    simulated_immich_server,
)
from tests.support.waiting import TIMEOUT, wait_until


def environment(**settings: str) -> dict[str, str]:
    """Return this environment with the settings. Ports are closed: other tests run in parallel."""
    inherited = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return {**inherited, "STATUS_PORT": "0", "UI_PORT": "0", **settings}


def command(
    *arguments: str, stdin: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a command until it exits."""
    return subprocess.run(
        [sys.executable, "-m", "immich_job_daemon", *arguments],
        input=stdin,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def daemon(
    server: SimulatedServer, folder: Path, **options: object
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run the daemon as the add-on does."""
    return daemon_through((), server, folder, options)


@contextmanager
def daemon_through(
    command: Sequence[str], server: SimulatedServer, folder: Path, options: Mapping[str, object]
) -> Iterator[subprocess.Popen[str]]:
    """Run the daemon through a wrapper command that executes another."""
    settings = {"IMMICH_URL": server.url, "API_KEY": KEY, "DATA_DIR": str(folder), **options}
    log = (folder / "log.txt").open("a")
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "immich_job_daemon", "run", "--options", "-"],
        stdin=subprocess.PIPE,
        stderr=log,
        env=environment(),
        text=True,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(settings))
        process.stdin.close()
        yield process
    finally:
        process.kill()
        process.wait()
        log.close()


def stop(
    process: subprocess.Popen[str] | subprocess.Popen[bytes],
    number: signal.Signals = signal.SIGTERM,
) -> float:
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(TIMEOUT) == 0
    return time.monotonic() - began


# run


def test_queues_run_by_priority_and_are_all_open_after_a_stop(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with server.present() as engine:
            for name in MANAGED:
                engine.pause(name, by="an older tool")
            engine.upload(photos=3)
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_idle(server))
            stop(process)
        assert paused(server) == set()
    log = (tmp_path / "log.txt").read_text()
    order = [line.split()[2] for line in log.splitlines() if " is running (" in line]
    assert order[:3] == ["metadataExtraction", "storageTemplateMigration", "thumbnailGeneration"]
    assert KEY not in log
    assert all(line.startswith("[") for line in log.splitlines())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_and_sigint_stop_the_daemon(tmp_path: Path, number: signal.Signals) -> None:
    with simulated_immich_server() as server, daemon(server, tmp_path) as process:
        wait_until(lambda: is_under_control(server))
        stop(process, number)
        assert paused(server) == set()


def test_on_exit_keep_leaves_queues_paused_and_release_resumes_them(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with daemon(server, tmp_path, ON_EXIT="keep") as process:
            wait_until(lambda: is_under_control(server))
            stop(process)
        assert is_under_control(server)
        done = command("release", IMMICH_URL=server.url, API_KEY=KEY, DATA_DIR=str(tmp_path))
        assert (done.returncode, paused(server)) == (0, set())
        assert "library: resumed" in done.stdout


def test_queues_are_resumed_in_time_on_a_slow_server(
    tmp_path: Path,
) -> None:
    """Each response takes a second: sent one after the other, the requests would take 13 s."""
    with simulated_immich_server() as server:
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            server.latency = 1.0
            took = stop(process)
        assert paused(server) == set()
        assert took < STOP_GRACE_PERIOD


def test_a_stop_does_not_wait_for_a_request_that_hangs(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        requests = []

        def hang(method: str, path: str) -> Fault | None:
            requests.append((method, path))
            return Fault.HANG if method == "GET" else None

        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            server.faults = hang
            wait_until(lambda: bool(requests))
            took = stop(process)
        assert paused(server) == set()
        assert took < STOP_GRACE_PERIOD


def test_a_queue_that_cannot_be_resumed_stays_in_the_ledger_and_is_logged(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            server.faults = lambda _method, path: Fault.RESET if path.endswith("ocr") else None
            stop(process)
        assert paused(server) == {"ocr"}
        assert json.loads((tmp_path / "ledger.json").read_text())["paused_by_daemon"] == ["ocr"]
        assert "Not resumed, so these may stay paused: ocr" in (tmp_path / "log.txt").read_text()
        server.faults = None
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            stop(process)
        assert paused(server) == set()


def test_after_a_kill_the_daemon_continues_where_it_was(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with server.present() as engine:
            engine.add("ocr", lasting(3600))
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server, but="ocr"))
            wait_until(lambda: "ocr is running" in (tmp_path / "log.txt").read_text())
            process.kill()
            process.wait()
        assert is_under_control(server, but="ocr")
        with server.present() as engine:
            engine.add("metadataExtraction", lasting(1))
            engine.pause("library", by="user")
        with daemon(server, tmp_path) as process:
            wait_until(lambda: (tmp_path / "log.txt").read_text().count("ocr is running") == 2)
            assert "ocr" not in paused(server)
            assert "metadataExtraction" in paused(server)
            stop(process)
        assert paused(server) == set()


def test_the_daemon_waits_for_a_server_that_starts_later(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with server.present() as engine:
            engine.restart(downtime=3600)
        with daemon(server, tmp_path) as process:
            wait_until(lambda: "Trying again in" in (tmp_path / "log.txt").read_text())
            with server.present() as engine:
                engine.advance(engine.now + 3600)
            wait_until(lambda: is_under_control(server))
            stop(process)


def test_a_stop_ends_the_wait_for_a_server(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with server.present() as engine:
            engine.restart(downtime=3600)
        with daemon(server, tmp_path) as process:
            wait_until(lambda: "Trying again in" in (tmp_path / "log.txt").read_text())
            stop(process)


def test_a_stop_while_reading_options_ends_the_daemon_cleanly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "immich_job_daemon", "run", "--options", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        bufsize=0,
    )
    with process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"{")
        pipe, unread = process.stdin, array("i", [1])

        def is_read() -> bool:
            ioctl(pipe, FIONREAD, unread)
            return unread[0] == 0

        wait_until(is_read)
        process.terminate()
        assert process.wait(TIMEOUT) == 0
        (line,) = process.stderr.read().decode().splitlines()
        assert line.endswith("INFO: Stopped.")


def test_a_closed_standard_input_is_reported() -> None:
    run = [sys.executable, "-m", "immich_job_daemon", "run", "--options", "-"]
    closed = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *run],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert closed.returncode == 2
    (line,) = closed.stderr.splitlines()
    assert "--options: standard input is closed, expected a JSON object" in line


def test_a_stop_ends_the_search_for_a_server(tmp_path: Path) -> None:
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "immich_job_daemon", "run"],
            stderr=log,
            env=environment(API_KEY=KEY, DATA_DIR=str(tmp_path)),
        )
        wait_until(lambda: "IMMICH_URL is empty" in (tmp_path / "log.txt").read_text())
        process.terminate()
        assert process.wait(TIMEOUT) == 0


def test_a_stop_during_the_search_resumes_or_lists_queues_left_paused(
    tmp_path: Path,
) -> None:
    with simulated_immich_server() as server:
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            process.kill()
            process.wait()
        # The server was found at this URL before, but does not answer the ping now.
        (tmp_path / "server.json").write_text(json.dumps({"url": server.url}))
        server.faults = lambda _method, path: Fault.SERVER_ERROR if "ping" in path else None
        with daemon(server, tmp_path, IMMICH_URL="") as process:
            wait_until(lambda: "IMMICH_URL is empty" in (tmp_path / "log.txt").read_text())
            stop(process)
        assert paused(server) == set()
    with daemon(server, tmp_path, IMMICH_URL="") as process:
        (tmp_path / "ledger.json").write_text(
            '{"version": 1, "held": ["ocr"], "paused_by_others": [], "slots": [], '
            '"is_limited": false}'
        )
        wait_until(lambda: (tmp_path / "log.txt").read_text().count("IMMICH_URL is empty") == 2)
        stop(process)
    assert "Not resumed, so these may stay paused: ocr" in (tmp_path / "log.txt").read_text()


def test_the_key_is_in_no_command_line_environment_or_log(tmp_path: Path) -> None:
    with (
        simulated_immich_server() as server,
        daemon(server, tmp_path, LOG_LEVEL="trace") as process,
    ):
        wait_until(lambda: is_under_control(server))
        process_folder = Path("/proc") / str(process.pid)
        for name in ("cmdline", "environ"):
            assert KEY.encode() not in (process_folder / name).read_bytes()
        stop(process)
    assert KEY not in (tmp_path / "log.txt").read_text()


def test_all_invalid_settings_are_reported_at_once() -> None:
    done = command(
        "run",
        "--options",
        "-",
        stdin='{"MAX_CONCURRENT_JOBS": "0", "POLL_INTERVAL": "soon", "API_KEY": ""}',
        LOG_LEVEL="loud",
    )
    assert done.returncode == 2
    for name in ("MAX_CONCURRENT_JOBS", "POLL_INTERVAL", "API_KEY", "LOG_LEVEL"):
        assert f"ERROR: {name}: " in done.stderr
    assert len(done.stderr.splitlines()) == 4


def test_options_that_are_not_json_are_rejected_without_showing_them(tmp_path: Path) -> None:
    file = tmp_path / "options.json"
    file.write_text('{"API_KEY": "' + KEY)
    done = command("run", "--options", str(file))
    assert done.returncode == 2
    assert "is not valid JSON" in done.stderr
    assert KEY not in done.stderr


def test_an_unknown_option_is_ignored_with_one_warning(tmp_path: Path) -> None:
    with simulated_immich_server() as server, daemon(server, tmp_path, COLOUR="red") as process:
        wait_until(lambda: is_under_control(server))
        stop(process)
    assert (tmp_path / "log.txt").read_text().count("COLOUR") == 1


def test_a_rejected_key_exits_with_code_2() -> None:
    with simulated_immich_server() as server:
        done = command("run", IMMICH_URL=server.url, API_KEY="wrong-key", DATA_DIR="/dev/null/x")
    assert done.returncode == 2
    assert "FATAL" in done.stderr
    assert "wrong-key" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_permission_is_named_and_exits_with_code_2(tmp_path: Path) -> None:
    with simulated_immich_server(frozenset({"queue.read"})) as server:
        done = command("run", IMMICH_URL=server.url, API_KEY=KEY, DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "queue.update" in done.stderr
    assert "API Keys" in done.stderr


# run, as a dry run


def commands_to(server: SimulatedServer) -> list[str]:
    """Return a list to which all later requests but GETs are added."""
    sent: list[str] = []

    def record(method: str, path: str) -> None:
        if method != "GET":
            sent.append(f"{method} {path}")

    server.faults = record
    return sent


def log_of(folder: Path) -> list[str]:
    return (folder / "log.txt").read_text().splitlines()


def test_a_dry_run_logs_everything_and_sends_no_command(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with server.present() as engine:
            engine.add("thumbnailGeneration", lasting(3600), count=9)
            engine.add("videoConversion", lasting(3600), count=9)
        sent = commands_to(server)
        with daemon(server, tmp_path, DRY_RUN=True) as process:
            wait_until(
                lambda: any("thumbnailGeneration is running" in line for line in log_of(tmp_path))
            )
            stop(process)
        assert (sent, paused(server)) == ([], set())
    assert not (tmp_path / "ledger.json").exists()
    lines = log_of(tmp_path)
    assert all(re.match(r"\[..:..:..\] [A-Z]+: dry run: ", line) for line in lines)
    assert any("NOTICE" in line and "sends no commands to Immich" in line for line in lines)
    assert any("videoConversion is finishing" in line for line in lines)


def test_a_dry_run_does_not_resume_queues_of_an_earlier_run_and_says_so(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with daemon(server, tmp_path, ON_EXIT="keep") as process:
            wait_until(lambda: is_under_control(server))
            stop(process)
        kept = (tmp_path / "ledger.json").read_bytes()
        sent = commands_to(server)
        with daemon(server, tmp_path, DRY_RUN="true") as process:
            wait_until(lambda: any("dry run: Connected" in line for line in log_of(tmp_path)))
            stop(process)
        # The same if Immich is not found at all.
        (tmp_path / "server.json").write_text(json.dumps({"url": server.url}))
        server.faults = lambda _method, path: Fault.SERVER_ERROR if "ping" in path else None
        with daemon(server, tmp_path, DRY_RUN=True, IMMICH_URL="") as process:
            wait_until(lambda: any("IMMICH_URL is empty" in line for line in log_of(tmp_path)))
            stop(process)
        assert sent == []
        assert is_under_control(server)
    assert (tmp_path / "ledger.json").read_bytes() == kept
    assert any("a dry run resumes nothing: duplicateD" in line for line in log_of(tmp_path))


def test_settings_without_effect_are_logged_once(
    tmp_path: Path,
) -> None:
    window = {"queues": ["editor", "videos"], "from": "22:00", "to": "06:00", "days": "mon-fri"}
    with (
        simulated_immich_server() as server,
        daemon(server, tmp_path, SCHEDULE=[window]) as process,
    ):
        wait_until(lambda: is_under_control(server))
        stop(process)
    warnings = [line[11:] for line in log_of(tmp_path) if "WARNING" in line]
    assert warnings[0] == (
        "WARNING: SCHEDULE: editor is in PROTECTED_QUEUES, so its window has no effect"
    )
    assert warnings[1].startswith("WARNING: SCHEDULE: Immich has no queue videos, so this has no ")
    assert len(warnings) == 2


# check


def test_check_reports_what_the_daemon_would_find_and_changes_nothing(tmp_path: Path) -> None:
    with simulated_immich_server(frozenset({"queue.read", "queue.update", "job.read"})) as server:
        done = command("check", IMMICH_URL=server.url, API_KEY=KEY, DATA_DIR=str(tmp_path))
        assert paused(server) == set()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "Immich       3.1.0, through its queues API" in lines
    assert "queues API   the key has queue.read and queue.update" in lines
    assert "jobs API     the key has job.read; the key lacks job.create" in lines
    assert sum(line.split()[0] in Engine().queues for line in lines if line) == 19
    assert any("backgroundTask" in line and "open, protected" in line for line in lines)


def test_check_reports_the_permission_to_scan_and_the_local_time(tmp_path: Path) -> None:
    settings = {"API_KEY": KEY, "DATA_DIR": str(tmp_path), "SCAN": "03:00", "TZ": "Asia/Kolkata"}
    with simulated_immich_server(frozenset({"queue.read", "queue.update"})) as server:
        done = command("check", IMMICH_URL=server.url, **settings)
    assert done.returncode == 0, done.stderr
    assert "Scan         the key lacks job.create, so SCAN has no effect" in done.stdout
    assert re.search(r"Local time   \w+ \d\d:\d\d, time zone Asia/Kolkata\n", done.stdout)
    with simulated_immich_server() as server:
        done = command("check", IMMICH_URL=server.url, **settings)
    assert "Scan         the key has job.create\n" in done.stdout


def test_check_reports_settings_without_effect(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        done = command(
            "check",
            IMMICH_URL=server.url,
            API_KEY=KEY,
            DATA_DIR=str(tmp_path),
            SCHEDULE="editor=22:00-06:00",
            EXCLUSIVE="ocr,videos",
        )
    assert done.returncode == 0, done.stderr
    assert "SCHEDULE: editor is in PROTECTED_QUEUES" in done.stdout
    assert "EXCLUSIVE: Immich has no queue videos" in done.stdout
    assert "The daemon can run." in done.stdout
    assert "Scan  " not in done.stdout


def test_check_exits_with_code_2_when_a_permission_is_missing(tmp_path: Path) -> None:
    with simulated_immich_server(frozenset({"queue.read"})) as server:
        done = command("check", IMMICH_URL=server.url, API_KEY=KEY, DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "the key lacks queue.update" in done.stdout


def test_check_exits_with_code_1_when_immich_is_unreachable(tmp_path: Path) -> None:
    done = command("check", IMMICH_URL="http://127.0.0.1:9", API_KEY=KEY, DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr


def test_check_exits_with_code_1_when_the_data_folder_is_not_writable() -> None:
    with simulated_immich_server() as server:
        done = command("check", IMMICH_URL=server.url, API_KEY=KEY, DATA_DIR="/dev/null/x")
    assert done.returncode == 1
    assert "/dev/null/x is not writable" in done.stdout


def test_check_with_invalid_settings_exits_with_code_2() -> None:
    assert command("check", MAX_CONCURRENT_JOBS="many").returncode == 2


# release


def test_release_resumes_only_queues_that_a_killed_daemon_left_paused(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            process.kill()
            process.wait()
        with server.present() as engine:
            engine.pause("backupDatabase", by="user")
        settings = {"IMMICH_URL": server.url, "API_KEY": KEY, "DATA_DIR": str(tmp_path)}
        done = command("release", **settings)
        assert (done.returncode, paused(server)) == (0, {"backupDatabase"})
        assert "left paused: backupDatabase" in done.stdout
        assert json.loads((tmp_path / "ledger.json").read_text())["paused_by_daemon"] == []
        done = command("release", **settings)
        assert (done.returncode, paused(server)) == (0, {"backupDatabase"})
        assert "add --all" in done.stdout
        done = command("release", "--all", **settings)
        assert (done.returncode, paused(server)) == (0, set())
        done = command("release", "--all", **settings)
        assert (done.returncode, done.stdout) == (
            0,
            "No queue is paused, so there is nothing to resume.\n",
        )


def test_release_without_a_ledger_leaves_the_first_start_the_first(
    tmp_path: Path,
) -> None:
    """A later start would treat queues that an older tool left paused as paused by a user."""
    with simulated_immich_server() as server:
        with server.present() as engine:
            for name in MANAGED:
                engine.pause(name, by="an older tool")
        settings = {"IMMICH_URL": server.url, "API_KEY": KEY, "DATA_DIR": str(tmp_path)}
        assert command("release", **settings).returncode == 0
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            stop(process)
        assert paused(server) == set()


def test_release_lists_queues_that_it_could_not_resume(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with server.present() as engine:
            engine.pause("ocr", by="user")
            engine.pause("library", by="user")
        server.faults = lambda _method, path: Fault.SERVER_ERROR if "ocr" in path else None
        done = command(
            "release", "--all", IMMICH_URL=server.url, API_KEY=KEY, DATA_DIR=str(tmp_path)
        )
        assert (done.returncode, paused(server)) == (1, {"ocr"})
        assert "library: resumed" in done.stdout
        assert "ocr: " in done.stdout
        assert "Try again." in done.stdout


def test_release_exits_with_code_1_when_immich_is_unreachable(tmp_path: Path) -> None:
    done = command("release", IMMICH_URL="http://127.0.0.1:9", API_KEY=KEY, DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_release_with_invalid_settings_exits_with_code_2() -> None:
    assert command("release").returncode == 2


# General


def test_the_version_is_printed() -> None:
    assert command("--version").stdout.strip().count(".") == 2


def test_a_closed_output_pipe_causes_no_traceback(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "immich_job_daemon", "check"],
            env=environment(IMMICH_URL=server.url, API_KEY=KEY, DATA_DIR=str(tmp_path)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            errors = process.stderr.read()
    assert "Traceback" not in errors
    assert process.returncode == 1
