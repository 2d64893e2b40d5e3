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
from immich_job_daemon.web.ui.controls_view import controls_view
from immich_job_daemon.web.ui.i18n import load_texts
from tests.web.ui.sample_statuses import busy, starting

ENGLISH = load_texts("en")


def test_the_current_mode_is_pressed_and_described() -> None:
    controls = controls_view(busy(), ENGLISH, 1)
    assert [button.value for button in controls.modes if button.is_pressed] == ["automatic"]
    assert controls.description == "Queues run in order of priority, up to 2 at a time."
    controls = controls_view(replace(busy(), controls=Controls(mode=Mode.HELD)), ENGLISH, 1)
    assert [button.value for button in controls.modes if button.is_pressed] == ["held"]
    assert "no new jobs start" in controls.description


def test_a_changed_limit_can_be_reset() -> None:
    limit = controls_view(busy(), ENGLISH, 1).limit
    assert (limit.value, limit.is_override, limit.reset_label) == (2, True, "Reset to 1")
    assert not controls_view(replace(busy(), controls=Controls()), ENGLISH, 2).limit.is_override


def test_the_limit_ranges_from_1_to_the_number_of_managed_queues() -> None:
    def enabled(value: int) -> tuple[bool, bool]:
        limit = controls_view(replace(busy(), limit=value), ENGLISH, 1).limit
        return limit.can_decrease, limit.can_increase

    assert [enabled(value) for value in (1, 2, 13, 50)] == [
        (False, True),
        (True, True),
        (True, False),
        (True, False),
    ]


def test_the_limit_cannot_be_changed_before_the_queues_are_known() -> None:
    limit = controls_view(starting(), ENGLISH, 1).limit
    assert (limit.can_decrease, limit.can_increase) == (False, False)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (SetMode(Mode.HELD), "Restores: Pause everything"),
        (SetLimit(3), "Restores: 3 queues at once"),
        (SetLimit(None), "Restores: the configured limit"),
        (SetQueue("ocr", Override.NEXT), "Restores: Text recognition (OCR): Run next"),
    ],
)
def test_the_undo_button_describes_what_it_restores(change: Change, expected: str) -> None:
    undo = controls_view(replace(busy(), undo=change), ENGLISH, 1).undo
    assert undo is not None
    assert undo.description == expected
    assert json.loads(undo.change) == as_json(change)


def test_without_a_change_there_is_no_undo() -> None:
    assert controls_view(busy(), ENGLISH, 1).undo is None
