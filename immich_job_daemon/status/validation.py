"""Validates a change against the current status. Pure; the page and MQTT share it.

The loop applies a change without validating it again: a change to a queue that has vanished since
then has no effect, and the scheduler never touches a protected queue.
"""

from enum import Enum, auto

from immich_job_daemon.model.controls import Change, SetLimit, SetQueue
from immich_job_daemon.model.reason import UNMANAGED
from immich_job_daemon.status.status import Status


class Rejection(Enum):
    """Why a change is rejected."""

    ABOVE_MAXIMUM = auto()
    UNKNOWN_QUEUE = auto()
    UNMANAGED_QUEUE = auto()


def validate(change: Change, status: Status) -> Rejection | None:
    """Return why the change is rejected, or None if it is valid.

    >>> validate(SetLimit(2), Status(1)), validate(SetLimit(None), Status(1))
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
