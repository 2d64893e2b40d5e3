"""What can be asked for, and what the answer promises."""

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
from immich_job_daemon.web.ui.feedback import promise, refusal, undo_of
from immich_job_daemon.web.ui.i18n import PLURALS, words
from tests.web.ui.sample_statuses import busy, held, idle, rehearsed, troubled, unknown

EN = words("en")


def opened() -> Status:
    return replace(busy(), controls=Controls(mode=Mode.OPEN))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (SetLimit(14), "The daemon manages 13 queues, so there cannot be more at once."),
        (SetQueue("nothing", Override.HELD), "Immich has no queue named nothing."),
        (
            SetQueue("notifications", Override.HELD),
            "The daemon leaves Notifications alone, so there is nothing to choose.",
        ),
        (SetLimit(13), None),
        (SetLimit(None), None),
        (SetQueue("ocr", Override.NEXT), None),
        (SetMode(Mode.HELD), None),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(
    change: Change, expected: str | None
) -> None:
    assert refusal(change, busy(), EN) == expected


def test_a_queue_that_immich_refuses_to_pause_is_left_alone() -> None:
    status = replace(busy(), reasons={**busy().reasons, "ocr": Reason.UNPAUSABLE})
    assert refusal(SetQueue("ocr", Override.HELD), status, EN) is not None


def test_a_limit_is_taken_while_nobody_knows_how_many_queues_there_are() -> None:
    assert refusal(SetLimit(5), unknown(), EN) is None


@pytest.mark.parametrize(
    ("change", "status", "expected"),
    [
        (
            SetMode(Mode.HELD),
            busy(),
            (
                "Immich finishes the 5 running jobs; then nothing new starts in any queue until "
                "you change that."
            ),
        ),
        (SetMode(Mode.HELD), idle(), "Nothing new starts in any queue until you change that."),
        (
            SetMode(Mode.OPEN),
            busy(),
            "All 13 queues may run at once, without a limit, until you change that.",
        ),
        (
            SetMode(Mode.AUTOMATIC),
            held(),
            "The queues run in order of importance again, at most 1 at once.",
        ),
        (
            SetLimit(1),
            busy(),
            (
                "From now on at most 1 queue runs at once; what runs beyond that finishes its "
                "running jobs first."
            ),
        ),
        (SetLimit(3), busy(), "From now on at most 3 queues run at once."),
        (SetLimit(None), busy(), "The setting holds again: at most 1 queue at once."),
        (
            SetQueue("thumbnailGeneration", Override.HELD),
            busy(),
            (
                "Immich finishes the 3 running jobs of Thumbnail generation, then starts nothing "
                "new in it."
            ),
        ),
        (
            SetQueue("smartSearch", Override.HELD),
            busy(),
            "Nothing starts in Smart search until you take that back.",
        ),
        (
            SetQueue("smartSearch", Override.HELD),
            opened(),
            "Smart search is held as soon as not everything is open any more.",
        ),
        (
            SetQueue("smartSearch", Override.NEXT),
            busy(),
            "Smart search gets the first slot that becomes free.",
        ),
        (
            SetQueue("smartSearch", Override.NEXT),
            replace(busy(), limit=3),
            "A slot is free: Smart search runs now.",
        ),
        (
            SetQueue("smartSearch", Override.NEXT),
            held(),
            "Smart search goes first as soon as not everything is held any more.",
        ),
        (
            SetQueue("ocr", Override.NEXT),
            busy(),
            "Text recognition (OCR) has nothing to do now; when it has, it goes first.",
        ),
        (
            SetQueue("videoConversion", Override.NEXT),
            rehearsed(),
            "Video conversion goes first as soon as its hours begin.",
        ),
        (
            SetQueue("smartSearch", Override.NEXT),
            rehearsed(),
            "Smart search goes first as soon as the machine has time.",
        ),
        (
            SetQueue("thumbnailGeneration", Override.NEXT),
            busy(),
            "Thumbnail generation runs already.",
        ),
        (
            SetQueue("facialRecognition", Override.AUTOMATIC),
            busy(),
            "Facial recognition runs in its turn again.",
        ),
    ],
)
def test_the_answer_says_what_will_happen(change: Change, status: Status, expected: str) -> None:
    assert promise(change, status, EN, setting=1) == expected


@pytest.mark.parametrize("status", [troubled(), unknown()])
def test_while_immich_is_away_it_says_that_too(status: Status) -> None:
    assert promise(SetMode(Mode.OPEN), status, EN, setting=1).endswith("as soon as Immich answers.")


@pytest.mark.parametrize("language", PLURALS)
def test_every_promise_can_be_made_in_every_language(language: str) -> None:
    changes: list[Change] = [
        *(SetMode(mode) for mode in Mode),
        SetLimit(None),
        SetLimit(1),
        SetLimit(4),
    ]
    changes += [SetQueue(name, override) for name in busy().managed for override in Override]
    for status in (busy(), idle(), held(), opened(), rehearsed()):
        for change in changes:
            assert promise(change, status, words(language), setting=2)


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
def test_what_undoes_it_is_what_the_loop_will_say(change: Change, expected: Change) -> None:
    assert undo_of(change, busy()) == expected
