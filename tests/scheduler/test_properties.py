"""What holds for every snapshot, memory and limit, whatever Immich answers in between."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from immich_job_daemon.model.controls import Controls, Mode
from immich_job_daemon.model.queue import Queue, Snapshot, by_priority
from immich_job_daemon.model.reason import Action, Reason
from immich_job_daemon.model.settings import Settings
from immich_job_daemon.model.windows import Window, closed_until
from immich_job_daemon.scheduler.decide import decide
from immich_job_daemon.scheduler.decision import Conditions, Decision
from immich_job_daemon.scheduler.state import SchedulerState
from tests.support.settings import settings_with

NAMES = ("metadataExtraction", "thumbnailGeneration", "smartSearch", "ocr", "library", "newOne")
ALONE = ("backgroundTask", "backupDatabase")


zones = st.sampled_from([ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), UTC])
counts = st.sampled_from([0, 0, 0, 1, 2, 500])
names = st.sampled_from(NAMES)


@st.composite
def queues(draw: st.DrawFn, name: str) -> Queue:
    return Queue(
        name,
        is_paused=draw(st.booleans()),
        active=draw(counts),
        waiting=draw(counts),
        paused=draw(counts),
        delayed=draw(counts),
    )


snapshots = st.tuples(*(queues(name) for name in (*NAMES, *ALONE))).map(
    lambda seen: {queue.name: queue for queue in seen}
)
MODELS = frozenset({"smartSearch", "ocr"})
hours = st.builds(
    Window,
    st.none() | st.frozensets(names, min_size=1),
    st.builds(time, st.integers(0, 11)),
    st.builds(time, st.integers(12, 23)),
    st.frozensets(st.integers(0, 6), min_size=1),
)
limits = st.builds(settings_with, st.integers(1, 4))
all_limits = st.builds(
    settings_with,
    st.integers(1, 4),
    unrestricted_below=st.sampled_from([0, 0, 0, 5]),
    exclusive=st.sampled_from([(), (), (MODELS,), (MODELS, frozenset({"ocr", "library"}))]),
    schedule=st.lists(hours, max_size=2).map(tuple),
    yield_after=st.sampled_from([None, None, 1.0, 500.0]),
    max_wait=st.sampled_from([None, None, 60.0, 1000.0]),
)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=zones)  # noqa: DTZ001 - the zone is drawn beside it
is_loaded = st.sampled_from([False, False, False, True])
conditions_drawn = st.builds(Conditions, st.none() | moments, is_loaded)
conditions_with_time = st.builds(Conditions, moments, is_loaded)
states = st.builds(
    SchedulerState,
    taken_over=st.booleans(),
    paused_by_daemon=st.frozensets(st.sampled_from((*NAMES, "gone"))),
    paused_by_others=st.frozensets(names),
    slots=st.lists(names, max_size=4, unique=True).map(tuple),
    wanted=st.frozensets(names),
    controls=st.builds(
        Controls,
        st.sampled_from((*[Mode.AUTOMATIC] * 4, Mode.OPEN, Mode.HELD)),
        st.none() | st.integers(1, 4),
        st.frozensets(names, max_size=2),
    ),
    unpausable=st.frozensets(names, max_size=1),
    lent=st.dictionaries(names, st.floats(0, 1000), max_size=3),
    last_open=st.dictionaries(names, st.floats(0, 1000)),
    slot_since=st.dictionaries(names, st.floats(0, 1000)),
    waiting_since=st.dictionaries(names, st.floats(0, 1000)),
    yielded=st.frozensets(names, max_size=2),
    unconfirmed_pauses=st.dictionaries(names, st.floats(0, 2000), max_size=2),
    had_failure=st.booleans(),
).map(
    lambda state: replace(
        state,
        paused_by_daemon=state.paused_by_daemon - state.unpausable,
        lent={n: since for n, since in state.lent.items() if n not in state.slots},
    )
)
left_alone = states.map(
    lambda state: replace(state, controls=replace(state.controls, mode=Mode.AUTOMATIC))
)
NOW = 1000.0
STEPS_A_WEEK = 7 * 24 * 2
"""Half hours."""


def steps_a_week(window: Window) -> int:
    """Return the half hours of a week in which a window by day is open."""
    return 2 * (window.end.hour - window.start.hour) * len(window.days)


def managed(seen: Snapshot, state: SchedulerState, limits: Settings) -> list[Queue]:
    alone = limits.protected_queues | state.unpausable
    return [q for q in by_priority(seen, limits.queue_priority) if q.name not in alone]


def limit_of(state: SchedulerState, limits: Settings) -> int:
    """Return how many may run at once, whoever says so."""
    if state.controls.mode is Mode.OPEN:
        return len(NAMES)
    return state.controls.limit or limits.max_concurrent_jobs


def kept(state: SchedulerState) -> frozenset[str]:
    """Return the queues in which nothing may start."""
    return {
        Mode.AUTOMATIC: state.controls.held_by_user,
        Mode.OPEN: frozenset[str](),
        Mode.HELD: frozenset(NAMES),
    }[state.controls.mode]


def steps(
    seen: Snapshot,
    state: SchedulerState,
    limits: Settings,
    surprises: st.DataObject,
    conditions: Conditions = Conditions(),  # noqa: B008 - it cannot be changed
) -> Iterator[tuple[Snapshot, SchedulerState, Decision]]:
    """One whole round; any answer to a command may show that jobs came meanwhile."""
    for _ in range(12):
        decision = decide(seen, state, limits, NOW, conditions)
        yield seen, state, decision
        state = decision.state
        if not decision.commands:
            return
        for command in decision.commands:
            queue = seen[command.queue]
            came = surprises.draw(st.sampled_from([0, 0, 0, 1, 30]), label=f"came to {queue.name}")
            is_paused = command.action is Action.PAUSE
            active = queue.active + came if is_paused and not queue.is_paused else queue.active
            seen = {**seen, queue.name: replace(queue, is_paused=is_paused, active=active)}


@given(snapshots, states, limits, st.data())
@settings(max_examples=200)
def test_the_limit_is_never_exceeded_by_a_resume(
    seen: Snapshot, state: SchedulerState, limits: Settings, data: st.DataObject
) -> None:
    for now_seen, before, decision in steps(seen, state, limits, data):
        occupied = {
            queue.name
            for queue in managed(now_seen, before, limits)
            if queue.is_busy or not queue.is_paused
        }
        resumed = {
            command.queue
            for command in decision.commands
            if command.action is Action.RESUME and command.queue not in limits.protected_queues
        }
        assert not resumed or len(occupied | resumed) <= limit_of(before, limits)


@given(snapshots, states, limits)
@settings(max_examples=200)
def test_pauses_and_resumes_are_never_asked_for_together(
    seen: Snapshot, state: SchedulerState, limits: Settings
) -> None:
    assert len({command.action for command in decide(seen, state, limits, NOW).commands}) <= 1


@given(snapshots, states, limits)
@settings(max_examples=200)
def test_a_queue_with_a_slot_and_work_is_never_paused_within_the_limit(
    seen: Snapshot, state: SchedulerState, limits: Settings
) -> None:
    most = limit_of(state, limits)
    slots = state.slots[:most]
    lent = dict([*state.lent.items()][: most - len(slots)])
    state = replace(state, slots=slots, lent=lent)
    decision = decide(seen, state, limits, NOW)
    paused = {c.queue for c in decision.commands if c.action is Action.PAUSE}
    with_work = {name for name in state.slots if not seen[name].is_drained}
    assert not paused & with_work - kept(state)


@given(snapshots, states, limits, st.data())
@settings(max_examples=200)
def test_no_slot_is_lost(
    seen: Snapshot, state: SchedulerState, limits: Settings, data: st.DataObject
) -> None:
    """At the end of a round no queue of the daemon's waits while a slot is free, by priority."""
    *_, (after, _, decision) = steps(seen, state, limits, data)
    assume(not decision.commands)  # Surprises to the last: the next look goes on.
    queues = managed(after, decision.state, limits)
    free = limit_of(decision.state, limits) - sum(q.is_busy or not q.is_paused for q in queues)
    waiting = [q.name for q in queues if decision.reasons[q.name] is Reason.WAITING]
    assert free <= 0 or not waiting
    lent = [q.name for q in queues if decision.reasons[q.name] is Reason.LENT]
    assert not (waiting and lent)


