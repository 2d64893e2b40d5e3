"""What all tests share: how the processes that they start are measured."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cover_subprocesses(pytestconfig: pytest.Config) -> None:
    """Let coverage measure the processes that tests start, where it measures at all.

    Not by coverage's own patch: that would reach the workers of pytest-xdist as well, and every
    line there would be traced twice.
    """
    if pytestconfig.pluginmanager.hasplugin("_cov") and pytestconfig.getoption("--cov"):
        os.environ["COVERAGE_PROCESS_START"] = str(Path(__file__).parent.parent / "pyproject.toml")
