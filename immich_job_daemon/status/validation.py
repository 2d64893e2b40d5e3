"""Whether a change can be made now. Pure: one check for the page, MQTT and whatever comes after.

What is asked of the loop is checked once more by nobody: a queue that vanishes in between has no
effect, and the scheduler never touches a protected one.
"""

from enum import Enum, auto
from typing import Final

from immich_job_daemon.model.controls import Change, SetLimit, SetQueue
from immich_job_daemon.scheduler.decision import Reason
from immich_job_daemon.status.status import Status

ALONE: Final = frozenset({Reason.PROTECTED, Reason.REFUSED})
"""The reasons of the queues that the daemon leaves alone."""


class Objection(Enum):
    """Why a change cannot be made."""

    MORE_THAN_ALL = auto()
    NO_SUCH_QUEUE = auto()
    LEFT_ALONE = auto()


def objection(change: Change, status: Status) -> Objection | None:
    """Return why a change cannot be made as things stand; None if it can.

    >>> objection(SetLimit(2), Status(1)), objection(SetLimit(None), Status(1))
    (None, None)
    """
    match change:
        case SetLimit(int(limit)) if status.managed and limit > len(status.managed):
            return Objection.MORE_THAN_ALL
        case SetQueue(name) if name not in status.queues:
            return Objection.NO_SUCH_QUEUE
        case SetQueue(name) if status.reasons.get(name) in ALONE:
            return Objection.LEFT_ALONE
    return None
