"""Signals that fall between two certain steps of a program."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def signal_at(moment: int, is_last: Callable[[str, object], bool]) -> Iterator[list[int]]:
    """Send SIGTERM between two steps of this thread.

    The steps are calls and returns, and Python hands signals over just there.

    Args:
        moment: the number of the step, from 1.
        is_last: told each step's event and what is called, as ``sys.setprofile`` knows them; at
            the first one for which it says so the signal is sent in any case.

    Yields:
        What will hold the number of the step at which it was sent.
    """
    steps = 0
    sent: list[int] = []

    def note(_frame: FrameType, event: str, called: object) -> None:
        nonlocal steps
        steps += 1
        if not sent and (steps == moment or is_last(event, called)):
            sent.append(steps)
            signal.raise_signal(signal.SIGTERM)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield sent
    finally:
        sys.setprofile(before)
