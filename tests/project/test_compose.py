"""docker-compose.yml: what it starts, and with how few rights."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from immich_job_daemon import __version__
from immich_job_daemon.cli import main
from immich_job_daemon.config.schema import SETTINGS, read_settings
from immich_job_daemon.daemon.loop import RELEASE_WITHIN
from tests.support.repository import ROOT

COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICE: Final[dict[str, Any]] = COMPOSE["services"]["immich-job-daemon"]


def test_the_daemon_has_as_few_rights_as_can_be() -> None:
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert "cap_add" not in SERVICE
    assert "privileged" not in SERVICE
    assert "network_mode" not in SERVICE
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]


def test_both_listeners_are_open_to_this_machine_only() -> None:
    ports = (SETTINGS[name].default for name in ("UI_PORT", "STATUS_PORT"))
    assert SERVICE["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports]


def test_the_health_check_is_the_images_own_and_needs_no_s6() -> None:
    assert "healthcheck" not in SERVICE
    assert "/health" in (ROOT / "Dockerfile").read_text()


def test_it_runs_as_the_user_to_whom_the_images_data_folder_belongs() -> None:
    """A new volume takes over the owner of the folder where it is mounted."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"chown -R {SERVICE['user']} /data" in dockerfile
    assert SERVICE["user"].split(":")[0] != "0"


def test_the_ledger_survives_the_container() -> None:
    (mount,) = SERVICE["volumes"]
    volume, folder = mount.split(":")
    assert volume in COMPOSE["volumes"]
    (data_dir,) = re.findall(r"\bDATA_DIR=(\S+)", (ROOT / "Dockerfile").read_text())
    assert Path(data_dir).is_relative_to(folder)


def test_every_variable_is_a_setting_with_a_value_that_the_daemon_takes() -> None:
    assert SERVICE["environment"].keys() <= SETTINGS.keys()
    filled = {
        name: re.sub(
            r"\$\{\w+(:-(.*)|:\?.*)\}", lambda found: "x" if found[2] is None else found[2], value
        )
        for name, value in SERVICE["environment"].items()
    }
    settings, warnings = read_settings(filled, None)
    assert settings.immich_url == "http://immich-server:2283"
    assert (settings.max_concurrent_jobs, warnings) == (1, [])
    assert settings.ui_password.reveal() == ""


def test_the_key_is_asked_for_and_not_in_the_file() -> None:
    assert SERVICE["environment"]["API_KEY"].startswith("${API_KEY:?")


def test_what_it_starts_is_a_command_of_the_daemon() -> None:
    assert SERVICE["entrypoint"] == ["python3", "-m", "immich_job_daemon"]
    assert SERVICE["command"] == ["run"]
    assert main.__name__.startswith(SERVICE["entrypoint"][-1])


def test_a_stop_leaves_time_to_resume_every_queue() -> None:
    assert SERVICE["stop_grace_period"] == "1m"
    assert RELEASE_WITHIN < 60


def test_the_image_is_that_of_this_version() -> None:
    image = f"ghcr.io/immich-job-daemon/immich-job-daemon:{__version__}"
    assert SERVICE["image"] == image
    assert image in (ROOT / "README.md").read_text()
