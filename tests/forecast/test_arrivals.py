"""What happened between two looks, told from what they saw."""

from collections.abc import Mapping
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.forecast.arrivals import SLACK, Flow, between, follow_ups_of, ways
from immich_job_daemon.forecast.pipeline import OUTSIDE, Seen
from immich_job_daemon.model.queue import Queue, Snapshot

METADATA, TEMPLATE, THUMBNAIL = (
    "metadataExtraction",
    "storageTemplateMigration",
    "thumbnailGeneration",
)
SEARCH, FACES, RECOGNITION, OCR = "smartSearch", "faceDetection", "facialRecognition", "ocr"
AFTER_THUMBNAIL = (SEARCH, FACES, OCR)


def looked(
    before: Mapping[str, int],
    after: Mapping[str, int],
    *,
    at_work: tuple[str, ...],
    most: float = inf,
    ratio: float | None = None,
) -> Flow:
    """Two looks: how many jobs were pending in each queue, and which of them is not paused."""

    def seen(pending: Mapping[str, int]) -> Snapshot:
        return {
            name: Queue(
                name,
                name not in at_work,
                active=1 if name in at_work and left else 0,
                waiting=max(0, left - 1) if name in at_work else 0,
                paused=0 if name in at_work else left,
            )
            for name, left in pending.items()
        }

    return between(seen(before), seen(after), lambda _: most, lambda *_: ratio)


def test_what_comes_to_a_paused_queue_is_plain() -> None:
    flow = looked({OCR: 3}, {OCR: 10}, at_work=())
    assert (flow.done[OCR], flow.came[OCR]) == (0, 7)
    assert OCR in flow.counted


def test_what_ends_in_a_queue_to_which_nothing_comes_is_plain() -> None:
    flow = looked({OCR: 10}, {OCR: 3}, at_work=(OCR,))
    assert (flow.done[OCR], flow.came[OCR]) == (7, 0)
    assert not flow.murky


def test_uploads_hide_what_ends_but_what_follows_from_it_does_not() -> None:
    flow = looked({METADATA: 50, TEMPLATE: 0}, {METADATA: 50, TEMPLATE: 20}, at_work=(METADATA,))
    assert flow.done[METADATA] == 20
    assert ways(flow, METADATA) == {OUTSIDE: 20}
    assert ways(flow, TEMPLATE) == {METADATA: 20}
    assert follow_ups_of(flow, METADATA, OUTSIDE) == {TEMPLATE: Seen(20, 20)}


def test_a_queue_that_does_at_once_what_comes_is_seen_through() -> None:
    flow = looked(
        {METADATA: 50, TEMPLATE: 0, THUMBNAIL: 10},
        {METADATA: 30, TEMPLATE: 0, THUMBNAIL: 30},
        at_work=(METADATA, TEMPLATE),
    )
    assert flow.done == {METADATA: 20, TEMPLATE: 20, THUMBNAIL: 0}
    assert follow_ups_of(flow, METADATA, OUTSIDE) == {TEMPLATE: Seen(20, 20)}
    assert follow_ups_of(flow, TEMPLATE, METADATA) == {THUMBNAIL: Seen(20, 20)}


def test_thumbnails_of_a_reindex_lead_to_nothing() -> None:
    rest = dict.fromkeys(AFTER_THUMBNAIL, 5)
    flow = looked({THUMBNAIL: 50, **rest}, {THUMBNAIL: 20, **rest}, at_work=(THUMBNAIL,))
    assert follow_ups_of(flow, THUMBNAIL, OUTSIDE) == dict.fromkeys(AFTER_THUMBNAIL, Seen(30, 0))


def test_a_run_over_all_assets_that_starts_meanwhile_is_no_follow_up() -> None:
    flow = looked(
        {THUMBNAIL: 50, SEARCH: 0, FACES: 0, OCR: 0},
        {THUMBNAIL: 20, SEARCH: 5000, FACES: 30, OCR: 30},
        at_work=(THUMBNAIL,),
    )
    assert ways(flow, SEARCH) == {THUMBNAIL: 30, OUTSIDE: 4970}
    assert follow_ups_of(flow, THUMBNAIL, TEMPLATE) == dict.fromkeys((FACES, OCR), Seen(30, 30))


def test_nor_does_it_make_a_queue_fast() -> None:
    flow = looked({SEARCH: 50, "duplicateDetection": 0}, {SEARCH: 20, "duplicateDetection": 5000},
                  at_work=(SEARCH,), most=40)  # fmt: skip
    assert flow.done[SEARCH] == 30


