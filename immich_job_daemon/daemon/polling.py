"""How long until the next look at Immich. Pure: no I/O, no clock, no scheduling decision.

Watching must cost Immich next to nothing, and yet a queue that is drained should hand over its
slot at once. So the time between two looks follows from what a look costs, and from when a
running queue is expected to be drained.

 1. Never longer than POLL_INTERVAL.
 2. Nothing pending: 200 times the smoothed response time of a look and at least 2 seconds, so
    that watching takes half a percent of one of the server's cores at most.
 3. Something runs: most of the time that is left until the first of the running queues is
    expected to be drained, by its measured rate, or a little more than all of it where too little
    would be left for another look. Without a rate, or past the expected end, a tenth of the time
    that the queue has shown no progress. At least 50 times the response time and a quarter of a
    second.
 4. While a slot is free beside those that run, new work could use it: as for nothing pending.
 5. For a few seconds after work was seen, as for a queue about to be drained: one photo walks
    through six queues.
 6. Where a running queue is to let others go first: every two seconds, to see whether somebody
    waits; and while somebody goes first, a quarter of a second is the least whatever a look
    costs, for a person waits for that photo, and it is over soon.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from immich_job_daemon.model.queue import Queue

IDLE_COSTS: Final = 200
"""How many response times lie between two looks while nothing is pending."""
IDLE_LEAST: Final = 2.0
"""Seconds between two looks, at least, while nothing is pending."""
BUSY_COSTS: Final = 50
"""How many response times lie between two looks, at least, while something runs."""
BUSY_LEAST: Final = 0.25
"""Seconds between two looks, at least, while something runs."""
LINGER: Final = 5.0
"""Seconds after the last work during which looks stay close."""

COST_SMOOTHING: Final = 0.2
RATE_SMOOTHING: Final = 0.3
# An estimate errs both ways. Looking after 70 % of what is left, and again, reaches the end in a
# handful of looks and is late by a fraction of the error only.
SHARE_OF_ESTIMATE: Final = 0.7
PAST_THE_END: Final = 1.03
SHARE_OF_SILENCE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """How one queue gets on: ``left`` jobs since ``changed_at``, ``rate`` jobs a second."""

    left: int
    changed_at: float
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """What was measured so far; times in seconds of the caller's clock.

    Attributes:
        cost: smoothed response time of a look in seconds, None before the first.
        progress: of each queue that runs.
        worked_at: when a pending job was last seen, None if none ever was.
    """

    cost: float | None = None
    progress: Mapping[str, Progress] = field(default_factory=dict)
    worked_at: float | None = None


def observe(
    pace: Pace, running: Iterable[Queue], *, is_pending: bool, took: float, now: float
) -> Pace:
    """Return the pace after one more look.

    Args:
        pace: what was measured before.
        running: the queues that run or drain, as the look saw them.
        is_pending: whether any job is running, or ready in a queue that may run.
        took: the look's response time in seconds.
        now: the time of the look.

    >>> first = observe(Pace(), [Queue("ocr", False, 1, 99)], is_pending=True, took=0.01, now=0)
    >>> later = observe(first, [Queue("ocr", False, 1, 79)], is_pending=True, took=0.01, now=10)
    >>> later.progress["ocr"].rate
    2.0
    """
    cost = took if pace.cost is None else pace.cost + COST_SMOOTHING * (took - pace.cost)
    return Pace(
        cost=cost,
        progress={
            queue.name: _advance(pace.progress.get(queue.name), _left(queue), now)
            for queue in running
        },
        worked_at=now if is_pending else pace.worked_at,
    )


def next_look(  # noqa: PLR0913 - each is a reason to look sooner or later
    pace: Pace,
    *,
    is_spare: bool,
    poll_interval: float,
    now: float,
    wake: float | None = None,
    yields: bool = False,
    is_first: bool = False,
) -> float:
    """Return the seconds until the next look.

    Args:
        pace: what was measured, the look that just ended included.
        is_spare: whether a slot is free for new work.
        poll_interval: the longest time between two looks, in seconds.
        now: the present time.
        wake: a time at which a look is wanted in any case.
        yields: whether a running queue is to let others go first.
        is_first: whether somebody goes first at present.
    """
    cost = pace.cost or 0.0
    least = BUSY_LEAST if is_first else max(BUSY_LEAST, BUSY_COSTS * cost)
    idle = max(IDLE_LEAST, IDLE_COSTS * cost)
    if pace.progress:
        drained = min(_until_drained(one, least, now) for one in pace.progress.values())
        wait = min(drained, max(idle, least)) if is_spare else drained
        wait = min(wait, max(IDLE_LEAST, least)) if yields else wait
    elif pace.worked_at is not None and now - pace.worked_at < LINGER:
        wait = least
    else:
        wait = idle
    if wake is not None:
        wait = min(wait, max(least, wake - now))
    return min(wait, poll_interval)


def _left(queue: Queue) -> int:
    """Return how many jobs must end before the queue gives its slot back."""
    return queue.active if queue.is_paused else queue.pending


def _advance(before: Progress | None, left: int, now: float) -> Progress:
    if before is None:
        return Progress(left, now)
    if left == before.left:
        return before
    elapsed = now - before.changed_at
    if left > before.left or elapsed <= 0:
        # New work hides what was done meanwhile: the rate stays as it was measured.
        return replace(before, left=left, changed_at=now)
    rate = (before.left - left) / elapsed
    if before.rate is not None:
        rate = before.rate + RATE_SMOOTHING * (rate - before.rate)
    return Progress(left, now, rate)


def _until_drained(progress: Progress, least: float, now: float) -> float:
    """Return the seconds after which a look is worth it, as far as this queue is concerned."""
    silent = now - progress.changed_at
    if progress.rate is not None:
        left = progress.left / progress.rate - silent
        if left > 0:
            soon = max(least, SHARE_OF_ESTIMATE * left)
            # With too little left for another look after that one, it had better find the end.
            return soon if left - soon >= least else max(least, PAST_THE_END * left)
    return max(least, SHARE_OF_SILENCE * silent)
