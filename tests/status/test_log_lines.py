"""The log lines for a change of the status."""

import dataclasses
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.log_lines import count_jobs, log_lines
from immich_job_daemon.status.status import Status

OCR = Queue("ocr", is_paused=False, active=1, waiting=4)


def status_with(reason: Reason, queue: Queue = OCR) -> Status:
    return Status(1, queues={queue.name: queue}, reasons={queue.name: reason})


def lines_for(before: Reason | None, after: Reason, queue: Queue = OCR) -> list[str]:
    """Return the log lines for a queue whose reason changes."""
    old = Status(1) if before is None else status_with(before, queue)
    return [line.text for line in log_lines(old, status_with(after, queue))]


@pytest.mark.parametrize("reason", Reason)
def test_an_unchanged_reason_is_not_logged_again(reason: Reason) -> None:
    assert lines_for(reason, reason) == []


def test_changed_counts_alone_are_not_logged() -> None:
    more = dataclasses.replace(OCR, waiting=400)
    assert list(log_lines(status_with(Reason.RUNNING), status_with(Reason.RUNNING, more))) == []


def test_a_queue_that_starts_to_run_is_logged_with_its_pending_jobs() -> None:
    assert lines_for(Reason.WAITING, Reason.RUNNING) == ["ocr is running (5 jobs)."]


@pytest.mark.parametrize("after", [Reason.IDLE, Reason.LENT])
def test_a_drained_queue_is_logged(after: Reason) -> None:
    empty = Queue("ocr", is_paused=True)
    assert lines_for(Reason.RUNNING, after, empty) == ["ocr is finished."]


def test_a_waiting_queue_is_logged_with_its_backlog() -> None:
    queue = Queue("ocr", is_paused=True, paused=1)
    assert lines_for(Reason.IDLE, Reason.WAITING, queue) == ["ocr is waiting for a slot (1 job)."]


def test_a_draining_queue_is_logged_with_its_active_jobs() -> None:
    queue = Queue("ocr", is_paused=True, active=2, paused=70)
    assert lines_for(Reason.RUNNING, Reason.DRAINING, queue) == [
        "ocr is finishing 2 jobs; no new ones start."
    ]


def test_a_pause_by_others_is_logged() -> None:
    queue = Queue("ocr", is_paused=True)
    assert lines_for(Reason.RUNNING, Reason.PAUSED_BY_OTHERS, queue) == [
        "ocr was paused by a user or another tool and stays paused until they resume it."
    ]


def test_a_resume_by_others_is_logged_before_its_effect() -> None:
    assert lines_for(Reason.PAUSED_BY_OTHERS, Reason.RUNNING) == [
        "ocr was resumed by a user or another tool.",
        "ocr is running (5 jobs).",
    ]


def test_a_paused_protected_queue_is_logged_with_what_to_do() -> None:
    (line,) = lines_for(None, Reason.PROTECTED, Queue("search", is_paused=True))
    assert line.startswith("search is paused and protected")
    assert "resume it in Immich under Administration > Job Queues" in line
    assert "`release --all`" in line


def test_an_open_protected_queue_is_not_logged() -> None:
    assert lines_for(None, Reason.PROTECTED) == []


@pytest.mark.parametrize(
    "reason", [Reason.IDLE, Reason.LENT, Reason.UNRESTRICTED, Reason.UNPAUSABLE]
)
def test_the_first_poll_does_not_log_queues_that_need_no_attention(reason: Reason) -> None:
    assert lines_for(None, reason) == []


def test_ends_are_logged_before_beginnings_and_waiting_queues_are_details() -> None:
    queues = {name: Queue(name, is_paused=False, active=1) for name in ("a", "b", "c")}
    done = {**queues, "c": Queue("c", is_paused=True), "b": Queue("b", is_paused=True, paused=1)}
    before = Status(1, queues=queues, reasons={"a": Reason.IDLE, "c": Reason.RUNNING})
    after = Status(
        1, queues=done, reasons={"a": Reason.RUNNING, "b": Reason.WAITING, "c": Reason.IDLE}
    )
    assert [*log_lines(before, after)] == [
        ("c is finished.", True),
        ("a is running (1 job).", False),
        ("b is waiting for a slot (1 job).", True),
    ]


def test_the_end_of_all_work_is_logged_whatever_waits_in_protected_queues() -> None:
    empty = Queue("ocr", is_paused=True)
    protected = Queue("search", is_paused=False, waiting=3)
    before = status_with(Reason.RUNNING)
    after = Status(
        1,
        queues={"ocr": empty, "search": protected},
        reasons={"ocr": Reason.IDLE, "search": Reason.PROTECTED},
    )
    assert [line.text for line in log_lines(before, after)][-1] == "All jobs are done."
    assert [*log_lines(after, after)] == []


def test_a_queue_outside_its_window_is_logged_as_a_detail_with_its_next_window() -> None:
    opens = {"ocr": datetime(2026, 11, 24, 22, tzinfo=ZoneInfo("Europe/Berlin"))}
    after = dataclasses.replace(status_with(Reason.OUTSIDE_WINDOW), opens_at=opens)
    assert [*log_lines(status_with(Reason.DRAINING), after)] == [
        ("ocr is outside its SCHEDULE window until Tue 22:00.", True)
    ]
    assert [*log_lines(after, after)] == []


def test_high_load_is_logged_once_for_all_queues_and_so_is_its_end() -> None:
    def both(one: Reason, other: Reason) -> Status:
        queues = {name: dataclasses.replace(OCR, name=name) for name in ("ocr", "library")}
        return Status(1, queues=queues, reasons={"ocr": one, "library": other})

    free = both(Reason.RUNNING, Reason.WAITING)
    ending, busy = both(Reason.DRAINING, Reason.HIGH_LOAD), both(Reason.HIGH_LOAD, Reason.HIGH_LOAD)
    expected = "The machine's load is above PAUSE_ABOVE_LOAD: no new jobs start."
    assert [line.text for line in log_lines(free, ending)][-1] == expected
    assert [*log_lines(ending, busy)] == []
    assert [line.text for line in log_lines(busy, free)] == [
        "ocr is running (5 jobs).",
        "library is waiting for a slot (4 jobs).",
        "The machine's load is low enough again: new jobs may start.",
    ]


def test_a_queue_that_immich_no_longer_reports_is_ignored() -> None:
    assert list(log_lines(status_with(Reason.RUNNING), Status(1))) == []


def test_each_changed_queue_has_its_line() -> None:
    other = Queue("library", is_paused=True, paused=2)
    after = Status(
        1,
        queues={"library": other, "ocr": OCR},
        reasons={"library": Reason.WAITING, "ocr": Reason.RUNNING},
    )
    assert [line.text for line in log_lines(Status(1), after)] == [
        "library is waiting for a slot (2 jobs).",
        "ocr is running (5 jobs).",
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), (999, "999 jobs"), (85_000, "85,000 jobs")],
)
def test_numbers_of_jobs_are_formatted(number: int, text: str) -> None:
    assert count_jobs(number) == text
