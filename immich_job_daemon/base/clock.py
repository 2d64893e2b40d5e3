"""Waiting that can be cut short: by a wish, and by SIGTERM and SIGINT, for an answer as well."""

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import wait
from datetime import datetime, tzinfo
from types import FrameType
from typing import Final, Protocol, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil import tz

from immich_job_daemon.base.worker import Worker

MOST_HEARD: Final = 4096
"""Bytes that are taken off the line at once: each stands for a wish, a signal or an answer."""

_T = TypeVar("_T")


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

    def run_interruptibly(self, work: Callable[[], _T], *, grace: float = 0.0) -> _T:
        """Do what may take long, a request for instance; return what it returns.

        Args:
            work: is done in another thread.
            grace: seconds that it gets to end in after somebody has asked to stop.

        Raises:
            StopRequested: somebody asked for it, before or meanwhile. The work may go on for a
                while by itself, but it sends nothing more.
            Exception: whatever the work raises.
        """
        ...


class SystemClock:
    """The real clock. As a context manager it turns SIGTERM and SIGINT into StopRequested.

    A signal only leaves a mark. The exception is raised by ``wait`` and ``interruptibly`` when
    they see it: so nothing is ever left half done, neither the ledger nor a library's locks.
    """

    def __init__(self) -> None:
        self._zone = local_zone()
        self._is_asked = False
        self._is_wished = False
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
        self._errands = Worker(self._ring)
        self._errands.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._errands.shut_down()
        signal.set_wakeup_fd(self._wakeup_before)
        self._mouth.close()
        while self._ears:
            self._ears.pop().close()
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what signal() gave us

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._is_asked = True

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
        until = self.monotonic() + seconds
        self._heed()
        while not self._is_wished and (left := until - self.monotonic()) > 0:
            self._listen(left)
            self._heed()
        self._is_wished = False

    def wake(self) -> None:
        """End the wait that is under way, or else the next one. Any thread may call this."""
        self._is_wished = True
        self._ring()

    def run_interruptibly(self, work: Callable[[], _T], *, grace: float = 0.0) -> _T:
        """Return what the work returns, or raise what it raises, or else StopRequested."""
        self._heed()
        answer = self._errands.submit(work)
        try:
            while not (answer.done() or self._is_asked):
                self._listen(None)
            wait([answer], grace)
            # An answer that is there counts, also if somebody has asked to stop meanwhile.
            if answer.done():
                return answer.result()
            self._errands.abandon()
            raise StopRequested
        finally:
            # An exception knows this frame: it must not know the exception.
            del answer

    def _heed(self) -> None:
        """Raise StopRequested if somebody has asked for it."""
        if self._is_asked:
            raise StopRequested

    def _listen(self, seconds: float | None) -> None:
        """Return when something is to be looked at, or after so many seconds."""
        heard, _, _ = select.select(self._ears, [], [], seconds)
        for ear in heard:
            ear.recv(MOST_HEARD)

    def _ring(self) -> None:
        """Let whoever listens look around."""
        # A full line wakes as well, and one that is closed has nobody left to wake.
        with contextlib.suppress(OSError):
            self._mouth.send(b"\0")


def local_zone(environment: Mapping[str, str] = os.environ) -> tzinfo:
    """Return the zone, with all its changes of the clock.

    >>> str(local_zone({"TZ": "Europe/Berlin"}))
    'Europe/Berlin'
    """
    name = environment.get("TZ", "").removeprefix(":")
    try:
        return ZoneInfo(name) if name else tz.tzlocal()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return _without_a_table(name)


def _without_a_table(name: str) -> tzinfo:
    """Return a zone such as CET-1CEST, which the C library knows, or that of a file."""
    try:
        return tz.gettz(name) or tz.tzlocal()
    except (ValueError, OSError):
        # As the C library does with a name that is none.
        return tz.tzlocal()
