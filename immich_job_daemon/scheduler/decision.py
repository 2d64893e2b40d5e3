"""What goes into a decision beside the snapshot, and what comes out: no rule stands in here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from immich_job_daemon.model.conflict import Interference
from immich_job_daemon.model.reason import Action, Reason
from immich_job_daemon.scheduler.state import SchedulerState


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is so around the queues at the time of a decision.

    Attributes:
        local: the time of the wall clock, with its zone; None where no window is to be kept.
        is_loaded: whether the machine has too much to do for anything to be started.
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
    """What follows from one snapshot.

    The memory is to be kept before the commands are sent. ``opens`` tells of each queue outside
    its hours when it may run again, ``contested`` of each queue that somebody else works against
    what that is. ``wake`` is the time at which a lent turn ends or falls due,
    or a window opens or closes, whatever else is expected; None if there is nothing of the kind.
    """

    commands: tuple[Command, ...]
    state: SchedulerState
    reasons: Mapping[str, Reason]
    opens_at: Mapping[str, datetime] = field(default_factory=dict)
    conflicts: Mapping[str, Interference] = field(default_factory=dict)
    wake_at: float | None = None