def test_what_must_have_come_tells_what_ended() -> None:
    flow = looked(
        {SEARCH: 50, "duplicateDetection": 200},
        {SEARCH: 30, "duplicateDetection": 190},
        at_work=(SEARCH, "duplicateDetection"),
        ratio=1.0,
    )
    assert flow.done["duplicateDetection"] == 30
    assert not flow.murky


def test_it_is_murky_where_nobody_knows_what_came() -> None:
    flow = looked(
        {SEARCH: 50, "duplicateDetection": 200},
        {SEARCH: 30, "duplicateDetection": 190},
        at_work=(SEARCH, "duplicateDetection"),
    )
    assert flow.murky == {"duplicateDetection"}


def test_it_is_murky_where_more_came_than_is_explained() -> None:
    assert looked({OCR: 5}, {OCR: 9}, at_work=(OCR,)).murky == {OCR}
    assert looked({"library": 5}, {"library": 9}, at_work=("library",)).murky == {"library"}


def test_a_paused_queue_that_loses_jobs_was_emptied_by_somebody() -> None:
    flow = looked({FACES: 50, RECOGNITION: 0}, {FACES: 0, RECOGNITION: 0}, at_work=())
    assert flow.emptied == {FACES}
    assert flow.done[FACES] == 0


def test_so_was_one_that_lost_more_than_it_can_have_done() -> None:
    flow = looked({FACES: 50, RECOGNITION: 0}, {FACES: 0, RECOGNITION: 0}, at_work=(FACES,), most=9)
    assert flow.emptied == {FACES}
    assert follow_ups_of(flow, FACES, OUTSIDE) == {}


def test_what_passed_unseen_through_an_empty_queue_is_no_reason_to_count_too_many_faces() -> None:
    flow = looked(
        {THUMBNAIL: 50, FACES: 0, RECOGNITION: 0, SEARCH: 0, OCR: 0},
        {THUMBNAIL: 40, FACES: 0, RECOGNITION: 12, SEARCH: 0, OCR: 0},
        at_work=(THUMBNAIL, FACES),
        ratio=0.0,
    )
    assert follow_ups_of(flow, FACES, THUMBNAIL) == {}


def test_where_something_comes_to_an_empty_queue_at_work_one_comes_for_each() -> None:
    flow = looked(
        {SEARCH: 50, "duplicateDetection": 0},
        {SEARCH: 30, "duplicateDetection": 1},
        at_work=(SEARCH, "duplicateDetection"),
    )
    assert follow_ups_of(flow, SEARCH, OUTSIDE) == {"duplicateDetection": Seen(2, 2)}


def test_recognition_that_waits_for_faces_to_be_detected_ends_nothing() -> None:
    flow = looked(
        {FACES: 50, RECOGNITION: 10}, {FACES: 40, RECOGNITION: 30}, at_work=(FACES, RECOGNITION)
    )
    assert (flow.done[RECOGNITION], flow.came[RECOGNITION]) == (0, 20)
    assert RECOGNITION in flow.held_up
    assert follow_ups_of(flow, FACES, OUTSIDE) == {RECOGNITION: Seen(10, 20)}


names = st.sampled_from((METADATA, TEMPLATE, THUMBNAIL, *AFTER_THUMBNAIL, RECOGNITION, "library"))
snapshots = st.dictionaries(
    names,
    st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 10**6), st.integers(0, 10**6)),
).map(lambda found: {name: Queue(name, *queue) for name, queue in found.items()})


@given(snapshots, snapshots, st.none() | st.floats(0, 10), st.floats(SLACK, 1e9))
def test_nothing_ends_or_comes_less_than_not_at_all_and_it_all_adds_up(
    before: Snapshot, after: Snapshot, ratio: float | None, most: float
) -> None:
    flow = between(before, after, lambda _: most, lambda *_: ratio)
    for name in before.keys() & after.keys():
        more = after[name].pending - before[name].pending
        assert flow.done[name] >= 0
        assert flow.came[name] >= 0
        if name not in flow.emptied:
            assert flow.came[name] - flow.done[name] == pytest.approx(more)
        assert sum(ways(flow, name).values()) == pytest.approx(flow.came[name])
        for done, gave in follow_ups_of(flow, name, OUTSIDE).values():
            assert done > 0
            assert gave >= 0
