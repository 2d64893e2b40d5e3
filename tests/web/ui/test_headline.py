"""The sentence on top, how far it is, and the sums."""

from dataclasses import replace

import pytest

from immich_job_daemon.forecast.estimate import Forecast
from immich_job_daemon.model.controls import Controls, Mode
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import Problem, ProblemKind, Status
from immich_job_daemon.web.ui.headline import figures, headline, progress
from immich_job_daemon.web.ui.i18n import words
from tests.web.ui.sample_statuses import AT, NOW, busy, held, idle, troubled, unknown


def said(status: Status, language: str = "en", now: float = NOW) -> str:
    return headline(status, words(language), now).text


def with_queues(status: Status, *queues: tuple[Queue, Reason]) -> Status:
    return replace(
        status,
        queues={queue.name: queue for queue, _ in queues},
        order=tuple(queue.name for queue, _ in queues),
        reasons={queue.name: reason for queue, reason in queues},
    )


RUNNING = (Queue("thumbnailGeneration", is_paused=False, active=3, waiting=1231), Reason.RUNNING)
WAITING = (Queue("smartSearch", is_paused=True, paused=9), Reason.WAITING)


def test_it_names_what_runs_what_is_left_how_long_and_what_waits() -> None:
    status = with_queues(
        busy(), RUNNING, WAITING, (replace(WAITING[0], name="ocr"), Reason.WAITING)
    )
    assert said(status) == "Generating thumbnails, 1,234 left, about 12 minutes; 2 queues wait"
    assert (
        said(status, "de")
        == "Vorschaubilder werden erzeugt, noch 1.234, etwa 12 Minuten; 2 Warteschlangen warten"
    )
    assert (
        said(status, "ru")
        == "Создаются миниатюры, осталось 1\u00a0234, около 12 минут; ждут 2 очереди"
    )


def test_an_unknown_estimate_is_left_out() -> None:
    status = replace(with_queues(busy(), RUNNING), forecast=Forecast())
    assert said(status) == "Generating thumbnails, 1,234 left"


def test_an_empty_waiting_queue_does_not_count() -> None:
    status = with_queues(busy(), RUNNING, (Queue("ocr", is_paused=True), Reason.WAITING))
    assert "wait" not in said(status)


def test_two_are_named_and_more_are_counted() -> None:
    more = [
        (replace(RUNNING[0], name=name), Reason.RUNNING)
        for name in ("smartSearch", "ocr", "library")
    ]
    assert said(with_queues(busy(), RUNNING, *more)).startswith(
        "Generating thumbnails and preparing smart search and 2 more queues, 4,936 left"
    )


def test_a_queue_that_nobody_knows_is_named_as_immich_does() -> None:
    status = with_queues(busy(), (replace(RUNNING[0], name="other"), Reason.RUNNING))
    assert said(status) == "Working on other, 1,234 left"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (unknown(), "Looking for Immich"),
        (idle(), "Nothing to do"),
        (held(), "Everything is held; Immich finishes 5 running jobs"),
        (
            replace(idle(), controls=Controls(mode=Mode.HELD)),
            "Everything is held, and nothing is left to do",
        ),
        (
            replace(idle(), controls=Controls(mode=Mode.OPEN)),
            "Everything is open, and nothing is left to do",
        ),
        (troubled(), "Waiting for Immich"),
        (troubled(ProblemKind.KEY_REJECTED), "The daemon can do nothing until that is put right"),
        (with_queues(busy(), WAITING), "1 queue waits for its turn"),
        (
            with_queues(busy(), (WAITING[0], Reason.PAUSED_BY_OTHERS)),
            "Nothing to do; 9 jobs are in queues that somebody has paused",
        ),
        (
            with_queues(busy(), (WAITING[0], Reason.OUTSIDE_WINDOW)),
            "9 jobs wait until their hours begin",
        ),
        (with_queues(busy(), (WAITING[0], Reason.HIGH_LOAD)), "The machine is busy; 9 jobs wait"),
        (
            with_queues(busy(), (WAITING[0], Reason.HELD_BY_USER)),
            "Nothing to do; 9 jobs are in queues that you hold",
        ),
        (
            replace(
                with_queues(busy(), (WAITING[0], Reason.HELD_BY_USER)),
                controls=Controls(mode=Mode.HELD),
            ),
            "Everything is held; 9 jobs wait",
        ),
    ],
)
def test_what_it_says_when_nothing_runs(status: Status, expected: str) -> None:
    assert said(status) == expected


def test_a_problem_with_one_command_does_not_hide_what_runs() -> None:
    status = replace(
        with_queues(busy(), RUNNING), problem=Problem(ProblemKind.REFUSED, "it does", AT - 500)
    )
    assert said(status).startswith("Generating thumbnails")


def test_a_loop_that_hangs_is_told_before_anything_else() -> None:
    assert said(busy(), now=busy().next_due + 1).startswith("The daemon hangs")


def test_what_is_said_aloud_has_no_number_in_it() -> None:
    spoken = headline(with_queues(busy(), RUNNING), words("en"), NOW).spoken
    assert spoken == "Generating thumbnails"
    assert headline(held(), words("en"), NOW).spoken == "Everything held"
    closed = with_queues(busy(), (WAITING[0], Reason.OUTSIDE_WINDOW))
    assert headline(closed, words("en"), NOW).spoken == "Outside its hours"


def test_progress_is_what_is_done_of_the_largest_backlog() -> None:
    status = with_queues(
        replace(busy(), history=replace(busy().history, peak_pending=2468)), RUNNING
    )
    found = progress(status, words("en"), NOW)
    assert found is not None
    assert (found.done, found.peak, found.share) == (1234, 2468, "50 % done")
    assert found.until == AT - 1 + 4.1 * 3600


def test_progress_is_never_100_percent_while_something_is_left() -> None:
    status = with_queues(
        replace(busy(), history=replace(busy().history, peak_pending=100_000)),
        (Queue("ocr", is_paused=False, waiting=1), Reason.RUNNING),
    )
    found = progress(status, words("en"), NOW)
    assert found is not None
    assert found.share == "99 % done"


def test_progress_without_an_estimate_says_that_it_is_not_known() -> None:
    for status in (replace(busy(), forecast=Forecast()), troubled()):
        found = progress(status, words("en"), NOW)
        assert found is not None
        assert (found.about, found.until) == ("time left not known yet", None)


def test_there_is_no_progress_where_nothing_is_left_or_no_peak_is_known() -> None:
    assert progress(idle(), words("en"), NOW) is None
    assert (
        progress(replace(busy(), history=replace(busy().history, peak_pending=0)), words("en"), NOW)
        is None
    )


def test_the_sums() -> None:
    found = {figure.name: figure.value for figure in figures(busy(), words("en"))}
    assert found == {
        "Jobs left": "11,841",
        "Running": "5",
        "Failed": "7",
        "Queues at once": "2 of 2",
    }
    assert [figure.is_bad for figure in figures(busy(), words("en"))] == [False, False, True, False]
    assert figures(unknown(), words("en")) == ()


def test_without_a_limit_none_is_shown() -> None:
    status = with_queues(busy(), (RUNNING[0], Reason.UNRESTRICTED))
    assert figures(status, words("en"))[-1].value == "1"
