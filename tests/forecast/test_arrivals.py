"""Arrivals and completions, inferred from two polls."""

from collections.abc import Mapping
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.forecast.arrivals import (
    TOLERANCE,
    Flow,
    arrivals_by_origin,
    infer_flow,
    sample_follow_ups,
)
from immich_job_daemon.forecast.pipeline import OUTSIDE, Sample
from immich_job_daemon.model.queue import Queue, Snapshot

METADATA, TEMPLATE, THUMBNAIL = (
    "metadataExtraction",
    "storageTemplateMigration",
    "thumbnailGeneration",
)
SEARCH, FACES, RECOGNITION, OCR = "smartSearch", "faceDetection", "facialRecognition", "ocr"
AFTER_THUMBNAIL = (SEARCH, FACES, OCR)


def flow_between(
    before: Mapping[str, int],
    after: Mapping[str, int],
    *,
    running: tuple[str, ...],
    max_completions: float = inf,
    ratio: float | None = None,
) -> Flow:
    """Infer the flow from the pending jobs of each queue at two polls; the others are paused."""

    def snapshot(pending: Mapping[str, int]) -> Snapshot:
        return {
            name: Queue(
                name,
                name not in running,
                active=1 if name in running and jobs else 0,
                waiting=max(0, jobs - 1) if name in running else 0,
                paused=0 if name in running else jobs,
            )
            for name, jobs in pending.items()
        }

    return infer_flow(
        snapshot(before), snapshot(after), lambda _: max_completions, lambda *_: ratio
    )


def test_arrivals_in_a_paused_queue_are_counted() -> None:
    flow = flow_between({OCR: 3}, {OCR: 10}, running=())
    assert (flow.completions[OCR], flow.arrivals[OCR]) == (0, 7)
    assert OCR in flow.counted


def test_completions_in_a_queue_without_arrivals_are_counted() -> None:
    flow = flow_between({OCR: 10}, {OCR: 3}, running=(OCR,))
    assert (flow.completions[OCR], flow.arrivals[OCR]) == (7, 0)
    assert not flow.ambiguous


def test_follow_ups_reveal_completions_that_uploads_hide() -> None:
    flow = flow_between(
        {METADATA: 50, TEMPLATE: 0}, {METADATA: 50, TEMPLATE: 20}, running=(METADATA,)
    )
    assert flow.completions[METADATA] == 20
    assert arrivals_by_origin(flow, METADATA) == {OUTSIDE: 20}
    assert arrivals_by_origin(flow, TEMPLATE) == {METADATA: 20}
    assert sample_follow_ups(flow, METADATA, OUTSIDE) == {TEMPLATE: Sample(20, 20)}


def test_jobs_that_pass_through_an_empty_queue_are_counted_downstream() -> None:
    flow = flow_between(
        {METADATA: 50, TEMPLATE: 0, THUMBNAIL: 10},
        {METADATA: 30, TEMPLATE: 0, THUMBNAIL: 30},
        running=(METADATA, TEMPLATE),
    )
    assert flow.completions == {METADATA: 20, TEMPLATE: 20, THUMBNAIL: 0}
    assert sample_follow_ups(flow, METADATA, OUTSIDE) == {TEMPLATE: Sample(20, 20)}
    assert sample_follow_ups(flow, TEMPLATE, METADATA) == {THUMBNAIL: Sample(20, 20)}


def test_a_run_over_all_thumbnails_has_no_follow_ups() -> None:
    rest = dict.fromkeys(AFTER_THUMBNAIL, 5)
    flow = flow_between({THUMBNAIL: 50, **rest}, {THUMBNAIL: 20, **rest}, running=(THUMBNAIL,))
    assert sample_follow_ups(flow, THUMBNAIL, OUTSIDE) == dict.fromkeys(
        AFTER_THUMBNAIL, Sample(30, 0)
    )


def test_a_run_over_all_assets_does_not_count_as_follow_ups() -> None:
    flow = flow_between(
        {THUMBNAIL: 50, SEARCH: 0, FACES: 0, OCR: 0},
        {THUMBNAIL: 20, SEARCH: 5000, FACES: 30, OCR: 30},
        running=(THUMBNAIL,),
    )
    assert arrivals_by_origin(flow, SEARCH) == {THUMBNAIL: 30, OUTSIDE: 4970}
    assert sample_follow_ups(flow, THUMBNAIL, TEMPLATE) == dict.fromkeys(
        (FACES, OCR), Sample(30, 30)
    )


def test_a_run_over_all_assets_does_not_add_completions_upstream() -> None:
    flow = flow_between(
        {SEARCH: 50, "duplicateDetection": 0},
        {SEARCH: 20, "duplicateDetection": 5000},
        running=(SEARCH,),
        max_completions=40,
    )
    assert flow.completions[SEARCH] == 30


