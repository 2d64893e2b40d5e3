"""Whether a change can be made now. Pure: one check for the page, MQTT and whatever comes after.

What is asked of the loop is checked once more by nobody: a queue that vanishes in between has no
effect, and the scheduler never touches a protected one.
"""

from enum import Enum, auto

from immich_job_daemon.model.controls import Change, SetLimit, SetQueue
from immich_job_daemon.model.reason import UNMANAGED
from immich_job_daemon.status.status import Status


class Rejection(Enum):
    """Why a change cannot be made."""

    ABOVE_MAXIMUM = auto()
    UNKNOWN_QUEUE = auto()
    UNMANAGED_QUEUE = auto()


def rejection(change: Change, status: Status) -> Rejection | None:
    """Return why a change cannot be made as things stand; None if it can.

    >>> objection(SetLimit(2), Status(1)), objection(SetLimit(None), Status(1))
    (None, None)
    """
    match change:
        case SetLimit(int(limit)) if status.managed and limit > len(status.managed):
            return Rejection.ABOVE_MAXIMUM
        case SetQueue(name) if name not in status.queues:
            return Rejection.UNKNOWN_QUEUE
        case SetQueue(name) if status.reasons.get(name) in UNMANAGED:
            return Rejection.UNMANAGED_QUEUE
    return None
