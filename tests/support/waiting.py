"""Polling for a condition, with a timeout."""

import time
from collections.abc import Callable
from typing import Final

TIMEOUT: Final = 180.0
"""Seconds after which a test gives up. Generous, so that a slow machine does not fail a test."""


def wait_until(
    condition: Callable[[], bool],
    what: str = "the condition",
    *,
    timeout: float = TIMEOUT,
    interval: float = 0.01,
) -> None:
    """Poll until a condition holds.

    Args:
        condition: cheap to call, without side effects.
        what: names the condition in the error message.
        timeout: in seconds.
        interval: seconds between two polls.

    Raises:
        AssertionError: on timeout.
    """
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"timed out after {timeout:g} s: {what}"
        time.sleep(interval)
