"""What a batch leads to: what is known of Immich, what was seen, and what nobody can know."""

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.forecast.pipeline import (
    APART,
    DOWNSTREAM,
    ENOUGH,
    FEEDS,
    MOST,
    OUTSIDE,
    SOURCES,
    UNKNOWN,
    WAITS_FOR,
    Batch,
    Seen,
    Share,
    Span,
    fed_by,
    first,
    follow_ups,
    learned,
    parts,
    put,
)
from simulator.immich.pipeline import PHOTO, QUEUES, REINDEX, VIDEO, Kind

OCR = "ocr"
ways = st.sampled_from((OUTSIDE, UNKNOWN, "thumbnailGeneration", "facialRecognition"))
numbers = st.floats(0, 1e6, allow_subnormal=False)
batches = st.dictionaries(ways, st.builds(Batch, left=numbers), max_size=4)


def seen(batch: Batch, done: float, gave: float, target: str = OCR) -> Batch:
    return learned(batch, {target: Seen(done, gave)})


# What is known of Immich


def test_every_way_of_a_job_comes_to_an_end() -> None:
    longest = 0
    left = [(name, way, 1) for name in FEEDS for way in (OUTSIDE, UNKNOWN, *SOURCES[name])]
    while left:
        name, way, length = left.pop()
        longest = max(longest, length)
        assert longest < 20, "it goes round in circles"
        left += [(target, name, length + 1) for target in fed_by(name, way)]
    assert longest == 8


def test_every_queue_comes_behind_those_that_feed_it_but_for_a_persons_thumbnail() -> None:
    places = {name: place for place, name in enumerate(DOWNSTREAM)}
    behind = {
        (source, name)
        for name, sources in SOURCES.items()
        for source in sources
        if places[source] > places[name]
    }
    assert behind == {("facialRecognition", "thumbnailGeneration")}


def chain(queue: str, kind: Kind) -> Iterator[tuple[str, str]]:
    for target, then in (*kind.then, *kind.sometimes):
        yield queue, target
        yield from chain(target, then)


def test_what_the_simulated_immich_does_is_known() -> None:
    found = {*chain("metadataExtraction", PHOTO), *chain("metadataExtraction", VIDEO)}
    for name, kind in REINDEX.items():
        found |= {*chain(name, kind)}
    known = {(source, target) for source, fed in FEEDS.items() for target in fed}
    # The simulator has no files of a library; that a job leads to one in its own queue is no
    # more than another pending job.
    own = {("faceDetection", "facialRecognition")}
    assert found - own <= known
    assert known - found == {("library", "sidecar"), ("sidecar", "metadataExtraction")}
    assert {*FEEDS, *WAITS_FOR} <= {*QUEUES}


# What a batch leads to


@pytest.mark.parametrize("share", Share)
def test_of_a_batch_of_which_nothing_was_seen_nobody_knows(share: Share) -> None:
    assert follow_ups(Batch(left=9), OCR, share) == (0, MOST[share])
    little = seen(Batch(), ENOUGH - 1, ENOUGH - 1)
    assert follow_ups(little, OCR, share) == (0, MOST[share])


def test_a_batch_goes_on_as_it_began() -> None:
    assert follow_ups(seen(Batch(), 20, 20), OCR, Share.EACH) == (1, 1)
    assert follow_ups(seen(Batch(), 20, 0), OCR, Share.EACH) == (0, 0)
    faces = follow_ups(seen(Batch(), 20, 50), OCR, Share.FACES)
    assert faces == (2.5, 2.5)


def test_each_is_all_or_nothing_though_a_look_may_have_met_a_moment_between() -> None:
    assert follow_ups(seen(Batch(), 100, 96), OCR, Share.EACH) == (1, 1)
    assert follow_ups(seen(Batch(), 100, 1), OCR, Share.EACH) == (0, 0)
    mixed = follow_ups(seen(Batch(), 100, 50), OCR, Share.EACH)
    assert mixed.low < 0.5 < mixed.high


def test_a_batch_that_changes_is_followed() -> None:
    batch = seen(Batch(), 1000, 0)
    for _ in range(40):
        batch = seen(batch, 20, 20)
    assert follow_ups(batch, OCR, Share.EACH) == (1, 1)


def test_a_new_batch_does_what_earlier_ones_did_that_came_the_same_way() -> None:
    earlier = put({OUTSIDE: seen(Batch(left=50), 50, 50)}, {}, pending=0, now=10.0)
    later = put(earlier, {OUTSIDE: 80}, pending=80, now=10.0 + APART)
    assert later[OUTSIDE].seen == {}
    assert follow_ups(later[OUTSIDE], OCR, Share.EACH) == (1, 1)


def test_what_comes_at_once_again_belongs_to_the_same_batch() -> None:
    earlier = put({OUTSIDE: seen(Batch(left=50), 50, 50)}, {}, pending=0, now=10.0)
    later = put(earlier, {OUTSIDE: 80}, pending=80, now=9.0 + APART)
    assert later[OUTSIDE].seen == {OCR: Seen(50, 50)}


