"""What a person may ask for: read once at the border, and taken back by what undoes it."""

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.model.controls import (
    EXPECTED,
    LARGEST_LIMIT,
    LONGEST_NAME,
    Change,
    ChangeError,
    Controls,
    Mode,
    SetLimit,
    SetMode,
    SetQueue,
    Wish,
    as_json,
    in_words,
    read_change,
    wish_of,
)
from immich_job_daemon.scheduler.state import Memory, after_change, under

changes = (
    st.builds(SetMode, st.sampled_from(Mode))
    | st.builds(SetLimit, st.none() | st.integers(1, LARGEST_LIMIT))
    | st.builds(SetQueue, st.sampled_from(("ocr", "library", "search")), st.sampled_from(Wish))
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(("mode", "limit", "queue", "wish", "x")), inner)
    ),
    max_leaves=5,
)


@given(changes)
def test_a_change_is_the_same_after_its_way_through_json(change: Change) -> None:
    assert read_change(json.loads(json.dumps(as_json(change)))) == change


@given(values)
def test_whatever_comes_is_a_change_or_a_clear_refusal(found: object) -> None:
    with suppress(ChangeError):
        assert as_json(read_change(found)) == found


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        "held",
        {},
        {"mode": "HELD"},
        {"mode": None},
        {"mode": "held", "limit": 1},
        {"limit": 0},
        {"limit": -1},
        {"limit": True},
        {"limit": 1.5},
        {"limit": "2"},
        {"limit": LARGEST_LIMIT + 1},
        {"queue": "ocr"},
        {"wish": "held"},
        {"queue": "", "wish": "held"},
        {"queue": "x" * (LONGEST_NAME + 1), "wish": "held"},
        {"queue": "two\nlines", "wish": "held"},
        {"queue": "ocr", "wish": "paused"},
        {"queue": 1, "wish": "held"},
        {"queue": "ocr", "wish": "held", "more": 1},
    ],
)
def test_what_is_no_change_is_refused(wrong: object) -> None:
    with pytest.raises(ChangeError, match=re.escape(EXPECTED)):
        read_change(wrong)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (SetMode(Mode.AUTOMATIC), "everything automatic"),
        (SetMode(Mode.OPEN), "everything open"),
        (SetMode(Mode.HELD), "everything held"),
        (SetLimit(None), "as many queues at once as MAX_CONCURRENT_JOBS says"),
        (SetLimit(1), "at most 1 queue at once"),
        (SetLimit(3), "at most 3 queues at once"),
        (SetQueue("ocr", Wish.HELD), "ocr held"),
    ],
)
def test_a_change_reads_well_in_the_log(change: Change, words: str) -> None:
    assert in_words(change) == words


def test_a_hold_goes_before_what_is_next() -> None:
    controls = Controls(held=frozenset({"ocr"}))
    assert wish_of("ocr", controls, {"ocr"}) is Wish.HELD
    assert wish_of("library", controls, {"library"}) is Wish.NEXT
    assert wish_of("search", controls, ()) is Wish.AUTOMATIC


# What a change does to the memory


def asked(memory: Memory, *wanted: Change) -> Memory:
    for change in wanted:
        memory = after_change(memory, change)
    return memory


@given(st.lists(changes, max_size=6), changes)
def test_what_undoes_a_change_takes_it_back(before: list[Change], change: Change) -> None:
    memory = asked(Memory(), *before)
    later = after_change(memory, change)
    assert later.undo is not None
    undone = after_change(later, later.undo)
    assert (undone.controls, undone.wanted) == (memory.controls, memory.wanted)
    assert undone.undo == change or undone.controls == later.controls


def test_one_that_has_a_slot_needs_not_be_next() -> None:
    assert asked(Memory(slots=("ocr",)), SetQueue("ocr", Wish.NEXT)).wanted == frozenset()


def test_a_hold_on_what_somebody_else_paused_leaves_it_theirs() -> None:
    memory = Memory(paused_by_others=frozenset({"ocr"}))
    later = asked(memory, SetQueue("ocr", Wish.HELD))
    assert later.paused_by_others == {"ocr"}
    assert later.held == frozenset()
    assert later.undo == SetQueue("ocr", Wish.HELD), "nothing else would leave it as it was"


@pytest.mark.parametrize("wish", [Wish.AUTOMATIC, Wish.NEXT])
def test_who_asks_for_a_queue_speaks_for_whoever_paused_it(wish: Wish) -> None:
    memory = Memory(paused_by_others=frozenset({"ocr", "library"}))
    later = asked(memory, SetQueue("ocr", wish))
    assert later.held == {"ocr"}
    assert later.paused_by_others == {"library"}


# A limit and the setting


def test_a_limit_outlives_a_restart_with_the_same_setting() -> None:
    memory = asked(under(Memory(), 1), SetLimit(3))
    assert under(memory, 1) is memory


def test_who_changes_the_setting_means_it() -> None:
    memory = asked(under(Memory(), 1), SetMode(Mode.HELD), SetLimit(3))
    later = under(memory, 2)
    assert (later.controls.limit, later.undo, later.configured) == (None, None, 2)
    assert later.controls.mode is Mode.HELD
    other = asked(under(Memory(), 1), SetLimit(3), SetMode(Mode.HELD))
    assert under(other, 2).undo == SetMode(Mode.AUTOMATIC)
