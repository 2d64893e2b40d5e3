"""Rules for the repository as a whole."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from immich_job_daemon.config.schema import SETTINGS
from tests.support.repository import ROOT, tracked_files

STORE_FILE = re.compile(r"(config|build)\.(ya?ml|json)|repository\.(ya?ml|json)")


def texts(*suffixes: str) -> list[Path]:
    return [path for path in tracked_files() if path.suffix in suffixes]


def test_no_file_below_the_root_has_a_name_that_the_store_reads() -> None:
    """Home Assistant's store would take it for an add-on, a build file or a repository."""
    names = [path.relative_to(ROOT) for path in tracked_files()]
    assert len(names) > 50
    assert [n for n in names if STORE_FILE.fullmatch(n.name) and len(n.parts) > 1] == []


def test_the_readme_names_every_setting_with_its_default() -> None:
    rows = dict(
        re.findall(
            r"^\| `([A-Z_]+)` \|.*\| ?([^|]*?) ?\|$", (ROOT / "README.md").read_text(), re.MULTILINE
        )
    )
    assert rows.keys() == SETTINGS.keys()
    for name, setting in SETTINGS.items():
        if name not in {"API_KEY", "QUEUE_PRIORITY"}:
            default = rows[name].partition(" (")[0].strip("`").replace(", ", ",")
            assert default == str(setting.default), name


def test_the_readme_documents_the_default_order() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    assert (
        f"The default order: {str(SETTINGS['QUEUE_PRIORITY'].default).replace(',', ', ')}, then"
        in text
    )


@pytest.mark.parametrize("path", texts(".md"), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("name", ["run", "dev"])
def test_every_requirement_is_locked_with_its_hash(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    packages = re.findall(
        r"^([a-z0-9-]+)(?:\[[a-z,-]+\])?==\S+ \\\n    --hash=sha256:", text, re.MULTILINE
    )
    assert len(packages) == len(re.findall(r"^[^\s#]", text, re.MULTILINE))
    assert "://" not in text
    if name == "run":
        # Flask brings six of them, requests and tempora four each. The image has 15 MB, so a 23rd
        # package must be worth its size.
        assert len(packages) <= 22, "too many dependencies"


def test_no_module_has_more_than_400_lines() -> None:
    lengths = {
        path.name: len(path.read_text().splitlines())
        for path in texts(".py")
        if ROOT / "tests" not in path.parents
    }
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_function_has_more_than_50_lines() -> None:
    too_long = {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}": length
        for path in texts(".py")
        if path.relative_to(ROOT).parts[0] in {"immich_job_daemon", "simulator"}
        for function in functions_of(path)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > 50
    }
    assert too_long == {}


def test_the_changelog_begins_with_unreleased() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_every_script_is_executable_and_stops_at_the_first_error() -> None:
    for path in [*(ROOT / "script").iterdir(), ROOT / ".ci" / "run"]:
        text = path.read_text()
        assert path.name == "setup" or path.stat().st_mode & 0o111, path.name
        assert "set -euo pipefail" in text or "/setup" in text or "exec " in text, path.name
