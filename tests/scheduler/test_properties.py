"""What holds for every snapshot, memory and limit, whatever Immich answers in between."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from immich_job_daemon.model.controls import Controls, Mode
from immich_job_daemon.model.queue import PRIORITY, PROTECTED, Queue, Snapshot, by_priority
from immich_job_daemon.model.scan import Scan
from immich_job_daemon.model.windows import Window, closed_until
from immich_job_daemon.scheduler.decide import decide
from immich_job_daemon.scheduler.decision import Action, Circumstances, Decision, Reason
from immich_job_daemon.scheduler.state import Memory

NAMES = ("metadataExtraction", "thumbnailGeneration", "smartSearch", "ocr", "library", "newOne")
ALONE = ("backgroundTask", "backupDatabase")


@dataclass(frozen=True)
class Limits:
    max_concurrent_jobs: int
    queue_priority: tuple[str, ...] = PRIORITY
    protected_queues: frozenset[str] = frozenset(PROTECTED)
    unrestricted_below: int = 0
    exclusive: tuple[frozenset[str], ...] = ()
    schedule: tuple[Window, ...] = ()
    yield_after: float | None = None
    max_wait: float | None = None
    scan: Scan | None = None


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
limits = st.builds(Limits, st.integers(1, 4))
all_limits = st.builds(
    Limits,
    st.integers(1, 4),
    unrestricted_below=st.sampled_from([0, 0, 0, 5]),
    exclusive=st.sampled_from([(), (), (MODELS,), (MODELS, frozenset({"ocr", "library"}))]),
    schedule=st.lists(hours, max_size=2).map(tuple),
    yield_after=st.sampled_from([None, None, 1.0, 500.0]),
    max_wait=st.sampled_from([None, None, 60.0, 1000.0]),
)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=zones)  # noqa: DTZ001 - the zone is drawn beside it
is_loaded = st.sampled_from([False, False, False, True])
arounds = st.builds(Circumstances, st.none() | moments, is_loaded)
arounds_with_time = st.builds(Circumstances, moments, is_loaded)
memories = st.builds(
    Memory,
    taken_over=st.booleans(),
    held=st.frozensets(st.sampled_from((*NAMES, "gone"))),
    paused_by_others=st.frozensets(names),
    slots=st.lists(names, max_size=4, unique=True).map(tuple),
    wanted=st.frozensets(names),
    controls=st.builds(
        Controls,
        st.sampled_from((*[Mode.AUTOMATIC] * 4, Mode.OPEN, Mode.HELD)),
        st.none() | st.integers(1, 4),
        st.frozensets(names, max_size=2),
    ),
    refused=st.frozensets(names, max_size=1),
    lent=st.dictionaries(names, st.floats(0, 1000), max_size=3),
    turns=st.dictionaries(names, st.floats(0, 1000)),
    since=st.dictionaries(names, st.floats(0, 1000)),
    waits=st.dictionaries(names, st.floats(0, 1000)),
    yielded=st.frozensets(names, max_size=2),
    unsure=st.dictionaries(names, st.floats(0, 2000), max_size=2),
    was_away=st.booleans(),
).map(
    lambda memory: replace(
        memory,
        held=memory.held - memory.refused,
        lent={n: since for n, since in memory.lent.items() if n not in memory.slots},
    )
)
left_alone = memories.map(
    lambda memory: replace(memory, controls=replace(memory.controls, mode=Mode.AUTOMATIC))
)
NOW = 1000.0
STEPS_A_WEEK = 7 * 24 * 2
"""Half hours."""


def steps_a_week(window: Window) -> int:
    """Return the half hours of a week in which a window by day is open."""
    return 2 * (window.end.hour - window.start.hour) * len(window.days)


def managed(seen: Snapshot, memory: Memory, limits: Limits) -> list[Queue]:
    alone = limits.protected_queues | memory.refused
    return [q for q in by_priority(seen, limits.queue_priority) if q.name not in alone]


def limit_of(memory: Memory, limits: Limits) -> int:
    """Return how many may run at once, whoever says so."""
    if memory.controls.mode is Mode.OPEN:
        return len(NAMES)
    return memory.controls.limit or limits.max_concurrent_jobs


def kept(memory: Memory) -> frozenset[str]:
    """Return the queues in which nothing may start."""
    return {
        Mode.AUTOMATIC: memory.controls.held,
        Mode.OPEN: frozenset[str](),
        Mode.HELD: frozenset(NAMES),
    }[memory.controls.mode]


def steps(
    seen: Snapshot,
    memory: Memory,
    limits: Limits,
    surprises: st.DataObject,
    around: Circumstances = Circumstances(),  # noqa: B008 - it cannot be changed
) -> Iterator[tuple[Snapshot, Memory, Decision]]:
    """One whole round; any answer to a command may show that jobs came meanwhile."""
    for _ in range(12):
        decision = decide(seen, memory, limits, NOW, around)
        yield seen, memory, decision
        memory = decision.memory
        if not decision.commands:
            return
        for command in decision.commands:
            queue = seen[command.queue]
            came = surprises.draw(st.sampled_from([0, 0, 0, 1, 30]), label=f"came to {queue.name}")
            is_paused = command.action is Action.PAUSE
            active = queue.active + came if is_paused and not queue.is_paused else queue.active
            seen = {**seen, queue.name: replace(queue, is_paused=is_paused, active=active)}


@given(snapshots, memories, limits, st.data())
@settings(max_examples=200)
def test_the_limit_is_never_exceeded_by_a_resume(
    seen: Snapshot, memory: Memory, limits: Limits, data: st.DataObject
) -> None:
    for now_seen, before, decision in steps(seen, memory, limits, data):
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


@given(snapshots, memories, limits)
@settings(max_examples=200)
def test_pauses_and_resumes_are_never_asked_for_together(
    seen: Snapshot, memory: Memory, limits: Limits
) -> None:
    assert len({command.action for command in decide(seen, memory, limits, NOW).commands}) <= 1


@given(snapshots, memories, limits)
@settings(max_examples=200)
def test_a_queue_with_a_slot_and_work_is_never_paused_within_the_limit(
    seen: Snapshot, memory: Memory, limits: Limits
) -> None:
    most = limit_of(memory, limits)
    slots = memory.slots[:most]
    lent = dict([*memory.lent.items()][: most - len(slots)])
    memory = replace(memory, slots=slots, lent=lent)
    decision = decide(seen, memory, limits, NOW)
    paused = {c.queue for c in decision.commands if c.action is Action.PAUSE}
    with_work = {name for name in memory.slots if not seen[name].is_drained}
    assert not paused & with_work - kept(memory)


@given(snapshots, memories, limits, st.data())
@settings(max_examples=200)
def test_no_slot_is_lost(
    seen: Snapshot, memory: Memory, limits: Limits, data: st.DataObject
) -> None:
    """At the end of a round no queue of the daemon's waits while a slot is free, by priority."""
    *_, (after, _, decision) = steps(seen, memory, limits, data)
    assume(not decision.commands)  # Surprises to the last: the next look goes on.
    queues = managed(after, decision.memory, limits)
    free = limit_of(decision.memory, limits) - sum(q.is_busy or not q.is_paused for q in queues)
    waiting = [q.name for q in queues if decision.reasons[q.name] is Reason.WAITING]
    assert free <= 0 or not waiting
    lent = [q.name for q in queues if decision.reasons[q.name] is Reason.LENT]
    assert not (waiting and lent)


