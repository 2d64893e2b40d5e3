"""How long to wait until the next poll. Pure: no I/O, no clock, no scheduling decision.

Polling must cost Immich next to nothing, and still a drained queue should hand over its slot at
once. So the wait depends on what a poll costs and on when a running queue is expected to be
drained.

 1. Never longer than POLL_INTERVAL.
 2. Nothing is pending: 200 times the smoothed response time of a poll, at least 2 seconds. That
    keeps polling below half a percent of one of the server's cores.
 3. Something runs: most of the time until the first running queue is expected to be drained, by
    its measured rate; or slightly more than that time where the rest would be too short for
    another poll. Without a rate, or past the expected end: a tenth of the time for which the queue
    has shown no progress. At least 50 times the response time and a quarter of a second.
 4. While a slot is free beside the running queues, new work could use it: no longer than rule 2.
 5. For a few seconds after work was seen: as for a queue that is about to be drained, since one
    photo passes through six queues.
 6. With YIELD_AFTER, while a queue runs: every two seconds, to see whether another queue waits.
    While a queue goes first, a quarter of a second is the minimum whatever a poll costs: a user
    waits for that photo, and it does not take long.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from immich_job_daemon.model.queue import Queue

IDLE_COST_FACTOR: Final = 200
"""Response times between two polls while nothing is pending."""
IDLE_MINIMUM: Final = 2.0
"""Shortest wait in seconds while nothing is pending."""
BUSY_COST_FACTOR: Final = 50
"""Fewest response times between two polls while a queue runs."""
BUSY_MINIMUM: Final = 0.25
"""Shortest wait in seconds while a queue runs."""
LINGER: Final = 5.0
"""Seconds after the last work during which polls stay frequent."""

COST_SMOOTHING: Final = 0.2
RATE_SMOOTHING: Final = 0.3
# An estimate errs both ways. Polling after 70 % of the remaining time, again and again, reaches the
# end in a handful of polls and is late by a fraction of the error only.
SHARE_OF_ESTIMATE: Final = 0.7
PAST_THE_END: Final = 1.03
SHARE_OF_SILENCE: Final = 0.1


@dataclass(frozen=True, slots=True)
class QueueProgress:
    """Progress of one queue: ``left`` jobs since ``changed_at``, ``rate`` in jobs per second."""

    left: int
    changed_at: float
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class PollStats:
    """What the polls have shown so far; times in seconds of the caller's clock.

    ``cost`` is the smoothed response time of a poll in seconds, None before the first.
    ``worked_at`` is when a pending job was last seen, None if there was none yet.
    """

    cost: float | None = None
    progress: Mapping[str, QueueProgress] = field(default_factory=dict)
    worked_at: float | None = None


def observe(
    stats: PollStats, running: Iterable[Queue], *, is_pending: bool, took: float, now: float
) -> PollStats:
    """Return the statistics after one more poll, which took ``took`` seconds.

    A job is pending if it runs, or is ready in a queue that may run.

    >>> before, after = Queue("ocr", False, 1, 99), Queue("ocr", False, 1, 79)
    >>> first = observe(PollStats(), [before], is_pending=True, took=0.01, now=0)
    >>> later = observe(first, [after], is_pending=True, took=0.01, now=10)
    >>> later.progress["ocr"].rate
    2.0
    """
    cost = took if stats.cost is None else stats.cost + COST_SMOOTHING * (took - stats.cost)
    return PollStats(
        cost=cost,
        progress={
            queue.name: _advance(stats.progress.get(queue.name), _left(queue), now)
            for queue in running
        },
        worked_at=now if is_pending else stats.worked_at,
    )


def next_poll(  # noqa: PLR0913 - each is a reason to poll sooner or later
    stats: PollStats,
    *,
    is_slot_free: bool,
    poll_interval: float,
    now: float,
    wake_at: float | None = None,
    may_yield: bool = False,
    is_yielding: bool = False,
) -> float:
    """Return the seconds until the next poll.

    At ``wake_at`` a poll is needed in any case. ``may_yield`` says whether a running queue may have
    to let another go first, ``is_yielding`` whether one does at present.
    """
    cost = stats.cost or 0.0
    minimum = BUSY_MINIMUM if is_yielding else max(BUSY_MINIMUM, BUSY_COST_FACTOR * cost)
    idle = max(IDLE_MINIMUM, IDLE_COST_FACTOR * cost)
    if stats.progress:
        drained = min(_until_drained(one, minimum, now) for one in stats.progress.values())
        wait = min(drained, max(idle, minimum)) if is_slot_free else drained
        wait = min(wait, max(IDLE_MINIMUM, minimum)) if may_yield else wait
    elif stats.worked_at is not None and now - stats.worked_at < LINGER:
        wait = minimum
    else:
        wait = idle
    if wake_at is not None:
        wait = min(wait, max(minimum, wake_at - now))
    return min(wait, poll_interval)


def _left(queue: Queue) -> int:
    """Return how many jobs must end before the queue gives its slot back."""
    return queue.active if queue.is_paused else queue.pending


def _advance(before: QueueProgress | None, left: int, now: float) -> QueueProgress:
    if before is None:
        return QueueProgress(left, now)
    if left == before.left:
        return before
    elapsed = now - before.changed_at
    if left > before.left or elapsed <= 0:
        # New jobs hide how many were done meanwhile, so the rate stays as it was measured.
        return replace(before, left=left, changed_at=now)
    rate = (before.left - left) / elapsed
    if before.rate is not None:
        rate = before.rate + RATE_SMOOTHING * (rate - before.rate)
    return QueueProgress(left, now, rate)


def _until_drained(progress: QueueProgress, minimum: float, now: float) -> float:
    """Return the seconds after which polling is worthwhile for this queue."""
    silence = now - progress.changed_at
    if progress.rate is not None:
        left = progress.left / progress.rate - silence
        if left > 0:
            soon = max(minimum, SHARE_OF_ESTIMATE * left)
            # If no further poll fits in before the end, this one should fall just after it.
            return soon if left - soon >= minimum else max(minimum, PAST_THE_END * left)
    return max(minimum, SHARE_OF_SILENCE * silence)
