"""The controls for all queues together."""

import json
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
    as_json,
)
from immich_job_daemon.web.ui.i18n import words
from immich_job_daemon.web.ui.panel import panel
from tests.web.ui.sample_statuses import busy, unknown


def test_the_mode_that_holds_is_pressed_and_explained() -> None:
    found = panel(busy(), words("en"), 1)
    assert [choice.value for choice in found.modes if choice.is_pressed] == ["automatic"]
    assert found.says == "In order of importance, at most 2 queues at once."
    found = panel(replace(busy(), controls=Controls(mode=Mode.HELD)), words("en"), 1)
    assert [choice.value for choice in found.modes if choice.is_pressed] == ["held"]
    assert "nothing new starts" in found.says


def test_a_limit_of_a_persons_own_has_a_way_back() -> None:
    found = panel(busy(), words("en"), 1).limit
    assert (found.value, found.is_own, found.back) == (2, True, "Back to 1, the setting")
    assert not panel(replace(busy(), controls=Controls()), words("en"), 2).limit.is_own


def test_the_limit_goes_from_1_to_the_number_of_managed_queues() -> None:
    def limit(value: int) -> tuple[bool, bool]:
        found = panel(replace(busy(), limit=value), words("en"), 1).limit
        return found.can_be_less, found.can_be_more

    assert [limit(value) for value in (1, 2, 13, 50)] == [
        (False, True),
        (True, True),
        (True, False),
        (True, False),
    ]


def test_nothing_can_be_chosen_while_no_queue_is_known() -> None:
    found = panel(unknown(), words("en"), 1).limit
    assert (found.can_be_less, found.can_be_more) == (False, False)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (SetMode(Mode.HELD), "Goes back to: Everything held"),
        (SetLimit(3), "Goes back to: 3 queues at once"),
        (SetLimit(None), "Goes back to: as many at once as the setting says"),
        (SetQueue("ocr", Override.NEXT), "Goes back to: Text recognition (OCR), Run next"),
    ],
)
def test_the_undo_says_what_comes_back(change: Change, expected: str) -> None:
    found = panel(replace(busy(), undo=change), words("en"), 1).undo
    assert found is not None
    assert found.says == expected
    assert json.loads(found.ask) == as_json(change)


def test_without_a_change_there_is_no_undo() -> None:
    assert panel(busy(), words("en"), 1).undo is None
