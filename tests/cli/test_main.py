"""The commands as a user runs them: real processes, real signals, real HTTP."""

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
    """Return this process's, with no port open unless a test asks for one: others run beside."""
    mine = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return {**mine, "STATUS_PORT": "0", "UI_PORT": "0", **settings}


def command(
    *arguments: str, stdin: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
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
    """Start the daemon as the add-on does."""
    return daemon_through((), server, folder, options)


@contextmanager
def daemon_through(
    command: Sequence[str], server: SimulatedServer, folder: Path, options: Mapping[str, object]
) -> Iterator[subprocess.Popen[str]]:
    """Start the daemon with a command that becomes another, elsewhere."""
    given = {"IMMICH_URL": server.url, "API_KEY": KEY, "DATA_DIR": str(folder), **options}
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
        process.stdin.write(json.dumps(given))
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


def test_the_queues_run_by_priority_and_all_are_open_after_the_stop(tmp_path: Path) -> None:
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
    order = [line.split()[2] for line in log.splitlines() if " runs (" in line]
    assert order[:3] == ["metadataExtraction", "storageTemplateMigration", "thumbnailGeneration"]
    assert KEY not in log
    assert all(line.startswith("[") for line in log.splitlines())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_stop_it(tmp_path: Path, number: signal.Signals) -> None:
    with simulated_immich_server() as server, daemon(server, tmp_path) as process:
        wait_until(lambda: is_under_control(server))
        stop(process, number)
        assert paused(server) == set()


def test_with_on_exit_keep_the_queues_stay_held_and_release_resumes_them(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with daemon(server, tmp_path, ON_EXIT="keep") as process:
            wait_until(lambda: is_under_control(server))
            stop(process)
        assert is_under_control(server)
        done = command("release", IMMICH_URL=server.url, API_KEY=KEY, DATA_DIR=str(tmp_path))
        assert (done.returncode, paused(server)) == (0, set())
        assert "library: resumed" in done.stdout


def test_a_slow_server_does_not_keep_the_queues_from_being_resumed_in_time(
    tmp_path: Path,
) -> None:
    """Each answer takes a second: one after the other that would be thirteen."""
    with simulated_immich_server() as server:
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            server.latency = 1.0
            took = stop(process)
        assert paused(server) == set()
        assert took < STOP_GRACE_PERIOD


def test_a_stop_in_the_middle_of_a_request_that_hangs_is_not_kept_waiting(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        asked = []

        def hang(method: str, path: str) -> Fault | None:
            asked.append((method, path))
            return Fault.HANG if method == "GET" else None

        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            server.faults = hang
            wait_until(lambda: bool(asked))
            took = stop(process)
        assert paused(server) == set()
        assert took < STOP_GRACE_PERIOD


def test_what_cannot_be_resumed_stays_in_the_ledger_and_is_named(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            server.faults = lambda _method, path: Fault.RESET if path.endswith("ocr") else None
            stop(process)
        assert paused(server) == {"ocr"}
        assert json.loads((tmp_path / "ledger.json").read_text())["held"] == ["ocr"]
        assert "Not resumed, so it may stay paused: ocr" in (tmp_path / "log.txt").read_text()
        server.faults = None
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            stop(process)
        assert paused(server) == set()


def test_after_a_kill_it_goes_on_where_it_was(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with server.present() as engine:
            engine.add("ocr", lasting(3600))
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server, but="ocr"))
            wait_until(lambda: "ocr runs" in (tmp_path / "log.txt").read_text())
            process.kill()
            process.wait()
        assert is_under_control(server, but="ocr")
        with server.present() as engine:
            engine.add("metadataExtraction", lasting(1))
            engine.pause("library", by="person")
        with daemon(server, tmp_path) as process:
            wait_until(lambda: (tmp_path / "log.txt").read_text().count("ocr runs") == 2)
            assert "ocr" not in paused(server)
            assert "metadataExtraction" in paused(server)
            stop(process)
        assert paused(server) == set()


def test_it_waits_for_a_server_that_starts_later(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with server.present() as engine:
            engine.restart(downtime=3600)
        with daemon(server, tmp_path) as process:
            wait_until(lambda: "Trying again in" in (tmp_path / "log.txt").read_text())
            with server.present() as engine:
                engine.advance(engine.now + 3600)
            wait_until(lambda: is_under_control(server))
            stop(process)


def test_a_stop_while_it_waits_for_a_server_ends_it(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with server.present() as engine:
            engine.restart(downtime=3600)
        with daemon(server, tmp_path) as process:
            wait_until(lambda: "Trying again in" in (tmp_path / "log.txt").read_text())
            stop(process)


def test_a_stop_while_it_waits_for_its_options_ends_it_in_peace() -> None:
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


def test_without_a_standard_input_it_says_so() -> None:
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


def test_a_stop_while_it_looks_for_a_server_ends_it(tmp_path: Path) -> None:
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "immich_job_daemon", "run"],
            stderr=log,
            env=environment(API_KEY=KEY, DATA_DIR=str(tmp_path)),
        )
        wait_until(lambda: "IMMICH_URL is empty" in (tmp_path / "log.txt").read_text())
        process.terminate()
        assert process.wait(TIMEOUT) == 0


def test_a_stop_while_it_looks_for_a_server_names_what_an_earlier_run_left_held(
    tmp_path: Path,
) -> None:
    with simulated_immich_server() as server:
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            process.kill()
            process.wait()
        # The server was found at this place before, but does not answer a ping now.
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
    assert "Not resumed, so it may stay paused: ocr" in (tmp_path / "log.txt").read_text()


def test_the_key_is_in_no_process_list_and_no_environment(tmp_path: Path) -> None:
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


def test_every_wrong_setting_is_named_at_once() -> None:
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


def test_options_that_are_no_json_are_an_error_that_does_not_show_them(tmp_path: Path) -> None:
    file = tmp_path / "options.json"
    file.write_text('{"API_KEY": "' + KEY)
    done = command("run", "--options", str(file))
    assert done.returncode == 2
    assert "is not JSON" in done.stderr
    assert KEY not in done.stderr


def test_an_unknown_option_is_said_once_and_ignored(tmp_path: Path) -> None:
    with simulated_immich_server() as server, daemon(server, tmp_path, COLOUR="red") as process:
        wait_until(lambda: is_under_control(server))
        stop(process)
    assert (tmp_path / "log.txt").read_text().count("COLOUR") == 1


def test_a_rejected_key_ends_it_with_code_2() -> None:
    with simulated_immich_server() as server:
        done = command("run", IMMICH_URL=server.url, API_KEY="wrong-key", DATA_DIR="/dev/null/x")
    assert done.returncode == 2
    assert "FATAL" in done.stderr
    assert "wrong-key" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_permission_ends_it_with_code_2_and_its_name(tmp_path: Path) -> None:
    with simulated_immich_server(frozenset({"queue.read"})) as server:
        done = command("run", IMMICH_URL=server.url, API_KEY=KEY, DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "queue.update" in done.stderr
    assert "API Keys" in done.stderr


# run, as a rehearsal


def commands_to(server: SimulatedServer) -> list[str]:
    """Return a list that is filled with all that is asked of Immich but to be told something."""
    sent: list[str] = []

    def note(method: str, path: str) -> None:
        if method != "GET":
            sent.append(f"{method} {path}")

    server.faults = note
    return sent


def log_of(folder: Path) -> list[str]:
    return (folder / "log.txt").read_text().splitlines()


def test_a_rehearsal_tells_all_and_sends_nothing(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with server.present() as engine:
            engine.add("thumbnailGeneration", lasting(3600), count=9)
            engine.add("videoConversion", lasting(3600), count=9)
        sent = commands_to(server)
        with daemon(server, tmp_path, DRY_RUN=True) as process:
            wait_until(lambda: any("thumbnailGeneration runs" in line for line in log_of(tmp_path)))
            stop(process)
        assert (sent, paused(server)) == ([], set())
    assert not (tmp_path / "ledger.json").exists()
    lines = log_of(tmp_path)
    assert all(re.match(r"\[..:..:..\] [A-Z]+: rehearsal: ", line) for line in lines)
    assert any("NOTICE" in line and "nothing is sent to Immich" in line for line in lines)
    assert any("videoConversion finishes what it is at" in line for line in lines)


def test_a_rehearsal_resumes_nothing_of_an_earlier_run_and_says_so(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with daemon(server, tmp_path, ON_EXIT="keep") as process:
            wait_until(lambda: is_under_control(server))
            stop(process)
        kept = (tmp_path / "ledger.json").read_bytes()
        sent = commands_to(server)
        with daemon(server, tmp_path, DRY_RUN="true") as process:
            wait_until(lambda: any("rehearsal: Connected" in line for line in log_of(tmp_path)))
            stop(process)
        # Also where Immich is not found at all.
        (tmp_path / "server.json").write_text(json.dumps({"url": server.url}))
        server.faults = lambda _method, path: Fault.SERVER_ERROR if "ping" in path else None
        with daemon(server, tmp_path, DRY_RUN=True, IMMICH_URL="") as process:
            wait_until(lambda: any("IMMICH_URL is empty" in line for line in log_of(tmp_path)))
            stop(process)
        assert sent == []
        assert is_under_control(server)
    assert (tmp_path / "ledger.json").read_bytes() == kept
    assert any("a rehearsal resumes nothing: duplicateD" in line for line in log_of(tmp_path))


def test_what_contradicts_itself_or_the_immich_that_answers_is_warned_of_once(
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


def test_check_tells_what_the_daemon_would_find_and_changes_nothing(tmp_path: Path) -> None:
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


def test_check_tells_whether_a_scan_could_be_asked_for_and_what_time_it_is(tmp_path: Path) -> None:
    wanted = {"API_KEY": KEY, "DATA_DIR": str(tmp_path), "SCAN": "03:00", "TZ": "Asia/Kolkata"}
    with simulated_immich_server(frozenset({"queue.read", "queue.update"})) as server:
        done = command("check", IMMICH_URL=server.url, **wanted)
    assert done.returncode == 0, done.stderr
    assert "Scan         the key lacks job.create: without it SCAN has no effect" in done.stdout
    assert re.search(r"Local time   \w+ \d\d:\d\d, zone Asia/Kolkata\n", done.stdout)
    with simulated_immich_server() as server:
        done = command("check", IMMICH_URL=server.url, **wanted)
    assert "Scan         the key has job.create\n" in done.stdout


def test_check_names_what_contradicts_itself_and_what_immich_has_not(tmp_path: Path) -> None:
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
    assert "The daemon can do its work." in done.stdout
    assert "Scan  " not in done.stdout


def test_check_ends_with_code_2_when_a_permission_is_missing(tmp_path: Path) -> None:
    with simulated_immich_server(frozenset({"queue.read"})) as server:
        done = command("check", IMMICH_URL=server.url, API_KEY=KEY, DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "the key lacks queue.update" in done.stdout


def test_check_ends_with_code_1_when_nothing_answers(tmp_path: Path) -> None:
    done = command("check", IMMICH_URL="http://127.0.0.1:9", API_KEY=KEY, DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr


def test_check_ends_with_code_1_without_a_folder_for_the_ledger() -> None:
    with simulated_immich_server() as server:
        done = command("check", IMMICH_URL=server.url, API_KEY=KEY, DATA_DIR="/dev/null/x")
    assert done.returncode == 1
    assert "/dev/null/x cannot be written" in done.stdout


def test_check_with_wrong_settings_ends_with_code_2() -> None:
    assert command("check", MAX_CONCURRENT_JOBS="many").returncode == 2


# release


def test_release_resumes_what_a_killed_daemon_held_and_nothing_else(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with daemon(server, tmp_path) as process:
            wait_until(lambda: is_under_control(server))
            process.kill()
            process.wait()
        with server.present() as engine:
            engine.pause("backupDatabase", by="person")
        settings = {"IMMICH_URL": server.url, "API_KEY": KEY, "DATA_DIR": str(tmp_path)}
        done = command("release", **settings)
        assert (done.returncode, paused(server)) == (0, {"backupDatabase"})
        assert "left so: backupDatabase" in done.stdout
        assert json.loads((tmp_path / "ledger.json").read_text())["held"] == []
        done = command("release", **settings)
        assert (done.returncode, paused(server)) == (0, {"backupDatabase"})
        assert "add --all" in done.stdout
        done = command("release", "--all", **settings)
        assert (done.returncode, paused(server)) == (0, set())
        done = command("release", "--all", **settings)
        assert (done.returncode, done.stdout) == (0, "No queue is paused: nothing to resume.\n")


def test_release_without_a_ledger_does_not_make_the_first_start_a_later_one(
    tmp_path: Path,
) -> None:
    """It would take all that an older tool left paused for somebody's wish."""
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


def test_release_names_what_it_could_not_resume(tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with server.present() as engine:
            engine.pause("ocr", by="person")
            engine.pause("library", by="person")
        server.faults = lambda _method, path: Fault.SERVER_ERROR if "ocr" in path else None
        done = command(
            "release", "--all", IMMICH_URL=server.url, API_KEY=KEY, DATA_DIR=str(tmp_path)
        )
        assert (done.returncode, paused(server)) == (1, {"ocr"})
        assert "library: resumed" in done.stdout
        assert "ocr: " in done.stdout
        assert "try again" in done.stdout


def test_release_ends_with_code_1_when_nothing_answers(tmp_path: Path) -> None:
    done = command("release", IMMICH_URL="http://127.0.0.1:9", API_KEY=KEY, DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_release_with_wrong_settings_ends_with_code_2() -> None:
    assert command("release").returncode == 2


# and around them


def test_the_version_is_told() -> None:
    assert command("--version").stdout.strip().count(".") == 2


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
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
