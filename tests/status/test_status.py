"""The published picture, and how a change of it reads in the log."""

import dataclasses
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.log_lines import jobs, log_lines
from immich_job_daemon.status.status import Status

OCR = Queue("ocr", is_paused=False, active=1, waiting=4)


def picture(reason: Reason, queue: Queue = OCR) -> Status:
    return Status(1, queues={queue.name: queue}, reasons={queue.name: reason})


def said(before: Reason | None, after: Reason, queue: Queue = OCR) -> list[str]:
    """Return what is said when a queue's reason log_lines from one to the other."""
    was = Status(1) if before is None else picture(before, queue)
    return [change.text for change in log_lines(was, picture(after, queue))]


def test_a_picture_before_the_first_look_knows_nothing() -> None:
    status = Status(3)
    assert (status.limit, status.updated, status.problem) == (3, None, None)
    assert status.with_reasons(*Reason) == []


def test_a_picture_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Status(1).limit = 2  # type: ignore[misc]


def test_queues_are_found_by_their_reason_in_immichs_order() -> None:
    queues = {name: Queue(name, is_paused=True) for name in ("library", "ocr", "migration")}
    status = Status(
        1,
        queues=queues,
        reasons={"ocr": Reason.WAITING, "library": Reason.RUNNING, "migration": Reason.IDLE},
    )
    assert status.with_reasons(Reason.IDLE) == [queues["migration"]]
    assert status.with_reasons(Reason.WAITING, Reason.RUNNING) == [queues["library"], queues["ocr"]]
    assert status.with_reasons(Reason.UNPAUSABLE) == []


@pytest.mark.parametrize("reason", Reason)
def test_what_stays_as_it_is_is_not_said_again(reason: Reason) -> None:
    assert said(reason, reason) == []


def test_other_counts_alone_are_not_worth_a_line() -> None:
    more = dataclasses.replace(OCR, waiting=400)
    assert list(log_lines(picture(Reason.RUNNING), picture(Reason.RUNNING, more))) == []


def test_a_queue_that_starts_to_run_is_said_with_all_its_jobs() -> None:
    assert said(Reason.WAITING, Reason.RUNNING) == ["ocr runs (5 jobs)."]


@pytest.mark.parametrize("after", [Reason.IDLE, Reason.LENT])
def test_a_queue_that_is_drained_is_said(after: Reason) -> None:
    empty = Queue("ocr", is_paused=True)
    assert said(Reason.RUNNING, after, empty) == ["ocr is drained."]


def test_a_queue_that_waits_is_said_with_its_backlog() -> None:
    queue = Queue("ocr", is_paused=True, paused=1)
    assert said(Reason.IDLE, Reason.WAITING, queue) == ["ocr waits for a slot (1 job)."]


def test_a_queue_that_lost_its_slot_is_said_with_what_still_runs() -> None:
    queue = Queue("ocr", is_paused=True, active=2, paused=70)
    assert said(Reason.RUNNING, Reason.DRAINING, queue) == [
        "ocr finishes what it is at (2 jobs); nothing new starts in it."
    ]


def test_a_pause_of_someone_else_is_said() -> None:
    queue = Queue("ocr", is_paused=True)
    assert said(Reason.RUNNING, Reason.PAUSED_BY_OTHERS, queue) == [
        "ocr was paused by someone else and stays so until someone resumes it."
    ]


def test_a_resume_by_someone_else_is_said_before_what_follows_from_it() -> None:
    assert said(Reason.PAUSED_BY_OTHERS, Reason.RUNNING) == [
        "ocr was resumed by someone else.",
        "ocr runs (5 jobs).",
    ]


def test_a_protected_queue_that_is_paused_is_said_with_what_to_do() -> None:
    (line,) = said(None, Reason.PROTECTED, Queue("search", is_paused=True))
    assert line.startswith("search is paused and protected")
    assert "resume it in Immich under Administration > Job Queues" in line
    assert "`release --all`" in line


