"""What the observers of an engine are told."""

from enum import Enum
from typing import NamedTuple


class EventKind(Enum):
    """What observers of an engine are told of."""

    STARTED = "started"
    COMPLETED = "completed"
    PAUSED = "paused"
    RESUMED = "resumed"
    DOWN = "down"
    UP = "up"


class Event(NamedTuple):
    """Something that happened, at ``time`` seconds; ``queue`` and ``by`` are empty where unfit."""

    time: float
    kind: EventKind
    queue: str = ""
    by: str = ""
