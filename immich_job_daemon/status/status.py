"""The published picture of now: one immutable object that readers get and never reach through.

The log is its first reader: ``changes`` tells what differs between two pictures in words.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from immich_job_daemon.forecast.estimate import Forecast, Rates
from immich_job_daemon.model.controls import Change as Control
from immich_job_daemon.model.controls import Controls, Mode, Wish, wish_of
from immich_job_daemon.model.queue import Queue, Snapshot
from immich_job_daemon.scheduler.decision import Reason
from immich_job_daemon.status.counters import Tally
from immich_job_daemon.status.history import History

SCHEDULED: Final = frozenset(Reason) - {
    Reason.PROTECTED,
    Reason.REFUSED,
    Reason.PAUSED_BY_OTHERS,
}
"""The reasons of the queues whose work the daemon lets be done."""

MAY_START: Final = (Reason.RUNNING, Reason.UNRESTRICTED, Reason.LENT)
"""The reasons of the queues that may start jobs."""

AT_WORK: Final = (Reason.RUNNING, Reason.DRAINING, Reason.UNRESTRICTED)
"""The reasons of the queues in which jobs run, if there are any."""


class State(StrEnum):
    """What the daemon is at, in a word."""

    IDLE = "idle"
    RUNNING = "running"
    UNREACHABLE = "waiting for Immich"
    HELD = "held"
    OPEN = "open"
    ATTENTION = "needs attention"


class Trouble(StrEnum):
    """What kind of problem there is: what a person can do about it depends on that."""

    SEARCHING = "searching"
    UNREACHABLE = "unreachable"
    NOT_IMMICH = "not immich"
    KEY_REJECTED = "key rejected"
    PERMISSION_MISSING = "permission missing"
    REFUSED = "refused"
    UNEXPECTED = "unexpected"
    CONTESTED = "contested"


AWAY: Final = frozenset({Trouble.SEARCHING, Trouble.UNREACHABLE, Trouble.NOT_IMMICH})
"""The troubles in which Immich does not answer at all."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong.

    Attributes:
        trouble: its kind.
        text: what happened, to what, and what to do next, in one English sentence or two.
        since: when it began, in seconds since 1970.
    """

    trouble: Trouble
    text: str
    since: float


@dataclass(frozen=True, slots=True)
class Status:
    """What the daemon knows at one moment.

    Attributes:
        limit: how many queues may run at once.
        updated: when the last look succeeded, seconds of the daemon's clock; None before.
        updated_at: the same in seconds since 1970.
        due: until when the next picture must have come, seconds of the daemon's clock: while the
            loop turns one does, whatever Immich does.
        instance: tells this daemon from any other, for ever; empty before it has looked it up.
        server: Immich's version, None before it told.
        queues: as last reported, in Immich's order.
        order: their names, the first by priority first.
        reasons: why each of them is in its state.
        opens: when those outside their hours may run again.
        is_rehearsal: whether nothing of it is sent to Immich.
        problem: what is wrong and what to do about it, None if nothing is.
        controls: what a person asks for.
        next: the queues that a person wants next.
        undo: what takes the last change of the controls back.
        rates: how fast each queue is drained.
        forecast: when everything will be done.
        history: of the last 24 hours.
        tally: what was done since the start.
    """

    limit: int
    updated: float | None = None
    updated_at: float | None = None
    due: float = 0.0
    instance: str = ""
    server: str | None = None
    queues: Snapshot = field(default_factory=dict)
    order: tuple[str, ...] = ()
    reasons: Mapping[str, Reason] = field(default_factory=dict)
    opens: Mapping[str, datetime] = field(default_factory=dict)
    is_rehearsal: bool = False
    problem: Problem | None = None
    controls: Controls = field(default_factory=Controls)
    next: frozenset[str] = frozenset()
    undo: Control | None = None
    rates: Rates = field(default_factory=Rates)
    forecast: Forecast = field(default_factory=Forecast)
    history: History = field(default_factory=History)
    tally: Tally = field(default_factory=Tally)

    @property
    def pending(self) -> int:
        """Jobs that run or wait in the queues that the daemon schedules."""
        return sum(queue.pending for queue in self.those(*SCHEDULED))

    @property
    def running(self) -> list[Queue]:
        """The queues in which jobs run by the daemon's leave, the first by priority first."""
        return [
            self.queues[name]
            for name in self.order
            if self.reasons.get(name) in AT_WORK and self.queues[name].pending
        ]

    @property
    def managed(self) -> list[str]:
        """The names of the queues that the daemon schedules, the first by priority first."""
        alone = (Reason.PROTECTED, Reason.REFUSED)
        return [name for name in self.order if self.reasons.get(name) not in alone]

    @property
    def state(self) -> State:
        """What the daemon is at; what needs a person comes first."""
        if self.problem is not None:
            away = self.problem.trouble in AWAY
            return State.UNREACHABLE if away else State.ATTENTION
        if self.updated is None:
            return State.UNREACHABLE
        if self.controls.mode is Mode.HELD:
            return State.HELD
        if self.controls.mode is Mode.OPEN:
            return State.OPEN
        return State.RUNNING if self.running else State.IDLE

    def wish(self, name: str) -> Wish:
        """Return what a person wants of one queue."""
        return wish_of(name, self.controls, self.next)

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
        if reason is Reason.CLOSED and name in after.opens:
            again = f"{after.opens[name]:%a %H:%M}"
            yield Change(f"{name} is outside its hours until {again}.", is_detail=True)
    yield from _loaded(before, after)
    if before.pending and after.queues and not after.pending:
        yield Change("Nothing is left to do.")


def jobs(number: int) -> str:
    """Return a number of jobs in words.

    >>> jobs(1), jobs(1234)
    ('1 job', '1,234 jobs')
    """
    return f"{number:,} job" if number == 1 else f"{number:,} jobs"


def _loaded(before: Status, after: Status) -> Iterator[Change]:
    was, is_now = (Reason.LOADED in status.reasons.values() for status in (before, after))
    if is_now and not was:
        yield Change("The machine has more to do than PAUSE_ABOVE_LOAD says: nothing new starts.")
    elif was and not is_now:
        yield Change("The machine has time again.")


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
