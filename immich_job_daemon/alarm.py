"""Waiting that can be cut short: by a wish, and by SIGTERM and SIGINT, in a request as well."""

import contextlib
import select
import signal
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from types import FrameType
from typing import Final, Protocol, Self

from immich_job_daemon.zone import local_zone

MOST_HEARD: Final = 4096
"""Bytes that are taken off the line at once: each stands for a wish or a signal."""


class StopRequested(BaseException):
    """Somebody asked the daemon to stop."""


class Clock(Protocol):
    """The time, as the loop sees it."""

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes back."""
        ...

    def time(self) -> float:
        """Return the seconds since 1970, for people; it may be set back or forward."""
        ...

    def local(self) -> datetime:
        """Return the time of the wall clock, with this system's zone."""
        ...

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, or earlier if somebody wishes for something.

        Raises:
            StopRequested: somebody asked for it, before or meanwhile.
        """
        ...

    def interruptible(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which a request to stop raises StopRequested at once."""
        ...


class Alarm:
    """The real clock. As a context manager it turns SIGTERM and SIGINT into StopRequested.

    The exception is raised only inside ``wait`` and ``interruptible``, where nothing can be left
    half done: not while the ledger is written.
    """

    def __init__(self) -> None:
        self._zone = local_zone()
        self._is_asked = False
        self._is_interruptible = False
        self._before: dict[signal.Signals, signal.Handlers | int | object] = {}
        self._ears: list[socket.socket] = []
        self._wakeup_before = -1

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._ask)
        # A signal in the very moment before the wait begins must end it as well: it leaves a byte.
        ear, self._mouth = socket.socketpair()
        self._ears = [ear]
        self._mouth.settimeout(0)
        self._wakeup_before = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        self._mouth.close()
        while self._ears:
            self._ears.pop().close()
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what signal() gave us

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._is_asked = True
        if self._is_interruptible:
            # Once is enough: a second signal must not tear the release apart.
            self._is_interruptible = False
            raise StopRequested

    def monotonic(self) -> float:
        """Return the seconds of the system's monotonic clock."""
        return time.monotonic()

    def time(self) -> float:
        """Return the seconds since 1970."""
        return time.time()

    def local(self) -> datetime:
        """Return the time of the wall clock, in the zone of TZ or else of the system."""
        return datetime.fromtimestamp(self.time(), self._zone)

    def wait(self, seconds: float) -> None:
        """Return after so many seconds or a ``wake``, or raise StopRequested."""
        with self.interruptible():
            heard, _, _ = select.select(self._ears, [], [], max(0.0, seconds))
            for ear in heard:
                ear.recv(MOST_HEARD)

    def wake(self) -> None:
        """End the wait that is under way, or else the next one. Any thread may call this."""
        # A full line wakes as well, and one that is closed has nobody left to wake.
        with contextlib.suppress(OSError):
            self._mouth.send(b"\0")

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a request to stop raise StopRequested at once."""
        self._is_interruptible = True
        try:
            if self._is_asked:
                raise StopRequested
            yield
        finally:
            self._is_interruptible = False
