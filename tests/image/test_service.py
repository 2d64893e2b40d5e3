"""The service under a real s6, in the root file system of the image; needs root."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from simulator.immich.ports import free_port
from simulator.immich.server import SimulatedServer
from tests.support.immich_server import (
    KEY,
    MANAGED,
    is_under_control,
    paused,
    simulated_immich_server,
)
from tests.support.repository import ROOT
from tests.support.waiting import TIMEOUT, wait_until

USER = 1000
"""The uid of the daemon's user."""
PERMISSIONS = frozenset({"queue.read", "queue.update"})
"""The permissions of the API key."""

Config = dict[str, Any]

# $1: the root file system, $2: the folder for /data, $3: the user, $4: the capabilities of root.
# Mounts are private, and all processes end with the first one: s6, or the s6-overlay of the real
# base. The file system is read-only, except for the mounts that Docker makes too.
CONTAINER = """
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t tmpfs -o exec,mode=755,uid="$3",gid="$3" tmpfs "$1/run"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
mount --bind "$2" "$1/data"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
cd "$1"
exec setpriv --no-new-privs --bounding-set "-all,+sys_chroot,$4" \
  chroot --userspec="$3:$3" --groups= "$1" /init
"""
UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
DOCKER_CAPABILITIES = (
    "+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service"
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("0", "0"), ""),
        (("256", "15"), ""),
        (("256", "9"), "WARNING: The daemon was killed by signal 9 and is restarted."),
        (("1", "0"), "WARNING: The daemon exited with code 1 and is restarted."),
    ],
)
def test_finish_logs_whatever_the_log_level_of_the_daemon(
    arguments: tuple[str, str], message: str
) -> None:
    finish = ROOT / "rootfs/etc/s6-overlay/s6-rc.d/immich_job_daemon/finish"
    result = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", finish, *arguments],
        env={**os.environ, "LOG_LEVEL": "info"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr.partition("] ")[2].strip() == message


def read_proc(process: int, name: str) -> bytes:
    """Return a file of a process in /proc, nothing if the process has ended."""
    try:
        return Path("/proc", str(process), name).read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def pid_namespace(process: int) -> str | None:
    """Return the PID namespace of a process, None if it has ended or is hidden."""
    try:
        return str(Path(f"/proc/{process}/ns/pid").readlink())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


class Container:
    """A running container; ``folder`` is mounted at /data."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        folder: Path,
        config: Config,
        environment: Mapping[str, str],
    ) -> None:
        self.process = process
        self.folder = folder
        self.config = config
        self.environment = environment

    @property
    def log(self) -> str:
        return (self.folder.parent / "log.txt").read_text()

    @property
    def init_pid(self) -> int:
        """The process that has the PID 1 inside the container."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(children.read_text())

    @property
    def processes(self) -> list[int]:
        """All processes of the container."""
        namespace = pid_namespace(self.init_pid)
        ids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in ids if pid_namespace(pid) == namespace]

    @property
    def daemon_pid(self) -> int | None:
        """The PID of the daemon, None if it does not run."""
        for process in self.processes:
            arguments = read_proc(process, "cmdline").split(b"\0")
            if b"immich_job_daemon" in arguments and arguments[0].endswith(b"python3"):
                return process
        return None

    def status(self, name: str) -> list[str]:
        """Return the values of a line of the daemon's /proc status."""
        assert self.daemon_pid is not None
        lines = read_proc(self.daemon_pid, "status").decode().splitlines()
        return next(line.split()[1:] for line in lines if line.startswith(f"{name}:"))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as `docker exec` does."""
        nsenter = ["nsenter", f"--target={self.init_pid}", "--mount", "--pid", "--root", "--wd"]
        return subprocess.run(
            [*nsenter, *command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def is_healthy(self) -> bool:
        """Run the health check of the image."""
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        code = self.run(*command).returncode
        assert code in {0, 1}
        return code == 0

    def stop(self) -> float:
        """Stop the container, as `docker stop` does; return the seconds that it took."""
        began = time.monotonic()
        os.kill(self.init_pid, signal.SIGTERM)
        assert self.process.wait(TIMEOUT) == 0, self.log
        return time.monotonic() - began


def environment_of(config: Config) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in config["Env"])


@contextmanager
def container(  # noqa: PLR0913 - each is an option of Docker
    image: Path,
    tmp_path: Path,
    *,
    options: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    user: int = 0,
    capabilities: str = DOCKER_CAPABILITIES,
) -> Iterator[Container]:
    """Run a container: with options as Home Assistant does, without as Docker does."""
    config = json.loads((image / "config.json").read_text())["config"]
    folder = tmp_path / "data"
    if not folder.exists():
        folder.mkdir()
        os.chown(folder, user, user)
    if options is not None:
        file = folder / "options.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(options))
    # It shares this machine's network with other tests, so no listeners by default.
    ports = {"STATUS_PORT": "0", "UI_PORT": "0"}
    variables = {**environment_of(config), **ports, **(environment or {})}
    arguments = [str(image / "rootfs"), str(folder), str(user), capabilities]
    with (tmp_path / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [*UNSHARE, "bash", "-euc", CONTAINER, "bash", *arguments],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield Container(process, folder, config, variables)
    finally:
        process.kill()
        process.wait()


def options_for(server: SimulatedServer, **options: object) -> dict[str, object]:
    return {"IMMICH_URL": server.url, "API_KEY": KEY, **options}


# As an add-on


def test_the_daemon_runs_as_its_own_user_with_options_readable_for_root_only(
    image: Path, tmp_path: Path
) -> None:
    with simulated_immich_server(PERMISSIONS) as server:
        options = options_for(server, MAX_CONCURRENT_JOBS=2)
        with container(image, tmp_path, options=options) as running:
            wait_until(lambda: is_under_control(server))
            assert "at most 2 of Immich's queues" in running.log
            assert running.status("Uid") == ["1000"] * 4
            assert running.status("Gid") == ["1000"] * 4
            assert running.status("Groups") in ([], ["1000"])
            assert running.status("CapEff") == ["0000000000000000"]
            file = (running.folder / "options.json").stat()
            assert (file.st_uid, file.st_mode & 0o777) == (0, 0o600)
            ledger = (running.folder / "state" / "ledger.json").stat()
            assert ledger.st_uid == USER
            running.stop()


def test_the_key_is_in_no_process_list_environment_or_log(image: Path, tmp_path: Path) -> None:
    with simulated_immich_server(PERMISSIONS) as server:
        options = options_for(server, LOG_LEVEL="trace")
        with container(image, tmp_path, options=options) as running:
            wait_until(lambda: is_under_control(server))
            processes = running.processes
            assert {running.init_pid, running.daemon_pid} < set(processes)
            for process in [running.process.pid, *processes]:
                for name in ("cmdline", "environ"):
                    assert KEY.encode() not in read_proc(process, name), (process, name)
            assert running.run("grep", "-rlF", KEY, "/run", "/tmp").stdout == ""  # noqa: S108 - the temporary folder of the container
            running.stop()
            assert KEY not in running.log


def test_jobs_are_processed_by_priority_and_a_stop_resumes_every_queue_in_time(
    image: Path, tmp_path: Path
) -> None:
    timeout = yaml.safe_load((ROOT / "config.yaml").read_text())["timeout"]
    with simulated_immich_server(PERMISSIONS) as server:
        with server.present() as engine:
            for name in MANAGED:
                engine.pause(name, by="an older tool")
            engine.upload(photos=3)
        with container(image, tmp_path, options=options_for(server)) as running:

            def is_done() -> bool:
                with server.present() as engine:
                    return engine.is_idle

            wait_until(is_done)
            wait_until(lambda: is_under_control(server))
            took = running.stop()
        assert paused(server) == set()
        assert took < timeout / 2
    order = re.findall(r"INFO: (\S+) is running \(", running.log)
    assert order[:3] == ["metadataExtraction", "storageTemplateMigration", "thumbnailGeneration"]


def test_every_line_of_the_log_has_the_same_format(image: Path, tmp_path: Path) -> None:
    with (
        simulated_immich_server(PERMISSIONS) as server,
        container(image, tmp_path, options=options_for(server)) as running,
    ):
        wait_until(lambda: is_under_control(server))
        running.stop()
        lines = running.log.splitlines()
        assert lines
        assert [line for line in lines if not re.match(r"\[\d\d:\d\d:\d\d\] [A-Z]+: ", line)] == []


def test_an_invalid_option_stops_the_container_with_the_daemons_exit_code(
    image: Path, tmp_path: Path
) -> None:
    with container(image, tmp_path, options={"API_KEY": KEY, "POLL_INTERVAL": "soon"}) as running:
        assert running.process.wait(TIMEOUT) == 2
        assert running.log.count("ERROR: POLL_INTERVAL: ") == 1


def test_a_rejected_key_stops_the_container_with_the_daemons_exit_code(
    image: Path, tmp_path: Path
) -> None:
    with (
        simulated_immich_server(PERMISSIONS) as server,
        container(image, tmp_path, options=options_for(server, API_KEY="wrong")) as running,
    ):
        assert running.process.wait(TIMEOUT) == 2
        assert running.log.count("FATAL: ") == 1


def test_after_a_crash_the_daemon_is_restarted_and_continues(image: Path, tmp_path: Path) -> None:
    with (
        simulated_immich_server(PERMISSIONS) as server,
        container(image, tmp_path, options=options_for(server)) as running,
    ):
        wait_until(lambda: is_under_control(server))
        before = running.daemon_pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: running.daemon_pid not in {None, before})
        wait_until(lambda: running.log.count("INFO: Immich Job Daemon ") == 2)
        assert "WARNING: The daemon was killed by signal 9 and is restarted." in running.log
        # A start pauses the queue that was lent the free slot, and resumes it at once.
        wait_until(lambda: is_under_control(server))
        running.stop()
        assert paused(server) == set()


def test_corrupt_options_stop_the_container(image: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "options.json").write_text('{"API_KEY": ')
    with container(image, tmp_path) as running:
        assert running.process.wait(TIMEOUT) == 2
        assert "is not valid JSON" in running.log


# With plain Docker


def test_without_options_the_settings_come_from_the_environment(
    image: Path, tmp_path: Path
) -> None:
    with simulated_immich_server(PERMISSIONS) as server:
        settings = {"IMMICH_URL": server.url, "API_KEY": KEY, "MAX_CONCURRENT_JOBS": "3"}
        with container(image, tmp_path, environment=settings) as running:
            wait_until(lambda: is_under_control(server))
            assert "at most 3 of Immich's queues" in running.log
            assert running.status("Uid") == ["1000"] * 4
            running.stop()
        assert paused(server) == set()


@pytest.mark.parametrize("user", [USER, 4711])
def test_it_runs_as_any_user_without_capabilities(image: Path, tmp_path: Path, user: int) -> None:
    with simulated_immich_server(PERMISSIONS) as server:
        settings = {"IMMICH_URL": server.url, "API_KEY": KEY}
        with container(image, tmp_path, environment=settings, user=user) as running:
            wait_until(lambda: is_under_control(server))
            assert running.status("Uid") == [str(user)] * 4
            assert running.status("NoNewPrivs") == ["1"]
            assert (running.folder / "state" / "ledger.json").stat().st_uid == user
            running.stop()
        assert paused(server) == set()
        assert "ERROR" not in running.log


def test_root_needs_only_four_capabilities(image: Path, tmp_path: Path) -> None:
    with simulated_immich_server(PERMISSIONS) as server:
        settings = {"IMMICH_URL": server.url, "API_KEY": KEY}
        capabilities = "+chown,+kill,+setgid,+setuid"
        with container(image, tmp_path, environment=settings, capabilities=capabilities) as running:
            wait_until(lambda: is_under_control(server))
            assert running.status("Uid") == ["1000"] * 4
            running.stop()
        assert paused(server) == set()
        assert "ERROR" not in running.log


def test_a_read_only_data_folder_is_logged_and_the_daemon_works(
    image: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    with simulated_immich_server(PERMISSIONS) as server:
        settings = {"IMMICH_URL": server.url, "API_KEY": KEY}
        with container(image, tmp_path, environment=settings, user=USER) as running:
            wait_until(lambda: is_under_control(server))
            assert "ledger.json cannot be written (Permission denied)" in running.log
            running.stop()
        assert paused(server) == set()


def test_release_works_inside_the_container(image: Path, tmp_path: Path) -> None:
    with simulated_immich_server(PERMISSIONS) as server:
        options = options_for(server, ON_EXIT="keep")
        with container(image, tmp_path, options=options) as running:
            wait_until(lambda: is_under_control(server))
            release = ["python3", "-m", "immich_job_daemon", "release", "--all"]
            result = running.run(*release, "--options", "/data/options.json")
            assert result.returncode == 0, result.stderr
            assert "library: resumed" in result.stdout
            running.stop()


# Health check and listeners


@pytest.mark.parametrize("uses_http", [True, False])
def test_the_health_check_detects_a_stopped_daemon(
    image: Path, tmp_path: Path, *, uses_http: bool
) -> None:
    ports = {"STATUS_PORT": str(free_port() if uses_http else 0)}
    with (
        simulated_immich_server(PERMISSIONS) as server,
        container(image, tmp_path, options=options_for(server), environment=ports) as running,
    ):
        wait_until(lambda: is_under_control(server))
        assert running.is_healthy()
        daemon_pid = running.daemon_pid
        assert daemon_pid is not None
        os.kill(daemon_pid, signal.SIGSTOP)
        wait_until(lambda: not running.is_healthy())
        os.kill(daemon_pid, signal.SIGCONT)
        wait_until(running.is_healthy)
        running.run("/command/s6-svc", "-d", "/run/service/immich_job_daemon")
        wait_until(lambda: not running.is_healthy())


def test_it_is_healthy_while_immich_is_down(image: Path, tmp_path: Path) -> None:
    port = free_port()
    settings = {
        "IMMICH_URL": f"http://127.0.0.1:{free_port()}",
        "API_KEY": KEY,
        "STATUS_PORT": str(port),
    }
    with container(image, tmp_path, environment=settings) as running:
        wait_until(lambda: "Trying again in" in running.log)
        wait_until(running.is_healthy)
        totals = running.run("curl", "--silent", f"http://127.0.0.1:{port}/").stdout
        assert "refuses the connection" in json.loads(totals)["error"]


def test_both_listeners_respond_outside_the_container(image: Path, tmp_path: Path) -> None:
    status, page = free_port(), free_port()
    ports = {"STATUS_PORT": str(status), "UI_PORT": str(page)}
    with simulated_immich_server(PERMISSIONS) as server:
        settings = {"IMMICH_URL": server.url, "API_KEY": KEY, **ports}
        with container(image, tmp_path, environment=settings) as running:
            wait_until(lambda: is_under_control(server))

            def totals() -> dict[str, Any]:
                return dict(requests.get(f"http://127.0.0.1:{status}/", timeout=90).json())

            wait_until(lambda: totals().get("state") == "idle")
            assert totals()["queues"] == 19
            response = requests.get(f"http://127.0.0.1:{page}/", timeout=90)
            assert response.status_code == 200
            assert response.headers["Content-Type"].startswith("text/html")
            running.stop()


def test_the_page_of_the_add_on_is_for_home_assistant_only(image: Path, tmp_path: Path) -> None:
    page = free_port()
    ports = {"UI_PORT": str(page), "SUPERVISOR_TOKEN": "x"}
    with (
        simulated_immich_server(PERMISSIONS) as server,
        container(image, tmp_path, options=options_for(server), environment=ports) as running,
    ):
        wait_until(lambda: is_under_control(server))
        assert requests.get(f"http://127.0.0.1:{page}/", timeout=90).status_code == 403
        running.stop()
