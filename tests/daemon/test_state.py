"""What a user's change does to the daemon's state, and what undoes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.daemon.state import DaemonState, apply_change, apply_configured_limit
from immich_job_daemon.model.controls import (
    LARGEST_LIMIT,
    Change,
    Mode,
    Override,
    SetLimit,
    SetMode,
    SetQueue,
)
from immich_job_daemon.scheduler.state import SchedulerState

changes = (
    st.builds(SetMode, st.sampled_from(Mode))
    | st.builds(SetLimit, st.none() | st.integers(1, LARGEST_LIMIT))
    | st.builds(SetQueue, st.sampled_from(("ocr", "library", "search")), st.sampled_from(Override))
)


def asked(state: DaemonState, *wanted: Change) -> DaemonState:
    for change in wanted:
        state = apply_change(state, change)
    return state


@given(st.lists(changes, max_size=6), changes)
def test_what_undoes_a_change_takes_it_back(before: list[Change], change: Change) -> None:
    state = asked(DaemonState(), *before)
    later = apply_change(state, change)
    assert later.undo is not None
    undone = apply_change(later, later.undo)
    assert (undone.scheduler.controls, undone.scheduler.wanted) == (
        state.scheduler.controls,
        state.scheduler.wanted,
    )
    assert undone.undo == change or undone.scheduler.controls == later.scheduler.controls


def test_one_that_has_a_slot_needs_not_be_next() -> None:
    assert (
        asked(
            DaemonState(SchedulerState(slots=("ocr",))), SetQueue("ocr", Override.NEXT)
        ).scheduler.wanted
        == frozenset()
    )


def test_a_hold_on_what_somebody_else_paused_leaves_it_theirs() -> None:
    state = DaemonState(SchedulerState(paused_by_others=frozenset({"ocr"})))
    later = asked(state, SetQueue("ocr", Override.HELD))
    assert later.scheduler.paused_by_others == {"ocr"}
    assert later.scheduler.paused_by_daemon == frozenset()
    assert later.undo == SetQueue("ocr", Override.HELD), "nothing else would leave it as it was"


@pytest.mark.parametrize("override", [Override.AUTOMATIC, Override.NEXT])
def test_who_asks_for_a_queue_speaks_for_whoever_paused_it(override: Override) -> None:
    state = DaemonState(SchedulerState(paused_by_others=frozenset({"ocr", "library"})))
    later = asked(state, SetQueue("ocr", override))
    assert later.scheduler.paused_by_daemon == {"ocr"}
    assert later.scheduler.paused_by_others == {"library"}


# A limit and the setting


def test_a_limit_outlives_a_restart_with_the_same_setting() -> None:
    state = asked(apply_configured_limit(DaemonState(), 1), SetLimit(3))
    assert apply_configured_limit(state, 1) is state


def test_who_changes_the_setting_means_it() -> None:
    state = asked(apply_configured_limit(DaemonState(), 1), SetMode(Mode.HELD), SetLimit(3))
    later = apply_configured_limit(state, 2)
    assert (later.scheduler.controls.limit, later.undo, later.configured_limit) == (None, None, 2)
    assert later.scheduler.controls.mode is Mode.HELD
    other = asked(apply_configured_limit(DaemonState(), 1), SetLimit(3), SetMode(Mode.HELD))
    assert apply_configured_limit(other, 2).undo == SetMode(Mode.AUTOMATIC)
