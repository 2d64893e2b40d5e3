"""docker-compose.yml: the command, the privileges, the settings."""

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


def test_the_container_has_no_privileges() -> None:
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert "cap_add" not in SERVICE
    assert "privileged" not in SERVICE
    assert "network_mode" not in SERVICE
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]


def test_both_listeners_are_published_on_localhost_only() -> None:
    ports = (SETTINGS[name].default for name in ("UI_PORT", "STATUS_PORT"))
    assert SERVICE["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports]


def test_the_health_check_of_the_image_is_used() -> None:
    assert "healthcheck" not in SERVICE
    assert "/health" in (ROOT / "Dockerfile").read_text()


def test_the_user_is_the_owner_of_the_images_data_folder() -> None:
    """Docker gives a new volume the owner of the folder at its mount point."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"chown -R {SERVICE['user']} /data" in dockerfile
    assert SERVICE["user"].split(":")[0] != "0"


def test_the_ledger_survives_the_container() -> None:
    (mount,) = SERVICE["volumes"]
    volume, folder = mount.split(":")
    assert volume in COMPOSE["volumes"]
    (data_dir,) = re.findall(r"\bDATA_DIR=(\S+)", (ROOT / "Dockerfile").read_text())
    assert Path(data_dir).is_relative_to(folder)


def test_every_variable_is_a_setting_with_a_valid_value() -> None:
    assert SERVICE["environment"].keys() <= SETTINGS.keys()
    values = {
        name: re.sub(
            r"\$\{\w+(:-(.*)|:\?.*)\}", lambda found: "x" if found[2] is None else found[2], value
        )
        for name, value in SERVICE["environment"].items()
    }
    settings, warnings = read_settings(values, None)
    assert settings.immich_url == "http://immich-server:2283"
    assert (settings.max_concurrent_jobs, warnings) == (1, [])
    assert settings.ui_password.reveal() == ""


def test_the_api_key_is_required_from_the_environment() -> None:
    assert SERVICE["environment"]["API_KEY"].startswith("${API_KEY:?")


def test_the_entrypoint_is_the_daemon() -> None:
    assert SERVICE["entrypoint"] == ["python3", "-m", "immich_job_daemon"]
    assert SERVICE["command"] == ["run"]
    assert main.__name__.startswith(SERVICE["entrypoint"][-1])


def test_the_stop_grace_period_is_long_enough_to_resume_every_queue() -> None:
    assert SERVICE["stop_grace_period"] == "1m"
    assert RELEASE_WITHIN < 60


def test_the_image_has_the_current_version() -> None:
    image = f"ghcr.io/immich-job-daemon/immich-job-daemon:{__version__}"
    assert SERVICE["image"] == image
    assert image in (ROOT / "README.md").read_text()