def test_a_protected_queue_that_is_open_is_nothing_to_speak_of() -> None:
    assert said(None, Reason.PROTECTED) == []


@pytest.mark.parametrize(
    "reason", [Reason.IDLE, Reason.LENT, Reason.UNRESTRICTED, Reason.UNPAUSABLE]
)
def test_a_first_look_is_silent_about_what_needs_no_attention(reason: Reason) -> None:
    assert said(None, reason) == []


def test_what_ended_is_said_before_what_began_and_both_that_wait_are_details() -> None:
    queues = {name: Queue(name, is_paused=False, active=1) for name in ("a", "b", "c")}
    done = {**queues, "c": Queue("c", is_paused=True), "b": Queue("b", is_paused=True, paused=1)}
    before = Status(1, queues=queues, reasons={"a": Reason.IDLE, "c": Reason.RUNNING})
    after = Status(
        1, queues=done, reasons={"a": Reason.RUNNING, "b": Reason.WAITING, "c": Reason.IDLE}
    )
    assert [*log_lines(before, after)] == [
        ("c is drained.", True),
        ("a runs (1 job).", False),
        ("b waits for a slot (1 job).", True),
    ]


def test_the_end_of_all_work_is_said_whatever_waits_in_queues_that_are_not_the_daemons() -> None:
    empty = Queue("ocr", is_paused=True)
    protected = Queue("search", is_paused=False, waiting=3)
    before = picture(Reason.RUNNING)
    after = Status(
        1,
        queues={"ocr": empty, "search": protected},
        reasons={"ocr": Reason.IDLE, "search": Reason.PROTECTED},
    )
    assert [change.text for change in log_lines(before, after)][-1] == "Nothing is left to do."
    assert [*log_lines(after, after)] == []


def test_a_queue_outside_its_hours_is_said_with_when_it_may_run_again_as_a_detail() -> None:
    opens = {"ocr": datetime(2026, 11, 24, 22, tzinfo=ZoneInfo("Europe/Berlin"))}
    after = dataclasses.replace(picture(Reason.OUTSIDE_WINDOW), opens_at=opens)
    assert [*log_lines(picture(Reason.DRAINING), after)] == [
        ("ocr is outside its hours until Tue 22:00.", True)
    ]
    assert [*log_lines(after, after)] == []


def test_a_busy_machine_is_said_once_for_all_queues_and_so_is_its_end() -> None:
    def both(one: Reason, other: Reason) -> Status:
        queues = {name: dataclasses.replace(OCR, name=name) for name in ("ocr", "library")}
        return Status(1, queues=queues, reasons={"ocr": one, "library": other})

    free = both(Reason.RUNNING, Reason.WAITING)
    ending, busy = both(Reason.DRAINING, Reason.HIGH_LOAD), both(Reason.HIGH_LOAD, Reason.HIGH_LOAD)
    told = "The machine has more to do than PAUSE_ABOVE_LOAD says: nothing new starts."
    assert [change.text for change in log_lines(free, ending)][-1] == told
    assert [*log_lines(ending, busy)] == []
    assert [change.text for change in log_lines(busy, free)] == [
        "ocr runs (5 jobs).",
        "library waits for a slot (4 jobs).",
        "The machine has time again.",
    ]


def test_a_queue_that_immich_no_longer_reports_is_passed_over() -> None:
    assert list(log_lines(picture(Reason.RUNNING), Status(1))) == []


def test_each_queue_that_changed_has_its_line() -> None:
    other = Queue("library", is_paused=True, paused=2)
    after = Status(
        1,
        queues={"library": other, "ocr": OCR},
        reasons={"library": Reason.WAITING, "ocr": Reason.RUNNING},
    )
    assert [change.text for change in log_lines(Status(1), after)] == [
        "library waits for a slot (2 jobs).",
        "ocr runs (5 jobs).",
    ]


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), (999, "999 jobs"), (85_000, "85,000 jobs")],
)
def test_a_number_of_jobs_reads_as_a_person_writes_it(number: int, words: str) -> None:
    assert jobs(number) == words
