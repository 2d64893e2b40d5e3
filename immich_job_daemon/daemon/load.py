"""How busy the machine is, and whether that is too much. Pure but for ``measured``.

The measure is the one-minute load average for each processor core. It is smoothed once more, and
what was too much is so until it is well below: else what the daemon itself lets run would make it
flap.

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
"""Seconds after which a third of an old value is left in the smoothed one."""
BACK_AT: Final = 0.8
"""The share of the limit at which it is no longer too much."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was measured so far.

    Attributes:
        level: the smoothed load for each core, None before the first measure.
        at: when that was.
        is_high: whether it is too much.
    """

    level: float | None = None
    at: float = 0.0
    is_high: bool = False


def observe(load: Load, measured: float, *, limit: float, now: float) -> Load:
    """Return the load after one more measure.

    Args:
        load: what was measured before.
        measured: the load for each core.
        limit: PAUSE_ABOVE_LOAD.
        now: the time, seconds of the caller's clock.
    """
    if load.level is None:
        level = measured
    else:
        level = measured + (load.level - measured) * exp(-max(0.0, now - load.at) / SMOOTHING)
    return Load(level, now, level > (limit * BACK_AT if load.is_high else limit))


def measured() -> float:
    """Return the one-minute load average of this machine for each of its cores."""
    return psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
