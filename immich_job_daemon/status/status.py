"""The published picture of now: one immutable object that readers get and never reach through.

The log is its first reader: ``changes`` tells what differs between two pictures in words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from immich_job_daemon.forecast.estimate import Forecast
from immich_job_daemon.forecast.rates import Rates
from immich_job_daemon.model.controls import Change, Controls, Mode, Override, override_of
from immich_job_daemon.model.queue import Queue, Snapshot
from immich_job_daemon.model.reason import SCHEDULED, UNMANAGED, WORKING, Reason
from immich_job_daemon.status.counters import Counters
from immich_job_daemon.status.history import History


class OverallState(StrEnum):
    """What the daemon is at, in a word."""

    IDLE = "idle"
    RUNNING = "running"
    UNREACHABLE = "waiting for Immich"
    HELD = "held"
    OPEN = "open"
    ATTENTION = "needs attention"


class ProblemKind(StrEnum):
    """What kind of problem there is: what a person can do about it depends on that."""

    SEARCHING = "searching"
    UNREACHABLE = "unreachable"
    NOT_IMMICH = "not immich"
    KEY_REJECTED = "key rejected"
    PERMISSION_MISSING = "permission missing"
    REFUSED = "refused"
    UNEXPECTED = "unexpected"
    CONTESTED = "contested"


UNREACHABLE: Final = frozenset(
    {ProblemKind.SEARCHING, ProblemKind.UNREACHABLE, ProblemKind.NOT_IMMICH}
)
"""Problems in which Immich does not answer at all."""

WITHOUT_POLL: Final = UNREACHABLE | {ProblemKind.KEY_REJECTED, ProblemKind.PERMISSION_MISSING}
"""Problems in which no poll succeeds."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong.

    Attributes:
        kind: what kind of problem it is.
        text: what happened, to what, and what to do next, in one English sentence or two.
        since: when it began, in seconds since 1970.
    """

    kind: ProblemKind
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
        opens_at: when those outside their hours may run again.
        is_rehearsal: whether nothing of it is sent to Immich.
        problem: what is wrong and what to do about it, None if nothing is.
        controls: what a person asks for.
        wanted: the queues that a person wants next.
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
    opens_at: Mapping[str, datetime] = field(default_factory=dict)
    is_dry_run: bool = False
    problem: Problem | None = None
    controls: Controls = field(default_factory=Controls)
    wanted: frozenset[str] = frozenset()
    undo: Change | None = None
    rates: Rates = field(default_factory=Rates)
    forecast: Forecast = field(default_factory=Forecast)
    history: History = field(default_factory=History)
    counters: Counters = field(default_factory=Counters)

    @property
    def pending(self) -> int:
        """Jobs that run or wait in the queues that the daemon schedules."""
        return sum(queue.pending for queue in self.with_reasons(*SCHEDULED))

    @property
    def running(self) -> list[Queue]:
        """The queues in which jobs run by the daemon's leave, the first by priority first."""
        return [
            self.queues[name]
            for name in self.order
            if self.reasons.get(name) in WORKING and self.queues[name].pending
        ]

    @property
    def managed(self) -> list[str]:
        """The names of the queues that the daemon schedules, the first by priority first."""
        return [name for name in self.order if self.reasons.get(name) not in UNMANAGED]

    @property
    def state(self) -> OverallState:
        """What the daemon is at; what needs a person comes first."""
        if self.problem is not None:
            away = self.problem.kind in UNREACHABLE
            return OverallState.UNREACHABLE if away else OverallState.ATTENTION
        if self.updated is None:
            return OverallState.UNREACHABLE
        if self.controls.mode is Mode.HELD:
            return OverallState.HELD
        if self.controls.mode is Mode.OPEN:
            return OverallState.OPEN
        return OverallState.RUNNING if self.running else OverallState.IDLE

    def override(self, name: str) -> Override:
        """Return what a person wants of one queue."""
        return override_of(name, self.controls, self.wanted)

    def with_reasons(self, *reasons: Reason) -> list[Queue]:
        """Return the queues that are in their state for one of the reasons."""
        return [queue for name, queue in self.queues.items() if self.reasons.get(name) in reasons]

    def is_stale(self, now: float) -> bool:
        """Whether the counts are older than they should be.

        Args:
            now: seconds of the daemon's clock.
        """
        if self.updated is None or now > self.due:
            return True
        problem = self.problem
        if problem is None or self.updated_at is None:
            return False
        # Any other problem may concern one command only: it began after the last good poll, or not.
        return problem.kind in WITHOUT_POLL or problem.since > self.updated_at
