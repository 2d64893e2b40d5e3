"""The headline, the progress and the totals."""

from dataclasses import replace
from datetime import timedelta

import pytest

from immich_job_daemon.forecast.estimate import Forecast
from immich_job_daemon.model.controls import Controls, Mode
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import Problem, ProblemKind, Status
from immich_job_daemon.web.ui.headline import headline, progress, totals
from immich_job_daemon.web.ui.i18n import load_texts
from tests.web.ui.sample_statuses import (
    AT,
    NOW,
    OPENS,
    all_paused,
    busy,
    dry_run,
    empty,
    starting,
    with_problem,
)


def text(status: Status, language: str = "en", now: float = NOW) -> str:
    return headline(status, load_texts(language), now).text


def with_queues(status: Status, *queues: tuple[Queue, Reason]) -> Status:
    return replace(
        status,
        queues={queue.name: queue for queue, _ in queues},
        order=tuple(queue.name for queue, _ in queues),
        reasons={queue.name: reason for queue, reason in queues},
    )


RUNNING = (Queue("thumbnailGeneration", is_paused=False, active=3, waiting=1231), Reason.RUNNING)
WAITING = (Queue("smartSearch", is_paused=True, paused=9), Reason.WAITING)


def test_the_headline_says_what_runs_how_much_is_left_for_how_long_and_what_waits() -> None:
    status = with_queues(
        busy(), RUNNING, WAITING, (replace(WAITING[0], name="ocr"), Reason.WAITING)
    )
    assert text(status) == (
        "Generating thumbnails: 1,234 jobs left, about 12 minutes; 2 queues are waiting"
    )
    assert text(status, "de") == (
        "Vorschaubilder werden erzeugt: noch 1.234 Aufgaben, etwa 12 Minuten; "
        "2 Warteschlangen warten"
    )
    assert (
        text(status, "ru")
        == "Создаются миниатюры: осталось 1\u00a0234 задания, около 12 минут; ждут 2 очереди"
    )


def test_an_unknown_estimate_is_left_out() -> None:
    status = replace(with_queues(busy(), RUNNING), forecast=Forecast())
    assert text(status) == "Generating thumbnails: 1,234 jobs left"


def test_an_empty_waiting_queue_is_not_counted() -> None:
    status = with_queues(busy(), RUNNING, (Queue("ocr", is_paused=True), Reason.WAITING))
    assert "waiting" not in text(status)


def test_two_running_queues_are_named_and_more_are_counted() -> None:
    more = [
        (replace(RUNNING[0], name=name), Reason.RUNNING)
        for name in ("smartSearch", "ocr", "library")
    ]
    assert text(with_queues(busy(), RUNNING, *more)).startswith(
        "Generating thumbnails, indexing for smart search and 2 more queues: 4,936 jobs left"
    )


def test_an_unknown_queue_has_immichs_name() -> None:
    status = with_queues(busy(), (replace(RUNNING[0], name="other"), Reason.RUNNING))
    assert text(status) == "Running other: 1,234 jobs left"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (starting(), "Connecting to Immich"),
        (empty(), "Nothing to do"),
        (all_paused(), "Everything is paused; Immich is finishing 5 running jobs"),
        (
            replace(empty(), controls=Controls(mode=Mode.HELD)),
            "Everything is paused; no jobs are waiting",
        ),
        (
            replace(empty(), controls=Controls(mode=Mode.OPEN)),
            "Running everything; no jobs are waiting",
        ),
        (with_problem(), "Waiting for Immich"),
        (with_problem(ProblemKind.KEY_REJECTED), "Stopped until this is fixed"),
        (with_queues(busy(), WAITING), "1 queue is waiting for its turn"),
        (
            with_queues(busy(), (WAITING[0], Reason.PAUSED_BY_OTHERS)),
            "Nothing to run; 9 jobs are in queues that were paused in Immich",
        ),
        (
            with_queues(busy(), (WAITING[0], Reason.OUTSIDE_WINDOW)),
            "9 jobs are scheduled",
        ),
        (
            with_queues(busy(), (WAITING[0], Reason.HIGH_LOAD)),
            "The server is busy; 9 jobs are waiting",
        ),
        (
            with_queues(busy(), (WAITING[0], Reason.HELD_BY_USER)),
            "Nothing to run; 9 jobs are in queues on hold",
        ),
        (
            replace(
                with_queues(busy(), (WAITING[0], Reason.HELD_BY_USER)),
                controls=Controls(mode=Mode.HELD),
            ),
            "Everything is paused; 9 jobs are waiting",
        ),
    ],
)
def test_the_headline_when_nothing_runs(status: Status, expected: str) -> None:
    assert text(status) == expected


