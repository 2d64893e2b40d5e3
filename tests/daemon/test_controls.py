"""Changes made by a user while the daemon runs: their effect in Immich and over a restart."""

import logging
from itertools import pairwise

import pytest

from immich_job_daemon.model.controls import Mode, Override, SetLimit, SetMode, SetQueue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import OverallState, ProblemKind
from tests.support.scenario import (
    FACES,
    MANAGED,
    SEARCH,
    THUMBNAIL,
    USER,
    VIDEO,
    Scenario,
    order_of_starts,
)


def connected(**changes: int) -> Scenario:
    scenario = Scenario(max_concurrent_jobs=changes.get("limit", 1))
    scenario.daemon.load_state()
    scenario.daemon.connect()
    return scenario


def test_mode_held_lets_active_jobs_finish_and_starts_nothing() -> None:
    scenario = connected()
    scenario.add_backlog(SEARCH, FACES)
    scenario.daemon.round()
    active = scenario.engine.queues[SEARCH].active
    ready = scenario.engine.queues[SEARCH].ready
    scenario.request_changes(SetMode(Mode.HELD))
    scenario.run_rounds(lambda: not any(queue.active for queue in scenario.engine.queues.values()))
    scenario.daemon.round()
    assert active > 0
    assert scenario.engine.queues[SEARCH].ready == ready
    assert scenario.paused() == set(MANAGED)
    assert scenario.daemon.status.state is OverallState.HELD
    assert scenario.daemon.status.reasons[FACES] is Reason.HELD_BY_USER


def test_mode_open_resumes_only_the_queues_that_the_daemon_paused() -> None:
    scenario = connected()
    scenario.add_backlog(SEARCH, FACES)
    scenario.daemon.round()
    scenario.daemon.round()
    scenario.engine.pause("ocr", by=USER)
    scenario.engine.resume("ocr", by=USER)
    scenario.daemon.round()
    scenario.engine.pause("metadataExtraction", by=USER)
    scenario.daemon.round()
    paused_by_others = {
        q.name for q in scenario.daemon.status.with_reasons(Reason.PAUSED_BY_OTHERS)
    }
    scenario.request_changes(SetMode(Mode.OPEN))
    scenario.daemon.round()
    assert scenario.paused() == paused_by_others
    assert scenario.daemon.status.state is OverallState.OPEN


def test_a_queue_with_override_next_runs_next() -> None:
    scenario = connected()
    scenario.add_backlog(SEARCH, FACES, VIDEO)
    order = order_of_starts(scenario.engine)
    scenario.daemon.round()
    scenario.request_changes(SetQueue(VIDEO, Override.NEXT))
    scenario.daemon.round()
    assert scenario.daemon.status.override(VIDEO) is Override.NEXT
    scenario.run_rounds(lambda: scenario.engine.is_idle)
    assert [name for name in order if name in {SEARCH, FACES, VIDEO}] == [SEARCH, VIDEO, FACES]
    assert scenario.daemon.status.override(VIDEO) is Override.AUTOMATIC


def test_a_new_limit_applies_from_the_next_round_and_is_published() -> None:
    scenario = connected()
    scenario.pause_all()
    scenario.add_backlog(SEARCH, FACES, VIDEO, seconds=5.0)
    scenario.daemon.round()
    assert [queue.name for queue in scenario.daemon.status.running] == [SEARCH]
    scenario.request_changes(SetLimit(2))
    scenario.daemon.round()
    assert scenario.daemon.status.limit == 2
    assert [queue.name for queue in scenario.daemon.status.running] == [SEARCH, FACES]
    scenario.request_changes(SetLimit(None))
    scenario.daemon.round()
    assert scenario.daemon.status.limit == 1


@pytest.mark.parametrize(
    "change",
    [SetMode(Mode.HELD), SetMode(Mode.OPEN), SetQueue(SEARCH, Override.HELD), SetLimit(2)],
)
def test_a_change_survives_a_restart_and_can_be_undone_after_it(
    change: SetMode | SetQueue | SetLimit,
) -> None:
    scenario = connected()
    scenario.add_backlog(SEARCH, FACES)
    scenario.daemon.round()
    scenario.request_changes(change)
    scenario.daemon.round()
    before = scenario.daemon.status
    scenario.daemon.stop()
    assert scenario.paused() == set(), "a stop must resume every queue, even those held by the user"
    scenario.new_daemon().load_state()
    scenario.daemon.connect()
    scenario.daemon.round()
    after = scenario.daemon.status
    assert (after.controls, after.undo, after.limit) == (before.controls, before.undo, before.limit)
    assert after.undo is not None
    scenario.request_changes(after.undo)
    scenario.daemon.round()
    assert scenario.daemon.status.controls == type(after.controls)()


def test_a_change_is_saved_before_it_takes_effect() -> None:
    scenario = connected()
    scenario.daemon.round()
    scenario.engine.restart(1000.0)
    scenario.request_changes(SetMode(Mode.HELD))
    scenario.daemon.round()
    assert '"mode": "held"' in (scenario.disk.text or "")
    assert scenario.daemon.status.controls.mode is Mode.HELD, (
        "the status must show it while Immich is down"
    )
    assert scenario.daemon.status.state is OverallState.UNREACHABLE


def test_a_change_during_the_wait_for_immich_at_the_start_is_kept() -> None:
    scenario = Scenario()
    scenario.engine.restart(100.0)
    scenario.request_changes(SetMode(Mode.HELD))
    scenario.run(lambda: scenario.daemon.status.polled_at is not None)
    assert scenario.daemon.status.controls.mode is Mode.HELD


