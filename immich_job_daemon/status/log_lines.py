"""The log lines that tell how one status differs from the one before it."""

from collections.abc import Iterator
from typing import NamedTuple

from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import Status


class LogLine(NamedTuple):
    """One thing that differs between two pictures; ``is_detail``: only some want to know."""

    text: str
    is_detail: bool = False


def log_lines(before: Status, after: Status) -> Iterator[LogLine]:
    """Yield what differs, a line each: what ended first, then what began.

    >>> ocr = Queue("ocr", is_paused=False, active=1, waiting=4)
    >>> now = Status(1, queues={"ocr": ocr}, reasons={"ocr": Reason.RUNNING})
    >>> [line.text for line in log_lines(Status(1), now)]
    ['ocr runs (5 jobs).']
    """
    changed = {
        name: reason
        for name, reason in after.reasons.items()
        if before.reasons.get(name) is not reason
    }
    for name, reason in changed.items():
        if before.reasons.get(name) is Reason.RUNNING and reason in {Reason.IDLE, Reason.LENT}:
            yield LogLine(f"{name} is drained.", is_detail=True)
    for name, reason in changed.items():
        yield from _begun(after.queues[name], before.reasons.get(name), reason)
        if reason is Reason.OUTSIDE_WINDOW and name in after.opens_at:
            again = f"{after.opens_at[name]:%a %H:%M}"
            yield LogLine(f"{name} is outside its hours until {again}.", is_detail=True)
    yield from _loaded(before, after)
    if before.pending and after.queues and not after.pending:
        yield LogLine("Nothing is left to do.")


def jobs(number: int) -> str:
    """Return a number of jobs in words.

    >>> jobs(1), jobs(1234)
    ('1 job', '1,234 jobs')
    """
    return f"{number:,} job" if number == 1 else f"{number:,} jobs"


def _loaded(before: Status, after: Status) -> Iterator[LogLine]:
    was, is_now = (Reason.HIGH_LOAD in status.reasons.values() for status in (before, after))
    if is_now and not was:
        yield LogLine("The machine has more to do than PAUSE_ABOVE_LOAD says: nothing new starts.")
    elif was and not is_now:
        yield LogLine("The machine has time again.")


def _begun(queue: Queue, was: Reason | None, reason: Reason) -> Iterator[LogLine]:
    name = queue.name
    if was is Reason.PAUSED_BY_OTHERS:
        yield LogLine(f"{name} was resumed by someone else.")
    if reason is Reason.RUNNING:
        yield LogLine(f"{name} runs ({jobs(queue.pending)}).")
    elif reason is Reason.WAITING:
        yield LogLine(f"{name} waits for a slot ({jobs(queue.backlog)}).", is_detail=True)
    elif reason is Reason.DRAINING:
        yield LogLine(
            f"{name} finishes what it is at ({jobs(queue.active)}); nothing new starts in it."
        )
    elif reason is Reason.PAUSED_BY_OTHERS:
        yield LogLine(f"{name} was paused by someone else and stays so until someone resumes it.")
    elif reason is Reason.PROTECTED and queue.is_paused:
        yield LogLine(
            f"{name} is paused and protected, so it is not touched. It was not paused by this "
            "daemon: resume it in Immich under Administration > Job Queues, or all paused queues "
            "with the command `release --all`."
        )
