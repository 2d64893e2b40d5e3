"""Signals sent at an exact step of a program."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def signal_at(step: int, is_last: Callable[[str, object], bool]) -> Iterator[list[int]]:
    """Send SIGTERM to this process at one step of this thread.

    A step is a call or a return: Python runs signal handlers there.

    Args:
        step: the number of the step, from 1.
        is_last: takes the event and the argument of a ``sys.setprofile`` function. At the first
            step for which it returns True the signal is sent at the latest.

    Yields:
        a list that will contain the number of the step at which the signal was sent.
    """
    steps = 0
    sent: list[int] = []

    def note(_frame: FrameType, event: str, called: object) -> None:
        nonlocal steps
        steps += 1
        if not sent and (steps == step or is_last(event, called)):
            sent.append(steps)
            signal.raise_signal(signal.SIGTERM)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield sent
    finally:
        sys.setprofile(before)
