"""The published status: an immutable object that the log, the API, the page and MQTT read."""

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
    """What the daemon is doing. The values appear in JSON and MQTT, so they are stable."""

    IDLE = "idle"
    RUNNING = "running"
    UNREACHABLE = "waiting for Immich"
    HELD = "held"
    OPEN = "open"
    ATTENTION = "needs attention"


class ProblemKind(StrEnum):
    """The kind of a problem. It decides what the page advises a user to do.

    The values appear in MQTT, and as labels of the metrics.
    """

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
"""Problems while Immich does not respond at all."""

WITHOUT_POLL: Final = UNREACHABLE | {ProblemKind.KEY_REJECTED, ProblemKind.PERMISSION_MISSING}
"""Problems while no poll succeeds."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem that keeps the daemon from its work.

    Attributes:
        text: what happened, to what, and what to do next, in one or two English sentences.
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
        polled_at: when the last poll succeeded, in seconds of the daemon's clock; None before the
            first.
        polled_at_unix: the same moment in seconds since 1970.
        next_due: when the next status is due at the latest, in seconds of the daemon's clock. The
            loop publishes in time whatever Immich does, so a later time means that it is stuck.
        instance: identifies this daemon, across restarts; empty before it is loaded.
        immich_version: None before the first connection.
        queues: every queue as last reported, in Immich's order.
        order: the names of the queues by priority.
        opens_at: when each queue that is outside its window may run again.
        is_dry_run: whether no command is sent to Immich.
        wanted: the queues that users want to run next.
        undo: the change that would undo the last one.
    """

    limit: int
    polled_at: float | None = None
    polled_at_unix: float | None = None
    next_due: float = 0.0
    instance: str = ""
    immich_version: str | None = None
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
        """Jobs that run or are ready to, in the queues that the daemon schedules."""
        return sum(queue.pending for queue in self.with_reasons(*SCHEDULED))

    @property
    def running(self) -> list[Queue]:
        """The queues that occupy a slot and have jobs, by priority."""
        return [
            self.queues[name]
            for name in self.order
            if self.reasons.get(name) in WORKING and self.queues[name].pending
        ]

    @property
    def managed(self) -> list[str]:
        """The names of the queues that the daemon may pause and resume, by priority."""
        return [name for name in self.order if self.reasons.get(name) not in UNMANAGED]

    @property
    def state(self) -> OverallState:
        """What the daemon is doing; a problem takes precedence."""
        if self.problem is not None:
            is_unreachable = self.problem.kind in UNREACHABLE
            return OverallState.UNREACHABLE if is_unreachable else OverallState.ATTENTION
        if self.polled_at is None:
            return OverallState.UNREACHABLE
        if self.controls.mode is Mode.HELD:
            return OverallState.HELD
        if self.controls.mode is Mode.OPEN:
            return OverallState.OPEN
        return OverallState.RUNNING if self.running else OverallState.IDLE

    def override(self, name: str) -> Override:
        """Return the user's choice for one queue."""
        return override_of(name, self.controls, self.wanted)

    def with_reasons(self, *reasons: Reason) -> list[Queue]:
        """Return the queues that have one of these reasons, in Immich's order."""
        return [queue for name, queue in self.queues.items() if self.reasons.get(name) in reasons]

    def is_stale(self, now: float) -> bool:
        """Whether the counts are out of date at ``now``, in seconds of the daemon's clock."""
        if self.polled_at is None or now > self.next_due:
            return True
        problem = self.problem
        if problem is None or self.polled_at_unix is None:
            return False
        # Any other problem may concern a single command. Polls that succeeded since then are valid.
        return problem.kind in WITHOUT_POLL or problem.since > self.polled_at_unix
