"""Fixtures for all tests, Hypothesis profiles, and coverage of subprocesses."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent

# A shell starts background jobs with SIGINT ignored, and the programs that the tests start and stop
# with SIGINT would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Every run tries the same inputs, so that a failure is caused by the change under test; script/fuzz
# searches for new ones. There is no deadline, because the time depends on the machine.
ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", ANY_SPEED, derandomize=True)
settings.register_profile("new", ANY_SPEED)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def _cover_subprocesses(pytestconfig: pytest.Config) -> None:
    """Measure the coverage of subprocesses too, if coverage is measured at all.

    Coverage's own patch would also apply to the workers of pytest-xdist and trace them twice.
    """
    if pytestconfig.pluginmanager.hasplugin("_cov") and pytestconfig.getoption("--cov"):
        os.environ["COVERAGE_PROCESS_START"] = str(ROOT / "pyproject.toml")


@pytest.fixture(scope="session")
def image() -> Path:
    """Return the folder of the built image: rootfs/, config.json and layer.txt, our files."""
    result = subprocess.run(
        [ROOT / "script" / "image", "--where"], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(result.stdout.strip())
