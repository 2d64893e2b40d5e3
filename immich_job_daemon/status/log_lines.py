"""Describes the difference between two statuses in log lines."""

from collections.abc import Iterator
from typing import NamedTuple

from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import Status


class LogLine(NamedTuple):
    """A line for the log; ``is_detail`` if only LOG_LEVEL=debug shows it."""

    text: str
    is_detail: bool = False


def log_lines(before: Status, after: Status) -> Iterator[LogLine]:
    """Yield a line for each difference: first what ended, then what began.

    >>> ocr = Queue("ocr", is_paused=False, active=1, waiting=4)
    >>> status = Status(1, queues={"ocr": ocr}, reasons={"ocr": Reason.RUNNING})
    >>> [line.text for line in log_lines(Status(1), status)]
    ['ocr is running (5 jobs).']
    """
    changed = {
        name: reason
        for name, reason in after.reasons.items()
        if before.reasons.get(name) is not reason
    }
    for name, reason in changed.items():
        if before.reasons.get(name) is Reason.RUNNING and reason in {Reason.IDLE, Reason.LENT}:
            yield LogLine(f"{name} is finished.", is_detail=True)
    for name, reason in changed.items():
        yield from _queue_lines(after.queues[name], before.reasons.get(name), reason)
        if reason is Reason.OUTSIDE_WINDOW and name in after.opens_at:
            opens = f"{after.opens_at[name]:%a %H:%M}"
            yield LogLine(f"{name} is outside its SCHEDULE window until {opens}.", is_detail=True)
    yield from _load_lines(before, after)
    if before.pending and after.queues and not after.pending:
        yield LogLine("All jobs are done.")


def count_jobs(number: int) -> str:
    """Return a number of jobs as text.

    >>> count_jobs(1), count_jobs(1234)
    ('1 job', '1,234 jobs')
    """
    return f"{number:,} job" if number == 1 else f"{number:,} jobs"


def _load_lines(before: Status, after: Status) -> Iterator[LogLine]:
    was, is_now = (Reason.HIGH_LOAD in status.reasons.values() for status in (before, after))
    if is_now and not was:
        yield LogLine("The machine's load is above PAUSE_ABOVE_LOAD: no new jobs start.")
    elif was and not is_now:
        yield LogLine("The machine's load is low enough again: new jobs may start.")


def _queue_lines(queue: Queue, before: Reason | None, reason: Reason) -> Iterator[LogLine]:
    name = queue.name
    if before is Reason.PAUSED_BY_OTHERS:
        yield LogLine(f"{name} was resumed by a user or another tool.")
    if reason is Reason.RUNNING:
        yield LogLine(f"{name} is running ({count_jobs(queue.pending)}).")
    elif reason is Reason.WAITING:
        yield LogLine(
            f"{name} is waiting for a slot ({count_jobs(queue.backlog)}).", is_detail=True
        )
    elif reason is Reason.DRAINING:
        yield LogLine(f"{name} is finishing {count_jobs(queue.active)}; no new ones start.")
    elif reason is Reason.PAUSED_BY_OTHERS:
        yield LogLine(
            f"{name} was paused by a user or another tool and stays paused until they resume it."
        )
    elif reason is Reason.PROTECTED and queue.is_paused:
        yield LogLine(
            f"{name} is paused and protected, so the daemon does not touch it. The daemon did not "
            "pause it: resume it in Immich under Administration > Job Queues, or resume all paused "
            "queues with the command `release --all`."
        )
