"""What the page loads, and that it comes along wherever the daemon is installed."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

from immich_job_daemon.web.ui import assets
from immich_job_daemon.web.ui.assets import read_files
from tests.support.repository import ROOT, tracked_files

FOLDER = Path(assets.__file__).parent


def test_an_address_changes_with_the_content() -> None:
    found = read_files()
    assert found.keys() == {"icon.svg", "page.css", "page.js"}
    assert len({file.path.split("/")[1] for file in found.values()}) == 3


def test_every_file_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["immich_job_daemon.web.ui"]
    others = [
        str(path.relative_to(FOLDER))
        for path in tracked_files()
        if FOLDER in path.parents and path.suffix != ".py"
    ]
    assert len(others) > 8
    missing = [name for name in others if not any(fnmatch(name, pattern) for pattern in patterns)]
    assert missing == []


def test_nothing_is_loaded_from_elsewhere() -> None:
    """Not by the templates, and not by what they load."""
    for path in tracked_files():
        if FOLDER in path.parents and path.suffix in {".html", ".css", ".js"}:
            text = path.read_text(encoding="utf-8")
            assert [word for word in ("http:", "https:", "@import", "url(") if word in text] == []