def test_expected_follow_ups_reveal_completions() -> None:
    flow = flow_between(
        {SEARCH: 50, "duplicateDetection": 200},
        {SEARCH: 30, "duplicateDetection": 190},
        running=(SEARCH, "duplicateDetection"),
        ratio=1.0,
    )
    assert flow.completions["duplicateDetection"] == 30
    assert not flow.ambiguous


def test_completions_are_ambiguous_if_the_follow_up_ratio_is_unknown() -> None:
    flow = flow_between(
        {SEARCH: 50, "duplicateDetection": 200},
        {SEARCH: 30, "duplicateDetection": 190},
        running=(SEARCH, "duplicateDetection"),
    )
    assert flow.ambiguous == {"duplicateDetection"}


def test_completions_are_ambiguous_if_more_jobs_arrived_than_expected() -> None:
    assert flow_between({OCR: 5}, {OCR: 9}, running=(OCR,)).ambiguous == {OCR}
    assert flow_between({"library": 5}, {"library": 9}, running=("library",)).ambiguous == {
        "library"
    }


def test_a_paused_queue_that_loses_jobs_was_cleared() -> None:
    flow = flow_between({FACES: 50, RECOGNITION: 0}, {FACES: 0, RECOGNITION: 0}, running=())
    assert flow.cleared == {FACES}
    assert flow.completions[FACES] == 0


def test_a_queue_that_lost_more_jobs_than_it_can_complete_was_cleared() -> None:
    flow = flow_between(
        {FACES: 50, RECOGNITION: 0}, {FACES: 0, RECOGNITION: 0}, running=(FACES,), max_completions=9
    )
    assert flow.cleared == {FACES}
    assert sample_follow_ups(flow, FACES, OUTSIDE) == {}


def test_faces_are_not_counted_while_jobs_pass_through_an_empty_queue() -> None:
    flow = flow_between(
        {THUMBNAIL: 50, FACES: 0, RECOGNITION: 0, SEARCH: 0, OCR: 0},
        {THUMBNAIL: 40, FACES: 0, RECOGNITION: 12, SEARCH: 0, OCR: 0},
        running=(THUMBNAIL, FACES),
        ratio=0.0,
    )
    assert sample_follow_ups(flow, FACES, THUMBNAIL) == {}


def test_an_arrival_in_an_empty_running_queue_means_one_follow_up_per_job() -> None:
    flow = flow_between(
        {SEARCH: 50, "duplicateDetection": 0},
        {SEARCH: 30, "duplicateDetection": 1},
        running=(SEARCH, "duplicateDetection"),
    )
    assert sample_follow_ups(flow, SEARCH, OUTSIDE) == {"duplicateDetection": Sample(2, 2)}


def test_recognition_completes_nothing_while_it_waits_for_face_detection() -> None:
    flow = flow_between(
        {FACES: 50, RECOGNITION: 10}, {FACES: 40, RECOGNITION: 30}, running=(FACES, RECOGNITION)
    )
    assert (flow.completions[RECOGNITION], flow.arrivals[RECOGNITION]) == (0, 20)
    assert RECOGNITION in flow.blocked
    assert sample_follow_ups(flow, FACES, OUTSIDE) == {RECOGNITION: Sample(10, 20)}


names = st.sampled_from((METADATA, TEMPLATE, THUMBNAIL, *AFTER_THUMBNAIL, RECOGNITION, "library"))
snapshots = st.dictionaries(
    names,
    st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 10**6), st.integers(0, 10**6)),
).map(lambda found: {name: Queue(name, *queue) for name, queue in found.items()})


@given(snapshots, snapshots, st.none() | st.floats(0, 10), st.floats(TOLERANCE, 1e9))
def test_arrivals_and_completions_are_never_negative_and_add_up(
    before: Snapshot, after: Snapshot, ratio: float | None, max_completions: float
) -> None:
    flow = infer_flow(before, after, lambda _: max_completions, lambda *_: ratio)
    for name in before.keys() & after.keys():
        growth = after[name].pending - before[name].pending
        assert flow.completions[name] >= 0
        assert flow.arrivals[name] >= 0
        if name not in flow.cleared:
            assert flow.arrivals[name] - flow.completions[name] == pytest.approx(growth)
        assert sum(arrivals_by_origin(flow, name).values()) == pytest.approx(flow.arrivals[name])
        for completions, follow_ups in sample_follow_ups(flow, name, OUTSIDE).values():
            assert completions > 0
            assert follow_ups >= 0
