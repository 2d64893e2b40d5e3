"""Errands: work that a thread of its own does, so that who asked for it can walk away from it.

An exception out of a signal's handler could fall into any line of a library: between taking a lock
and noting that it is taken, for instance, which leaves it taken for ever. So nothing is torn out
of a request. Who waits for it stops waiting, and the request is left to its end, sending nothing.
"""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import TypeVar

_T = TypeVar("_T")


def is_call_awaited() -> bool:
    """Return whether somebody still waits for what this thread does.

    Who is about to send something asks, for what nobody waits for must not happen any more. In a
    thread that runs no errands the answer is yes.
    """
    thread = current_thread()
    return not isinstance(thread, Worker) or not thread.is_abandoned


class Worker(Thread):
    """A thread that runs one errand after the other.

    Args:
        done: called in that thread after each errand.

    Attributes:
        is_left: who asked has walked away; for good, and from whatever is under way.
    """

    def __init__(self, done: Callable[[], None] = lambda: None) -> None:
        # Daemonic: what nobody waits for must not keep the process alive.
        super().__init__(name="errands", daemon=True)
        self.is_abandoned = False
        self._done = done
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit(self, errand: Callable[[], _T]) -> Future[_T]:
        """Ask for an errand; return where its result or its exception will be."""
        future: Future[_T] = Future()

        def run() -> None:
            try:
                future.set_result(errand())
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the asker's
                future.set_exception(error)

        self._asked.put(run)
        return future

    def abandon(self) -> None:
        """Wait for nothing any more: an errand under way sends nothing from now on."""
        self.is_abandoned = True

    def shut_down(self) -> None:
        """End the thread, after the errand that is under way."""
        self._asked.put(None)

    def run(self) -> None:
        """Run errands until the end."""
        while (run := self._asked.get()) is not None:
            run()
            # What an errand returned is not kept until the next one.
            del run
            self._done()