def test_scheduled_jobs_come_with_the_time_at_which_the_first_window_opens() -> None:
    scheduled = with_queues(
        dry_run(),
        (replace(WAITING[0], name="videoConversion"), Reason.OUTSIDE_WINDOW),
        (WAITING[0], Reason.OUTSIDE_WINDOW),
    )
    assert headline(scheduled, load_texts("en"), NOW).starts_at == OPENS
    later = {**scheduled.opens_at, "smartSearch": scheduled.opens_at["videoConversion"]}
    later["videoConversion"] += timedelta(hours=1)
    assert headline(replace(scheduled, opens_at=later), load_texts("en"), NOW).starts_at == OPENS
    busy_server = with_queues(dry_run(), (WAITING[0], Reason.HIGH_LOAD))
    assert headline(busy_server, load_texts("en"), NOW).starts_at is None


def test_a_problem_with_one_command_does_not_hide_what_runs() -> None:
    status = replace(
        with_queues(busy(), RUNNING), problem=Problem(ProblemKind.REFUSED, "it does", AT - 500)
    )
    assert text(status).startswith("Generating thumbnails")


def test_a_stuck_loop_comes_before_anything_else() -> None:
    assert text(busy(), now=busy().next_due + 1).startswith("The daemon is stuck")


def test_the_announcement_for_screen_readers_has_no_number() -> None:
    announcement = headline(with_queues(busy(), RUNNING), load_texts("en"), NOW).announcement
    assert announcement == "Generating thumbnails"
    assert headline(all_paused(), load_texts("en"), NOW).announcement == "Everything is paused"
    closed = with_queues(busy(), (WAITING[0], Reason.OUTSIDE_WINDOW))
    assert headline(closed, load_texts("en"), NOW).announcement == "Scheduled"


def test_progress_is_measured_against_the_largest_backlog() -> None:
    status = with_queues(
        replace(busy(), history=replace(busy().history, peak_pending=2468)), RUNNING
    )
    found = progress(status, load_texts("en"), NOW)
    assert found is not None
    assert (found.done, found.peak, found.share) == (1234, 2468, "50% done")
    assert found.until == AT - 1 + 4.1 * 3600


def test_progress_is_never_100_percent_while_something_is_left() -> None:
    status = with_queues(
        replace(busy(), history=replace(busy().history, peak_pending=100_000)),
        (Queue("ocr", is_paused=False, waiting=1), Reason.RUNNING),
    )
    found = progress(status, load_texts("en"), NOW)
    assert found is not None
    assert found.share == "99% done"


def test_progress_without_an_estimate_says_that_the_time_left_is_unknown() -> None:
    for status in (replace(busy(), forecast=Forecast()), with_problem()):
        found = progress(status, load_texts("en"), NOW)
        assert found is not None
        assert (found.duration, found.until) == ("time left not known yet", None)


def test_there_is_no_progress_without_a_backlog_or_a_known_peak() -> None:
    assert progress(empty(), load_texts("en"), NOW) is None
    assert (
        progress(
            replace(busy(), history=replace(busy().history, peak_pending=0)), load_texts("en"), NOW
        )
        is None
    )


def test_the_totals() -> None:
    found = {total.label: total.value for total in totals(busy(), load_texts("en"))}
    assert found == {
        "Jobs left": "11,841",
        "Running jobs": "5",
        "Failed jobs": "7",
        "Running queues": "2 of 2",
    }
    assert [total.is_bad for total in totals(busy(), load_texts("en"))] == [
        False,
        False,
        True,
        False,
    ]
    assert totals(starting(), load_texts("en")) == ()


def test_while_no_limit_applies_none_is_shown() -> None:
    status = with_queues(busy(), (RUNNING[0], Reason.UNRESTRICTED))
    assert totals(status, load_texts("en"))[-1].value == "1"
