"""Queue: counts derived from Immich's counts, and the order by priority."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.model.queue import ENTRY, PRIORITY, PROTECTED, Queue, by_priority, label

RECORDED = json.loads((Path(__file__).parents[1] / "recordings" / "queues_idle.json").read_text())
REPORTED = [queue["name"] for queue in RECORDED["body"]]


@pytest.mark.parametrize("is_paused", [True, False])
def test_the_backlog_is_waiting_plus_paused_jobs(is_paused: bool) -> None:  # noqa: FBT001
    """BullMQ 5 moves a paused queue's jobs from one count to the other, BullMQ 6 does not."""
    assert Queue("ocr", is_paused, waiting=3, paused=4).backlog == 7


def test_active_jobs_are_pending_but_not_backlog() -> None:
    queue = Queue("ocr", is_paused=False, active=2, waiting=3)
    assert (queue.backlog, queue.pending) == (3, 5)


def test_delayed_and_failed_jobs_are_neither_backlog_nor_pending() -> None:
    queue = Queue("ocr", is_paused=False, delayed=4, failed=5)
    assert (queue.backlog, queue.pending, queue.is_busy) == (0, 0, False)
    assert queue.is_drained


@pytest.mark.parametrize(
    "queue",
    [
        Queue("ocr", is_paused=True, active=1),
        Queue("ocr", is_paused=False, waiting=1),
        Queue("ocr", is_paused=True, paused=1),
    ],
)
def test_a_queue_with_active_or_ready_jobs_is_not_drained(queue: Queue) -> None:
    assert not queue.is_drained


@pytest.mark.parametrize(("active", "is_busy"), [(0, False), (1, True), (2, True)])
def test_a_queue_is_busy_while_a_job_is_active(active: int, is_busy: bool) -> None:  # noqa: FBT001
    queue = Queue("ocr", is_paused=True, active=active, waiting=9, paused=9)
    assert queue.is_busy is is_busy


def test_a_queue_is_immutable() -> None:
    queue = Queue("ocr", is_paused=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        queue.is_paused = False  # type: ignore[misc]


@given(st.permutations(REPORTED), st.lists(st.sampled_from([*REPORTED, "gone"]), unique=True))
def test_prioritized_queues_come_first_and_the_others_follow_in_their_order(
    reported: list[str], named: list[str]
) -> None:
    snapshot = {name: Queue(name, is_paused=False) for name in reported}
    order = [queue.name for queue in by_priority(snapshot, named)]
    known = [name for name in named if name in snapshot]
    assert order[: len(known)] == known
    assert order[len(known) :] == [name for name in reported if name not in known]


def test_only_the_first_of_two_equal_names_counts() -> None:
    snapshot = {name: Queue(name, is_paused=False) for name in ("ocr", "library", "sidecar")}
    order = [queue.name for queue in by_priority(snapshot, ("library", "sidecar", "library"))]
    assert order == ["library", "sidecar", "ocr"]


def test_the_default_names_exist_in_immich() -> None:
    assert {*PRIORITY, *PROTECTED} <= set(REPORTED)


def test_no_queue_is_both_protected_and_prioritized() -> None:
    assert not set(PRIORITY) & set(PROTECTED)


def test_the_entry_queue_is_managed() -> None:
    assert ENTRY in PRIORITY


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("thumbnailGeneration", "Thumbnail generation"),
        ("metadataExtraction", "Metadata extraction"),
        ("sidecar", "Sidecar"),
        ("ocr", "OCR"),
        ("ocr2Detection", "Ocr2 detection"),
        ("face detection", "Face detection"),
        ("GPS", "Gps"),
        ("ß", "SS"),
        ("_", "_"),
        ("распознавание", "Распознавание"),
    ],
)
def test_every_name_has_a_label(name: str, expected: str) -> None:
    assert label(name) == expected
