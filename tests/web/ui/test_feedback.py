"""Which changes are accepted, and what the response says that they will do."""

from dataclasses import replace

import pytest

from immich_job_daemon.model.controls import (
    Change,
    Controls,
    Mode,
    Override,
    SetLimit,
    SetMode,
    SetQueue,
)
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.ui.feedback import announcement, rejection_text, undo_of
from immich_job_daemon.web.ui.i18n import PLURALS, load_texts
from tests.web.ui.sample_statuses import all_paused, busy, dry_run, empty, starting, with_problem

ENGLISH = load_texts("en")


def run_everything() -> Status:
    return replace(busy(), controls=Controls(mode=Mode.OPEN))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (SetLimit(14), "The daemon manages 13 queues; the limit can't be higher."),
        (SetQueue("nothing", Override.HELD), "Immich has no queue named nothing."),
        (
            SetQueue("notifications", Override.HELD),
            "The daemon does not manage Notifications, so you can't change it here.",
        ),
        (SetLimit(13), None),
        (SetLimit(None), None),
        (SetQueue("ocr", Override.NEXT), None),
        (SetMode(Mode.HELD), None),
    ],
)
def test_an_impossible_change_is_rejected_with_a_reason(
    change: Change, expected: str | None
) -> None:
    assert rejection_text(change, busy(), ENGLISH) == expected


def test_a_change_to_a_queue_that_immich_cannot_pause_is_rejected() -> None:
    status = replace(busy(), reasons={**busy().reasons, "ocr": Reason.UNPAUSABLE})
    assert rejection_text(SetQueue("ocr", Override.HELD), status, ENGLISH) is not None


def test_any_limit_is_accepted_before_the_queues_are_known() -> None:
    assert rejection_text(SetLimit(5), starting(), ENGLISH) is None


@pytest.mark.parametrize(
    ("change", "status", "expected"),
    [
        (
            SetMode(Mode.HELD),
            busy(),
            "Immich finishes the 5 running jobs; then no new jobs start until you change this.",
        ),
        (SetMode(Mode.HELD), empty(), "No new jobs start until you change this."),
        (
            SetMode(Mode.OPEN),
            busy(),
            "All 13 queues may run at once, without a limit, until you change this.",
        ),
        (
            SetMode(Mode.AUTOMATIC),
            all_paused(),
            "Queues run in order of priority again, 1 at a time.",
        ),
        (
            SetLimit(1),
            busy(),
            ("From now on, 1 queue runs at a time; the others finish their running jobs first."),
        ),
        (SetLimit(3), busy(), "From now on, up to 3 queues run at a time."),
        (SetLimit(None), busy(), "The configured limit applies again: 1 queue at a time."),
        (
            SetQueue("thumbnailGeneration", Override.HELD),
            busy(),
            (
                "Immich finishes the 3 running jobs of Thumbnail generation; then no new jobs "
                "start in it."
            ),
        ),
        (
            SetQueue("smartSearch", Override.HELD),
            busy(),
            "No new jobs start in Smart search until you change this.",
        ),
        (
            SetQueue("smartSearch", Override.HELD),
            run_everything(),
            "Smart search goes on hold when Run everything ends.",
        ),
        (
            SetQueue("smartSearch", Override.NEXT),
            busy(),
            "Smart search gets the next free slot.",
        ),
        (
            SetQueue("smartSearch", Override.NEXT),
            replace(busy(), limit=3),
            "A slot is free: Smart search starts now.",
        ),
        (
            SetQueue("smartSearch", Override.NEXT),
            all_paused(),
            "Smart search runs first when Pause everything ends.",
        ),
        (
            SetQueue("ocr", Override.NEXT),
            busy(),
            "Text recognition (OCR) is empty; when jobs arrive, it runs first.",
        ),
        (
            SetQueue("videoConversion", Override.NEXT),
            dry_run(),
            "Video conversion runs first when its time window opens.",
        ),
        (
            SetQueue("smartSearch", Override.NEXT),
            dry_run(),
            "Smart search runs first when the server's load has dropped.",
        ),
        (
            SetQueue("thumbnailGeneration", Override.NEXT),
            busy(),
            "Thumbnail generation is already running.",
        ),
        (
            SetQueue("facialRecognition", Override.AUTOMATIC),
            busy(),
            "Facial recognition runs in order of priority again.",
        ),
    ],
)
def test_the_response_says_what_the_change_will_do(
    change: Change, status: Status, expected: str
) -> None:
    assert announcement(change, status, ENGLISH, configured_limit=1) == expected


@pytest.mark.parametrize("status", [with_problem(), starting()])
def test_while_immich_is_away_the_response_says_that_the_change_is_delayed(status: Status) -> None:
    assert announcement(SetMode(Mode.OPEN), status, ENGLISH, configured_limit=1).endswith(
        "as soon as Immich responds."
    )


@pytest.mark.parametrize("language", PLURALS)
def test_every_change_has_a_response_in_every_language(language: str) -> None:
    changes: list[Change] = [
        *(SetMode(mode) for mode in Mode),
        SetLimit(None),
        SetLimit(1),
        SetLimit(4),
    ]
    changes += [SetQueue(name, override) for name in busy().managed for override in Override]
    for status in (busy(), empty(), all_paused(), run_everything(), dry_run()):
        for change in changes:
            assert announcement(change, status, load_texts(language), configured_limit=2)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (SetMode(Mode.HELD), SetMode(Mode.AUTOMATIC)),
        (SetLimit(5), SetLimit(2)),
        (
            SetQueue("facialRecognition", Override.AUTOMATIC),
            SetQueue("facialRecognition", Override.HELD),
        ),
        (SetQueue("library", Override.NEXT), SetQueue("library", Override.HELD)),
    ],
)
def test_the_undo_is_the_one_that_the_loop_will_publish(change: Change, expected: Change) -> None:
    assert undo_of(change, busy()) == expected
