"""When what is pending will be done. Pure: no I/O, no clock.

Imagined is what the daemon will do, at best and at worst by what is known of the rates and of the
jobs that lead to others. What lies between is the estimate; if too much does, there is none: an
estimate says "unknown" before it lies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from immich_job_daemon.forecast.constraints import UNCONSTRAINED, Constraints
from immich_job_daemon.forecast.rates import Rates
from immich_job_daemon.forecast.simulation import Simulation
from immich_job_daemon.model.queue import Snapshot

UNSURE: Final = 0.4
"""How far best and worst may lie apart, as a share of the estimate: it errs by half of that."""
UNSURE_SECONDS: Final = 2.0
"""The same in seconds, where that is more: what is done at once is not worth a doubt."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """When what is pending now will be done, in seconds from now; None where nobody can tell.

    Attributes:
        queues: of each queue with something pending.
        total: of everything that the daemon may let run; None also if that is no queue at all.
    """

    queues: Mapping[str, float | None] = field(default_factory=dict)
    total: float | None = None


def forecast(  # noqa: PLR0913, PLR0917 - what there is, what is known of it, and who may run
    snapshot: Snapshot,
    rates: Rates,
    running: Sequence[str],
    waiting: Sequence[str],
    limit: int,
    constraints: Constraints = UNCONSTRAINED,
) -> Forecast:
    """Return when everything will be done if nothing more comes from outside.

    Args:
        snapshot: every queue as it is now. Delayed jobs do not count.
        rates: what was measured.
        running: the queues that may work now, at the same time.
        waiting: the queues that get a slot when one is free and they have work, the first one
            first; also those that have none now, for jobs of others lead to jobs in them. A
            queue that is in neither of the two is held, and so are the jobs that come to it.
        limit: how many may run at once.
        constraints: the windows of queues, and which of them exclude each other.
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
        {name: _told(best.ends(name), worst.ends(name)) for name in pending},
        _told(best.end(), worst.end()),
    )


def _told(one: float | None, other: float | None) -> float | None:
    """Return the middle between the best and the worst case, if they are not too far apart."""
    if one is None or other is None:
        return None
    middle = (one + other) / 2
    return middle if abs(one - other) <= max(UNSURE * middle, UNSURE_SECONDS) else None
