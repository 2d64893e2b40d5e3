"""What answers do to the memory, and that a memory is never changed in place."""

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

FULL = SchedulerState(
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


def seen(**paused: bool) -> Snapshot:
    return {name: Queue(name, is_paused) for name, is_paused in paused.items()}


def differing(one: SchedulerState, other: SchedulerState) -> set[str]:
    """Return the names of the fields in which two memories differ."""
    return {
        field.name
        for field in dataclasses.fields(SchedulerState)
        if getattr(one, field.name) != getattr(other, field.name)
    }


def test_a_new_memory_reads_no_wish_from_its_first_snapshot() -> None:
    assert SchedulerState().had_failure
    assert not SchedulerState().taken_over


def test_a_held_queue_that_is_open_at_the_start_may_still_be_paused_by_the_earlier_run() -> None:
    snapshot = seen(ocr=False, library=True, smartSearch=False)
    state = restored(FULL, snapshot, 100.0)
    assert state.unconfirmed_pauses == {"ocr": 100.0 + UNCONFIRMED_FOR}


def test_a_held_queue_that_immich_no_longer_has_is_nothing_to_be_unsure_of() -> None:
    assert restored(FULL, seen(library=True), 100.0).unconfirmed_pauses == {}


def test_a_restored_memory_keeps_what_the_ledger_kept_and_reads_no_wish() -> None:
    state = restored(FULL, seen(ocr=False), 100.0)
    assert state.had_failure
    assert differing(FULL, state) == {"unconfirmed_pauses", "had_failure"}


def test_after_a_failure_nothing_but_the_absence_is_remembered() -> None:
    state = after_failure(FULL)
    assert state.had_failure
    assert differing(FULL, state) == {"had_failure"}


def test_an_unclear_pause_may_take_effect_for_a_minute() -> None:
    state = after_unconfirmed_pause(FULL, "library", 100.0)
    assert state.unconfirmed_pauses == {"ocr": 70.0, "library": 160.0}
    assert state.had_failure
    assert differing(FULL, state) == {"unconfirmed_pauses", "had_failure"}


def test_a_second_unclear_pause_of_a_queue_starts_its_minute_anew() -> None:
    assert after_unconfirmed_pause(FULL, "ocr", 50.0).unconfirmed_pauses == {
        "ocr": 50.0 + UNCONFIRMED_FOR
    }


def test_a_refused_queue_is_neither_held_nor_in_a_slot_nor_lent_one() -> None:
    state = after_refused_pause(FULL, "library")
    assert state.unpausable == {"backgroundTask", "library"}
    assert state.paused_by_daemon == {"ocr", "sidecar"}
    assert state.slots == ("smartSearch",)
    assert state.lent == {"metadataExtraction": 5.0}
    assert differing(FULL, state) == {"unpausable", "paused_by_daemon", "slots", "lent"}


def test_a_queue_that_was_at_work_already_is_asked_for_what_is_missing_once_more() -> None:
    state = after_refused_start(FULL, "library", is_running=True)
    assert differing(state, FULL) == {"scan"}
    assert state.scan == ScanProgress(7.0, frozenset({"sidecar"}), None)


def test_a_queue_that_refuses_to_look_for_what_is_missing_is_not_asked_again() -> None:
    state = after_refused_start(FULL, "library", is_running=False)
    assert differing(state, FULL) == {"scan"}
    assert state.scan == ScanProgress(7.0, frozenset({"sidecar", "library"}), None)


def test_after_the_release_only_what_was_not_resumed_is_held() -> None:
    state = after_release(FULL, frozenset({"library", "sidecar"}), 100.0)
    assert state.paused_by_daemon == {"ocr"}


def test_nobody_has_a_slot_after_the_release() -> None:
    state = after_release(FULL, FULL.paused_by_daemon, 100.0)
    assert (state.slots, state.lent) == ((), {})


def test_someone_elses_pause_is_known_after_the_release() -> None:
    assert after_release(FULL, FULL.paused_by_daemon, 100.0).paused_by_others == {"migration"}


@pytest.mark.parametrize(
    ("now", "paused_by_daemon"), [(69.9, {"ocr"}), (70.0, set()), (100.0, set())]
)
def test_a_released_queue_whose_pause_may_still_come_stays_on_the_list(
    now: float, held: set[str]
) -> None:
    assert after_release(FULL, FULL.paused_by_daemon, now).paused_by_daemon == held


@pytest.mark.parametrize(
    "change",
    [
        lambda state: restored(state, seen(ocr=False), 0.0),
        after_failure,
        lambda state: after_unconfirmed_pause(state, "library", 0.0),
        lambda state: after_refused_pause(state, "library"),
        lambda state: after_release(state, frozenset({"library"}), 0.0),
        lambda state: after_refused_start(state, "library", is_running=True),
    ],
)
def test_a_memory_is_never_changed_in_place(
    change: Callable[[SchedulerState], SchedulerState],
) -> None:
    lent, turns, unsure = {"library": 6.0}, {"ocr": 1.0}, {"ocr": 70.0}
    state = dataclasses.replace(FULL, lent=lent, last_open=turns, unconfirmed_pauses=unsure)
    assert change(state) is not state
    assert (lent, turns, unsure) == ({"library": 6.0}, {"ocr": 1.0}, {"ocr": 70.0})
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.had_failure = True  # type: ignore[misc]