@given(snapshots, limits)
@settings(max_examples=200)
def test_slots_go_by_priority(seen: Snapshot, limits: Settings) -> None:
    seen = {name: replace(queue, is_paused=True, active=0) for name, queue in seen.items()}
    state = SchedulerState(
        taken_over=True, paused_by_daemon=frozenset(NAMES), last_open=dict.fromkeys(NAMES, NOW)
    )
    decision = decide(seen, state, limits, NOW)
    with_work = [q.name for q in managed(seen, state, limits) if q.backlog]
    assert decision.state.slots == tuple(with_work[: limits.max_concurrent_jobs])


@given(snapshots, states, limits, st.data())
@settings(max_examples=200)
def test_neither_protected_queues_nor_somebody_elses_pause_are_touched(
    seen: Snapshot, state: SchedulerState, limits: Settings, data: st.DataObject
) -> None:
    state = replace(state, taken_over=True)
    foreign = {
        queue.name
        for queue in seen.values()
        if queue.is_paused
        and queue.name not in state.paused_by_daemon | state.unconfirmed_pauses.keys()
    }
    for _, before, decision in steps(seen, state, limits, data):
        touched = {command.queue for command in decision.commands}
        assert not touched & {*ALONE}
        assert not touched & before.unpausable
        resumed = {c.queue for c in decision.commands if c.action is Action.RESUME}
        assert not resumed & foreign