def lived(*gave: float) -> Batch:
    """A batch of 50 after others of 50 of which so many follow-ups came."""
    found: Mapping[str, Batch] = {}
    now = 0.0
    for number in (*gave, None):
        found = put(found, {OUTSIDE: 50}, pending=50, now=now)
        if number is not None:
            found = {OUTSIDE: seen(found[OUTSIDE], 50, number)}
            found = put(found, {}, pending=0, now=now + 1)
        now += 2 * APART
    return found[OUTSIDE]


def test_where_earlier_ones_differed_nobody_knows() -> None:
    for earlier in ((50, 0), (0, 50), (0, 50, 0, 50)):
        low, high = follow_ups(lived(*earlier), OCR, Share.EACH)
        assert low < 0.3
        assert high > 0.7


def test_a_difference_is_forgotten_after_many_that_did_not_differ() -> None:
    assert follow_ups(lived(0, *[50] * 20), OCR, Share.EACH).low > 0.99


def test_what_was_seen_of_a_few_is_kept_until_it_is_enough() -> None:
    found: Mapping[str, Batch] = {}
    for photo in range(ENOUGH):
        found = put(found, {OUTSIDE: 1}, pending=1, now=1000.0 * photo)
        found = put({OUTSIDE: seen(found[OUTSIDE], 1, 1)}, {}, pending=0, now=1000.0 * photo + 1)
    assert follow_ups(found[OUTSIDE], OCR, Share.EACH) == (1, 1)


def test_one_album_is_no_sign_of_how_many_videos_are_in_the_next() -> None:
    assert follow_ups(lived(5), OCR, Share.SOME) == (0, 0.1)


def test_videos_may_come_at_the_end_of_an_album() -> None:
    album = seen(lived(5), 40, 0)
    assert follow_ups(album, OCR, Share.SOME) == (0, 0.1)


def test_a_batch_that_leads_nowhere_in_two_queues_leads_nowhere_in_a_third() -> None:
    batch = seen(seen(Batch(), 20, 0, "faceDetection"), 20, 0, "smartSearch")
    assert follow_ups(batch, OCR, Share.EACH) == (0, 0)
    upload = seen(batch, 20, 20, "faceDetection")
    assert follow_ups(upload, OCR, Share.EACH) == (0, 1)


# Which batches the jobs of a queue are of


def test_the_first_that_came_are_the_first_that_are_done() -> None:
    found = put({}, {OUTSIDE: 5}, pending=5, now=0.0)
    found = put(found, {"thumbnailGeneration": 3}, pending=8, now=1.0)
    assert first(found)[0] == OUTSIDE
    found = put(found, {}, pending=2, now=2.0)
    assert [(way, batch.left) for way, batch in found.items()] == [
        (OUTSIDE, 0),
        ("thumbnailGeneration", 2),
    ]
    assert first(found)[0] == "thumbnailGeneration"


def test_one_that_comes_again_comes_behind_the_others() -> None:
    found = put({}, {OUTSIDE: 5}, pending=5, now=0.0)
    found = put(found, {}, pending=0, now=1.0)
    found = put(found, {"thumbnailGeneration": 3}, pending=3, now=2.0)
    found = put(found, {OUTSIDE: 4}, pending=7, now=3.0)
    assert [way for way, _, _ in parts(found, 7)] == ["thumbnailGeneration", OUTSIDE]


def test_of_what_came_between_two_looks_the_larger_lot_came_at_once_and_first() -> None:
    found = put({}, {"thumbnailGeneration": 3, OUTSIDE: 500}, pending=503, now=0.0)
    assert [way for way, _, _ in parts(found, 503)] == [OUTSIDE, "thumbnailGeneration"]


def test_what_came_nobody_knows_how_is_forgotten_when_it_is_done() -> None:
    found = put({}, {UNKNOWN: 5}, pending=5, now=0.0)
    assert put(found, {}, pending=0, now=1.0) == {}


def test_a_queue_without_jobs_was_last_at_those_that_came_last() -> None:
    done = put({OUTSIDE: Batch(left=1)}, {}, pending=0, now=5.0)
    done = put({**done, "thumbnailGeneration": Batch(left=1)}, {}, pending=0, now=9.0)
    assert first(done)[0] == "thumbnailGeneration"
    assert first({}) == (UNKNOWN, Batch())


@given(batches, st.dictionaries(ways, numbers, max_size=4), st.integers(0, 10**6))
def test_all_pending_jobs_are_of_a_batch_and_no_others_are(
    before: Mapping[str, Batch], came: Mapping[str, float], pending: int
) -> None:
    after = put(before, came, pending, now=1.0)
    found = list(parts(after, pending))
    assert sum(left for _, _, left in found) == pytest.approx(pending, abs=1e-3)
    assert sum(batch.left for batch in after.values()) == pytest.approx(pending, abs=1e-3)
    assert all(left > 0 for _, _, left in found)


@given(
    st.lists(st.tuples(numbers, numbers), max_size=5),
    st.none() | st.tuples(numbers, numbers).map(lambda two: Span(min(two), max(two))),
    st.sampled_from(Share),
)
def test_what_is_said_is_always_a_number(
    looks: list[tuple[float, float]], usual: Span | None, share: Share
) -> None:
    batch = Batch(usual={} if usual is None else {OCR: usual})
    for done, more in looks:
        batch = seen(batch, done + 1, min(done + 1, more))
    low, high = follow_ups(batch, OCR, share)
    assert 0 <= low <= high < float("inf")
