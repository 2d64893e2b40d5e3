"""Linters for the files that are not Python; script/packages and requirements/ install them."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.programs import find_program
from tests.support.repository import ROOT, tracked_files

WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())


def assert_passes(tool: str, *arguments: str | Path) -> None:
    """Assert that a tool finds nothing; show its output otherwise."""
    result = subprocess.run(
        [find_program(tool), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def shell_scripts() -> list[Path]:
    """Return every file with the shebang of a shell."""
    first_lines = {path: path.read_bytes().partition(b"\n")[0] for path in tracked_files()}
    return [path for path, line in first_lines.items() if re.match(rb"#!.*\b(ba)?sh(io)?\b", line)]


def test_hadolint_passes() -> None:
    assert_passes("hadolint", "Dockerfile")


def test_shellcheck_passes() -> None:
    scripts = shell_scripts()
    assert {path.name for path in scripts} > {"run", "finish", "image", "setup", "init"}
    assert_passes("shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *scripts)


def test_yamllint_passes() -> None:
    files = [path for path in tracked_files() if path.suffix in {".yaml", ".yml"}]
    assert ROOT / "build.yaml" in files
    assert_passes("yamllint", "--strict", *files)


def test_zizmor_passes() -> None:
    assert_passes("zizmor", "--offline", "--persona=pedantic", "--quiet", *WORKFLOWS)


def test_apparmor_parser_passes() -> None:
    assert_passes("apparmor_parser", "--skip-kernel-load", "--skip-cache", "apparmor.txt")


# Checks that the linters do not have


def profile() -> str:
    return (ROOT / "apparmor.txt").read_text()


def test_the_apparmor_profile_is_named_after_the_add_on() -> None:
    slug = yaml.safe_load((ROOT / "config.yaml").read_text())["slug"]
    assert re.findall(r"^profile (\S+)", profile(), re.MULTILINE) == [slug]


def test_the_apparmor_profile_allows_writes_only_below_data_run_and_tmp() -> None:
    rules = re.findall(r"^  (/\S*|@\{PROC\}\S*) ([a-z]+),$", profile(), re.MULTILINE)
    writable = {path for path, permissions in rules if set(permissions) & set("wal")}
    devices = {path for path in writable if path.startswith("/dev/")}
    assert writable - devices == {"/data/**", "/run/", "/run/**", "/tmp/**"}  # noqa: S108 - a rule
    assert devices == {"/dev/{null,zero,full,random,urandom,tty,console,pts/*}"}
    executed = {path for path, permissions in rules if "x" in permissions}
    assert executed & {"/data/**", "/run/**", "/tmp/**"} == set()  # noqa: S108 - the same


def test_the_apparmor_profile_allows_no_raw_socket_and_no_look_into_a_process() -> None:
    allowed = re.findall(r"^  (network|capability|ptrace|mount)(.*),$", profile(), re.MULTILINE)
    assert {what for kind, what in allowed if kind == "capability"} == {
        " chown",
        " dac_override",
        " kill",
        " setgid",
        " setuid",
    }
    assert {what for kind, what in allowed if kind == "network"} == {
        " inet stream",
        " inet dgram",
        " inet6 stream",
        " inet6 dgram",
    }
    assert {kind for kind, _ in allowed} == {"capability", "network"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_with_its_version(path: Path) -> None:
    actions = re.findall(r"uses: (.+)$", path.read_text(), re.MULTILINE)
    assert actions
    for action in actions:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_no_permissions_and_jobs_only_those_they_need(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        permissions = job["permissions"]
        write_permissions = {right for right, level in permissions.items() if level == "write"}
        assert write_permissions <= ({"packages"} if path.name == "publish.yaml" else set()), name


def test_the_image_is_published_with_its_sbom() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yaml").read_text())
    (build,) = [
        step["with"]
        for step in workflow["jobs"]["image"]["steps"]
        if step.get("uses", "").startswith("docker/build-push-action@")
    ]
    assert build["sbom"] is True
    assert build["push"] is True


def test_the_workflows_test_every_supported_python() -> None:
    supported = re.findall(r"3\.\d+", (ROOT / "pyproject.toml").read_text().split("requires-py")[1])
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yaml").read_text())
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert versions[0] == supported[0]


def test_the_workflows_build_for_every_architecture_of_the_add_on() -> None:
    architectures = yaml.safe_load((ROOT / "config.yaml").read_text())["arch"]
    for name in ("test.yaml", "publish.yaml"):
        workflow = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())
        matrix = workflow["jobs"]["image"]["strategy"]["matrix"]["include"]
        assert sorted(entry["arch"] for entry in matrix) == sorted(architectures)
