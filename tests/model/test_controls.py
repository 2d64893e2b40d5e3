"""Changes by a user: parsing, JSON and description."""

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
    Change,
    ChangeError,
    Controls,
    Mode,
    Override,
    SetLimit,
    SetMode,
    SetQueue,
    as_json,
    describe,
    override_of,
    read_change,
)
from immich_job_daemon.model.queue import LONGEST_NAME

changes = (
    st.builds(SetMode, st.sampled_from(Mode))
    | st.builds(SetLimit, st.none() | st.integers(1, LARGEST_LIMIT))
    | st.builds(SetQueue, st.sampled_from(("ocr", "library", "search")), st.sampled_from(Override))
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(("mode", "limit", "queue", "override", "x")), inner)
    ),
    max_leaves=5,
)


@given(changes)
def test_a_change_survives_a_round_trip_through_json(change: Change) -> None:
    assert read_change(json.loads(json.dumps(as_json(change)))) == change


@given(values)
def test_any_value_is_a_change_or_an_error(value: object) -> None:
    with suppress(ChangeError):
        assert as_json(read_change(value)) == value


@pytest.mark.parametrize(
    "value",
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
        {"override": "held"},
        {"queue": "", "override": "held"},
        {"queue": "x" * (LONGEST_NAME + 1), "override": "held"},
        {"queue": "two\nlines", "override": "held"},
        {"queue": "ocr", "override": "paused"},
        {"queue": 1, "override": "held"},
        {"queue": "ocr", "override": "held", "more": 1},
    ],
)
def test_an_invalid_change_is_refused(value: object) -> None:
    with pytest.raises(ChangeError, match=re.escape(EXPECTED)):
        read_change(value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (SetMode(Mode.AUTOMATIC), "automatic"),
        (SetMode(Mode.OPEN), "run everything"),
        (SetMode(Mode.HELD), "pause everything"),
        (SetLimit(None), "as many queues at once as MAX_CONCURRENT_JOBS says"),
        (SetLimit(1), "at most 1 queue at once"),
        (SetLimit(3), "at most 3 queues at once"),
        (SetQueue("ocr", Override.HELD), "ocr: hold"),
    ],
)
def test_changes_are_described_for_the_log(change: Change, text: str) -> None:
    assert describe(change) == text


def test_held_takes_precedence_over_next() -> None:
    controls = Controls(held_by_user=frozenset({"ocr"}))
    assert override_of("ocr", controls, {"ocr"}) is Override.HELD
    assert override_of("library", controls, {"library"}) is Override.NEXT
    assert override_of("search", controls, ()) is Override.AUTOMATIC
