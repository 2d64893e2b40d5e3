"""Waiting for what takes as long as it takes."""

import time
from collections.abc import Callable
from typing import Final

LIMIT: Final = 120.0
"""Seconds after which a thing that should happen is taken for not happening."""


def until(what: str, condition: Callable[[], bool], limit: float = LIMIT) -> None:
    """Wait for a condition; ``what`` says what it is."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"it did not happen: {what}"
        time.sleep(0.2)