def test_a_change_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("immich_job_daemon"), "propagate", True)
    caplog.set_level(logging.INFO, logger="immich_job_daemon")
    scenario = connected()
    scenario.request_changes(SetQueue(SEARCH, Override.HELD))
    scenario.daemon.round()
    assert "Changed by a user: smartSearch: hold." in caplog.messages


# Status


def test_the_status_contains_rates_and_a_forecast() -> None:
    scenario = connected()
    scenario.add_backlog(SEARCH, count=2000, seconds=0.5)
    scenario.run_rounds(lambda: scenario.engine.now > 60.0)
    status = scenario.daemon.status
    rate = status.rates.queues[SEARCH].per_second
    assert rate == pytest.approx(4.0, rel=0.1), "two at a time, half a second each"
    seconds_left = status.queues[SEARCH].pending / 4.0
    assert status.forecast.queues[SEARCH] == pytest.approx(seconds_left, rel=0.1)
    assert status.forecast.total == status.forecast.queues[SEARCH]


def test_the_status_contains_the_order_of_the_queues() -> None:
    scenario = connected()
    scenario.daemon.round()
    status = scenario.daemon.status
    assert status.order[:3] == ("sidecar", "metadataExtraction", "storageTemplateMigration")
    assert set(status.order) == set(status.queues)
    assert set(status.managed) == set(MANAGED)


def test_commands_responses_and_failures_are_counted() -> None:
    scenario = connected()
    scenario.add_backlog(SEARCH)
    scenario.daemon.round()
    counters = scenario.daemon.status.counters
    assert counters.commands["pause"] == len(scenario.recorder.of("pause"))
    assert sum(counters.requests.counts) == len(scenario.recorder.of("pause", "resume")) + 1
    scenario.engine.restart(60.0)
    scenario.daemon.round()
    assert scenario.daemon.status.counters.failures == {"unreachable": 1}


def test_a_handover_is_measured_from_the_last_poll_that_saw_work() -> None:
    scenario = connected()
    scenario.add_backlog(SEARCH, FACES)
    scenario.run_rounds(lambda: scenario.engine.is_idle)
    handovers = scenario.daemon.status.counters.handovers
    assert sum(handovers.counts) == 1
    assert 0 < handovers.total < 5


def test_the_history_shows_which_queue_had_the_slot() -> None:
    scenario = connected()
    scenario.add_backlog(SEARCH, count=200, seconds=0.5)
    began = scenario.engine.now
    scenario.run_rounds(lambda: scenario.engine.is_idle)
    busy = sum(part.busy.get(SEARCH, 0.0) for part in scenario.daemon.status.history.buckets)
    assert busy == pytest.approx(scenario.engine.now - began, abs=3.0)


def test_each_status_is_published_before_it_is_due() -> None:
    scenario = connected()
    scenario.add_backlog(SEARCH, THUMBNAIL, FACES)
    scenario.upload_at(50.0, 20)
    scenario.engine.at(80.0, lambda: scenario.engine.restart(120.0))
    times: list[tuple[float, float]] = []
    publish = scenario.daemon.publish

    def note(status: object) -> None:
        times.append((scenario.engine.now, scenario.daemon.status.next_due))
        publish(scenario.daemon.status)
        assert status is scenario.daemon.status

    scenario.daemon.publish = note
    scenario.run_rounds(lambda: scenario.engine.now > 400.0)
    assert len(times) > 20
    assert all(later <= due for (_, due), (later, _) in pairwise(times))


def test_the_version_is_fetched_again_after_immich_was_down() -> None:
    scenario = connected()
    scenario.daemon.round()
    scenario.engine.restart(20.0)
    scenario.run_rounds(lambda: scenario.daemon.status.problem is not None)
    scenario.recorder.sent.clear()
    scenario.run_rounds(lambda: scenario.daemon.status.problem is None)
    assert scenario.recorder.sent.count("GET /api/server/version") == 1
    assert scenario.daemon.status.immich_version == "3.1.0"


# Other tools


def test_a_conflict_with_another_tool_is_reported_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("immich_job_daemon"), "propagate", True)
    caplog.set_level(logging.INFO, logger="immich_job_daemon")
    scenario = connected()
    scenario.add_backlog(SEARCH, FACES, count=2000)
    scenario.daemon.round()

    def resume() -> None:
        scenario.engine.resume(FACES, by="another tool")
        scenario.engine.at(scenario.engine.now + 5.0, resume)

    resume()
    scenario.run_rounds(lambda: scenario.daemon.status.problem is not None)
    problem = scenario.daemon.status.problem
    assert problem is not None
    assert problem.kind is ProblemKind.CONTESTED
    assert "keeps resuming faceDetection" in problem.text
    assert scenario.daemon.status.state is OverallState.ATTENTION
    scenario.recorder.sent.clear()
    end = scenario.engine.now + 300.0
    scenario.run_rounds(lambda: scenario.engine.now > end)
    assert len(scenario.recorder.of("pause", "resume")) <= 6
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in warnings] == [f"{problem.text}."]


def test_a_change_before_the_first_poll_does_not_skip_the_takeover() -> None:
    scenario = Scenario()
    scenario.pause_all("an older tool")
    scenario.engine.restart(60)
    scenario.request_changes(SetLimit(2))
    scenario.run_for(30)
    assert scenario.paused() == set(MANAGED)
    scenario.new_daemon()
    scenario.run_for(120)
    assert scenario.published[-1].limit == 2
    assert scenario.daemon.state.scheduler.paused_by_others == frozenset()
    assert scenario.paused() == set()
