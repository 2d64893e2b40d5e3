"""The measurements as JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.forecast.pipeline import OUTSIDE, Batch, Bounds, Sample
from immich_job_daemon.forecast.rates import MAX_OTHERS, Rate, Rates
from immich_job_daemon.forecast.storage import (
    MAX_NUMBER,
    MAX_PER_QUEUE,
    from_json,
    to_json,
)
from immich_job_daemon.model.queue import MAX_QUEUES, Queue

MEASURED = Rates(
    queues={"ocr": Rate(50, 25)},
    by_others={"ocr": {0: Rate(30, 10), MAX_OTHERS: Rate(20, 15)}},
    max_service_times={"storageTemplateMigration": 0.005},
    batches={
        "smartSearch": {
            OUTSIDE: Batch(85_000, {"duplicateDetection": Sample(200, 199)}),
            "thumbnailGeneration": Batch(earlier_ratios={"duplicateDetection": Bounds(0.5, 1)}),
        }
    },
)

names = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", fullmatch=True)
numbers = st.floats(0, MAX_NUMBER, allow_subnormal=False)
positive = st.floats(1e-9, MAX_NUMBER, allow_subnormal=False)
rate = st.builds(Rate, positive, positive)
all_rates = st.builds(
    Rates,
    queues=st.dictionaries(names, rate, max_size=4),
    by_others=st.dictionaries(
        names, st.dictionaries(st.integers(0, MAX_OTHERS), rate, max_size=4), max_size=4
    ),
    max_service_times=st.dictionaries(names, positive, max_size=4),
    batches=st.dictionaries(
        names,
        st.dictionaries(
            names,
            st.builds(
                Batch,
                pending=numbers,
                samples=st.dictionaries(names, st.builds(Sample, numbers, numbers), max_size=4),
                earlier_ratios=st.dictionaries(
                    names,
                    st.tuples(numbers, numbers).map(lambda two: Bounds(min(two), max(two))),
                    max_size=4,
                ),
            ),
            max_size=4,
        ),
        max_size=4,
    ),
)
any_json = st.recursive(
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


def stored(rates: Rates) -> Rates:
    return from_json(json.loads(json.dumps(to_json(rates))))


def test_measurements_survive_storage() -> None:
    assert stored(MEASURED) == MEASURED


def test_the_format_of_the_ledger_stays() -> None:
    assert to_json(MEASURED) == {
        "queues": {"ocr": [50, 25]},
        "beside": {"ocr": {"0": [30, 10], str(MAX_OTHERS): [20, 15]}},
        "at_most": {"storageTemplateMigration": 0.005},
        "batches": {
            "smartSearch": {
                "outside": {
                    "left": 85_000,
                    "seen": {"duplicateDetection": [200, 199]},
                    "usual": {},
                },
                "thumbnailGeneration": {
                    "left": 0,
                    "seen": {},
                    "usual": {"duplicateDetection": [0.5, 1]},
                },
            }
        },
    }


def test_the_last_snapshot_is_not_stored() -> None:
    polled = Rates(snapshot={"ocr": Queue("ocr", is_paused=False)}, polled_at=9.0)
    assert stored(polled) == Rates()


def test_empty_measurements_survive_storage() -> None:
    assert from_json({}) == from_json(to_json(Rates())) == Rates()


@given(all_rates)
def test_any_measurements_survive_storage(rates: Rates) -> None:
    once = stored(rates)
    assert stored(once) == once
    assert once.queues.keys() == rates.queues.keys()
    assert once.batches.keys() == rates.batches.keys()
    for name, found in once.queues.items():
        assert found.jobs == pytest.approx(rates.queues[name].jobs, rel=1e-5)


@pytest.mark.parametrize(
    "value",
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
        {"batches": {"ocr": {str(number): {} for number in range(MAX_PER_QUEUE + 1)}}},
    ],
)
def test_invalid_json_is_rejected(value: object) -> None:
    with pytest.raises(ValueError, match="not valid as rates"):
        from_json(value)


@given(any_json)
def test_arbitrary_json_is_rejected_or_can_be_stored_again(value: object) -> None:
    try:
        rates = from_json(value)
    except ValueError:
        return
    assert to_json(stored(rates)) == to_json(rates)


def test_too_many_entries_are_cut_off_so_that_they_can_be_read_again() -> None:
    many = [f"queue{number}" for number in range(2 * MAX_QUEUES)]
    rates = Rates(
        queues=dict.fromkeys(many, Rate(1, 1)),
        by_others={name: {0: Rate(1, 1)} for name in many},
        max_service_times=dict.fromkeys(many, 1.0),
        batches={name: {OUTSIDE: Batch(pending=1e18)} for name in many},
    )
    again = stored(rates)
    assert len(again.queues) == len(again.max_service_times) == len(again.batches) == MAX_QUEUES
    assert again.batches["queue0"][OUTSIDE].pending == MAX_NUMBER


def test_a_queue_without_completed_jobs_is_not_stored() -> None:
    assert stored(Rates(queues={"ocr": Rate(0, 5)})) == Rates()
