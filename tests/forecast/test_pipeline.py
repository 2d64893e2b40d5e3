"""Follow-up jobs: Immich's pipeline, follow-up ratios of a batch, and batches of a queue."""

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.forecast.pipeline import (
    BATCH_GAP,
    DOWNSTREAM,
    MAX_RATIO,
    MIN_SAMPLE,
    OUTSIDE,
    PIPELINE_ORDER,
    UNKNOWN,
    UPSTREAM,
    WAITS_FOR,
    Batch,
    Bounds,
    FanOut,
    Sample,
    add_samples,
    current_batch,
    downstream_of,
    follow_up_ratio,
    split_pending,
    update_batches,
)
from simulator.immich.pipeline import PHOTO, QUEUES, REINDEX, VIDEO, Kind

OCR = "ocr"
origins = st.sampled_from((OUTSIDE, UNKNOWN, "thumbnailGeneration", "facialRecognition"))
numbers = st.floats(0, 1e6, allow_subnormal=False)
batches = st.dictionaries(origins, st.builds(Batch, pending=numbers), max_size=4)


def with_sample(batch: Batch, completions: float, follow_ups: float, target: str = OCR) -> Batch:
    return add_samples(batch, {target: Sample(completions, follow_ups)})


# Immich's pipeline


def test_every_chain_of_follow_ups_ends() -> None:
    longest = 0
    remaining = [
        (name, origin, 1) for name in DOWNSTREAM for origin in (OUTSIDE, UNKNOWN, *UPSTREAM[name])
    ]
    while remaining:
        name, origin, length = remaining.pop()
        longest = max(longest, length)
        assert longest < 20, "a chain of follow-ups never ends"
        remaining += [(target, name, length + 1) for target in downstream_of(name, origin)]
    assert longest == 8


def test_upstream_queues_come_first_except_for_the_thumbnail_of_a_person() -> None:
    positions = {name: position for position, name in enumerate(PIPELINE_ORDER)}
    backward = {
        (source, name)
        for name, sources in UPSTREAM.items()
        for source in sources
        if positions[source] > positions[name]
    }
    assert backward == {("facialRecognition", "thumbnailGeneration")}


def chain(queue: str, kind: Kind) -> Iterator[tuple[str, str]]:
    for target, then in (*kind.then, *kind.sometimes):
        yield queue, target
        yield from chain(target, then)


def test_the_pipeline_covers_the_simulated_immich() -> None:
    found = {*chain("metadataExtraction", PHOTO), *chain("metadataExtraction", VIDEO)}
    for name, kind in REINDEX.items():
        found |= {*chain(name, kind)}
    known = {(source, target) for source, targets in DOWNSTREAM.items() for target in targets}
    assert found <= known
    # The simulator has no library files.
    assert known - found == {("library", "sidecar"), ("sidecar", "metadataExtraction")}
    assert {*DOWNSTREAM, *WAITS_FOR} <= {*QUEUES}


# Follow-up ratios of a batch


@pytest.mark.parametrize("fan_out", FanOut)
def test_the_ratio_of_a_batch_is_unknown_until_enough_jobs_are_completed(fan_out: FanOut) -> None:
    assert follow_up_ratio(Batch(pending=9), OCR, fan_out) == (0, MAX_RATIO[fan_out])
    small = with_sample(Batch(), MIN_SAMPLE - 1, MIN_SAMPLE - 1)
    assert follow_up_ratio(small, OCR, fan_out) == (0, MAX_RATIO[fan_out])


def test_the_completed_jobs_of_a_batch_predict_the_others() -> None:
    assert follow_up_ratio(with_sample(Batch(), 20, 20), OCR, FanOut.ALL_OR_NONE) == (1, 1)
    assert follow_up_ratio(with_sample(Batch(), 20, 0), OCR, FanOut.ALL_OR_NONE) == (0, 0)
    faces = follow_up_ratio(with_sample(Batch(), 20, 50), OCR, FanOut.PER_FACE)
    assert faces == (2.5, 2.5)


