"""How busy the machine is, and whether that is too busy. Pure but for ``load_per_core``.

The measure is the one-minute load average per processor core, smoothed once more. A load that was
too high counts as too high until it is well below the limit; otherwise the jobs that the daemon
itself starts would make it switch back and forth.

>>> busy = observe(Load(), 4.0, limit=1.5, now=0.0)
>>> busy.is_high, observe(busy, 1.4, limit=1.5, now=300.0).is_high
(True, True)
>>> observe(busy, 0.5, limit=1.5, now=300.0).is_high
False
"""

from dataclasses import dataclass
from math import exp
from typing import Final

import psutil

SMOOTHING: Final = 30.0
"""Seconds after which an old value still weighs a third."""
RELEASE_SHARE: Final = 0.8
"""The share of the limit below which a high load counts as normal again."""


@dataclass(frozen=True, slots=True)
class Load:
    """The smoothed load per core; ``level`` is None before the first measurement."""

    level: float | None = None
    at: float = 0.0
    is_high: bool = False


def observe(load: Load, measured: float, *, limit: float, now: float) -> Load:
    """Return the load after one more measurement at ``now``, in seconds of the caller's clock.

    ``measured`` and ``limit``, which is PAUSE_ABOVE_LOAD, are per core.
    """
    if load.level is None:
        level = measured
    else:
        level = measured + (load.level - measured) * exp(-max(0.0, now - load.at) / SMOOTHING)
    return Load(level, now, level > (limit * RELEASE_SHARE if load.is_high else limit))


def load_per_core() -> float:
    """Return the one-minute load average of this machine per core."""
    return psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
