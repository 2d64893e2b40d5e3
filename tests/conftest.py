"""What several tests need, and how the processes that they start are measured."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent

# A shell that runs this in the background lets it ignore Ctrl-C, and so would every program that a
# test starts and ends with that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Every run of the tests tries the same inputs, so that a change is refused for what it did;
# script/fuzz looks for new ones.
# How long an input takes depends on the machine, and is no property.
ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", ANY_SPEED, derandomize=True)
settings.register_profile("new", ANY_SPEED)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def _cover_subprocesses(pytestconfig: pytest.Config) -> None:
    """Let coverage measure the processes that tests start, where it measures at all.

    Not by coverage's own patch: that would reach the workers of pytest-xdist as well, and every
    line there would be traced twice.
    """
    if pytestconfig.pluginmanager.hasplugin("_cov") and pytestconfig.getoption("--cov"):
        os.environ["COVERAGE_PROCESS_START"] = str(ROOT / "pyproject.toml")


@pytest.fixture(scope="session")
def image() -> Path:
    """Return the folder with the built image: rootfs/, config.json, and layer.txt, our files."""
    built = subprocess.run(
        [ROOT / "script" / "image", "--where"], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(built.stdout.strip())
