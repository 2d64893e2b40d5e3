"""The page's static files, and that every installation has them."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

from immich_job_daemon.web.ui import assets as assets_module
from immich_job_daemon.web.ui.assets import load_assets
from tests.support.repository import ROOT, tracked_files

FOLDER = Path(assets_module.__file__).parent


def test_each_url_contains_a_hash_of_the_content() -> None:
    assets = load_assets()
    assert assets.keys() == {"icon.svg", "page.css", "page.js"}
    assert len({asset.path.split("/")[1] for asset in assets.values()}) == 3


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


def test_nothing_is_loaded_from_other_sites() -> None:
    for path in tracked_files():
        if FOLDER in path.parents and path.suffix in {".html", ".css", ".js"}:
            text = path.read_text(encoding="utf-8")
            assert [word for word in ("http:", "https:", "@import", "url(") if word in text] == []
