"""What a decision depends on besides the snapshot and the state, and what it returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from immich_job_daemon.model.conflict import Interference
from immich_job_daemon.model.reason import Action, Reason
from immich_job_daemon.scheduler.state import SchedulerState


@dataclass(frozen=True, slots=True)
class Conditions:
    """External conditions at decision time.

    Attributes:
        local: the local time with its zone; None if no setting needs it.
        is_loaded: whether the load of the machine is too high to start anything.
    """

    local: datetime | None = None
    is_loaded: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One request to Immich."""

    action: Action
    queue: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of ``decide``.

    Attributes:
        commands: to be sent in this order.
        state: to be saved before the commands are sent.
        reasons: why each queue is in its state.
        opens_at: when each queue outside its windows may run again.
        conflicts: the queues that something else works against, and what it does.
        wake_at: when a lent slot expires or falls due, or a window opens or closes, on the clock of
            ``now``; None if there is no such time.
    """

    commands: tuple[Command, ...]
    state: SchedulerState
    reasons: Mapping[str, Reason]
    opens_at: Mapping[str, datetime] = field(default_factory=dict)
    conflicts: Mapping[str, Interference] = field(default_factory=dict)
    wake_at: float | None = None
