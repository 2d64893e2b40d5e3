"""The published picture of now: one immutable object that readers get and never reach through.

The log is its first reader: ``changes`` tells what differs between two pictures in words.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from immich_job_daemon.decision import Reason
from immich_job_daemon.queues import Queue, Snapshot


@dataclass(frozen=True, slots=True)
class Status:
    """What the daemon knows at one moment.

    Attributes:
        updated: when the last look succeeded, seconds of the daemon's clock; None before.
        limit: how many queues may run at once.
        queues: as last reported, in Immich's order.
        reasons: why each of them is in its state.
        problem: what is wrong and what to do about it, None if nothing is.
    """

    limit: int
    updated: float | None = None
    queues: Snapshot = field(default_factory=dict)
    reasons: Mapping[str, Reason] = field(default_factory=dict)
    problem: str | None = None

    def those(self, *reasons: Reason) -> list[Queue]:
        """Return the queues that are in their state for one of the reasons."""
        return [queue for name, queue in self.queues.items() if self.reasons.get(name) in reasons]


def changes(before: Status, after: Status) -> Iterator[str]:
    """Yield a line for each thing that a person would want to know of the change.

    >>> ocr = Queue("ocr", is_paused=False, active=1, waiting=4)
    >>> now = Status(1, queues={"ocr": ocr}, reasons={"ocr": Reason.RUNNING})
    >>> list(changes(Status(1), now))
    ['ocr runs (5 jobs).']
    """
    for name, reason in after.reasons.items():
        was = before.reasons.get(name)
        if reason != was:
            yield from _change(after.queues[name], was, reason)


def jobs(number: int) -> str:
    """Return a number of jobs in words.

    >>> jobs(1), jobs(1234)
    ('1 job', '1,234 jobs')
    """
    return f"{number:,} job" if number == 1 else f"{number:,} jobs"


def _change(queue: Queue, was: Reason | None, reason: Reason) -> Iterator[str]:
    name = queue.name
    if was is Reason.PAUSED_BY_OTHERS:
        yield f"{name} was resumed by someone else."
    if was is Reason.RUNNING and reason in {Reason.IDLE, Reason.LENT}:
        yield f"{name} is drained."
    elif reason is Reason.RUNNING:
        yield f"{name} runs ({jobs(queue.pending)})."
    elif reason is Reason.WAITING:
        yield f"{name} waits for a slot ({jobs(queue.backlog)})."
    elif reason is Reason.DRAINING:
        yield f"{name} finishes what it is at ({jobs(queue.active)}); nothing new starts in it."
    elif reason is Reason.PAUSED_BY_OTHERS:
        yield f"{name} was paused by someone else and stays so until someone resumes it."
    elif reason is Reason.PROTECTED and queue.is_paused:
        yield (
            f"{name} is paused and protected, so it is not touched. It was not paused by this "
            "daemon: resume it in Immich under Administration > Job Queues, or all paused queues "
            "with the command `release --all`."
        )
