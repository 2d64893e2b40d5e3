"""What must be true of the repository as a whole."""

import re
from pathlib import Path

import pytest

from immich_job_daemon.config.schema import SETTINGS
from tests.support.repository import ROOT, tracked_files

READ_BY_THE_STORE = re.compile(r"(config|build)\.(ya?ml|json)|repository\.(ya?ml|json)")


def texts(*suffixes: str) -> list[Path]:
    return [path for path in tracked_files() if path.suffix in suffixes]


def test_no_file_below_the_root_has_a_name_that_the_store_reads() -> None:
    """Home Assistant's store takes every such file for an add-on, a build file or a repository."""
    names = [path.relative_to(ROOT) for path in tracked_files()]
    assert len(names) > 50
    assert [n for n in names if READ_BY_THE_STORE.fullmatch(n.name) and len(n.parts) > 1] == []


def test_the_readme_names_every_setting_with_its_default() -> None:
    rows = dict(
        re.findall(
            r"^\| `([A-Z_]+)` \|.*\| ?([^|]*?) ?\|$", (ROOT / "README.md").read_text(), re.MULTILINE
        )
    )
    assert rows.keys() == SETTINGS.keys()
    for name, setting in SETTINGS.items():
        if name not in {"API_KEY", "QUEUE_PRIORITY"}:
            told = rows[name].partition(" (")[0].strip("`").replace(", ", ",")
            assert told == str(setting.default), name


def test_the_readme_gives_the_default_order() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    assert (
        f"The default order: {str(SETTINGS['QUEUE_PRIORITY'].default).replace(',', ', ')}, then"
        in text
    )


@pytest.mark.parametrize("path", texts(".md"), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(path: Path) -> None:
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
        # Flask brings six of them, requests and tempora four each; what would be the 23rd has to
        # be worth its place in an image of 15 MB.
        assert len(packages) <= 22, "keep the tree of dependencies small"


def test_a_module_holds_one_concept() -> None:
    lengths = {
        path.name: len(path.read_text().splitlines())
        for path in texts(".py")
        if ROOT / "tests" not in path.parents
    }
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


def test_the_changelog_has_a_place_for_what_comes_next() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_every_script_is_executable_and_stops_at_the_first_error() -> None:
    for path in [*(ROOT / "script").iterdir(), ROOT / ".ci" / "run"]:
        text = path.read_text()
        assert path.name == "setup" or path.stat().st_mode & 0o111, path.name
        assert "set -euo pipefail" in text or "/setup" in text or "exec " in text, path.name
