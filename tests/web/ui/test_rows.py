"""A queue's row: its figures, its choices, and what does not belong there."""

from dataclasses import replace

from immich_job_daemon.forecast.rates import Rate, Rates
from immich_job_daemon.model.controls import Controls
from immich_job_daemon.web.ui.i18n import words
from immich_job_daemon.web.ui.rows import Row, Rows
from tests.web.ui.sample_statuses import NOW, OPENS, busy, rehearsed, troubled


def row(name: str, status: object = None, language: str = "en") -> Row:
    return Rows(status or busy(), words(language), NOW).row(name)  # type: ignore[arg-type] # a Status


def cells(found: Row) -> dict[str, str]:
    return {cell.kind: cell.text for cell in found.cells}


def test_a_running_queue_shows_all_that_is_known() -> None:
    found = row("thumbnailGeneration")
    assert (found.label, found.word, found.icon) == ("Thumbnail generation", "Running", "play")
    assert cells(found) == {
        "waiting": "1,231",
        "active": "3",
        "rate": "103/min",
        "estimate": "12 min",
    }


def test_in_other_languages_too() -> None:
    assert cells(row("thumbnailGeneration", language="de"))["rate"] == "103/Min."
    assert cells(row("faceDetection", language="ru"))["waiting"] == "4\u00a0790"


def test_what_is_unknown_is_called_so_and_what_will_not_come_is_left_out() -> None:
    assert cells(row("duplicateDetection"))["estimate"] == "unknown"
    assert "estimate" not in cells(row("facialRecognition"))
    assert cells(row("ocr")) == {}


def test_a_slow_queue_shows_a_digit_after_the_comma() -> None:
    status = replace(busy(), rates=Rates({"videoConversion": Rate(14.0, 600.0)}))
    assert cells(row("videoConversion", status))["rate"] == "1.4/min"


def test_old_figures_have_no_estimate() -> None:
    assert cells(row("thumbnailGeneration", troubled()))["estimate"] == "unknown"


def test_a_waiting_queue_says_how_many_are_ahead() -> None:
    assert row("smartSearch").why == "Gets the next free slot."
    assert row("videoConversion").why == "Waits for a slot; 2 queues are ahead of it."


def test_one_that_is_wanted_next_goes_before_those_of_higher_priority() -> None:
    status = replace(busy(), wanted=frozenset({"videoConversion"}))
    assert row("videoConversion", status).word == "Next"
    assert row("smartSearch", status).why == "Waits for a slot; 1 queue is ahead of it."


def test_the_choice_that_holds_is_pressed() -> None:
    def pressed(found: Row) -> list[str]:
        return [choice.value for choice in found.choices if choice.is_pressed]

    assert pressed(row("facialRecognition")) == ["held"]
    assert pressed(row("ocr")) == ["automatic"]
    status = replace(busy(), wanted=frozenset({"ocr"}), controls=Controls())
    assert pressed(row("ocr", status)) == ["next"]


def test_there_is_nothing_to_choose_for_a_protected_queue() -> None:
    assert row("notifications").choices == ()


def test_a_queue_outside_its_hours_says_when_they_begin_again() -> None:
    found = row("videoConversion", rehearsed())
    assert (found.word, found.icon, found.opens) == ("Outside its hours", "moon", OPENS)
    assert found.why == "Nothing starts in it outside its hours."
    # What keeps another from running is something else, whatever its hours are.
    everywhere = dict.fromkeys(busy().order, rehearsed().opens_at["videoConversion"])
    assert row("smartSearch", replace(rehearsed(), opens_at=everywhere)).opens is None


def test_on_a_busy_machine_a_queue_says_so() -> None:
    found = row("smartSearch", rehearsed())
    assert (found.word, found.icon) == ("Machine is busy", "hourglass")
    assert found.why == "The machine has too much to do; nothing new starts."


def test_only_a_queue_without_work_is_quiet() -> None:
    quiet = [name for name in busy().order if row(name).is_quiet]
    assert "ocr" in quiet
    assert "thumbnailGeneration" not in quiet
    assert "library" not in quiet
