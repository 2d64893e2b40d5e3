"""Estimates when the pending jobs will be done. Pure: no I/O, no clock.

No estimate is better than a wrong one. The future is simulated twice, at best and at worst, with
the lower and the upper bounds of all service times and follow-up ratios. The estimate is the
midpoint of the two, or unknown if they are too far apart. So uncertainty about a small part of the
work does no harm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from immich_job_daemon.forecast.constraints import UNCONSTRAINED, Constraints
from immich_job_daemon.forecast.rates import Rates
from immich_job_daemon.forecast.simulation import Simulation
from immich_job_daemon.model.queue import Snapshot

MAX_RANGE: Final = 0.4
"""Largest range from best to worst, as a share of the estimate. Its error is at most half of it."""
ACCEPTED_RANGE: Final = 2.0
"""Range in seconds that is accepted in any case, for short estimates."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """When the jobs that are pending now will be done, in seconds from now; None if unknown.

    ``queues`` has the queues with pending jobs. ``total`` is the time for all queues that may run;
    it is also None if no queue may run.
    """

    queues: Mapping[str, float | None] = field(default_factory=dict)
    total: float | None = None


def forecast(  # noqa: PLR0913, PLR0917 - all that a forecast depends on
    snapshot: Snapshot,
    rates: Rates,
    running: Sequence[str],
    waiting: Sequence[str],
    limit: int,
    constraints: Constraints = UNCONSTRAINED,
) -> Forecast:
    """Return when the pending jobs and their follow-ups will be done.

    Jobs that arrive later from outside and delayed jobs are not counted. The running queues have
    the slots now, and the waiting ones get the next free slots, in this order; they include
    queues without pending jobs, which may receive follow-ups. A queue in neither list stays paused,
    and so do the jobs that arrive in it.
    """
    names = [name for name in dict.fromkeys((*running, *waiting)) if name in snapshot]
    pending = [name for name in names if snapshot[name].pending]
    if not pending:
        return Forecast(total=0.0 if names else None)
    best, worst = (
        Simulation(snapshot, rates, names, set(running), limit, constraints, at_worst=at_worst)
        for at_worst in (False, True)
    )
    return Forecast(
        {name: _midpoint(best.drained_at(name), worst.drained_at(name)) for name in pending},
        _midpoint(best.finished_at(), worst.finished_at()),
    )


def _midpoint(one: float | None, other: float | None) -> float | None:
    """Return the mean of the best and the worst case, None if they are too far apart."""
    if one is None or other is None:
        return None
    mean = (one + other) / 2
    return mean if abs(one - other) <= max(MAX_RANGE * mean, ACCEPTED_RANGE) else None
