"""The effect of a user's changes on the daemon's state, and their undo."""

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


def apply_all(state: DaemonState, *to_apply: Change) -> DaemonState:
    for change in to_apply:
        state = apply_change(state, change)
    return state


@given(st.lists(changes, max_size=6), changes)
def test_undo_reverts_a_change(before: list[Change], change: Change) -> None:
    state = apply_all(DaemonState(), *before)
    later = apply_change(state, change)
    assert later.undo is not None
    undone = apply_change(later, later.undo)
    assert (undone.scheduler.controls, undone.scheduler.wanted) == (
        state.scheduler.controls,
        state.scheduler.wanted,
    )
    assert undone.undo == change or undone.scheduler.controls == later.scheduler.controls


def test_override_next_has_no_effect_on_a_queue_with_a_slot() -> None:
    assert (
        apply_all(
            DaemonState(SchedulerState(slots=("ocr",))), SetQueue("ocr", Override.NEXT)
        ).scheduler.wanted
        == frozenset()
    )


def test_holding_a_queue_paused_by_others_does_not_claim_it() -> None:
    state = DaemonState(SchedulerState(paused_by_others=frozenset({"ocr"})))
    later = apply_all(state, SetQueue("ocr", Override.HELD))
    assert later.scheduler.paused_by_others == {"ocr"}
    assert later.scheduler.paused_by_daemon == frozenset()
    assert later.undo == SetQueue("ocr", Override.HELD), "any other override would claim the queue"


@pytest.mark.parametrize("override", [Override.AUTOMATIC, Override.NEXT])
def test_other_overrides_claim_a_queue_paused_by_others(override: Override) -> None:
    state = DaemonState(SchedulerState(paused_by_others=frozenset({"ocr", "library"})))
    later = apply_all(state, SetQueue("ocr", override))
    assert later.scheduler.paused_by_daemon == {"ocr"}
    assert later.scheduler.paused_by_others == {"library"}


# The limit and MAX_CONCURRENT_JOBS


def test_a_limit_survives_a_restart_with_the_same_setting() -> None:
    state = apply_all(apply_configured_limit(DaemonState(), 1), SetLimit(3))
    assert apply_configured_limit(state, 1) is state


def test_a_changed_setting_replaces_the_limit() -> None:
    state = apply_all(apply_configured_limit(DaemonState(), 1), SetMode(Mode.HELD), SetLimit(3))
    later = apply_configured_limit(state, 2)
    assert (later.scheduler.controls.limit, later.undo, later.configured_limit) == (None, None, 2)
    assert later.scheduler.controls.mode is Mode.HELD
    other = apply_all(apply_configured_limit(DaemonState(), 1), SetLimit(3), SetMode(Mode.HELD))
    assert apply_configured_limit(other, 2).undo == SetMode(Mode.AUTOMATIC)
