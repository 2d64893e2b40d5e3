"""A worker thread for blocking calls; a caller can abandon a call.

An exception raised by a signal handler can fall between any two lines of a library, for example
after a lock was taken and before the library noted that. The lock would stay taken for ever. So a
running request is never interrupted: its caller stops waiting, and the request ends by itself and
sends nothing more.
"""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import TypeVar

_T = TypeVar("_T")


def is_call_awaited() -> bool:
    """Return whether a caller still waits for the call that this thread runs.

    Check this before sending: an abandoned request must not go out. Always true outside of worker
    threads.
    """
    thread = current_thread()
    return not isinstance(thread, Worker) or not thread.is_abandoned


class Worker(Thread):
    """A thread that runs calls one after the other, and ``on_done`` after each of them.

    Once it is abandoned, no caller waits any more, neither for the running call nor a later one.
    """

    def __init__(self, on_done: Callable[[], None] = lambda: None) -> None:
        # A daemon thread, so that an abandoned call cannot keep the process alive.
        super().__init__(name="worker", daemon=True)
        self.is_abandoned = False
        self._on_done = on_done
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit(self, work: Callable[[], _T]) -> Future[_T]:
        """Schedule a call and return the future with its result or exception."""
        future: Future[_T] = Future()

        def call() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                future.set_exception(error)

        self._calls.put(call)
        return future

    def abandon(self) -> None:
        """Stop waiting: from now on the running call and later ones must not send anything."""
        self.is_abandoned = True

    def shut_down(self) -> None:
        """End the thread after the calls submitted so far."""
        self._calls.put(None)

    def run(self) -> None:
        """Run calls until the worker is shut down."""
        while (call := self._calls.get()) is not None:
            call()
            # Release the result before waiting for the next call.
            del call
            self._on_done()