def test_a_ratio_close_to_all_or_none_is_rounded() -> None:
    assert follow_up_ratio(with_sample(Batch(), 100, 96), OCR, FanOut.ALL_OR_NONE) == (1, 1)
    assert follow_up_ratio(with_sample(Batch(), 100, 1), OCR, FanOut.ALL_OR_NONE) == (0, 0)
    mixed = follow_up_ratio(with_sample(Batch(), 100, 50), OCR, FanOut.ALL_OR_NONE)
    assert mixed.lower < 0.5 < mixed.upper


def test_the_ratio_follows_a_batch_that_changes() -> None:
    batch = with_sample(Batch(), 1000, 0)
    for _ in range(40):
        batch = with_sample(batch, 20, 20)
    assert follow_up_ratio(batch, OCR, FanOut.ALL_OR_NONE) == (1, 1)


def test_earlier_batches_of_the_same_origin_predict_a_new_one() -> None:
    earlier = update_batches(
        {OUTSIDE: with_sample(Batch(pending=50), 50, 50)}, {}, pending=0, now=10.0
    )
    later = update_batches(earlier, {OUTSIDE: 80}, pending=80, now=10.0 + BATCH_GAP)
    assert later[OUTSIDE].samples == {}
    assert follow_up_ratio(later[OUTSIDE], OCR, FanOut.ALL_OR_NONE) == (1, 1)


def test_jobs_that_arrive_soon_after_belong_to_the_same_batch() -> None:
    earlier = update_batches(
        {OUTSIDE: with_sample(Batch(pending=50), 50, 50)}, {}, pending=0, now=10.0
    )
    later = update_batches(earlier, {OUTSIDE: 80}, pending=80, now=9.0 + BATCH_GAP)
    assert later[OUTSIDE].samples == {OCR: Sample(50, 50)}


def after_batches(*follow_ups: float) -> Batch:
    """Return a new batch of 50 jobs after earlier ones of 50 jobs with these follow-ups each."""
    found: Mapping[str, Batch] = {}
    now = 0.0
    for number in (*follow_ups, None):
        found = update_batches(found, {OUTSIDE: 50}, pending=50, now=now)
        if number is not None:
            found = {OUTSIDE: with_sample(found[OUTSIDE], 50, number)}
            found = update_batches(found, {}, pending=0, now=now + 1)
        now += 2 * BATCH_GAP
    return found[OUTSIDE]


def test_the_ratio_is_unknown_if_earlier_batches_differed() -> None:
    for earlier in ((50, 0), (0, 50), (0, 50, 0, 50)):
        lower, upper = follow_up_ratio(after_batches(*earlier), OCR, FanOut.ALL_OR_NONE)
        assert lower < 0.3
        assert upper > 0.7


def test_a_different_batch_is_forgotten_after_many_equal_ones() -> None:
    assert follow_up_ratio(after_batches(0, *[50] * 20), OCR, FanOut.ALL_OR_NONE).lower > 0.99


def test_samples_of_small_batches_add_up() -> None:
    found: Mapping[str, Batch] = {}
    for photo in range(MIN_SAMPLE):
        found = update_batches(found, {OUTSIDE: 1}, pending=1, now=1000.0 * photo)
        found = update_batches(
            {OUTSIDE: with_sample(found[OUTSIDE], 1, 1)}, {}, pending=0, now=1000.0 * photo + 1
        )
    assert follow_up_ratio(found[OUTSIDE], OCR, FanOut.ALL_OR_NONE) == (1, 1)


def test_the_videos_of_one_album_do_not_predict_the_next() -> None:
    assert follow_up_ratio(after_batches(5), OCR, FanOut.SOME) == (0, 0.1)


def test_videos_may_arrive_at_the_end_of_an_album() -> None:
    album = with_sample(after_batches(5), 40, 0)
    assert follow_up_ratio(album, OCR, FanOut.SOME) == (0, 0.1)