@given(snapshots, limits)
@settings(max_examples=200)
def test_slots_go_by_priority(seen: Snapshot, limits: Limits) -> None:
    seen = {name: replace(queue, is_paused=True, active=0) for name, queue in seen.items()}
    memory = Memory(taken_over=True, held=frozenset(NAMES), turns=dict.fromkeys(NAMES, NOW))
    decision = decide(seen, memory, limits, NOW)
    with_work = [q.name for q in managed(seen, memory, limits) if q.backlog]
    assert decision.memory.slots == tuple(with_work[: limits.max_concurrent_jobs])


@given(snapshots, memories, limits, st.data())
@settings(max_examples=200)
def test_neither_protected_queues_nor_somebody_elses_pause_are_touched(
    seen: Snapshot, memory: Memory, limits: Limits, data: st.DataObject
) -> None:
    memory = replace(memory, taken_over=True)
    foreign = {
        queue.name
        for queue in seen.values()
        if queue.is_paused and queue.name not in memory.held | memory.unsure.keys()
    }
    for _, before, decision in steps(seen, memory, limits, data):
        touched = {command.queue for command in decision.commands}
        assert not touched & {*ALONE}
        assert not touched & before.refused
        resumed = {c.queue for c in decision.commands if c.action is Action.RESUME}
        assert not resumed & foreign


