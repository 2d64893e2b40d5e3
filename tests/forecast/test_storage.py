"""What was measured, to JSON and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.forecast.pipeline import OUTSIDE, Batch, Seen, Span
from immich_job_daemon.forecast.rates import MOST_BESIDE, Rate, Rates
from immich_job_daemon.forecast.storage import (
    LARGEST,
    MOST_OF_A_QUEUE,
    from_json,
    to_json,
)
from immich_job_daemon.model.queue import MAX_QUEUES, Queue

MEASURED = Rates(
    queues={"ocr": Rate(50, 25)},
    beside={"ocr": {0: Rate(30, 10), MOST_BESIDE: Rate(20, 15)}},
    at_most={"storageTemplateMigration": 0.005},
    batches={
        "smartSearch": {
            OUTSIDE: Batch(85_000, {"duplicateDetection": Seen(200, 199)}),
            "thumbnailGeneration": Batch(usual={"duplicateDetection": Span(0.5, 1)}),
        }
    },
)

names = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", fullmatch=True)
numbers = st.floats(0, LARGEST, allow_subnormal=False)
some = st.floats(1e-9, LARGEST, allow_subnormal=False)
rate = st.builds(Rate, some, some)
measured = st.builds(
    Rates,
    queues=st.dictionaries(names, rate, max_size=4),
    beside=st.dictionaries(
        names, st.dictionaries(st.integers(0, MOST_BESIDE), rate, max_size=4), max_size=4
    ),
    at_most=st.dictionaries(names, some, max_size=4),
    batches=st.dictionaries(
        names,
        st.dictionaries(
            names,
            st.builds(
                Batch,
                left=numbers,
                seen=st.dictionaries(names, st.builds(Seen, numbers, numbers), max_size=4),
                usual=st.dictionaries(
                    names,
                    st.tuples(numbers, numbers).map(lambda two: Span(min(two), max(two))),
                    max_size=4,
                ),
            ),
            max_size=4,
        ),
        max_size=4,
    ),
)
rubbish = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("queues", "beside", "at_most", "batches", "left", "seen", "ocr", "0")),
            inner,
            max_size=3,
        )
    ),
)


def through_text(rates: Rates) -> Rates:
    return from_json(json.loads(json.dumps(to_json(rates))))


def test_what_was_measured_comes_back() -> None:
    assert through_text(MEASURED) == MEASURED


def test_the_last_look_does_not() -> None:
    looked = Rates(seen={"ocr": Queue("ocr", is_paused=False)}, seen_at=9.0)
    assert through_text(looked) == Rates()


def test_nothing_is_nothing_measured() -> None:
    assert from_json({}) == from_json(to_json(Rates())) == Rates()


@given(measured)
def test_it_comes_back_the_same_whatever_it_is(rates: Rates) -> None:
    once = through_text(rates)
    assert through_text(once) == once
    assert once.queues.keys() == rates.queues.keys()
    assert once.batches.keys() == rates.batches.keys()
    for name, one in once.queues.items():
        assert one.jobs == pytest.approx(rates.queues[name].jobs, rel=1e-5)


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        7,
        "rates",
        {"more": {}},
        {"queues": []},
        {"queues": {"ocr": 7}},
        {"queues": {"ocr": [1]}},
        {"queues": {"ocr": [1, 2, 3]}},
        {"queues": {"ocr": [0, 1]}},
        {"queues": {"ocr": [1, 0]}},
        {"queues": {"ocr": [-1, 1]}},
        {"queues": {"ocr": [True, 1]}},
        {"queues": {"ocr": ["1", 1]}},
        {"queues": {"ocr": [float("nan"), 1]}},
        {"queues": {"ocr": [1, float("inf")]}},
        {"queues": {"ocr": [10**400, 1]}},
        {"queues": {"": [1, 1]}},
        {"queues": {"a\nb": [1, 1]}},
        {"queues": {"o" * 65: [1, 1]}},
        {"queues": {str(number): [1, 1] for number in range(MAX_QUEUES + 1)}},
        {"beside": {"ocr": {"4": [1, 1]}}},
        {"beside": {"ocr": {"one": [1, 1]}}},
        {"beside": {"ocr": [1, 1]}},
        {"at_most": {"ocr": 0}},
        {"at_most": {"ocr": None}},
        {"batches": {"ocr": {OUTSIDE: {"left": -1}}}},
        {"batches": {"ocr": {OUTSIDE: {"right": 1}}}},
        {"batches": {"ocr": {OUTSIDE: {"usual": {"ocr": [2, 1]}}}}},
        {"batches": {"ocr": {str(number): {} for number in range(MOST_OF_A_QUEUE + 1)}}},
    ],
)
def test_what_nothing_measured_made_is_refused(found: object) -> None:
    with pytest.raises(ValueError, match="no rates"):
        from_json(found)


@given(rubbish)
def test_rubbish_is_refused_or_means_something_but_does_no_harm(found: object) -> None:
    try:
        rates = from_json(found)
    except ValueError:
        return
    assert to_json(through_text(rates)) == to_json(rates)


def test_too_much_is_cut_off_so_that_it_can_be_read_again() -> None:
    many = [f"queue{number}" for number in range(2 * MAX_QUEUES)]
    rates = Rates(
        queues=dict.fromkeys(many, Rate(1, 1)),
        beside={name: {0: Rate(1, 1)} for name in many},
        at_most=dict.fromkeys(many, 1.0),
        batches={name: {OUTSIDE: Batch(left=1e18)} for name in many},
    )
    again = through_text(rates)
    assert len(again.queues) == len(again.at_most) == len(again.batches) == MAX_QUEUES
    assert again.batches["queue0"][OUTSIDE].left == LARGEST


def test_a_queue_of_which_nothing_was_done_yet_is_left_out() -> None:
    assert through_text(Rates(queues={"ocr": Rate(0, 5)})) == Rates()
