"""SCAN: each queue is scanned once a day, whatever happens to the request."""

from collections.abc import Callable
from datetime import time

import pytest

from immich_job_daemon.immich.transport import Response
from immich_job_daemon.model.controls import Mode, SetMode
from immich_job_daemon.model.settings import Scan
from immich_job_daemon.model.windows import Window
from immich_job_daemon.scheduler.scan import SCANNED
from simulator.immich import KEY
from simulator.immich.api import Key
from simulator.immich.faults import Fault
from simulator.immich.pipeline import lasting
from tests.support.scenario import DAEMON, SEARCH, THUMBNAIL, Scenario

DAY = 86400.0
# The virtual time of a scenario begins at 11:06:40, 200 s before this window.
SCAN = Scan(Window(None, time(11, 10), time(12, 10)))
SCAN_START = 200.0
ORDER = [f"start {name}" for name in SCANNED]


def scanned(scenario: Scenario) -> list[str]:
    return scenario.recorder.of("start")


def all_scanned(scenario: Scenario) -> Callable[[], bool]:
    return lambda: len(scanned(scenario)) == len(SCANNED)


def restart_next_day(scenario: Scenario, when: float) -> None:
    """Restart the daemon a day and ``when`` seconds after the start of the scenario.

    The daemon does not run in between, which makes the test fast.
    """
    scenario.engine.advance(DAY + when)
    scenario.new_daemon()


def fail_first_request(scenario: Scenario, name: str, fault: Fault) -> None:
    """Make the first request to scan this queue fail."""
    faults = [fault]
    scenario.transport.faults = lambda method, path: (
        faults.pop() if faults and method == "PUT" and path == f"/api/jobs/{name}" else None
    )


# Normal operation.


def test_without_the_setting_nothing_is_scanned() -> None:
    scenario = Scenario()
    scenario.run_for(600.0)
    assert scanned(scenario) == []


def test_each_queue_is_scanned_once_a_day_in_order(
    log_text: Callable[[], str],
) -> None:
    scenario = Scenario(scan=SCAN, poll_interval=600.0)
    scenario.run(all_scanned(scenario))
    assert scanned(scenario) == ORDER
    assert scenario.recorder.times[scenario.recorder.sent.index(ORDER[0])] == pytest.approx(
        SCAN_START, abs=1.0
    )
    assert "INFO start sidecar" in log_text()
    restart_next_day(scenario, SCAN_START - 60.0)
    scenario.run(lambda: len(scanned(scenario)) == 2 * len(SCANNED))
    assert scanned(scenario) == ORDER * 2
    assert scenario.recorder.times[scenario.recorder.sent.index(ORDER[-1])] < DAY


def test_the_jobs_that_a_scan_finds_are_done_before_the_next_scan() -> None:
    scenario = Scenario(scan=SCAN)
    was_empty = []

    def find_jobs(request: str) -> None:
        if request == f"start {THUMBNAIL}":
            scenario.engine.at(
                scenario.engine.now + 1.0, lambda: scenario.add_backlog(THUMBNAIL, count=60)
            )
        if request == f"start {SEARCH}":
            was_empty.append(scenario.engine.queues[THUMBNAIL].is_empty)

    scenario.recorder.before_request = find_jobs
    scenario.run(all_scanned(scenario))
    assert scanned(scenario) == ORDER
    assert was_empty == [True]


def test_a_scan_waits_until_the_running_queue_is_drained() -> None:
    scenario = Scenario(scan=SCAN)
    scenario.add_backlog("sidecar", count=400, seconds=2.0)
    was_empty = []

    def note(request: str) -> None:
        if request.startswith("start "):
            was_empty.append(scenario.engine.queues["sidecar"].is_empty)

    scenario.recorder.before_request = note
    scenario.run(all_scanned(scenario))
    assert was_empty == [True] * len(SCANNED)
    assert scanned(scenario) == ORDER


def test_scans_wait_while_the_mode_is_held() -> None:
    scenario = Scenario(scan=SCAN)
    scenario.request_changes(SetMode(Mode.HELD))
    scenario.run_for(600.0)
    assert scanned(scenario) == []
    scenario.new_daemon()
    scenario.request_changes(SetMode(Mode.AUTOMATIC))
    scenario.run(all_scanned(scenario))
    assert scanned(scenario) == ORDER


# Errors.


@pytest.mark.parametrize(
    "fault", [Fault.RESET, Fault.LOST_RESPONSE, Fault.HANG, Fault.SERVER_ERROR, Fault.TRUNCATED]
)
def test_a_scan_without_a_clear_response_is_not_repeated_on_the_same_day(
    fault: Fault,
) -> None:
    scenario = Scenario(scan=SCAN)
    fail_first_request(scenario, THUMBNAIL, fault)
    scenario.run(all_scanned(scenario))
    scenario.new_daemon()
    scenario.run_for(300.0)
    assert sorted(scanned(scenario)) == sorted(ORDER)
    assert scenario.daemon.status.problem is None
    assert scenario.paused() == set()


def test_when_immich_is_down_the_scan_starts_once_it_is_back() -> None:
    scenario = Scenario(scan=SCAN)
    scenario.engine.at(SCAN_START - 10.0, lambda: scenario.engine.restart(downtime=120.0))
    scenario.run(all_scanned(scenario))
    assert scanned(scenario) == ORDER