@given(snapshots, memories, limits, st.data())
@settings(max_examples=200)
def test_what_is_paused_is_always_somebodys(
    seen: Snapshot, memory: Memory, limits: Limits, data: st.DataObject
) -> None:
    """Nothing is paused without being written down first: as held, or as somebody else's."""
    for now_seen, _, decision in steps(seen, memory, limits, data):
        pauses = {c.queue for c in decision.commands if c.action is Action.PAUSE}
        assert pauses <= decision.memory.held
        paused = {q.name for q in managed(now_seen, memory, limits) if q.is_paused}
        assert paused <= decision.memory.held | decision.memory.paused_by_others
        assert not decision.memory.held & decision.memory.paused_by_others


@given(snapshots, memories, limits)
@settings(max_examples=200)
def test_every_queue_has_a_reason(seen: Snapshot, memory: Memory, limits: Limits) -> None:
    assert decide(seen, memory, limits, NOW).reasons.keys() == seen.keys()


@given(snapshots, memories, limits, st.data())
@settings(max_examples=200)
def test_nothing_is_started_in_a_queue_that_a_person_holds(
    seen: Snapshot, memory: Memory, limits: Limits, data: st.DataObject
) -> None:
    for now_seen, before, decision in steps(seen, memory, limits, data):
        resumed = {c.queue for c in decision.commands if c.action is Action.RESUME}
        paused = {c.queue for c in decision.commands if c.action is Action.PAUSE}
        # Without those that somebody has resumed in Immich: that lifts a hold.
        still = kept(decision.memory) - before.refused
        assert not resumed & still
        assert {name for name in still if not now_seen[name].is_paused} <= paused


@given(snapshots, left_alone, all_limits, arounds, st.data())
@settings(max_examples=300)
def test_no_setting_lets_a_resume_exceed_the_limit_or_join_two_rivals_or_ignore_the_hour(
    seen: Snapshot, memory: Memory, limits: Limits, around: Circumstances, data: st.DataObject
) -> None:
    for now_seen, before, decision in steps(seen, memory, limits, data, around):
        assert len({command.action for command in decision.commands}) <= 1
        queues = managed(now_seen, before, limits)
        occupied = {queue.name for queue in queues if queue.is_busy or not queue.is_paused}
        resumed = {c.queue for c in decision.commands if c.action is Action.RESUME}
        resumed &= {queue.name for queue in queues}
        if not resumed:
            continue
        is_limited = limits.unrestricted_below == 0 or decision.memory.is_limited
        assert not is_limited or len(occupied | resumed) <= limit_of(before, limits)
        for group in limits.exclusive:
            assert not resumed & group or len((occupied | resumed) & group) == 1
        assert not around.is_loaded
        if around.local is not None:
            assert all(closed_until(limits.schedule, n, around.local) is None for n in resumed)


@given(snapshots, left_alone, all_limits, arounds_with_time, st.data())
@settings(max_examples=200)
def test_where_nothing_may_start_nothing_stays_open(
    seen: Snapshot, memory: Memory, limits: Limits, around: Circumstances, data: st.DataObject
) -> None:
    assert around.local is not None
    *_, (after, _, decision) = steps(seen, memory, limits, data, around)
    assume(not decision.commands)
    for queue in managed(after, decision.memory, limits):
        closed = closed_until(limits.schedule, queue.name, around.local) is not None
        if closed or around.is_loaded:
            assert queue.is_paused, queue.name


@given(
    st.fixed_dictionaries({name: st.integers(0, 4) for name in NAMES}),
    all_limits,
    st.sampled_from([ZoneInfo("Europe/Berlin"), UTC]),
)
@settings(max_examples=40)
def test_whatever_the_settings_every_queue_is_drained_in_the_end(
    work: dict[str, int], limits: Limits, zone: ZoneInfo
) -> None:
    """While a queue's windows are open, each step ends a job: its own, or one that is before it."""
    shortest = min(map(steps_a_week, limits.schedule), default=STEPS_A_WEEK)
    weeks = 1 + math.ceil(sum(work.values()) / shortest)
    seen: Snapshot = {name: Queue(name, is_paused=True, paused=n) for name, n in work.items()}
    memory = Memory(taken_over=True, was_away=False, held=frozenset(NAMES))
    for step in range(weeks * STEPS_A_WEEK):
        now = step * 1800.0
        around = Circumstances(datetime.fromtimestamp(1_795_000_000 + now, zone))
        for _ in range(12):
            decision = decide(seen, memory, limits, now, around)
            memory = decision.memory
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
