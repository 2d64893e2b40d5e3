"""Infers from two polls how many jobs of each queue arrived and how many completed. Pure.

A poll shows only how many jobs are pending, so in a running queue arrivals and completions cancel
each other out. But no job completes in a paused queue, so its arrivals can be counted. Only a
running queue upstream can have sent them, so they also show how many jobs that queue completed.
If two polls have several explanations, the one with the fewest jobs is used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from immich_job_daemon.forecast.pipeline import (
    DOWNSTREAM,
    MAX_RATIO,
    OUTSIDE,
    PIPELINE_ORDER,
    UPSTREAM,
    WAITS_FOR,
    FanOut,
    Sample,
    downstream_of,
)
from immich_job_daemon.model.queue import Queue, Snapshot

TOLERANCE: Final = 10.0
"""Jobs above an expected maximum that are still plausible: workers may finish at the same time."""

ARRIVAL_WEIGHT: Final = 2.0
"""Size, in jobs, of the sample from an arrival in an empty running queue."""


@dataclass(slots=True)
class Flow:
    """What happened between two polls, by queue. All numbers are jobs.

    Attributes:
        counted: queues whose arrivals, and so completions, are known exactly.
        ambiguous: queues in which arrivals hide completions.
        cleared: queues that lost more jobs than they can have completed.
        refilled: queues that were empty and are not any more.
        blocked: queues that wait until other queues have no active job.
    """

    completions: dict[str, float] = field(default_factory=dict)
    arrivals: dict[str, float] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)
    ambiguous: set[str] = field(default_factory=set)
    cleared: set[str] = field(default_factory=set)
    refilled: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)
    blocked: set[str] = field(default_factory=set)


def infer_flow(
    before: Snapshot,
    after: Snapshot,
    max_completions: Callable[[str], float],
    follow_up_ratio: Callable[[str, str], float | None],
) -> Flow:
    """Return what happened between two polls.

    ``max_completions`` returns how many jobs a queue can have completed in between, and
    ``follow_up_ratio`` the follow-ups per job of the first queue in the second; None if unknown.
    """
    flow = Flow()
    pipeline = [name for name in PIPELINE_ORDER if name in after and name in before]
    others = [name for name in after if name in before and name not in UPSTREAM]
    for name in (*others, *reversed(pipeline)):
        is_blocked = _is_blocked(before, name), _is_blocked(after, name)
        if any(is_blocked):
            flow.blocked.add(name)
        is_idle = _is_idle(before[name], after[name], is_blocked=all(is_blocked))
        _infer_from_downstream(flow, before[name], after[name], max_completions, is_idle=is_idle)
    for name in (*others, *pipeline):
        if name not in flow.counted:
            growth = after[name].pending - before[name].pending
            _infer_from_upstream(flow, growth, name, max_completions, follow_up_ratio)
    return flow


def arrivals_by_origin(flow: Flow, name: str) -> dict[str, float]:
    """Return the jobs that arrived in a queue, by origin."""
    remaining = flow.arrivals.get(name, 0.0)
    origins: dict[str, float] = {}
    for source in _active_upstream(flow, name):
        most = MAX_RATIO[DOWNSTREAM[source][name]] * flow.completions[source]
        # Too many to be follow-ups: a user has started a run over all assets.
        jobs = remaining if remaining <= most else min(remaining, flow.completions[source])
        remaining -= jobs
        origins[source] = jobs
    if remaining > 0:
        origins[OUTSIDE] = remaining
    return origins


def sample_follow_ups(flow: Flow, name: str, origin: str) -> Mapping[str, Sample]:
    """Return what completed jobs of this origin led to, by downstream queue, as far as known."""
    completions = flow.completions.get(name, 0.0)
    if completions <= 0 or name in flow.cleared or name in flow.ambiguous:
        return {}
    if name in flow.empty and name not in flow.counted and _active_upstream(flow, name):
        return {}  # More jobs may have arrived and completed between the two polls.
    samples = {}
    for target, fan_out in downstream_of(name, origin).items():
        arrivals, most = flow.arrivals.get(target, 0.0), MAX_RATIO[fan_out] * completions
        if _active_upstream(flow, target) != [name] or arrivals > most + TOLERANCE:
            continue
        if target in flow.counted:
            samples[target] = Sample(completions, min(arrivals, most))
        elif target in flow.refilled and fan_out is FanOut.ALL_OR_NONE:
            # The arrivals cannot be counted, but if there is one, each job has a follow-up.
            weight = min(completions, ARRIVAL_WEIGHT)
            samples[target] = Sample(weight, weight)
    return samples


def _is_blocked(snapshot: Snapshot, name: str) -> bool:
    """Whether a queue may be waiting until other queues have no active job."""
    return any(snapshot[other].is_busy for other in WAITS_FOR.get(name, ()) if other in snapshot)


def _is_idle(before: Queue, after: Queue, *, is_blocked: bool) -> bool:
    """Whether no job of the queue can have completed between the polls."""
    if before.is_paused and after.is_paused and not before.is_busy:
        return True
    return is_blocked and before.is_busy and after.is_busy and after.pending >= before.pending


def _infer_from_downstream(
    flow: Flow,
    before: Queue,
    after: Queue,
    max_completions: Callable[[str], float],
    *,
    is_idle: bool,
) -> None:
    """Infer completions of a queue from arrivals in its downstream queues."""
    name, growth = after.name, after.pending - before.pending
    if is_idle:
        flow.completions[name], flow.arrivals[name] = 0.0, max(0.0, growth)
        flow.counted.add(name)
        if growth < 0:
            flow.cleared.add(name)
        return
    completions = max(0.0, -growth)
    if completions > max_completions(name):
        flow.cleared.add(name)
    follow_ups = [
        flow.arrivals[target]
        for target, fan_out in DOWNSTREAM.get(name, {}).items()
        if fan_out is FanOut.ALL_OR_NONE and target in flow.counted
    ]
    fewest = min(follow_ups, default=0.0)
    if completions <= fewest <= max_completions(name) and fewest > 0:
        completions = fewest
        flow.counted.add(name)
    elif follow_ups and not before.pending and not after.pending:
        # A job that passed through the queue in between would have shown up downstream.
        flow.counted.add(name)
    if growth > 0 and not before.pending:
        flow.refilled.add(name)
    if not after.pending:
        flow.empty.add(name)
    flow.completions[name], flow.arrivals[name] = completions, growth + completions


def _infer_from_upstream(
    flow: Flow,
    growth: float,
    name: str,
    max_completions: Callable[[str], float],
    follow_up_ratio: Callable[[str, str], float | None],
) -> None:
    """Infer completions of a queue from the follow-ups that its upstream queues must have sent."""
    expected = 0.0
    for source in _active_upstream(flow, name):
        ratio = follow_up_ratio(source, name)
        if ratio is None:
            flow.ambiguous.add(name)
            return
        expected += ratio * flow.completions[source]
    if growth > expected:
        flow.ambiguous.add(name)
    elif expected - growth > flow.completions[name]:
        flow.completions[name] = min(expected - growth, max(max_completions(name), -growth))
        flow.arrivals[name] = growth + flow.completions[name]


def _active_upstream(flow: Flow, name: str) -> list[str]:
    """Return the upstream queues that completed jobs between the polls."""
    sources = UPSTREAM.get(name, ())
    return [source for source in sources if flow.completions.get(source, 0.0) > 0]
