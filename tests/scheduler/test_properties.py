"""Properties of every decision: for any snapshot, state and settings, and any responses."""

import math
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from immich_job_daemon.model.controls import Mode
from immich_job_daemon.model.queue import Queue, Snapshot, by_priority
from immich_job_daemon.model.reason import Action, Reason
from immich_job_daemon.model.settings import Settings
from immich_job_daemon.model.windows import Window, closed_until
from immich_job_daemon.scheduler.attribution import CONFLICT_BACKOFF
from immich_job_daemon.scheduler.decide import decide
from immich_job_daemon.scheduler.decision import Conditions, Decision
from immich_job_daemon.scheduler.state import SchedulerState
from tests.scheduler.strategies import (
    NAMES,
    NOW,
    PROTECTED_NAMES,
    SETTINGS,
    STATE,
    all_options,
    automatic_states,
    conditions_drawn,
    conditions_with_time,
    options,
    snapshots,
    states,
)

SCHEDULER = Path(decide.__code__.co_filename).parent
STEPS_PER_WEEK = 7 * 24 * 2
"""A step is half an hour."""


def steps_per_week(window: Window) -> int:
    """Return the number of steps of a week in which a window is open; it must not pass midnight."""
    return 2 * (window.end.hour - window.start.hour) * len(window.days)


def managed(snapshot: Snapshot, state: SchedulerState, options: Settings) -> list[Queue]:
    unmanaged = options.protected_queues | state.unpausable
    return [q for q in by_priority(snapshot, options.queue_priority) if q.name not in unmanaged]


def limit_of(state: SchedulerState, options: Settings) -> int:
    """Return how many queues may run at once, by the mode, the user's limit or the setting."""
    if state.controls.mode is Mode.OPEN:
        return len(NAMES)
    return state.controls.limit or options.max_concurrent_jobs


def held(state: SchedulerState) -> frozenset[str]:
    """Return the queues that the user has put on hold."""
    return {
        Mode.AUTOMATIC: state.controls.held_by_user,
        Mode.OPEN: frozenset[str](),
        Mode.HELD: frozenset(NAMES),
    }[state.controls.mode]


def backing_off(before: SchedulerState, decision: Decision) -> set[str]:
    """Return the queues in conflict to which no command may be sent yet (rule 21)."""
    sent = before.last_commands
    return {n for n in decision.conflicts if NOW - sent.get(n, -math.inf) < CONFLICT_BACKOFF}


def round_of(
    snapshot: Snapshot,
    state: SchedulerState,
    options: Settings,
    new_jobs: st.DataObject,
    conditions: Conditions = Conditions(),  # noqa: B008 - it is frozen
) -> Iterator[tuple[Snapshot, SchedulerState, Decision]]:
    """Yield the decisions of one round; any response may show jobs that arrived in between."""
    for _ in range(12):
        decision = decide(snapshot, state, options, NOW, conditions)
        yield snapshot, state, decision
        state = decision.state
        if not decision.commands:
            return
        for command in decision.commands:
            queue = snapshot[command.queue]
            if command.action is Action.START:
                continue
            arrived = new_jobs.draw(
                st.sampled_from([0, 0, 0, 1, 30]), label=f"new jobs in {queue.name}"
            )
            is_paused = command.action is Action.PAUSE
            active = queue.active + arrived if is_paused and not queue.is_paused else queue.active
            snapshot = {**snapshot, queue.name: replace(queue, is_paused=is_paused, active=active)}


def test_the_strategies_draw_everything_that_a_decision_reads() -> None:
    assert STATE.keys() == {field.name for field in fields(SchedulerState)}
    sources = [path.read_text() for path in SCHEDULER.glob("*.py")]
    read = {name for text in sources for name in re.findall(r"settings\.([a-z_]+)", text)}
    assert SETTINGS.keys() == read & {field.name for field in fields(Settings)}


@given(snapshots, states, options, st.data())
@settings(max_examples=200)
def test_a_resume_never_exceeds_the_limit(
    snapshot: Snapshot, state: SchedulerState, options: Settings, data: st.DataObject
) -> None:
    for current, before, decision in round_of(snapshot, state, options, data):
        occupied = {
            queue.name
            for queue in managed(current, before, options)
            if queue.is_busy or not queue.is_paused
        }
        resumed = {
            command.queue
            for command in decision.commands
            if command.action is Action.RESUME and command.queue not in options.protected_queues
        }
        assert not resumed or len(occupied | resumed) <= limit_of(before, options)