@given(snapshots, states, limits, st.data())
@settings(max_examples=200)
def test_what_is_paused_is_always_somebodys(
    seen: Snapshot, state: SchedulerState, limits: Settings, data: st.DataObject
) -> None:
    """Nothing is paused without being written down first: as held, or as somebody else's."""
    for now_seen, _, decision in steps(seen, state, limits, data):
        pauses = {c.queue for c in decision.commands if c.action is Action.PAUSE}
        assert pauses <= decision.state.paused_by_daemon
        paused = {q.name for q in managed(now_seen, state, limits) if q.is_paused}
        assert paused <= decision.state.paused_by_daemon | decision.state.paused_by_others
        assert not decision.state.paused_by_daemon & decision.state.paused_by_others


@given(snapshots, states, limits)
@settings(max_examples=200)
def test_every_queue_has_a_reason(seen: Snapshot, state: SchedulerState, limits: Settings) -> None:
    assert decide(seen, state, limits, NOW).reasons.keys() == seen.keys()


@given(snapshots, states, limits, st.data())
@settings(max_examples=200)
def test_nothing_is_started_in_a_queue_that_a_person_holds(
    seen: Snapshot, state: SchedulerState, limits: Settings, data: st.DataObject
) -> None:
    for now_seen, before, decision in steps(seen, state, limits, data):
        resumed = {c.queue for c in decision.commands if c.action is Action.RESUME}
        paused = {c.queue for c in decision.commands if c.action is Action.PAUSE}
        # Without those that somebody has resumed in Immich: that lifts a hold.
        still = kept(decision.state) - before.unpausable
        assert not resumed & still
        assert {name for name in still if not now_seen[name].is_paused} <= paused


@given(snapshots, left_alone, all_limits, conditions_drawn, st.data())
@settings(max_examples=300)
def test_no_setting_lets_a_resume_exceed_the_limit_or_join_two_rivals_or_ignore_the_hour(
    seen: Snapshot,
    state: SchedulerState,
    limits: Settings,
    conditions: Conditions,
    data: st.DataObject,
) -> None:
    for now_seen, before, decision in steps(seen, state, limits, data, conditions):
        assert len({command.action for command in decision.commands}) <= 1
        queues = managed(now_seen, before, limits)
        occupied = {queue.name for queue in queues if queue.is_busy or not queue.is_paused}
        resumed = {c.queue for c in decision.commands if c.action is Action.RESUME}
        resumed &= {queue.name for queue in queues}
        if not resumed:
            continue
        is_limited = limits.unrestricted_below == 0 or decision.state.is_limited
        assert not is_limited or len(occupied | resumed) <= limit_of(before, limits)
        for group in limits.exclusive:
            assert not resumed & group or len((occupied | resumed) & group) == 1
        assert not conditions.is_loaded
        if conditions.local is not None:
            assert all(closed_until(limits.schedule, n, conditions.local) is None for n in resumed)


@given(snapshots, left_alone, all_limits, conditions_with_time, st.data())
@settings(max_examples=200)
def test_where_nothing_may_start_nothing_stays_open(
    seen: Snapshot,
    state: SchedulerState,
    limits: Settings,
    conditions: Conditions,
    data: st.DataObject,
) -> None:
    assert conditions.local is not None
    *_, (after, _, decision) = steps(seen, state, limits, data, conditions)
    assume(not decision.commands)
    for queue in managed(after, decision.state, limits):
        closed = closed_until(limits.schedule, queue.name, conditions.local) is not None
        if closed or conditions.is_loaded:
            assert queue.is_paused, queue.name


@given(
    st.fixed_dictionaries({name: st.integers(0, 4) for name in NAMES}),
    all_limits,
    st.sampled_from([ZoneInfo("Europe/Berlin"), UTC]),
)
@settings(max_examples=40)
def test_whatever_the_settings_every_queue_is_drained_in_the_end(
    work: dict[str, int], limits: Settings, zone: ZoneInfo
) -> None:
    """While a queue's windows are open, each step ends a job: its own, or one that is before it."""
    shortest = min(map(steps_a_week, limits.schedule), default=STEPS_A_WEEK)
    weeks = 1 + math.ceil(sum(work.values()) / shortest)
    seen: Snapshot = {name: Queue(name, is_paused=True, paused=n) for name, n in work.items()}
    state = SchedulerState(taken_over=True, had_failure=False, paused_by_daemon=frozenset(NAMES))
    for step in range(weeks * STEPS_A_WEEK):
        now = step * 1800.0
        conditions = Conditions(datetime.fromtimestamp(1_795_000_000 + now, zone))
        for _ in range(12):
            decision = decide(seen, state, limits, now, conditions)
            state = decision.state
            for command in decision.commands:
                is_paused = command.action is Action.PAUSE
                queue = seen[command.queue]
                seen = {**seen, queue.name: replace(queue, is_paused=is_paused)}
            if not decision.commands:
                break
        seen = {
            name: queue if queue.is_paused else replace(queue, paused=max(0, queue.paused - 1))
            for name, queue in seen.items()
        }
        if all(queue.is_drained for queue in seen.values()):
            return
    raise AssertionError(seen)
