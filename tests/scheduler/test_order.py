"""Swapping two neighbouring steps or gates changes a decision, unless their order is free."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time
from itertools import pairwise
from types import ModuleType
from typing import Final

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from immich_job_daemon.model.controls import Controls
from immich_job_daemon.model.queue import ENTRY, Queue, Snapshot
from immich_job_daemon.model.settings import Settings
from immich_job_daemon.model.windows import Window
from immich_job_daemon.scheduler import decide as decide_module
from immich_job_daemon.scheduler import gates, slots
from immich_job_daemon.scheduler.decide import decide
from immich_job_daemon.scheduler.decision import Conditions, Decision
from immich_job_daemon.scheduler.state import SchedulerState
from tests.scheduler.strategies import NOW, all_options, conditions_drawn, snapshots, states
from tests.support.settings import settings_with

Case = tuple[list[Queue], SchedulerState, Settings, Conditions]
Pair = tuple[Callable[..., object], Callable[..., object]]

ORDERS: Final[tuple[tuple[ModuleType, str, Sequence[Callable[..., object]]], ...]] = (
    (gates, "GATES", gates.GATES),
    (decide_module, "KEEP", slots.KEEP),
    (decide_module, "FILL", slots.FILL),
)
FREE: Final[set[Pair]] = {
    (gates.pause_everything, gates.hold),
    (slots.release_gated, slots.release_contested),
    (slots.release_contested, slots.release_drained),
    (slots.revoke_lent, slots.keep_reservations),
}
"""Neighbours whose order is free; a comment beside their tuple says why."""

NIGHT: Final = Window(None, time(0), time(6))
NOON: Final = datetime(2026, 7, 1, 12, tzinfo=UTC)


def working(name: str) -> Queue:
    return Queue(name, is_paused=False, active=1, waiting=100)


def open_with_jobs(name: str) -> Queue:
    return Queue(name, is_paused=False, waiting=100)


def open_and_empty(name: str) -> Queue:
    return Queue(name, is_paused=False)


def waiting(name: str) -> Queue:
    return Queue(name, is_paused=True, paused=100)


def paused_and_empty(name: str) -> Queue:
    return Queue(name, is_paused=True)


BEFORE: Final = SchedulerState(taken_over=True, had_failure=False)


def paused(*names: str) -> SchedulerState:
    """Return the state after the daemon has paused these queues."""
    return replace(BEFORE, paused_by_daemon=frozenset(names))


CASES: Final[dict[Pair, Case]] = {
    # A queue that is held and outside its window is shown as held.
    (gates.hold, gates.window): (
        [waiting("ocr")],
        replace(paused("ocr"), controls=Controls(held_by_user=frozenset({"ocr"}))),
        settings_with(schedule=(NIGHT,)),
        Conditions(NOON),
    ),
    # Outside its window it is shown so, whatever the load.
    (gates.window, gates.load): (
        [waiting("ocr")],
        paused("ocr"),
        settings_with(schedule=(NIGHT,)),
        Conditions(NOON, is_loaded=True),
    ),
    # A drained queue does not count against the limit when a busy one is to keep its slot.
    (slots.release_drained, slots.trim_to_limit): (
        [open_and_empty("smartSearch"), open_with_jobs("ocr")],
        replace(BEFORE, slots=("smartSearch", "ocr")),
        settings_with(1),
        Conditions(),
    ),
    # The slot of a rival that has to stop is free for a queue that is open already.
    (slots.trim_to_limit, slots.admit_open): (
        [working("smartSearch"), working("ocr"), working("library")],
        replace(BEFORE, slots=("smartSearch", "ocr")),
        settings_with(2, exclusive=(frozenset({"smartSearch", "ocr"}),)),
        Conditions(),
    ),
    # A queue that a user has resumed takes the place of one with a lent slot.
    (slots.admit_open, slots.revoke_lent): (
        [open_and_empty("smartSearch"), open_with_jobs("ocr")],
        replace(paused("ocr"), lent={"smartSearch": NOW}),
        settings_with(1),
        Conditions(),
    ),
    # A slot reserved for a queue without jobs is free, so no other queue has to yield.
    (slots.keep_reservations, slots.yield_slots): (
        [waiting("smartSearch"), paused_and_empty("library"), working("ocr")],
        replace(
            paused("smartSearch", "library"),
            slots=("ocr",),
            slot_since={"ocr": 0.0},
            reserved=frozenset({"library"}),
        ),
        settings_with(2, yield_after=60.0),
        Conditions(),
    ),
    # A lent slot is taken back, not yielded: no reservation is needed.
    (slots.yield_slots, slots.end_lent): (
        [waiting("smartSearch"), open_and_empty("ocr")],
        replace(paused("smartSearch"), lent={"ocr": NOW}, yielded=frozenset({"ocr"})),
        settings_with(1, yield_after=60.0),
        Conditions(),
    ),
    # A free slot goes to a queue with jobs before it is lent.
    (slots.fill, slots.lend): (
        [paused_and_empty(ENTRY), waiting("ocr")],
        paused(ENTRY, "ocr"),
        settings_with(1),
        Conditions(),
    ),
}


def decide_swapped(
    pair: Pair,
    snapshot: Snapshot,
    before: SchedulerState,
    options: Settings,
    conditions: Conditions,
) -> Decision:
    """Return the decision with the two neighbours ``pair`` swapped."""
    for module, name, steps in ORDERS:
        if pair in pairwise(steps):
            place = steps.index(pair[0])
            swapped = (*steps[:place], pair[1], pair[0], *steps[place + 2 :])
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(module, name, swapped)
                return decide(snapshot, before, options, NOW, conditions)
    raise AssertionError(pair)


def test_every_pair_of_neighbours_has_a_case_or_is_free() -> None:
    pairs = [pair for _, _, steps in ORDERS for pair in pairwise(steps)]
    assert set(pairs) == CASES.keys() | FREE
    assert not CASES.keys() & FREE


@pytest.mark.parametrize("pair", CASES, ids=lambda pair: f"{pair[0].__name__}-{pair[1].__name__}")
def test_swapping_neighbours_changes_a_decision(pair: Pair) -> None:
    queues, before, options, conditions = CASES[pair]
    snapshot = {queue.name: queue for queue in queues}
    right = decide(snapshot, before, options, NOW, conditions)
    assert decide_swapped(pair, snapshot, before, options, conditions) != right


@given(snapshots, states, all_options, conditions_drawn)
@hypothesis_settings(max_examples=200)
def test_where_the_order_is_free_a_swap_changes_nothing(
    snapshot: Snapshot, before: SchedulerState, options: Settings, conditions: Conditions
) -> None:
    right = decide(snapshot, before, options, NOW, conditions)
    for pair in FREE:
        assert decide_swapped(pair, snapshot, before, options, conditions) == right
