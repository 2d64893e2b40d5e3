"""The events that an engine sends to its observers."""

from enum import Enum
from typing import NamedTuple


class EventKind(Enum):
    """What happened."""

    STARTED = "started"
    COMPLETED = "completed"
    PAUSED = "paused"
    RESUMED = "resumed"
    DOWN = "down"
    UP = "up"


class Event(NamedTuple):
    """An event at ``time`` seconds on the engine's clock.

    ``queue`` is empty for events of the whole server. ``by`` names the client that paused or
    resumed the queue.
    """

    time: float
    kind: EventKind
    queue: str = ""
    by: str = ""
