"""Rates measured by polling a simulated engine, without a daemon."""

from collections.abc import Callable, Container, Iterable
from itertools import repeat

from immich_job_daemon.forecast.rates import Rates, observe
from immich_job_daemon.model.queue import Queue, Snapshot
from simulator.immich.engine import Engine


def snapshot_of(engine: Engine) -> Snapshot:
    """Return the snapshot that a poll would fetch now."""
    snapshot = {}
    for name, queue in engine.queues.items():
        counts = queue.counts()
        snapshot[name] = Queue(
            name,
            queue.is_paused,
            counts.active,
            counts.waiting,
            counts.paused,
            counts.delayed,
            counts.failed,
        )
    return snapshot


def observe_rates(
    engine: Engine,
    rates: Rates | None = None,
    *,
    every: float | Iterable[float] = 1.0,
    until: float | Callable[[], bool],
    away: Container[int] = (),
) -> Rates:
    """Poll the engine while its time advances, and return the rates.

    Args:
        engine: the simulated engine.
        rates: measured before; the polls continue them.
        every: seconds between two polls.
        until: a duration in seconds, or the condition that ends the polls.
        away: the numbers of the polls, from 0, before which Immich was away.
    """
    rates = Rates() if rates is None else rates
    end = engine.now + until if isinstance(until, int | float) else None
    intervals = iter(repeat(every) if isinstance(every, int | float) else every)
    number = 0
    while True:
        snapshot = snapshot_of(engine)
        is_open = [name for name, queue in snapshot.items() if not queue.is_paused]
        rates = observe(rates, snapshot, () if number in away else is_open, engine.now)
        if engine.now >= end if end is not None else until():  # type: ignore[operator] # one or other
            return rates
        number += 1
        engine.advance(engine.now + next(intervals))


def pause_all_but(engine: Engine, *names: str) -> None:
    for name in engine.queues:
        if name not in names:
            engine.pause(name)
