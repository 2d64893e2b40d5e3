"""Where the loop and its readers meet: the published picture one way, wishes the other.

Neither ever waits for the other. The loop leaves each new picture and takes what was wished for
since; a reader takes the latest picture and leaves a wish, which wakes the loop.
"""

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Final

from immich_job_daemon.model.controls import Change
from immich_job_daemon.status.status import Status

MAX_PENDING_CHANGES: Final = 100
"""Wishes that wait for the loop at most: more than any person makes between two rounds."""


class StatusHub:
    """The picture of now, for any number of threads.

    Args:
        status: the first picture.
        wake: makes the loop look at its wishes soon; may be called from any thread.
    """

    def __init__(self, status: Status, wake: Callable[[], None] = lambda: None) -> None:
        self._status = status
        self._wake = wake
        self._wishes: deque[Change] = deque()
        self._lock = Lock()

    @property
    def status(self) -> Status:
        """The latest picture."""
        return self._status

    def publish(self, status: Status) -> None:
        """Show a new picture to everybody."""
        self._status = status

    def submit(self, change: Change) -> bool:
        """Leave a wish for the loop; return whether there was room for it."""
        with self._lock:
            if len(self._wishes) >= MAX_PENDING_CHANGES:
                return False
            self._wishes.append(change)
        self._wake()
        return True

    def take_changes(self) -> list[Change]:
        """Return the wishes since the last time, the oldest first."""
        with self._lock:
            taken = list(self._wishes)
            self._wishes.clear()
        return taken
