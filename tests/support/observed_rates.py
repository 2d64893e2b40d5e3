"""Looks at a simulated Immich without a daemon: what is measured of them and nothing else."""

from collections.abc import Callable, Container, Iterable
from itertools import repeat

from immich_job_daemon.forecast.rates import Rates, observe
from immich_job_daemon.model.queue import Queue, Snapshot
from simulator.immich.engine import Engine


def look(engine: Engine) -> Snapshot:
    """Return what a look would see now."""
    found = {}
    for name, queue in engine.queues.items():
        counts = queue.counts()
        found[name] = Queue(
            name,
            queue.is_paused,
            counts.active,
            counts.waiting,
            counts.paused,
            counts.delayed,
            counts.failed,
        )
    return found


def watched(
    engine: Engine,
    rates: Rates | None = None,
    *,
    every: float | Iterable[float] = 1.0,
    until: float | Callable[[], bool],
    away: Container[int] = (),
) -> Rates:
    """Look again and again; return the rates.

    Args:
        engine: at what.
        rates: what was measured before.
        every: seconds from one look to the next.
        until: how long, or until when.
        away: the looks, counted from 0, before which Immich was away.
    """
    rates = Rates() if rates is None else rates
    end = engine.now + until if isinstance(until, int | float) else None
    pauses = iter(repeat(every) if isinstance(every, int | float) else every)
    number = 0
    while True:
        seen = look(engine)
        is_open = [name for name, queue in seen.items() if not queue.is_paused]
        rates = observe(rates, seen, () if number in away else is_open, engine.now)
        if engine.now >= end if end is not None else until():  # type: ignore[operator] # one or other
            return rates
        number += 1
        engine.advance(engine.now + next(pauses))


def closed(engine: Engine, *names: str) -> None:
    """Pause all queues but these."""
    for name in engine.queues:
        if name not in names:
            engine.pause(name)
