"""The demo, run as script/demo runs it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest
import requests

from simulator.immich import simulated_immich
from tests.cli.test_main import environment
from tests.support.waiting import TIMEOUT


def script_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simulator.demo", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_runs_all_jobs_and_exits_with_code_0() -> None:
    done = script_demo("--photos", "3", "--limit", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All jobs done:          yes" in done.stdout
    assert "limit 2, never exceeded" in done.stdout
    assert "Paused after the stop:  none" in done.stdout


@pytest.mark.parametrize(
    ("send_signal", "number"),
    [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)],
    ids=["SIGINT", "SIGTERM"],
)
def test_the_demo_can_keep_running(
    send_signal: Callable[[int, signal.Signals], None], number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator.demo", "--keep", "--photos", "1"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            assert process.stdout is not None
            addresses: dict[str, str] = {}
            for line in process.stdout:
                if found := re.match(r"(Page|Status).+?(http://\S+)", line):
                    addresses[found[1]] = found[2]
                if line.startswith("All jobs are done"):
                    break
            assert requests.get(addresses["Status"], timeout=90).json()["queues"] == 19
            assert (
                "text/html" in requests.get(addresses["Page"], timeout=90).headers["Content-Type"]
            )
            send_signal(process.pid, number)
            rest = process.stdout.read()
            assert process.wait(TIMEOUT) == 0
        finally:
            # A failed test must not wait for a demo that keeps running.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert "Paused after the stop:  none" in rest


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_an_invalid_number_of_photos_is_rejected(number: str) -> None:
    done = script_demo("--photos", number)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_the_simulated_immich_accepts_the_api_key_that_the_demo_prints() -> None:
    _, api = simulated_immich()
    response = api.respond("GET", "/api/queues", {"x-api-key": "simulated-api-key"}, None)
    assert response.status == 200
