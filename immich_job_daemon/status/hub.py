"""Passes the status from the loop to its readers, and the changes of users back to the loop.

Neither side waits for the other, so a slow client cannot delay the loop.
"""

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Final

from immich_job_daemon.model.controls import Change
from immich_job_daemon.status.status import Status

MAX_PENDING_CHANGES: Final = 100
"""Changes that the hub keeps for the loop: more than a user makes between two rounds."""


class StatusHub:
    """The latest status and the pending changes, for any number of threads.

    ``wake`` is called after each change, from any thread, so that the loop takes it soon.
    """

    def __init__(self, status: Status, wake: Callable[[], None] = lambda: None) -> None:
        self._status = status
        self._wake = wake
        self._changes: deque[Change] = deque()
        self._lock = Lock()

    @property
    def status(self) -> Status:
        """The latest status."""
        return self._status

    def publish(self, status: Status) -> None:
        """Replace the status."""
        self._status = status

    def submit(self, change: Change) -> bool:
        """Add a change for the loop; return False if too many are pending."""
        with self._lock:
            if len(self._changes) >= MAX_PENDING_CHANGES:
                return False
            self._changes.append(change)
        self._wake()
        return True

    def take_changes(self) -> list[Change]:
        """Remove and return the pending changes, oldest first."""
        with self._lock:
            taken = list(self._changes)
            self._changes.clear()
        return taken
