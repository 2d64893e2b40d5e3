"""The rows of the queue list: states, reasons, figures and override buttons."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from immich_job_daemon.forecast.rates import Rate, Rates
from immich_job_daemon.model.controls import Controls, Mode, Override
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.ui import queue_list
from immich_job_daemon.web.ui.controls_view import MODE_ICONS
from immich_job_daemon.web.ui.i18n import PLURALS, load_texts
from immich_job_daemon.web.ui.queue_list import (
    OVERRIDE_ICONS,
    STATE_ICONS,
    QueueContext,
    QueueRow,
    QueueRows,
    queue_text,
)
from tests.web.ui.sample_statuses import NOW, OPENS, busy, dry_run, with_problem

CONTEXTS: Final = [
    QueueContext(
        Queue("ocr", is_paused=is_paused, active=active, waiting=waiting), override, mode, ahead
    )
    for is_paused, active, waiting, override, mode, ahead in product(
        (True, False), (0, 3), (0, 5), Override, Mode, (0, 2)
    )
]


# States and reasons


def context(
    *, override: Override = Override.AUTOMATIC, mode: Mode = Mode.AUTOMATIC, **queue: int
) -> QueueContext:
    return QueueContext(Queue("ocr", is_paused=False, **queue), override, mode, 2)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("language", PLURALS)
def test_every_reason_has_texts_and_an_icon_in_every_language(
    reason: Reason, language: str
) -> None:
    texts = load_texts(language)
    for each in CONTEXTS:
        state, reason_key, count = queue_text(reason, each)
        assert texts(f"state.{state}")
        key = f"reason.{reason_key}"
        assert texts(key) if count is None else texts.plural(key, count)
        assert state in STATE_ICONS


def test_the_style_sheet_has_exactly_the_icons_in_use() -> None:
    folder = Path(queue_list.__file__).parent
    style = (folder / "static" / "page.css").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^\.i-(\w+) \{ clip-path: path", style, re.MULTILINE))
    named = {*STATE_ICONS.values(), *OVERRIDE_ICONS.values(), *MODE_ICONS.values()}
    for path in (folder / "templates").glob("*.html"):
        text = path.read_text(encoding="utf-8")
        named |= {one or two for one, two in re.findall(r'icon\("(\w+)"\)|"i i-(\w+)"', text)}
    assert named == drawn


def test_run_next_is_shown_while_the_queue_waits_and_while_it_runs() -> None:
    assert queue_text(Reason.WAITING, context(override=Override.NEXT)).state == "next"
    running = queue_text(Reason.RUNNING, context(override=Override.NEXT))
    assert running.reason_key == "running_next"


def test_a_held_queue_with_active_jobs_says_that_it_finishes_them() -> None:
    assert queue_text(Reason.HELD_BY_USER, context(active=3)) == ("held", "held_busy", 3)
    assert queue_text(Reason.HELD_BY_USER, context(mode=Mode.HELD)).reason_key == "held_all"


def test_an_unrestricted_queue_says_whether_the_user_chose_that() -> None:
    chosen = queue_text(Reason.UNRESTRICTED, context(mode=Mode.OPEN, active=1))
    assert chosen == ("running", "run_everything", None)
    assert queue_text(Reason.UNRESTRICTED, context()).reason_key == "unrestricted"


def test_a_protected_queue_that_is_paused_has_its_own_state() -> None:
    queue = Queue("search", is_paused=True)
    paused = QueueContext(queue, Override.AUTOMATIC, Mode.AUTOMATIC, 0)
    assert queue_text(Reason.PROTECTED, paused).state == "protected_paused"
    assert queue_text(Reason.PROTECTED, context()).state == "protected"


# Rows


def row(name: str, status: Status | None = None, language: str = "en") -> QueueRow:
    return QueueRows(status or busy(), load_texts(language), NOW).row(name)


def figures(found: QueueRow) -> dict[str, str]:
    return {figure.kind: figure.text for figure in found.figures}


def test_a_running_queue_shows_all_its_figures() -> None:
    found = row("thumbnailGeneration")
    assert (found.label, found.state_label, found.icon) == (
        "Thumbnail generation",
        "Running",
        "play",
    )
    assert figures(found) == {
        "waiting": "1,231",
        "active": "3",
        "rate": "103/min",
        "estimate": "12 min",
    }


def test_figures_are_written_as_in_the_readers_language() -> None:
    assert figures(row("thumbnailGeneration", language="de"))["rate"] == "103/Min."
    assert figures(row("faceDetection", language="ru"))["waiting"] == "4\u00a0790"


def test_an_unknown_estimate_is_shown_as_unknown_and_a_queue_without_a_slot_has_none() -> None:
    assert figures(row("duplicateDetection"))["estimate"] == "unknown"
    assert "estimate" not in figures(row("facialRecognition"))
    assert figures(row("ocr")) == {}


def test_a_low_rate_is_shown_with_one_decimal() -> None:
    status = replace(busy(), rates=Rates({"videoConversion": Rate(14.0, 600.0)}))
    assert figures(row("videoConversion", status))["rate"] == "1.4/min"


def test_the_estimate_is_unknown_while_the_counts_are_stale() -> None:
    assert figures(row("thumbnailGeneration", with_problem()))["estimate"] == "unknown"


def test_a_waiting_queue_says_how_many_queues_are_ahead() -> None:
    assert row("smartSearch").reason == "Gets the next free slot."
    assert row("videoConversion").reason == "Waiting for a slot; 2 queues are ahead."


def test_a_queue_set_to_run_next_goes_before_those_of_higher_priority() -> None:
    status = replace(busy(), wanted=frozenset({"videoConversion"}))
    assert row("videoConversion", status).state_label == "Next"
    assert row("smartSearch", status).reason == "Waiting for a slot; 1 queue is ahead."


def test_the_button_of_the_current_override_is_pressed() -> None:
    def pressed(found: QueueRow) -> list[str]:
        return [button.value for button in found.buttons if button.is_pressed]

    assert pressed(row("facialRecognition")) == ["held"]
    assert pressed(row("ocr")) == ["automatic"]
    status = replace(busy(), wanted=frozenset({"ocr"}), controls=Controls())
    assert pressed(row("ocr", status)) == ["next"]


def test_a_protected_queue_has_no_override_buttons() -> None:
    assert row("notifications").buttons == ()


def test_a_queue_outside_its_window_says_when_the_next_one_opens() -> None:
    found = row("videoConversion", dry_run())
    assert (found.state_label, found.icon, found.opens_at) == ("Scheduled", "moon", OPENS)
    assert found.reason == "Outside its time window; no new jobs start."
    # A queue with another reason does not wait for its window.
    everywhere = dict.fromkeys(busy().order, dry_run().opens_at["videoConversion"])
    assert row("smartSearch", replace(dry_run(), opens_at=everywhere)).opens_at is None


def test_on_a_busy_server_a_queue_says_so() -> None:
    found = row("smartSearch", dry_run())
    assert (found.state_label, found.icon) == ("Server busy", "hourglass")
    assert found.reason == "The server's load is too high; no new jobs start."


def test_only_an_empty_queue_is_quiet() -> None:
    quiet = [name for name in busy().order if row(name).is_quiet]
    assert "ocr" in quiet
    assert "thumbnailGeneration" not in quiet
    assert "library" not in quiet