@given(snapshots, states, options)
@settings(max_examples=200)
def test_pauses_and_resumes_are_never_in_one_decision(
    snapshot: Snapshot, state: SchedulerState, options: Settings
) -> None:
    assert len({command.action for command in decide(snapshot, state, options, NOW).commands}) <= 1


@given(snapshots, states, options)
@settings(max_examples=200)
def test_a_queue_with_a_slot_and_work_is_never_paused_within_the_limit(
    snapshot: Snapshot, state: SchedulerState, options: Settings
) -> None:
    limit = limit_of(state, options)
    slots = state.slots[:limit]
    lent = dict([*state.lent.items()][: limit - len(slots)])
    state = replace(state, slots=slots, lent=lent)
    decision = decide(snapshot, state, options, NOW)
    paused = {c.queue for c in decision.commands if c.action is Action.PAUSE}
    with_work = {name for name in state.slots if not snapshot[name].is_drained}
    assert not paused & with_work - held(state)


@given(snapshots, states, options, st.data())
@settings(max_examples=200)
def test_no_slot_is_lost(
    snapshot: Snapshot, state: SchedulerState, options: Settings, data: st.DataObject
) -> None:
    """At the end of a round no queue waits while a slot is free."""
    *_, (after, before, decision) = round_of(snapshot, state, options, data)
    assume(not decision.commands)  # Jobs arrived until the end; the next poll continues.
    contested = backing_off(before, decision)
    queues = managed(after, decision.state, options)
    free = limit_of(decision.state, options) - sum(q.is_busy or not q.is_paused for q in queues)
    waiting = [q.name for q in queues if decision.reasons[q.name] is Reason.WAITING]
    waiting = [name for name in waiting if name not in contested]
    assert free <= 0 or not waiting
    lent = [q.name for q in queues if decision.reasons[q.name] is Reason.LENT]
    assert not (waiting and lent)


@given(snapshots, options)
@settings(max_examples=200)
def test_slots_are_given_by_priority(snapshot: Snapshot, options: Settings) -> None:
    snapshot = {name: replace(queue, is_paused=True, active=0) for name, queue in snapshot.items()}
    state = SchedulerState(
        taken_over=True, paused_by_daemon=frozenset(NAMES), last_open=dict.fromkeys(NAMES, NOW)
    )
    decision = decide(snapshot, state, options, NOW)
    with_work = [q.name for q in managed(snapshot, state, options) if q.backlog]
    assert decision.state.slots == tuple(with_work[: options.max_concurrent_jobs])


@given(snapshots, states, options, st.data())
@settings(max_examples=200)
def test_protected_queues_and_queues_paused_by_others_get_no_command(
    snapshot: Snapshot, state: SchedulerState, options: Settings, data: st.DataObject
) -> None:
    state = replace(state, taken_over=True)
    paused_by_others = {
        queue.name
        for queue in snapshot.values()
        if queue.is_paused
        and queue.name not in state.paused_by_daemon | state.unconfirmed_pauses.keys()
    }
    for _, before, decision in round_of(snapshot, state, options, data):
        commanded = {command.queue for command in decision.commands}
        assert not commanded & {*PROTECTED_NAMES}
        assert not commanded & before.unpausable
        resumed = {c.queue for c in decision.commands if c.action is Action.RESUME}
        assert not resumed & paused_by_others


@given(snapshots, states, options, st.data())
@settings(max_examples=200)
def test_every_pause_is_attributed(
    snapshot: Snapshot, state: SchedulerState, options: Settings, data: st.DataObject
) -> None:
    """Every paused queue is recorded as paused by the daemon or by others, before the command."""
    for current, _, decision in round_of(snapshot, state, options, data):
        pauses = {c.queue for c in decision.commands if c.action is Action.PAUSE}
        assert pauses <= decision.state.paused_by_daemon
        paused = {q.name for q in managed(current, state, options) if q.is_paused}
        assert paused <= decision.state.paused_by_daemon | decision.state.paused_by_others
        assert not decision.state.paused_by_daemon & decision.state.paused_by_others


@given(snapshots, states, all_options, conditions_drawn, st.data())
@settings(max_examples=200)
def test_a_queue_in_conflict_gets_one_command_a_minute(
    snapshot: Snapshot,
    state: SchedulerState,
    options: Settings,
    conditions: Conditions,
    data: st.DataObject,
) -> None:
    for _, before, decision in round_of(snapshot, state, options, data, conditions):
        sent = {c.queue for c in decision.commands if c.action is not Action.START}
        assert not sent & backing_off(before, decision)


