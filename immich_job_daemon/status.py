"""The published picture of now: one immutable object that readers get and never reach through.

The log is its first reader: ``changes`` tells what differs between two pictures in words.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from immich_job_daemon.decision import Reason
from immich_job_daemon.queues import Queue, Snapshot

SCHEDULED: Final = frozenset(Reason) - {
    Reason.PROTECTED,
    Reason.REFUSED,
    Reason.PAUSED_BY_OTHERS,
}
"""The reasons of the queues whose work the daemon lets be done."""


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

    @property
    def pending(self) -> int:
        """Jobs that run or wait in the queues that the daemon schedules."""
        return sum(queue.pending for queue in self.those(*SCHEDULED))

    def those(self, *reasons: Reason) -> list[Queue]:
        """Return the queues that are in their state for one of the reasons."""
        return [queue for name, queue in self.queues.items() if self.reasons.get(name) in reasons]


class Change(NamedTuple):
    """One thing that differs between two pictures; ``is_detail``: only some want to know."""

    text: str
    is_detail: bool = False


def changes(before: Status, after: Status) -> Iterator[Change]:
    """Yield what differs, a line each: what ended first, then what began.

    >>> ocr = Queue("ocr", is_paused=False, active=1, waiting=4)
    >>> now = Status(1, queues={"ocr": ocr}, reasons={"ocr": Reason.RUNNING})
    >>> [change.text for change in changes(Status(1), now)]
    ['ocr runs (5 jobs).']
    """
    changed = {
        name: reason
        for name, reason in after.reasons.items()
        if before.reasons.get(name) is not reason
    }
    for name, reason in changed.items():
        if before.reasons.get(name) is Reason.RUNNING and reason in {Reason.IDLE, Reason.LENT}:
            yield Change(f"{name} is drained.", is_detail=True)
    for name, reason in changed.items():
        yield from _begun(after.queues[name], before.reasons.get(name), reason)
    if before.pending and after.queues and not after.pending:
        yield Change("Nothing is left to do.")


def jobs(number: int) -> str:
    """Return a number of jobs in words.

    >>> jobs(1), jobs(1234)
    ('1 job', '1,234 jobs')
    """
    return f"{number:,} job" if number == 1 else f"{number:,} jobs"


def _begun(queue: Queue, was: Reason | None, reason: Reason) -> Iterator[Change]:
    name = queue.name
    if was is Reason.PAUSED_BY_OTHERS:
        yield Change(f"{name} was resumed by someone else.")
    if reason is Reason.RUNNING:
        yield Change(f"{name} runs ({jobs(queue.pending)}).")
    elif reason is Reason.WAITING:
        yield Change(f"{name} waits for a slot ({jobs(queue.backlog)}).", is_detail=True)
    elif reason is Reason.DRAINING:
        yield Change(
            f"{name} finishes what it is at ({jobs(queue.active)}); nothing new starts in it."
        )
    elif reason is Reason.PAUSED_BY_OTHERS:
        yield Change(f"{name} was paused by someone else and stays so until someone resumes it.")
    elif reason is Reason.PROTECTED and queue.is_paused:
        yield Change(
            f"{name} is paused and protected, so it is not touched. It was not paused by this "
            "daemon: resume it in Immich under Administration > Job Queues, or all paused queues "
            "with the command `release --all`."
        )