def test_a_batch_without_follow_ups_in_two_queues_has_none_in_a_third() -> None:
    batch = with_sample(with_sample(Batch(), 20, 0, "faceDetection"), 20, 0, "smartSearch")
    assert follow_up_ratio(batch, OCR, FanOut.ALL_OR_NONE) == (0, 0)
    upload = with_sample(batch, 20, 20, "faceDetection")
    assert follow_up_ratio(upload, OCR, FanOut.ALL_OR_NONE) == (0, 1)


# The batches of a queue


def test_jobs_complete_in_order_of_arrival() -> None:
    found = update_batches({}, {OUTSIDE: 5}, pending=5, now=0.0)
    found = update_batches(found, {"thumbnailGeneration": 3}, pending=8, now=1.0)
    assert current_batch(found)[0] == OUTSIDE
    found = update_batches(found, {}, pending=2, now=2.0)
    assert [(origin, batch.pending) for origin, batch in found.items()] == [
        (OUTSIDE, 0),
        ("thumbnailGeneration", 2),
    ]
    assert current_batch(found)[0] == "thumbnailGeneration"


def test_an_origin_that_arrives_again_moves_behind_the_others() -> None:
    found = update_batches({}, {OUTSIDE: 5}, pending=5, now=0.0)
    found = update_batches(found, {}, pending=0, now=1.0)
    found = update_batches(found, {"thumbnailGeneration": 3}, pending=3, now=2.0)
    found = update_batches(found, {OUTSIDE: 4}, pending=7, now=3.0)
    assert list(split_pending(found, 7)) == ["thumbnailGeneration", OUTSIDE]


def test_the_larger_group_of_arrivals_is_first() -> None:
    found = update_batches({}, {"thumbnailGeneration": 3, OUTSIDE: 500}, pending=503, now=0.0)
    assert list(split_pending(found, 503)) == [OUTSIDE, "thumbnailGeneration"]


def test_a_batch_of_unknown_origin_is_removed_when_it_is_completed() -> None:
    found = update_batches({}, {UNKNOWN: 5}, pending=5, now=0.0)
    assert update_batches(found, {}, pending=0, now=1.0) == {}


def test_the_current_batch_of_an_empty_queue_is_the_last_completed_one() -> None:
    completed = update_batches({OUTSIDE: Batch(pending=1)}, {}, pending=0, now=5.0)
    completed = update_batches(
        {**completed, "thumbnailGeneration": Batch(pending=1)}, {}, pending=0, now=9.0
    )
    assert current_batch(completed)[0] == "thumbnailGeneration"
    assert current_batch({}) == (UNKNOWN, Batch())


@given(batches, st.dictionaries(origins, numbers, max_size=4), st.integers(0, 10**6))
def test_the_batches_contain_exactly_the_pending_jobs(
    before: Mapping[str, Batch], arrivals: Mapping[str, float], pending: int
) -> None:
    after = update_batches(before, arrivals, pending, now=1.0)
    found = split_pending(after, pending)
    assert sum(found.values()) == pytest.approx(pending, abs=1e-3)
    assert sum(batch.pending for batch in after.values()) == pytest.approx(pending, abs=1e-3)
    assert all(jobs > 0 for jobs in found.values())


@given(
    st.lists(st.tuples(numbers, numbers), max_size=5),
    st.none() | st.tuples(numbers, numbers).map(lambda two: Bounds(min(two), max(two))),
    st.sampled_from(FanOut),
)
def test_bounds_are_finite_and_in_order(
    samples: list[tuple[float, float]], earlier_ratios: Bounds | None, fan_out: FanOut
) -> None:
    batch = Batch(earlier_ratios={} if earlier_ratios is None else {OCR: earlier_ratios})
    for completions, follow_ups in samples:
        batch = with_sample(batch, completions + 1, min(completions + 1, follow_ups))
    lower, upper = follow_up_ratio(batch, OCR, fan_out)
    assert 0 <= lower <= upper < float("inf")
