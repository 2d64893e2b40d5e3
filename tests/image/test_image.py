"""The image, built from the Dockerfile by script/image."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from immich_job_daemon import __version__
from tests.support.repository import ROOT

INSTALL_FOLDER = "opt/immich-job-daemon/"


class File(NamedTuple):
    """A line of tar's list of files."""

    mode: str
    owner: str
    size: int
    path: str


@pytest.fixture(scope="module")
def our_files(image: Path) -> list[File]:
    """Return the files in our layers."""
    lines = [line.split(maxsplit=5) for line in (image / "layer.txt").read_text().splitlines()]
    return [File(mode, owner, int(size), path) for mode, owner, size, _day, _time, path in lines]


@pytest.fixture(scope="module")
def config(image: Path) -> dict[str, Any]:
    """Return the configuration of the image."""
    read: dict[str, Any] = json.loads((image / "config.json").read_text())["config"]
    return read


def run_in_image(
    image: Path, config: dict[str, Any], *command: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/usr/sbin/chroot", image / "rootfs", *command],
        env=dict(entry.split("=", 1) for entry in config["Env"]),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_default_base_is_that_of_build_yaml() -> None:
    default = re.findall(r"^ARG BUILD_FROM=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    bases = yaml.safe_load((ROOT / "build.yaml").read_text())["build_from"]
    assert bases == dict.fromkeys(["aarch64", "amd64"], default[0])


def test_the_base_is_pinned_to_versions_of_python_and_alpine() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(
        r"^ARG BUILD_FROM=ghcr\.io/home-assistant/base-python:3\.1[1-4]-alpine3\.\d+\S*$",
        dockerfile,
        re.MULTILINE,
    )


def test_our_layer_has_at_most_15_mb(our_files: list[File]) -> None:
    assert 1e6 < sum(file.size for file in our_files) <= 15e6


def test_our_layer_contains_only_the_daemon_its_packages_and_its_service(
    our_files: list[File],
) -> None:
    files = {file.path for file in our_files if not file.path.endswith("/")}
    service = "etc/s6-overlay/s6-rc.d/"
    assert {path for path in files if not path.startswith((INSTALL_FOLDER, service))} == {
        "etc/group",
        "etc/passwd",
    }
    assert {path for path in files if path.startswith(service)} == {
        str(path.relative_to(ROOT / "rootfs"))
        for path in (ROOT / "rootfs").rglob("*")
        if path.is_file()
    }


def test_the_image_contains_no_tests_documents_or_git_files(our_files: list[File]) -> None:
    pattern = re.compile(
        r"(^|/)(tests?|docs?|\.git\w*|\.venv|simulator.worlds|benchmark)(/|$)|\.md$"
    )
    found = [file.path for file in our_files if pattern.search(file.path)]
    assert [path for path in found if not re.search(r"/licenses/|LICENSE", path)] == []


def test_the_image_contains_no_compiler(image: Path) -> None:
    programs = {path.name for path in (image / "rootfs" / "usr" / "bin").iterdir()}
    assert "env" in programs
    assert programs & {"cc", "gcc", "c++", "g++", "clang", "make", "rustc", "cargo"} == set()


def test_every_module_is_compiled(our_files: list[File]) -> None:
    paths = {file.path for file in our_files}
    modules = [path for path in paths if path.endswith(".py")]
    compiled = {
        re.sub(r"__pycache__/([^/]+)\.cpython-3\d+\.pyc$", r"\1.py", path)
        for path in paths
        if path.endswith(".pyc")
    }
    assert len(modules) > 100
    assert set(modules) == compiled


def test_our_files_are_readable_for_all_and_writable_for_root_only(our_files: list[File]) -> None:
    for file in our_files:
        if file.path.startswith(("opt/", "etc/")):
            assert (file.owner, file.mode[7], file.mode[8]) == ("0/0", "r", "-"), file
            assert file.mode[5] == "-", file
            assert file.mode[0] != "d" or file.mode[9] == "x", file


def test_a_new_data_volume_belongs_to_the_daemons_user(our_files: list[File], image: Path) -> None:
    owners = {file.path: file.owner for file in our_files if file.path.startswith("data/")}
    assert owners == {"data/": "1000/1000", "data/state/": "1000/1000"}
    users = [
        line.split(":") for line in (image / "rootfs" / "etc" / "passwd").read_text().splitlines()
    ]
    assert [user[:4] for user in users if user[2] == "1000"] == [
        ["immich-job-daemon", "x", "1000", "1000"]
    ]


def test_the_labels_contain_name_version_architecture_and_source(
    config: dict[str, Any],
) -> None:
    labels = config["Labels"]
    addon = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert labels["io.hass.type"] == "addon"
    assert labels["io.hass.name"] == labels["org.opencontainers.image.title"] == addon["name"]
    assert labels["io.hass.arch"] in addon["arch"]
    assert labels["io.hass.version"] == labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.source"] == addon["url"]
    assert labels["org.opencontainers.image.licenses"] == "MIT"


def test_the_entrypoint_is_s6(config: dict[str, Any]) -> None:
    assert config["Entrypoint"] == ["/init"]
    assert not config["Cmd"]


def test_the_environment_contains_nothing_of_the_build_machine(config: dict[str, Any]) -> None:
    """No package index, certificate or proxy."""
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    assert environment["S6_KILL_GRACETIME"] == "0"
    assert environment["DATA_DIR"] == "/data/state"
    assert not [
        name for name in environment if re.search("PIP_INDEX|CERT|proxy", name, re.IGNORECASE)
    ]


def test_the_commands_work_in_the_container(image: Path, config: dict[str, Any]) -> None:
    result = run_in_image(image, config, "python3", "-m", "immich_job_daemon", "--version")
    assert (result.returncode, result.stdout.strip()) == (0, __version__), result.stderr
    for command in ("run", "check", "release"):
        result = run_in_image(
            image, config, "python3", "-m", "immich_job_daemon", command, "--help"
        )
        assert result.returncode == 0, result.stderr
