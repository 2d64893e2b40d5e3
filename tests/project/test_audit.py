"""What script/audit makes of what pip-audit tells: the program is one that tells a chosen thing."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.repository import ROOT

# The shape of pip-audit 2.10's own JSON.
SOUND = {"name": "requests", "version": "2.34.2", "vulns": []}
UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found on PyPI"}


def vulnerable(*fixed_in: str) -> dict[str, object]:
    vulnerability = {"id": "PYSEC-2026-1", "fix_versions": list(fixed_in), "aliases": []}
    return {"name": "flask", "version": "3.1.3", "vulns": [vulnerability]}


def audit(folder: Path, program: str, seconds: int = 60) -> subprocess.CompletedProcess[str]:
    """Run script/audit with this shell program in pip-audit's place."""
    stand_in = folder / "pip-audit"
    stand_in.write_text(f"#!/bin/sh\n{program}\n")
    stand_in.chmod(0o755)
    return subprocess.run(
        [ROOT / "script" / "audit"],
        env={**os.environ, "PIP_AUDIT": str(stand_in), "AUDIT_SECONDS": str(seconds)},
        capture_output=True,
        text=True,
        check=False,
    )


def told(*dependencies: Mapping[str, object]) -> str:
    found = json.dumps({"dependencies": dependencies, "fixes": []})
    return f"cat << 'END'\n{found}\nEND\nexit 1"


def test_a_known_vulnerability_with_a_fix_is_a_failure(tmp_path: Path) -> None:
    done = audit(tmp_path, told(SOUND, vulnerable("3.1.4", "3.2.0")))
    assert done.returncode == 1
    assert done.stdout == "flask 3.1.3: PYSEC-2026-1, fixed in 3.1.4, 3.2.0\n"
    assert "script/lock" in done.stderr


def test_one_without_a_fix_is_told_and_no_failure(tmp_path: Path) -> None:
    done = audit(tmp_path, told(SOUND, vulnerable()))
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "flask 3.1.3: PYSEC-2026-1, no fix yet",
        "2 packages, and no known vulnerability with a fix.",
    ]


@pytest.mark.parametrize(
    "program",
    [
        told(UNKNOWN),
        "echo 'Max retries exceeded' >&2; exit 1",
        "echo half; exit 1",
        "exec sleep 1000",
    ],
    ids=["nothing is known", "no answer", "no JSON", "for ever"],
)
def test_a_database_that_cannot_be_reached_is_said(tmp_path: Path, program: str) -> None:
    done = audit(tmp_path, program, seconds=1)
    assert done.returncode == 0
    assert done.stdout == (
        "Skipped: the database of known vulnerabilities cannot be reached from here.\n"
    )


def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "script" / "audit"],
        env={**os.environ, "PIP_AUDIT": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "is missing" in done.stderr


def test_what_is_locked_is_what_is_asked_about(tmp_path: Path) -> None:
    program = 'for last in "$@"; do echo "$last"; done > "$0.arguments"'
    audit(tmp_path, program)
    asked = (tmp_path / "pip-audit.arguments").read_text().split()
    assert asked[:4] == [
        "--requirement",
        "requirements/run.txt",
        "--requirement",
        "requirements/dev.txt",
    ]