@given(snapshots, states, options)
@settings(max_examples=200)
def test_every_queue_has_a_reason(
    snapshot: Snapshot, state: SchedulerState, options: Settings
) -> None:
    assert decide(snapshot, state, options, NOW).reasons.keys() == snapshot.keys()


@given(snapshots, states, options, st.data())
@settings(max_examples=200)
def test_a_queue_held_by_the_user_is_never_resumed(
    snapshot: Snapshot, state: SchedulerState, options: Settings, data: st.DataObject
) -> None:
    for current, before, decision in round_of(snapshot, state, options, data):
        resumed = {c.queue for c in decision.commands if c.action is Action.RESUME}
        paused = {c.queue for c in decision.commands if c.action is Action.PAUSE}
        # Resuming a queue in Immich clears the hold, so those are not in the new state.
        still_held = held(decision.state) - before.unpausable
        assert not resumed & still_held
        is_open = {name for name in still_held if not current[name].is_paused}
        assert is_open - backing_off(before, decision) <= paused


@given(snapshots, automatic_states, all_options, conditions_drawn, st.data())
@settings(max_examples=300)
def test_with_any_settings_a_resume_respects_limit_groups_load_and_windows(
    snapshot: Snapshot,
    state: SchedulerState,
    options: Settings,
    conditions: Conditions,
    data: st.DataObject,
) -> None:
    for current, before, decision in round_of(snapshot, state, options, data, conditions):
        assert len({command.action for command in decision.commands}) <= 1
        queues = managed(current, before, options)
        occupied = {queue.name for queue in queues if queue.is_busy or not queue.is_paused}
        resumed = {c.queue for c in decision.commands if c.action is Action.RESUME}
        resumed &= {queue.name for queue in queues}
        if not resumed:
            continue
        is_limited = options.unrestricted_below == 0 or decision.state.is_limited
        assert not is_limited or len(occupied | resumed) <= limit_of(before, options)
        for group in options.exclusive:
            assert not resumed & group or len((occupied | resumed) & group) == 1
        assert not conditions.is_loaded
        if conditions.local is not None:
            assert all(closed_until(options.schedule, n, conditions.local) is None for n in resumed)


@given(snapshots, automatic_states, all_options, conditions_with_time, st.data())
@settings(max_examples=200)
def test_a_queue_that_may_not_start_is_paused(
    snapshot: Snapshot,
    state: SchedulerState,
    options: Settings,
    conditions: Conditions,
    data: st.DataObject,
) -> None:
    assert conditions.local is not None
    *_, (after, before, decision) = round_of(snapshot, state, options, data, conditions)
    assume(not decision.commands)
    contested = backing_off(before, decision)
    for queue in managed(after, decision.state, options):
        if queue.name in contested:
            continue
        closed = closed_until(options.schedule, queue.name, conditions.local) is not None
        if closed or conditions.is_loaded:
            assert queue.is_paused, queue.name


@given(
    st.fixed_dictionaries({name: st.integers(0, 4) for name in NAMES}),
    all_options,
    st.sampled_from([ZoneInfo("Europe/Berlin"), UTC]),
)
@settings(max_examples=40)
def test_with_any_settings_every_queue_is_drained_in_the_end(
    jobs: dict[str, int], options: Settings, zone: ZoneInfo
) -> None:
    """In each step in which a queue may run, one job ends: its own or one that goes first."""
    shortest = min(map(steps_per_week, options.schedule), default=STEPS_PER_WEEK)
    weeks = 1 + math.ceil(sum(jobs.values()) / shortest)
    snapshot: Snapshot = {name: Queue(name, is_paused=True, paused=n) for name, n in jobs.items()}
    state = SchedulerState(taken_over=True, had_failure=False, paused_by_daemon=frozenset(NAMES))
    for step in range(weeks * STEPS_PER_WEEK):
        now = step * 1800.0
        conditions = Conditions(datetime.fromtimestamp(1_795_000_000 + now, zone))
        for _ in range(12):
            decision = decide(snapshot, state, options, now, conditions)
            state = decision.state
            for command in decision.commands:
                if command.action is Action.START:
                    continue
                is_paused = command.action is Action.PAUSE
                queue = snapshot[command.queue]
                snapshot = {**snapshot, queue.name: replace(queue, is_paused=is_paused)}
            if not decision.commands:
                break
        snapshot = {
            name: queue if queue.is_paused else replace(queue, paused=max(0, queue.paused - 1))
            for name, queue in snapshot.items()
        }
        if all(queue.is_drained for queue in snapshot.values()):
            return
    raise AssertionError(snapshot)
