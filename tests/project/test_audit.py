"""script/audit, with a program in place of pip-audit that prints a given report."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.repository import ROOT

# The JSON of pip-audit 2.10.
WITHOUT_VULNERABILITY = {"name": "requests", "version": "2.34.2", "vulns": []}
UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found on PyPI"}


def vulnerable(*fixed_in: str) -> dict[str, object]:
    vulnerability = {"id": "PYSEC-2026-1", "fix_versions": list(fixed_in), "aliases": []}
    return {"name": "flask", "version": "3.1.3", "vulns": [vulnerability]}


def audit(folder: Path, program: str, seconds: int = 60) -> subprocess.CompletedProcess[str]:
    """Run script/audit with a shell program in place of pip-audit."""
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


def report_of(*dependencies: Mapping[str, object]) -> str:
    report = json.dumps({"dependencies": dependencies, "fixes": []})
    return f"cat << 'END'\n{report}\nEND\nexit 1"


def test_a_known_vulnerability_with_a_fix_is_a_failure(tmp_path: Path) -> None:
    result = audit(tmp_path, report_of(WITHOUT_VULNERABILITY, vulnerable("3.1.4", "3.2.0")))
    assert result.returncode == 1
    assert result.stdout == "flask 3.1.3: PYSEC-2026-1, fixed in 3.1.4, 3.2.0\n"
    assert "script/lock" in result.stderr


def test_a_vulnerability_without_a_fix_is_reported_but_no_failure(tmp_path: Path) -> None:
    result = audit(tmp_path, report_of(WITHOUT_VULNERABILITY, vulnerable()))
    assert result.returncode == 0
    assert result.stdout.splitlines() == [
        "flask 3.1.3: PYSEC-2026-1, no fix yet",
        "2 packages without a known vulnerability that has a fix.",
    ]


@pytest.mark.parametrize(
    "program",
    [
        report_of(UNKNOWN),
        "echo 'Max retries exceeded' >&2; exit 1",
        "echo half; exit 1",
        "exec sleep 1000",
    ],
    ids=["unknown packages", "no response", "no JSON", "hangs"],
)
def test_an_unreachable_database_is_reported_but_no_failure(tmp_path: Path, program: str) -> None:
    result = audit(tmp_path, program, seconds=1)
    assert result.returncode == 0
    assert result.stdout == ("Skipped: the vulnerability database cannot be reached.\n")


def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    result = subprocess.run(
        [ROOT / "script" / "audit"],
        env={**os.environ, "PIP_AUDIT": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "is missing" in result.stderr


def test_both_lock_files_are_audited(tmp_path: Path) -> None:
    program = 'for last in "$@"; do echo "$last"; done > "$0.arguments"'
    audit(tmp_path, program)
    arguments = (tmp_path / "pip-audit.arguments").read_text().split()
    assert arguments[:4] == [
        "--requirement",
        "requirements/run.txt",
        "--requirement",
        "requirements/dev.txt",
    ]
