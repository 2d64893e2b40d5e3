"""How fast queues are drained, and when they will be done. Pure: no I/O, no clock."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from immich_job_daemon.queues import Snapshot


@dataclass(frozen=True, slots=True)
class Rate:
    """What was drained of one queue while it could run, older work counting less and less.

    Attributes:
        jobs: how many jobs, smoothed.
        seconds: in how much time, smoothed alike.
    """

    jobs: float
    seconds: float

    @property
    def per_second(self) -> float | None:
        """Jobs a second, None while too little was seen to say."""
        return self.jobs / self.seconds if self.jobs >= 1 and self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Rates:
    """What was measured so far.

    Attributes:
        queues: the rate of each queue that was seen working; survives in the ledger.
    """

    queues: Mapping[str, Rate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forecast:
    """When what is pending now will be done, in seconds from now; None where nobody can tell.

    Attributes:
        queues: of each queue with something pending.
        whole: of everything that the daemon may let run.
    """

    queues: Mapping[str, float | None] = field(default_factory=dict)
    whole: float | None = None


def observe(rates: Rates, snapshot: Snapshot, running: Iterable[str], now: float) -> Rates:
    """Return the rates after one more look.

    Args:
        rates: what was measured before.
        snapshot: what the look saw.
        running: the queues that have been free to work since the last look and still are.
        now: the time of the look, seconds of the caller's clock.
    """
    del snapshot, running, now
    return rates


def forecast(
    snapshot: Snapshot, rates: Rates, running: Sequence[str], waiting: Sequence[str], limit: int
) -> Forecast:
    """Return when everything will be done if no new work comes.

    Args:
        snapshot: every queue as it is now.
        rates: what was measured.
        running: the queues that may work now, at the same time.
        waiting: the queues that will get a slot, the first one first.
        limit: how many may run at once.
    """
    del rates, running, limit
    return Forecast({name: None for name in waiting if name in snapshot})
