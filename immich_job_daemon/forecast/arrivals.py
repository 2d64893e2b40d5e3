"""What happened between two looks: how many jobs of each queue ended, how many came. Pure.

A look shows how many jobs are pending; what came and what ended in a queue at work hide each
other. But where nothing can end, in a queue that is paused, what came is plain, and it came from
somewhere: so it tells what ended upstream. The fewest jobs that explain what was seen are
believed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from immich_job_daemon.forecast.pipeline import (
    DOWNSTREAM,
    FEEDS,
    MOST,
    OUTSIDE,
    SOURCES,
    WAITS_FOR,
    Seen,
    Share,
    fed_by,
)
from immich_job_daemon.model.queue import Queue, Snapshot

SLACK: Final = 10.0
"""Jobs more than expected that are still believed: a queue's workers may end theirs together."""

SIGHTING: Final = 2.0
"""How many jobs it counts for that something came to an empty queue that does it at once."""


@dataclass(slots=True)
class Flow:
    """What happened between two looks, by queue; all numbers are jobs.

    Attributes:
        done: how many ended.
        came: how many came.
        counted: the queues in which it is known how many came, and so how many ended.
        murky: the queues in which what came hides what ended.
        emptied: the queues that lost more jobs than they can have done.
        woken: the queues that were empty and are not any more.
        empty: the queues that have nothing pending now.
        held_up: the queues that wait for others to have nothing active.
    """

    done: dict[str, float] = field(default_factory=dict)
    came: dict[str, float] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)
    murky: set[str] = field(default_factory=set)
    emptied: set[str] = field(default_factory=set)
    woken: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)
    held_up: set[str] = field(default_factory=set)


def between(
    before: Snapshot,
    after: Snapshot,
    most: Callable[[str], float],
    ratio: Callable[[str, str], float | None],
) -> Flow:
    """Return what happened between two looks.

    Args:
        before: what the first one saw.
        after: what the second one saw.
        most: how many jobs a queue can have done meanwhile.
        ratio: how many follow-ups a job has, of the first queue in the second; None: not known.
    """
    flow = Flow()
    both = [name for name in after if name in before]
    downstream = [name for name in DOWNSTREAM if name in after and name in before]
    others = [name for name in both if name not in SOURCES]
    for name in (*others, *reversed(downstream)):
        is_held_up = _is_held_up(before, name), _is_held_up(after, name)
        if any(is_held_up):
            flow.held_up.add(name)
        is_shut = _is_shut(before[name], after[name], is_held_up=all(is_held_up))
        _from_below(flow, before[name], after[name], most, is_shut=is_shut)
    for name in (*others, *downstream):
        if name not in flow.counted:
            _from_above(flow, after[name].pending - before[name].pending, name, most, ratio)
    return flow


def ways(flow: Flow, name: str) -> dict[str, float]:
    """Return how the jobs that came to a queue came."""
    left = flow.came.get(name, 0.0)
    found: dict[str, float] = {}
    for source in _at_work(flow, name):
        most = MOST[FEEDS[source][name]] * flow.done[source]
        # Far more than can be follow-ups: somebody started a run over all assets.
        here = left if left <= most else min(left, flow.done[source])
        left -= here
        found[source] = here
    if left > 0:
        found[OUTSIDE] = left
    return found


def follow_ups_of(flow: Flow, name: str, way: str) -> Mapping[str, Seen]:
    """Return what came of the jobs of a queue that ended, where that can be told.

    Args:
        flow: what happened.
        name: the queue.
        way: how its jobs came.
    """
    done = flow.done.get(name, 0.0)
    if done <= 0 or name in flow.emptied or name in flow.murky:
        return {}
    if name in flow.empty and name not in flow.counted and _at_work(flow, name):
        return {}  # More may have passed through it than is seen.
    found = {}
    for target, share in fed_by(name, way).items():
        came, most = flow.came.get(target, 0.0), MOST[share] * done
        if _at_work(flow, target) != [name] or came > most + SLACK:
            continue
        if target in flow.counted:
            found[target] = Seen(done, min(came, most))
        elif target in flow.woken and share is Share.EACH:
            # How many came is not to be seen. But where some come, one comes for each.
            found[target] = Seen(min(done, SIGHTING), min(done, SIGHTING))
    return found


def _is_held_up(look: Snapshot, name: str) -> bool:
    """Whether a queue may wait for others to have nothing active."""
    return any(look[other].is_busy for other in WAITS_FOR.get(name, ()) if other in look)


def _is_shut(was: Queue, now: Queue, *, is_held_up: bool) -> bool:
    """Whether no job of a queue can have ended between the looks."""
    if was.is_paused and now.is_paused and not was.is_busy:
        return True
    return is_held_up and was.is_busy and now.is_busy and now.pending >= was.pending


def _from_below(
    flow: Flow, was: Queue, now: Queue, most: Callable[[str], float], *, is_shut: bool
) -> None:
    """Tell what ended by what came in the queues that this one feeds."""
    name, more = now.name, now.pending - was.pending
    if is_shut:
        flow.done[name], flow.came[name] = 0.0, max(0.0, more)
        flow.counted.add(name)
        if more < 0:
            flow.emptied.add(name)
        return
    done = max(0.0, -more)
    if done > most(name):
        flow.emptied.add(name)
    seen = [
        flow.came[target]
        for target, share in FEEDS.get(name, {}).items()
        if share is Share.EACH and target in flow.counted
    ]
    least = min(seen, default=0.0)
    if done <= least <= most(name) and least > 0:
        done = least
        flow.counted.add(name)
    elif seen and not was.pending and not now.pending:
        # Whatever had gone through it would have been seen below.
        flow.counted.add(name)
    if more > 0 and not was.pending:
        flow.woken.add(name)
    if not now.pending:
        flow.empty.add(name)
    flow.done[name], flow.came[name] = done, more + done


def _from_above(
    flow: Flow,
    more: float,
    name: str,
    most: Callable[[str], float],
    ratio: Callable[[str, str], float | None],
) -> None:
    """Tell what ended by what must have come from the queues that feed this one."""
    expected = 0.0
    for source in _at_work(flow, name):
        share = ratio(source, name)
        if share is None:
            flow.murky.add(name)
            return
        expected += share * flow.done[source]
    if more > expected:
        flow.murky.add(name)
    elif expected - more > flow.done[name]:
        flow.done[name] = min(expected - more, max(most(name), -more))
        flow.came[name] = more + flow.done[name]


def _at_work(flow: Flow, name: str) -> list[str]:
    """Return the queues that may have fed this one meanwhile."""
    sources = SOURCES.get(name, ())
    return [source for source in sources if flow.done.get(source, 0.0) > 0]
