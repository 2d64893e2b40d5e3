"""How responses change the scheduler's state, and that a state is never changed in place."""

import dataclasses
from collections.abc import Callable

import pytest

from immich_job_daemon.model.queue import Queue, Snapshot
from immich_job_daemon.scheduler.scan import ScanProgress
from immich_job_daemon.scheduler.state import (
    UNCONFIRMED_FOR,
    SchedulerState,
    after_failure,
    after_refused_pause,
    after_refused_start,
    after_release,
    after_unconfirmed_pause,
    restored,
)

STATE = SchedulerState(
    taken_over=True,
    is_limited=True,
    paused_by_daemon=frozenset({"ocr", "library", "sidecar"}),
    paused_by_others=frozenset({"migration"}),
    slots=("smartSearch", "library"),
    wanted=frozenset({"faceDetection"}),
    unpausable=frozenset({"backgroundTask"}),
    lent={"metadataExtraction": 5.0, "library": 6.0},
    last_open={"ocr": 1.0},
    unconfirmed_pauses={"ocr": 70.0},
    scan=ScanProgress(7.0, frozenset({"sidecar", "library"}), "library"),
    had_failure=False,
)


def snapshot_of(**paused: bool) -> Snapshot:
    return {name: Queue(name, is_paused) for name, is_paused in paused.items()}


def different_fields(first: SchedulerState, second: SchedulerState) -> set[str]:
    """Return the names of the fields in which two states differ."""
    return {
        field.name
        for field in dataclasses.fields(SchedulerState)
        if getattr(first, field.name) != getattr(second, field.name)
    }


def test_a_new_state_attributes_nothing_in_its_first_snapshot() -> None:
    assert SchedulerState().had_failure
    assert not SchedulerState().taken_over


def test_a_late_pause_of_the_previous_run_may_still_reach_an_open_queue() -> None:
    snapshot = snapshot_of(ocr=False, library=True, smartSearch=False)
    state = restored(STATE, snapshot, 100.0)
    assert state.unconfirmed_pauses == {"ocr": 100.0 + UNCONFIRMED_FOR}


def test_a_queue_that_immich_no_longer_has_gets_no_unconfirmed_pause() -> None:
    assert restored(STATE, snapshot_of(library=True), 100.0).unconfirmed_pauses == {}


def test_a_restored_state_changes_nothing_else_and_attributes_nothing() -> None:
    state = restored(STATE, snapshot_of(ocr=False), 100.0)
    assert state.had_failure
    assert different_fields(STATE, state) == {"unconfirmed_pauses", "had_failure"}


def test_a_failure_is_the_only_change_after_a_failure() -> None:
    state = after_failure(STATE)
    assert state.had_failure
    assert different_fields(STATE, state) == {"had_failure"}


def test_an_unconfirmed_pause_may_take_effect_for_a_minute() -> None:
    state = after_unconfirmed_pause(STATE, "library", 100.0)
    assert state.unconfirmed_pauses == {"ocr": 70.0, "library": 160.0}
    assert state.had_failure
    assert different_fields(STATE, state) == {"unconfirmed_pauses", "had_failure"}


def test_a_second_unconfirmed_pause_restarts_the_minute() -> None:
    assert after_unconfirmed_pause(STATE, "ocr", 50.0).unconfirmed_pauses == {
        "ocr": 50.0 + UNCONFIRMED_FOR
    }


def test_a_queue_that_refused_its_pause_loses_its_slot() -> None:
    state = after_refused_pause(STATE, "library")
    assert state.unpausable == {"backgroundTask", "library"}
    assert state.paused_by_daemon == {"ocr", "sidecar"}
    assert state.slots == ("smartSearch",)
    assert state.lent == {"metadataExtraction": 5.0}
    assert different_fields(STATE, state) == {"unpausable", "paused_by_daemon", "slots", "lent"}


def test_a_scan_refused_because_jobs_run_is_sent_again() -> None:
    state = after_refused_start(STATE, "library", is_running=True)
    assert different_fields(state, STATE) == {"scan"}
    assert state.scan == ScanProgress(7.0, frozenset({"sidecar"}), None)


def test_a_scan_refused_for_another_reason_is_not_sent_again() -> None:
    state = after_refused_start(STATE, "library", is_running=False)
    assert different_fields(state, STATE) == {"scan"}
    assert state.scan == ScanProgress(7.0, frozenset({"sidecar", "library"}), None)


def test_after_the_release_only_queues_that_were_not_resumed_count_as_paused() -> None:
    state = after_release(STATE, frozenset({"library", "sidecar"}), 100.0)
    assert state.paused_by_daemon == {"ocr"}


def test_no_queue_has_a_slot_after_the_release() -> None:
    state = after_release(STATE, STATE.paused_by_daemon, 100.0)
    assert (state.slots, state.lent) == ((), {})


def test_pauses_by_others_are_kept_by_the_release() -> None:
    assert after_release(STATE, STATE.paused_by_daemon, 100.0).paused_by_others == {"migration"}


@pytest.mark.parametrize(
    ("now", "paused_by_daemon"), [(69.9, {"ocr"}), (70.0, set()), (100.0, set())]
)
def test_a_released_queue_with_an_unconfirmed_pause_counts_as_paused(
    now: float, paused_by_daemon: set[str]
) -> None:
    assert after_release(STATE, STATE.paused_by_daemon, now).paused_by_daemon == paused_by_daemon


@pytest.mark.parametrize(
    "change",
    [
        lambda state: restored(state, snapshot_of(ocr=False), 0.0),
        after_failure,
        lambda state: after_unconfirmed_pause(state, "library", 0.0),
        lambda state: after_refused_pause(state, "library"),
        lambda state: after_release(state, frozenset({"library"}), 0.0),
        lambda state: after_refused_start(state, "library", is_running=True),
    ],
)
def test_a_state_is_never_changed_in_place(
    change: Callable[[SchedulerState], SchedulerState],
) -> None:
    lent, last_open, unconfirmed = {"library": 6.0}, {"ocr": 1.0}, {"ocr": 70.0}
    state = dataclasses.replace(
        STATE, lent=lent, last_open=last_open, unconfirmed_pauses=unconfirmed
    )
    assert change(state) is not state
    assert (lent, last_open, unconfirmed) == ({"library": 6.0}, {"ocr": 1.0}, {"ocr": 70.0})
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.had_failure = True  # type: ignore[misc]
