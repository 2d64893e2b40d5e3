"""The demo, as script/demo runs it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable

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


def test_the_demo_shows_the_daemon_at_work_and_ends_with_code_0() -> None:
    done = script_demo("--photos", "3", "--limit", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All jobs done:              yes" in done.stdout
    assert "the limit is 2: never exceeded" in done.stdout
    assert "Paused after the stop:      none" in done.stdout


@pytest.mark.parametrize(
    ("end", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)], ids=["^C", "term"]
)
def test_the_demo_can_be_left_running(
    end: Callable[[int, signal.Signals], None], number: signal.Signals
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
        assert process.stdout is not None
        addresses: dict[str, str] = {}
        for line in process.stdout:
            if told := re.match(r"The (page|totals).+?(http://\S+)", line):
                addresses[told[1]] = told[2]
            if line.startswith("Left running"):
                break
        assert requests.get(addresses["totals"], timeout=90).json()["queues"] == 19
        assert "text/html" in requests.get(addresses["page"], timeout=90).headers["Content-Type"]
        end(process.pid, number)
        rest = process.stdout.read()
        assert process.wait(TIMEOUT) == 0
    assert "Paused after the stop:      none" in rest


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_demo_of_nothing_is_refused(number: str) -> None:
    done = script_demo("--photos", number)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_the_simulated_immich_of_the_demo_has_the_key_it_says() -> None:
    _, api = simulated_immich()
    answer = api.answer("GET", "/api/queues", {"x-api-key": "simulated-api-key"}, None)
    assert answer.status == 200