def test_a_scan_refused_because_jobs_run_is_retried_when_the_queue_is_drained(
    log_text: Callable[[], str],
) -> None:
    """A user started the same jobs a moment ago, and no poll has shown them yet."""
    scenario = Scenario(scan=SCAN)

    def start_before(request: str) -> None:
        if request == "start sidecar" and scanned(scenario) == ["start sidecar"]:
            scenario.engine.resume("sidecar", by="user")
            scenario.engine.add("sidecar", lasting(300.0))

    scenario.recorder.before_request = start_before
    scenario.run(lambda: len(scanned(scenario)) == len(SCANNED) + 1)
    assert scanned(scenario) == ["start sidecar", *ORDER]
    first, second = (
        time
        for time, request in zip(scenario.recorder.times, scenario.recorder.sent, strict=True)
        if request == "start sidecar"
    )
    assert second - first >= 300.0
    assert "WARNING" not in log_text()


def test_a_refused_scan_is_logged_once_and_the_others_go_on(
    log_text: Callable[[], str],
) -> None:
    scenario = Scenario(scan=SCAN)
    refusal = Response(400, "application/json", b'{"message": "Invalid job name: sidecar"}')
    scenario.recorder.replace_response = lambda request: (
        refusal if request == "start sidecar" else None
    )
    scenario.run(all_scanned(scenario))
    assert scanned(scenario) == ORDER
    assert log_text().count("sidecar is not scanned for missing files") == 1
    assert scenario.daemon.status.problem is None


def test_a_missing_permission_is_logged_once_and_the_rest_works(
    log_text: Callable[[], str],
) -> None:
    scenario = Scenario(scan=SCAN)
    scenario.api.keys[KEY] = Key(frozenset({"queue.read", "queue.update"}), name=DAEMON)
    scenario.upload_at(SCAN_START + 60.0, photos=3)
    scenario.run_for(900.0)
    assert scanned(scenario) == ["start sidecar"]
    assert log_text().count("WARNING SCAN has no effect") == 1
    assert "job.create" in log_text()
    assert all(asset.jobs_left == 0 for asset in scenario.engine.assets)
    assert scenario.daemon.status.problem is None


def test_a_missing_jobs_api_is_logged_once_and_the_rest_works(
    log_text: Callable[[], str],
) -> None:
    scenario = Scenario(scan=SCAN)
    not_found = Response(404, "application/json", b'{"message":"Cannot PUT /api/jobs/sidecar"}')
    scenario.recorder.replace_response = lambda request: (
        not_found if request.startswith("start ") else None
    )
    scenario.upload_at(SCAN_START + 60.0, photos=3)
    scenario.run_for(900.0)
    assert scanned(scenario) == ["start sidecar"]
    assert log_text().count("WARNING SCAN has no effect") == 1
    assert all(asset.jobs_left == 0 for asset in scenario.engine.assets)
    assert scenario.daemon.status.problem is None


def test_after_a_restart_with_the_permission_scans_work() -> None:
    scenario = Scenario(scan=SCAN)
    scenario.api.keys[KEY] = Key(frozenset({"queue.read", "queue.update"}), name=DAEMON)
    scenario.run_for(300.0)
    scenario.api.keys[KEY] = Key(name=DAEMON)
    # The refused scan counts as done, so that queue is scanned on the next day.
    scenario.new_daemon()
    scenario.run(all_scanned(scenario))
    assert scanned(scenario) == ORDER
    restart_next_day(scenario, SCAN_START)
    scenario.run(lambda: len(scanned(scenario)) == 2 * len(SCANNED))
    assert scanned(scenario) == ORDER * 2


# Crashes.


def test_a_scan_is_in_the_ledger_before_it_is_sent() -> None:
    scenario = Scenario(scan=SCAN)
    was_saved = []

    def note(request: str) -> None:
        if request.startswith("start "):
            state = scenario.disk.load()
            assert state is not None
            was_saved.append(request.split()[1] in state.scheduler.scan.asked)

    scenario.recorder.before_request = note
    scenario.run(all_scanned(scenario))
    assert was_saved == [True] * len(SCANNED)


@pytest.mark.parametrize("number", [1, 4, len(SCANNED) - 1])
def test_a_killed_daemon_continues_its_scans(number: int) -> None:
    scenario = Scenario(scan=SCAN)
    scenario.daemon.load_state()
    scenario.daemon.connect()
    scenario.run_rounds(lambda: len(scanned(scenario)) == number)
    scenario.new_daemon()
    scenario.run(all_scanned(scenario))
    scenario.new_daemon()
    scenario.run_for(300.0)
    assert scanned(scenario) == ORDER


def test_a_daemon_started_after_the_window_waits_for_the_next_day() -> None:
    scenario = Scenario(scan=Scan(Window(None, time(10), time(11))))
    scenario.run_for(600.0)
    assert scanned(scenario) == []
    ten_o_clock = SCAN_START - 70 * 60.0
    restart_next_day(scenario, ten_o_clock - 60.0)
    scenario.run(all_scanned(scenario))
    assert scenario.recorder.times[scenario.recorder.sent.index(ORDER[0])] == pytest.approx(
        DAY + ten_o_clock, abs=1.0
    )
