"""What goes into a decision beside the snapshot, and what comes out: no rule stands in here."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from immich_job_daemon.memory import Memory


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


class Action(StrEnum):
    """What can be asked of Immich for a queue."""

    PAUSE = "pause"
    RESUME = "resume"


class Reason(StrEnum):
    """Why a queue is in the state it is in."""

    RUNNING = "running"
    DRAINING = "draining"
    WAITING = "waiting for a slot"
    IDLE = "idle"
    LENT = "open in its turn"
    UNRESTRICTED = "unrestricted"
    HELD = "held by a person"
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

    The memory is to be kept before the commands are sent. ``wake`` is the time at which a lent
    turn ends or one falls due, whatever else is expected; None if there is nothing of the kind.
    """

    commands: tuple[Command, ...]
    memory: Memory
    reasons: Mapping[str, Reason]
    wake: float | None = None
