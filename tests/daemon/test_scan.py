"""SCAN in the life of a daemon: each queue is asked once, whatever comes of it."""

import logging
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
# The world of a scene begins at 11:06:40, so this is 200 s later.
AT_TEN_PAST = Scan(Window(None, time(11, 10), time(12, 10)))
BEGINS = 200.0
ORDER = [f"start {name}" for name in SCANNED]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Return what was said so far, one ``LEVEL text`` a line."""
    monkeypatch.setattr(logging.getLogger("immich_job_daemon"), "propagate", True)
    caplog.set_level(logging.DEBUG, logger="immich_job_daemon")
    return lambda: "\n".join(f"{r.levelname} {r.getMessage()}" for r in caplog.records)


def asked(scenario: Scenario) -> list[str]:
    return scenario.recorder.of("start")


def all_asked(scenario: Scenario) -> Callable[[], bool]:
    return lambda: len(asked(scenario)) == len(SCANNED)


def a_day_later(scenario: Scenario, when: float) -> None:
    """Start the daemon anew on the next day, so many seconds after the time when the world began.

    What happens while it is off costs a test nothing.
    """
    scenario.engine.advance(DAY + when)
    scenario.new_daemon()


def failing(scenario: Scenario, name: str, fault: Fault) -> None:
    """Let the first request to start this queue fail."""
    left = [fault]
    scenario.transport.faults = lambda method, path: (
        left.pop() if left and method == "PUT" and path == f"/api/jobs/{name}" else None
    )


# As it should be.


def test_without_the_setting_nothing_is_asked() -> None:
    scenario = Scenario()
    scenario.run_for(600.0)
    assert asked(scenario) == []


def test_when_it_is_time_each_queue_is_asked_once_in_order_and_the_day_after_again(
    said: Callable[[], str],
) -> None:
    scenario = Scenario(scan=AT_TEN_PAST, poll_interval=600.0)
    scenario.run(all_asked(scenario))
    assert asked(scenario) == ORDER
    assert scenario.recorder.times[scenario.recorder.sent.index(ORDER[0])] == pytest.approx(
        BEGINS, abs=1.0
    )
    assert "INFO start sidecar" in said()
    a_day_later(scenario, BEGINS - 60.0)
    scenario.run(lambda: len(asked(scenario)) == 2 * len(SCANNED))
    assert asked(scenario) == ORDER * 2
    assert scenario.recorder.times[scenario.recorder.sent.index(ORDER[-1])] < DAY


def test_what_is_found_is_work_as_any_other_and_the_next_is_asked_after_it() -> None:
    """While one works off what it found, no other queue is asked, nor itself once more."""
    scenario = Scenario(scan=AT_TEN_PAST)
    waits = []

    def find(request: str) -> None:
        if request == f"start {THUMBNAIL}":
            scenario.engine.at(
                scenario.engine.now + 1.0, lambda: scenario.add_backlog(THUMBNAIL, count=60)
            )
        if request == f"start {SEARCH}":
            waits.append(scenario.engine.queues[THUMBNAIL].is_empty)

    scenario.recorder.before_request = find
    scenario.run(all_asked(scenario))
    assert asked(scenario) == ORDER
    assert waits == [True]


def test_it_takes_no_slot_from_what_runs_and_waits_until_it_is_drained() -> None:
    scenario = Scenario(scan=AT_TEN_PAST)
    scenario.add_backlog("sidecar", count=400, seconds=2.0)
    begun = []

    def note(request: str) -> None:
        if request.startswith("start "):
            begun.append(scenario.engine.queues["sidecar"].is_empty)

    scenario.recorder.before_request = note
    scenario.run(all_asked(scenario))
    assert begun == [True] * len(SCANNED)
    assert asked(scenario) == ORDER


def test_while_a_person_holds_everything_nothing_is_asked_and_then_it_is() -> None:
    scenario = Scenario(scan=AT_TEN_PAST)
    scenario.request_changes(SetMode(Mode.HELD))
    scenario.run_for(600.0)
    assert asked(scenario) == []
    scenario.new_daemon()
    scenario.request_changes(SetMode(Mode.AUTOMATIC))
    scenario.run(all_asked(scenario))
    assert asked(scenario) == ORDER


# Trouble.


@pytest.mark.parametrize(
    "fault", [Fault.RESET, Fault.LOST_RESPONSE, Fault.HANG, Fault.SERVER_ERROR, Fault.TRUNCATED]
)
def test_what_was_asked_without_a_clear_answer_is_not_asked_again_before_the_next_time(
    fault: Fault,
) -> None:
    scenario = Scenario(scan=AT_TEN_PAST)
    failing(scenario, THUMBNAIL, fault)
    scenario.run(all_asked(scenario))
    scenario.new_daemon()
    scenario.run_for(300.0)
    assert sorted(asked(scenario)) == sorted(ORDER)
    assert scenario.daemon.status.problem is None
    assert scenario.paused() == set()


def test_immich_is_away_when_it_is_time_and_is_asked_when_it_is_back() -> None:
    scenario = Scenario(scan=AT_TEN_PAST)
    scenario.engine.at(BEGINS - 10.0, lambda: scenario.engine.restart(downtime=120.0))
    scenario.run(all_asked(scenario))
    assert asked(scenario) == ORDER


def test_a_queue_that_says_that_something_runs_is_asked_again_when_it_is_drained(
    said: Callable[[], str],
) -> None:
    """A person has started the same a moment before: no look has shown that yet."""
    scenario = Scenario(scan=AT_TEN_PAST)

    def start_before(request: str) -> None:
        if request == "start sidecar" and asked(scenario) == ["start sidecar"]:
            scenario.engine.resume("sidecar", by="person")
            scenario.engine.add("sidecar", lasting(300.0))

    scenario.recorder.before_request = start_before
    scenario.run(lambda: len(asked(scenario)) == len(SCANNED) + 1)
    assert asked(scenario) == ["start sidecar", *ORDER]
    first, second = (
        time
        for time, request in zip(scenario.recorder.times, scenario.recorder.sent, strict=True)
        if request == "start sidecar"
    )
    assert second - first >= 300.0
    assert "WARNING" not in said()


def test_a_queue_that_refuses_is_said_once_and_the_others_are_asked(
    said: Callable[[], str],
) -> None:
    scenario = Scenario(scan=AT_TEN_PAST)
    refusal = Response(400, "application/json", b'{"message": "Invalid job name: sidecar"}')
    scenario.recorder.replace_response = lambda request: (
        refusal if request == "start sidecar" else None
    )
    scenario.run(all_asked(scenario))
    assert asked(scenario) == ORDER
    assert said().count("sidecar is not asked to look for what is missing") == 1
    assert scenario.daemon.status.problem is None


def test_without_the_permission_that_is_said_once_and_the_rest_works(
    said: Callable[[], str],
) -> None:
    scenario = Scenario(scan=AT_TEN_PAST)
    scenario.api.keys[KEY] = Key(frozenset({"queue.read", "queue.update"}), name=DAEMON)
    scenario.upload_at(BEGINS + 60.0, photos=3)
    scenario.run_for(900.0)
    assert asked(scenario) == ["start sidecar"]
    assert said().count("WARNING SCAN has no effect") == 1
    assert "job.create" in said()
    assert all(asset.jobs_left == 0 for asset in scenario.engine.assets)
    assert scenario.daemon.status.problem is None


def test_an_immich_without_the_jobs_api_is_told_of_once_and_the_rest_works(
    said: Callable[[], str],
) -> None:
    scenario = Scenario(scan=AT_TEN_PAST)
    nowhere = Response(404, "application/json", b'{"message":"Cannot PUT /api/jobs/sidecar"}')
    scenario.recorder.replace_response = lambda request: (
        nowhere if request.startswith("start ") else None
    )
    scenario.upload_at(BEGINS + 60.0, photos=3)
    scenario.run_for(900.0)
    assert asked(scenario) == ["start sidecar"]
    assert said().count("WARNING SCAN has no effect") == 1
    assert all(asset.jobs_left == 0 for asset in scenario.engine.assets)
    assert scenario.daemon.status.problem is None


def test_after_a_start_with_the_permission_it_is_tried_again() -> None:
    scenario = Scenario(scan=AT_TEN_PAST)
    scenario.api.keys[KEY] = Key(frozenset({"queue.read", "queue.update"}), name=DAEMON)
    scenario.run_for(300.0)
    scenario.api.keys[KEY] = Key(name=DAEMON)
    # The one that was asked in vain has been asked: it is its turn on the next day.
    scenario.new_daemon()
    scenario.run(all_asked(scenario))
    assert asked(scenario) == ORDER
    a_day_later(scenario, BEGINS)
    scenario.run(lambda: len(asked(scenario)) == 2 * len(SCANNED))
    assert asked(scenario) == ORDER * 2


# A crash.


def test_what_was_asked_is_in_the_ledger_before_it_is_sent() -> None:
    scenario = Scenario(scan=AT_TEN_PAST)
    kept = []

    def look(request: str) -> None:
        if request.startswith("start "):
            state = scenario.disk.load()
            assert state is not None
            kept.append(request.split()[1] in state.scheduler.scan.asked)

    scenario.recorder.before_request = look
    scenario.run(all_asked(scenario))
    assert kept == [True] * len(SCANNED)


@pytest.mark.parametrize("number", [1, 4, len(SCANNED) - 1])
def test_a_daemon_that_is_killed_goes_on_where_it_was(number: int) -> None:
    scenario = Scenario(scan=AT_TEN_PAST)
    scenario.daemon.load_state()
    scenario.daemon.connect()
    scenario.run_rounds(lambda: len(asked(scenario)) == number)
    scenario.new_daemon()
    scenario.run(all_asked(scenario))
    scenario.new_daemon()
    scenario.run_for(300.0)
    assert asked(scenario) == ORDER


def test_a_daemon_that_starts_after_the_hour_waits_for_the_next_day() -> None:
    scenario = Scenario(scan=Scan(Window(None, time(10), time(11))))
    scenario.run_for(600.0)
    assert asked(scenario) == []
    ten_o_clock = BEGINS - 70 * 60.0
    a_day_later(scenario, ten_o_clock - 60.0)
    scenario.run(all_asked(scenario))
    assert scenario.recorder.times[scenario.recorder.sent.index(ORDER[0])] == pytest.approx(
        DAY + ten_o_clock, abs=1.0
    )
