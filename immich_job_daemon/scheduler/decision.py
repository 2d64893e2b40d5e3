"""What goes into a decision beside the snapshot, and what comes out: no rule stands in here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from immich_job_daemon.model.conflict import Doing
from immich_job_daemon.model.scan import Scan
from immich_job_daemon.model.windows import Window
from immich_job_daemon.scheduler.state import Memory


class Limits(Protocol):
    """The settings that the scheduler needs."""

    @property
    def max_concurrent_jobs(self) -> int:
        """How many managed queues may occupy a slot."""
        ...

    @property
    def queue_priority(self) -> tuple[str, ...]:
        """The names of the queues that come first, best first."""
        ...

    @property
    def protected_queues(self) -> frozenset[str]:
        """The names of the queues that are never touched."""
        ...

    @property
    def unrestricted_below(self) -> int:
        """The number of pending jobs below which there is no limit; 0: there always is one."""
        ...

    @property
    def exclusive(self) -> tuple[frozenset[str], ...]:
        """Groups of queues of which only one runs at a time."""
        ...

    @property
    def schedule(self) -> tuple[Window, ...]:
        """The windows in which the queues that they name run, and not outside of them."""
        ...

    @property
    def scan(self) -> Scan | None:
        """When Immich is asked to look for what is missing; None: never."""
        ...

    @property
    def yield_after(self) -> float | None:
        """Seconds after which a queue lets one of higher priority go first; None: it does not."""
        ...

    @property
    def max_wait(self) -> float | None:
        """Seconds within which every queue with work has its turn; None: as long as it takes."""
        ...


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is so around the queues at the time of a decision.

    Attributes:
        local: the time of the wall clock, with its zone; None where no window is to be kept.
        is_loaded: whether the machine has too much to do for anything to be started.
    """

    local: datetime | None = None
    is_loaded: bool = False


class Action(StrEnum):
    """What can be asked of Immich for a queue."""

    PAUSE = "pause"
    RESUME = "resume"
    START = "start"


class Reason(StrEnum):
    """Why a queue is in the state it is in."""

    RUNNING = "running"
    DRAINING = "draining"
    WAITING = "waiting for a slot"
    IDLE = "idle"
    LENT = "open in its turn"
    UNRESTRICTED = "unrestricted"
    HELD = "held by a person"
    CLOSED = "outside its hours"
    LOADED = "the machine is busy"
    PAUSED_BY_OTHERS = "paused by someone else"
    REFUSED = "cannot be paused"
    PROTECTED = "protected"


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
    memory: Memory
    reasons: Mapping[str, Reason]
    opens: Mapping[str, datetime] = field(default_factory=dict)
    contested: Mapping[str, Doing] = field(default_factory=dict)
    wake: float | None = None
