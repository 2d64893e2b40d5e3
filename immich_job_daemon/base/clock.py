"""The clock: time, waits and blocking calls that SIGTERM and SIGINT interrupt, the time zone."""

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
from typing import Protocol, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil import tz

from immich_job_daemon.base.worker import Worker

_T = TypeVar("_T")


class StopRequested(BaseException):
    """A signal asked the daemon to stop."""


class Clock(Protocol):
    """The time, as the loop sees it."""

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes backwards."""

    def time(self) -> float:
        """Return the seconds since 1970. This clock may be set forward or back."""

    def local(self) -> datetime:
        """Return the local time with the system's time zone."""

    def wait(self, seconds: float) -> None:
        """Wait, but return early if the clock is woken.

        Raises:
            StopRequested: the daemon was asked to stop, before or during the wait.
        """

    def run_interruptibly(self, work: Callable[[], _T], *, grace: float = 0.0) -> _T:
        """Run a blocking call, such as a request, in another thread and return its result.

        After a stop was requested, the call gets ``grace`` seconds to finish.

        Raises:
            StopRequested: the daemon was asked to stop, before or during the call. The call may go
                on for a while, but it sends nothing more.
            Exception: any exception of the call.
        """


class SystemClock:
    """The real clock. As a context manager it turns SIGTERM and SIGINT into StopRequested.

    A signal handler raises nothing: it sets a flag, and ``wait`` and ``run_interruptibly`` raise
    StopRequested when they see it. An exception out of the handler could fall between any two lines
    of a library, and did: one left the lock of urllib3's connection pool taken, and the daemon
    waited for it for ever. So requests run in a worker thread, and the waiting thread can leave.
    """

    def __init__(self) -> None:
        self._zone = local_zone()
        self._is_stopping = False
        self._is_woken = False
        self._old_handlers: dict[signal.Signals, signal.Handlers | int | object] = {}
        self._readers: list[socket.socket] = []
        self._old_wakeup_fd = -1

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._old_handlers[number] = signal.signal(number, self._request_stop)
        # A self-pipe: a signal that arrives just before select() begins must end it too, so each
        # signal writes a byte.
        wakeup_reader, self._wakeup_writer = socket.socketpair()
        self._readers = [wakeup_reader]
        self._wakeup_writer.settimeout(0)
        self._old_wakeup_fd = signal.set_wakeup_fd(
            self._wakeup_writer.fileno(), warn_on_full_buffer=False
        )
        self._worker = Worker(self._notify)
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.shut_down()
        signal.set_wakeup_fd(self._old_wakeup_fd)
        self._wakeup_writer.close()
        self._readers.pop().close()
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what signal() returned

    def _request_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def monotonic(self) -> float:
        """Return the seconds of the system's monotonic clock."""
        return time.monotonic()

    def time(self) -> float:
        """Return the seconds since 1970."""
        return time.time()

    def local(self) -> datetime:
        """Return the local time in the zone of TZ, or of the system if TZ is not set."""
        return datetime.fromtimestamp(self.time(), self._zone)

    def wait(self, seconds: float) -> None:
        """Wait until the time is over or ``wake`` is called, or raise StopRequested."""
        until = self.monotonic() + seconds
        self._raise_if_stopping()
        while not self._is_woken and (left := until - self.monotonic()) > 0:
            self._wait_for_wakeup(left)
            self._raise_if_stopping()
        self._is_woken = False

    def wake(self) -> None:
        """End the current wait, or the next one if there is none. Any thread may call this."""
        self._is_woken = True
        self._notify()

    def run_interruptibly(self, work: Callable[[], _T], *, grace: float = 0.0) -> _T:
        """Run a blocking call in the worker; see `Clock.run_interruptibly`."""
        self._raise_if_stopping()
        future = self._worker.submit(work)
        try:
            while not (future.done() or self._is_stopping):
                self._wait_for_wakeup(None)
            wait([future], grace)
            # A finished call counts, even if a stop was requested meanwhile.
            if future.done():
                return future.result()
            self._worker.abandon()
            raise StopRequested
        finally:
            # The traceback of an exception refers to this frame, and the future to the exception.
            del future

    def _raise_if_stopping(self) -> None:
        if self._is_stopping:
            raise StopRequested

    def _wait_for_wakeup(self, seconds: float | None) -> None:
        """Return after a signal, a wake or a result, or after so many seconds."""
        readable, _, _ = select.select(self._readers, [], [], seconds)
        for reader in readable:
            reader.recv(4096)  # Each byte stands for a signal, a wake or a result.

    def _notify(self) -> None:
        """Wake the thread that waits."""
        # A full socket wakes it as well, and with a closed one no thread waits any more.
        with contextlib.suppress(OSError):
            self._wakeup_writer.send(b"\0")


def local_zone(environment: Mapping[str, str] = os.environ) -> tzinfo:
    """Return the local time zone, with its DST changes.

    >>> str(local_zone({"TZ": "Europe/Berlin"}))
    'Europe/Berlin'
    """
    name = environment.get("TZ", "").removeprefix(":")
    if not name:
        return tz.tzlocal()
    with contextlib.suppress(ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(name)
    # A POSIX rule such as CET-1CEST, or the path of a zone file.
    with contextlib.suppress(ValueError, OSError):
        return tz.gettz(name) or tz.tzlocal()
    # The C library also ignores a name it cannot use.
    return tz.tzlocal()
