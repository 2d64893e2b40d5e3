"""What every reader of the picture tells alike: a queue's name, and whether the picture holds."""

from dataclasses import replace

import pytest

from immich_job_daemon.model.queue import label
from immich_job_daemon.status.status import Problem, ProblemKind
from tests.web.sample_statuses import AT, BUSY, LOST, NOTHING


def test_what_is_not_known_or_lost_does_not_hold() -> None:
    assert not BUSY.is_stale(AT)
    assert NOTHING.is_stale(AT)
    assert LOST.is_stale(AT)


@pytest.mark.parametrize("trouble", list(ProblemKind))
@pytest.mark.parametrize(("since", "is_of_a_look"), [(1.0, True), (-1.0, False)])
def test_a_problem_makes_it_stale_if_no_look_succeeded_since(
    trouble: ProblemKind, since: float, *, is_of_a_look: bool
) -> None:
    """A command that Immich refuses is a problem too, but the looks after it are good ones."""
    assert BUSY.updated_at is not None
    status = replace(BUSY, problem=Problem(trouble, "Text.", BUSY.updated_at + since))
    never = {ProblemKind.REFUSED, ProblemKind.UNEXPECTED, ProblemKind.CONTESTED}
    assert status.is_stale(AT) is (is_of_a_look or trouble not in never)


def test_it_is_stale_when_the_loop_no_longer_turns() -> None:
    assert not BUSY.is_stale(BUSY.due)
    assert BUSY.is_stale(BUSY.due + 0.1)


@pytest.mark.parametrize(
    ("name", "shown"),
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
def test_a_queue_of_any_name_has_a_label(name: str, shown: str) -> None:
    assert label(name) == shown
