"""One test, or more, for each numbered rule of the scheduler."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from immich_job_daemon.model.conflict import CONFLICT_WINDOW, ConflictEvent, Interference
from immich_job_daemon.model.controls import Change, Mode, Override, SetLimit, SetMode, SetQueue
from immich_job_daemon.model.queue import PRIORITY, Queue, Snapshot
from immich_job_daemon.model.reason import Action, Reason
from immich_job_daemon.model.settings import Scan, Settings
from immich_job_daemon.model.windows import Window
from immich_job_daemon.scheduler.attribution import CONFLICT_BACKOFF
from immich_job_daemon.scheduler.context import LEND_EVERY
from immich_job_daemon.scheduler.decide import LENT_FOR, YIELDS_AGAIN_WITHIN, decide
from immich_job_daemon.scheduler.decision import Command, Conditions, Decision
from immich_job_daemon.scheduler.state import (
    SchedulerState,
    after_change,
    after_failure,
    after_refused_pause,
    after_unconfirmed_pause,
)
from tests.support.settings import settings_with

METADATA, THUMBNAIL, SEARCH, VIDEO = (
    "metadataExtraction",
    "thumbnailGeneration",
    "smartSearch",
    "videoConversion",
)
KNOWN = SchedulerState(taken_over=True, had_failure=False)


def held(name: str, backlog: int = 0, **counts: int) -> Queue:
    return Queue(name, is_paused=True, paused=backlog, **counts)


def opened(name: str, active: int = 0, waiting: int = 0) -> Queue:
    return Queue(name, is_paused=False, active=active, waiting=waiting)


def snapshot(*queues: Queue) -> Snapshot:
    return {queue.name: queue for queue in queues}


def ours(*names: str, **changes: object) -> SchedulerState:
    state = replace(KNOWN, paused_by_daemon=frozenset(names))
    return replace(state, **changes)  # type: ignore[arg-type]


def pauses(decision: Decision) -> list[str]:
    return [c.queue for c in decision.commands if c.action is Action.PAUSE]


def resumes(decision: Decision) -> list[str]:
    return [c.queue for c in decision.commands if c.action is Action.RESUME]


Answers = Callable[[Command, Queue], Queue]


def obey(command: Command, queue: Queue) -> Queue:
    """Answer as a server does that carries the command out, and nothing else happens."""
    ready = queue.backlog
    if command.action is Action.PAUSE:
        return replace(queue, is_paused=True, waiting=0, paused=ready)
    return replace(queue, is_paused=False, waiting=ready, paused=0)


def whole_round(  # noqa: PLR0913, PLR0917 - all that a decision depends on
    seen: Snapshot,
    state: SchedulerState,
    limits: Settings,
    now: float = 0.0,
    answer: Answers = obey,
    conditions: Conditions = Conditions(),  # noqa: B008 - it cannot be changed
) -> tuple[list[Command], Snapshot, Decision]:
    """Decide and carry out until nothing is left to do, as the loop does."""
    sent: list[Command] = []
    for _ in range(10):
        decision = decide(seen, state, limits, now, conditions)
        state = decision.state
        if not decision.commands:
            return sent, seen, decision
        for command in decision.commands:
            sent.append(command)
            seen = {**seen, command.queue: answer(command, seen[command.queue])}
    raise AssertionError(f"no end: {sent}")


# 1. Limit


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_rule_1_no_more_queues_are_open_than_the_limit(limit: int) -> None:
    names = (METADATA, THUMBNAIL, SEARCH, VIDEO)
    _, after, _ = whole_round(
        snapshot(*(held(name, 5) for name in names)), ours(*names), settings_with(limit)
    )
    assert [q.name for q in after.values() if not q.is_paused] == list(names[:limit])


def test_rule_1_an_open_queue_counts_even_when_nothing_is_in_it() -> None:
    """Work may reach it between the look and the resume."""
    seen = snapshot(opened(METADATA), held(THUMBNAIL, 5))
    first = decide(seen, ours(THUMBNAIL, lent={METADATA: 0.0}), settings_with(), 1.0)
    assert (pauses(first), resumes(first)) == ([METADATA], [])


def test_rule_1_pauses_go_before_resumes() -> None:
    seen = snapshot(opened(METADATA), held(THUMBNAIL, 5), opened(VIDEO))
    first = decide(seen, ours(THUMBNAIL, slots=(METADATA,)), settings_with(2), 0.0)
    assert (pauses(first), resumes(first)) == ([VIDEO], [])


def test_rule_1_as_long_as_a_pause_is_not_confirmed_nothing_is_resumed() -> None:
    seen = snapshot(opened(METADATA), held(THUMBNAIL, 5))
    state = ours(THUMBNAIL, slots=(METADATA,))
    for _ in range(3):
        decision = decide(seen, state, settings_with(), 0.0)
        assert (pauses(decision), resumes(decision)) == ([METADATA], [])
        state = after_failure(decision.state)


def test_rule_1_a_queue_that_drains_without_a_slot_counts() -> None:
    seen = snapshot(held(METADATA, 5, active=1), held(THUMBNAIL, 9), held(SEARCH, 9))
    limits = settings_with(queue_priority=(THUMBNAIL, METADATA))
    assert decide(seen, ours(*seen), limits, 0.0).commands == ()


def test_rule_1_protected_and_refused_queues_count_for_nothing() -> None:
    seen = snapshot(opened("backgroundTask", 3), opened("library", 2), held(THUMBNAIL, 5))
    state = ours(THUMBNAIL, unpausable=frozenset({"library"}))
    assert resumes(decide(seen, state, settings_with(), 0.0)) == [THUMBNAIL]


# 2. Priority


def test_rule_2_the_free_slot_goes_to_the_first_by_priority_with_a_backlog() -> None:
    seen = snapshot(held(VIDEO, 99), held(SEARCH, 1), held(THUMBNAIL), held("ocr", 7))
    assert resumes(decide(seen, ours(*seen), settings_with(), 0.0)) == [SEARCH]


def test_rule_2_queues_not_named_follow_in_the_order_of_immich() -> None:
    seen = snapshot(held("newOne", 1), held("library", 1), held("ocr", 1), held(VIDEO, 1))
    order = []
    state = ours(*seen)
    while any(queue.backlog for queue in seen.values()):
        decision = decide(seen, state, settings_with(), 0.0)
        order += [name for name in resumes(decision) if seen[name].backlog]
        state = decision.state
        seen = {
            name: replace(queue, is_paused=True, paused=0, waiting=0) if name in order else queue
            for name, queue in seen.items()
        }
    assert order == [VIDEO, "newOne", "library", "ocr"]


def test_rule_2_delayed_jobs_are_no_backlog() -> None:
    seen = snapshot(held(METADATA, delayed=5), held(THUMBNAIL, 1))
    assert resumes(decide(seen, ours(*seen), settings_with(), 0.0)) == [THUMBNAIL]


@pytest.mark.parametrize("count", ["waiting", "paused"])
def test_rule_2_a_paused_queues_jobs_are_backlog_in_bullmq_5_and_6(count: str) -> None:
    seen = snapshot(Queue(THUMBNAIL, is_paused=True, **{count: 3}))
    assert resumes(decide(seen, ours(THUMBNAIL), settings_with(), 0.0)) == [THUMBNAIL]


# 3. No interruption


def test_rule_3_a_higher_priority_waits_until_the_slot_is_free() -> None:
    seen = snapshot(held(METADATA, 50), opened(VIDEO, active=1, waiting=2))
    decision = decide(seen, ours(METADATA, slots=(VIDEO,)), settings_with(), 0.0)
    assert decision.commands == ()
    assert decision.reasons == {METADATA: Reason.WAITING, VIDEO: Reason.RUNNING}


@pytest.mark.parametrize(("active", "waiting"), [(1, 0), (0, 1)])
def test_rule_3_active_or_backlog_alone_keeps_the_slot(active: int, waiting: int) -> None:
    seen = snapshot(held(METADATA, 50), opened(VIDEO, active, waiting))
    assert decide(seen, ours(METADATA, slots=(VIDEO,)), settings_with(), 0.0).commands == ()


def test_rule_3_a_drained_queue_hands_over() -> None:
    seen = snapshot(held(METADATA, 50), opened(VIDEO))
    sent, _, decision = whole_round(seen, ours(METADATA, slots=(VIDEO,)), settings_with())
    assert sent == [Command(Action.PAUSE, VIDEO), Command(Action.RESUME, METADATA)]
    assert decision.state.slots == (METADATA,)
    assert decision.state.paused_by_daemon == {VIDEO}


def test_rule_3_a_momentary_zero_between_two_jobs_is_resumed_at_once() -> None:
    def work_came(command: Command, queue: Queue) -> Queue:
        answer = obey(command, queue)
        return replace(answer, paused=3) if command == Command(Action.PAUSE, VIDEO) else answer

    seen = snapshot(held(METADATA, 50), opened(VIDEO))
    sent, after, decision = whole_round(
        seen, ours(METADATA, slots=(VIDEO,)), settings_with(), answer=work_came
    )
    assert sent == [Command(Action.PAUSE, VIDEO), Command(Action.RESUME, VIDEO)]
    assert decision.state.slots == (VIDEO,)
    assert after[METADATA].is_paused


# 4. Spare slots


def test_rule_4_two_queues_with_work_run_when_the_limit_is_two() -> None:
    seen = snapshot(opened(METADATA, 5, 20), held(THUMBNAIL, 3), held(SEARCH, 3))
    sent, _, decision = whole_round(
        seen, ours(THUMBNAIL, SEARCH, slots=(METADATA,)), settings_with(2)
    )
    assert sent == [Command(Action.RESUME, THUMBNAIL)]
    assert decision.reasons[SEARCH] is Reason.WAITING


# 5. Over the limit


def test_rule_5_on_a_busy_server_the_best_by_priority_go_on_and_the_rest_drains() -> None:
    seen = snapshot(opened(VIDEO, 1, 9), opened(SEARCH, 2, 9), opened(THUMBNAIL, 3), opened("ocr"))
    sent, after, decision = whole_round(seen, SchedulerState(), settings_with(2))
    assert {c.queue for c in sent} == {VIDEO, "ocr"}
    assert all(command.action is Action.PAUSE for command in sent)
    assert decision.reasons == {
        VIDEO: Reason.DRAINING,
        SEARCH: Reason.RUNNING,
        THUMBNAIL: Reason.RUNNING,
        "ocr": Reason.IDLE,
    }
    # Thumbnails are done, but video conversion still runs: two of two slots are occupied.
    seen = {**after, THUMBNAIL: opened(THUMBNAIL), METADATA: held(METADATA, 5)}
    state = replace(decision.state, paused_by_daemon=decision.state.paused_by_daemon | {METADATA})
    sent, after, decision = whole_round(seen, state, settings_with(2))
    assert sent == [Command(Action.PAUSE, THUMBNAIL)]
    # Now it is back within the limit.
    sent, _, _ = whole_round({**after, VIDEO: held(VIDEO, 9)}, decision.state, settings_with(2))
    assert sent == [Command(Action.RESUME, METADATA)]


def test_rule_5_over_the_limit_a_queue_that_was_not_drained_after_all_waits_as_well() -> None:
    """Resumed, it would start new jobs while too many queues run."""

    def work_came(command: Command, queue: Queue) -> Queue:
        answer = obey(command, queue)
        is_pause = command.action is Action.PAUSE
        return replace(answer, active=1, paused=3) if is_pause else answer

    faces = "faceDetection"
    seen = snapshot(
        opened(THUMBNAIL, 1),
        opened(SEARCH),
        opened(faces),
        held(VIDEO, 5, active=1),
        held("ocr", 5),
    )
    state = ours(VIDEO, "ocr", slots=(THUMBNAIL, SEARCH, faces))
    sent, after, decision = whole_round(seen, state, settings_with(3), answer=work_came)
    assert sent == [Command(Action.PAUSE, SEARCH), Command(Action.PAUSE, faces)]
    assert sum(queue.is_busy for queue in after.values()) == 4
    # One of the four is done: the three that still run go on.
    sent, _, _ = whole_round({**after, VIDEO: held(VIDEO, 5)}, decision.state, settings_with(3))
    assert sent == [Command(Action.RESUME, faces), Command(Action.RESUME, SEARCH)]


def test_rule_5_who_has_a_slot_is_first_among_the_busy() -> None:
    seen = snapshot(opened(METADATA, 5, 5), opened(VIDEO, 1, 5))
    sent, _, decision = whole_round(seen, ours(METADATA, slots=(VIDEO,)), settings_with())
    assert sent == [Command(Action.PAUSE, METADATA)]
    assert decision.state.slots == (VIDEO,)


def test_rule_5_a_lower_limit_keeps_the_best_of_the_busy() -> None:
    seen = snapshot(opened(METADATA, 0, 5), opened(SEARCH, 1, 5), opened(VIDEO, 1, 5))
    _, _, decision = whole_round(seen, ours(slots=(VIDEO, METADATA, SEARCH)), settings_with(1))
    assert decision.state.slots == (SEARCH,)
    assert decision.reasons[VIDEO] is Reason.DRAINING
    assert decision.reasons[METADATA] is Reason.WAITING


# 6. Lent slots


def test_rule_6_the_spare_slot_rests_where_uploads_enter() -> None:
    seen = snapshot(*(held(name) for name in PRIORITY))
    sent, _, decision = whole_round(seen, ours(*seen), settings_with())
    assert sent == [Command(Action.RESUME, METADATA)]
    assert decision.reasons[METADATA] is Reason.LENT
    assert set(decision.reasons.values()) == {Reason.LENT, Reason.IDLE}


@pytest.mark.parametrize("limit", [1, 2])
def test_rule_6_every_held_queue_gets_its_turn_within_15_minutes(limit: int) -> None:
    names = (*PRIORITY, "ocr", "library", "migration", "integrityCheck")
    seen = snapshot(*(held(name) for name in names))
    state = ours(*names)
    now = 0.0
    last_open = dict.fromkeys(names, 0.0)
    while now < 7200:
        _, seen, decision = whole_round(seen, state, settings_with(limit), now)
        state = decision.state
        assert sum(not queue.is_paused for queue in seen.values()) <= limit
        for queue in seen.values():
            if not queue.is_paused:
                last_open[queue.name] = now
            assert now - last_open[queue.name] <= 900, queue.name
        now += 10.0  # the default POLL_INTERVAL, the slowest that looks get by default


def test_rule_6_a_queue_that_becomes_busy_in_its_turn_keeps_the_slot() -> None:
    seen = snapshot(opened("library", active=1), held(METADATA, 5))
    decision = decide(seen, ours(METADATA, lent={"library": 0.0}), settings_with(), LENT_FOR + 1)
    assert decision.commands == ()
    assert decision.state.slots == ("library",)
    assert decision.reasons["library"] is Reason.RUNNING


def test_rule_6_work_found_by_the_pause_that_ends_the_turn_keeps_the_slot() -> None:
    def hidden(command: Command, queue: Queue) -> Queue:
        answer = obey(command, queue)
        return replace(answer, active=1) if command == Command(Action.PAUSE, "library") else answer

    seen = snapshot(opened("library"), held(METADATA))
    sent, _, decision = whole_round(
        seen, ours(METADATA, lent={"library": 0.0}), settings_with(), LENT_FOR, hidden
    )
    assert sent == [Command(Action.PAUSE, "library"), Command(Action.RESUME, "library")]
    assert decision.state.slots == ("library",)


def test_rule_6_a_lent_slot_is_given_back_to_a_queue_with_work() -> None:
    seen = snapshot(opened(METADATA), held(VIDEO, 1))
    sent, _, _ = whole_round(seen, ours(VIDEO, lent={METADATA: 0.0}), settings_with(), 0.5)
    assert sent == [Command(Action.PAUSE, METADATA), Command(Action.RESUME, VIDEO)]


def test_rule_6_the_decision_says_when_the_turn_is_over() -> None:
    seen = snapshot(*(held(name) for name in PRIORITY))
    _, seen, decision = whole_round(seen, ours(*seen), settings_with(), 5.0)
    assert decision.wake_at == 5.0 + LEND_EVERY
    _, _, decision = whole_round(seen, decision.state, settings_with(), decision.wake_at)
    assert decision.wake_at == 5.0 + LEND_EVERY + LENT_FOR


# 7. Somebody else's pause


def test_rule_7_at_the_first_start_every_paused_queue_is_taken_over() -> None:
    seen = snapshot(held(METADATA), held(THUMBNAIL, 5), opened(VIDEO))
    _, _, decision = whole_round(seen, SchedulerState(), settings_with())
    assert decision.state.paused_by_others == frozenset()
    assert decision.state.slots == (THUMBNAIL,)


def test_rule_7_a_pause_of_somebody_else_stays() -> None:
    seen = snapshot(held(THUMBNAIL, 500), held(VIDEO, 5))
    sent, _, decision = whole_round(seen, ours(VIDEO), settings_with(2))
    assert sent == [Command(Action.RESUME, VIDEO)]
    assert decision.reasons[THUMBNAIL] is Reason.PAUSED_BY_OTHERS
    assert THUMBNAIL not in decision.state.paused_by_daemon


def test_rule_7_pausing_a_running_queue_by_hand_takes_its_slot() -> None:
    seen = snapshot(held(THUMBNAIL, 500), held(VIDEO, 5))
    sent, _, decision = whole_round(seen, ours(VIDEO, slots=(THUMBNAIL,)), settings_with())
    assert sent == [Command(Action.RESUME, VIDEO)]
    assert decision.state.paused_by_others == {THUMBNAIL}


def test_rule_7_a_queue_resumed_by_somebody_gets_a_slot_before_those_that_wait() -> None:
    seen = snapshot(held(METADATA, 9), opened(SEARCH, 1, 9), opened("ocr", 0, 9))
    state = ours(METADATA, "ocr", slots=(SEARCH,))
    sent, seen, decision = whole_round(seen, state, settings_with())
    assert sent == [Command(Action.PAUSE, "ocr")]
    assert decision.state.wanted == {"ocr"}
    sent, _, decision = whole_round(
        {**seen, SEARCH: opened(SEARCH)}, decision.state, settings_with()
    )
    assert sent == [Command(Action.PAUSE, SEARCH), Command(Action.RESUME, "ocr")]
    assert decision.state.wanted == frozenset()


def test_rule_7_a_queue_resumed_by_somebody_just_goes_on_where_a_slot_is_free() -> None:
    seen = snapshot(held(METADATA, 9), opened("ocr", 0, 9))
    sent, _, decision = whole_round(seen, ours(METADATA, "ocr"), settings_with())
    assert sent == []
    assert decision.state.slots == ("ocr",)


def test_rule_7_an_empty_queue_resumed_by_somebody_gets_the_next_turn() -> None:
    seen = snapshot(opened(METADATA), opened("library"), held(VIDEO))
    state = ours("library", VIDEO, lent={METADATA: 0.0})
    _, _, decision = whole_round(seen, state, settings_with(), 1.0)
    assert decision.reasons["library"] is Reason.LENT


def test_rule_7_somebody_elses_pause_ends_when_somebody_resumes_it() -> None:
    seen = snapshot(opened(THUMBNAIL, 1, 5))
    state = replace(KNOWN, paused_by_others=frozenset({THUMBNAIL}))
    _, _, decision = whole_round(seen, state, settings_with())
    assert decision.state.paused_by_others == frozenset()
    assert decision.reasons[THUMBNAIL] is Reason.RUNNING


def test_rule_7_a_queue_that_immich_reopened_at_its_start_is_held_again() -> None:
    seen = snapshot(opened(METADATA, 0, 4), opened(SEARCH, 1, 9), held(THUMBNAIL, 3))
    state = after_failure(ours(METADATA, THUMBNAIL, slots=(SEARCH,)))
    sent, seen, decision = whole_round(seen, state, settings_with())
    assert sent == [Command(Action.PAUSE, METADATA)]
    assert decision.state.wanted == frozenset()


def test_rule_7_what_is_held_and_becomes_protected_is_given_back() -> None:
    seen = snapshot(held("library", 3), opened(SEARCH, 1))
    limits = settings_with(protected_queues=frozenset({"library"}))
    sent, _, decision = whole_round(seen, ours("library", slots=(SEARCH,)), limits)
    assert sent == [Command(Action.RESUME, "library")]
    assert "library" not in decision.state.paused_by_daemon


def test_rule_7_a_protected_queue_that_somebody_paused_is_not_touched() -> None:
    seen = snapshot(held("backupDatabase", 3), held(METADATA))
    for state in (SchedulerState(), KNOWN):
        sent, _, decision = whole_round(seen, state, settings_with())
        assert "backupDatabase" not in {command.queue for command in sent}
        assert decision.reasons["backupDatabase"] is Reason.PROTECTED


def test_rule_7_a_pause_that_takes_effect_late_is_not_somebody_elses() -> None:
    state = after_unconfirmed_pause(ours(slots=(THUMBNAIL,)), THUMBNAIL, 0.0)
    working = decide(snapshot(opened(THUMBNAIL, 1, 3)), state, settings_with(), 10.0).state
    late = decide(snapshot(held(THUMBNAIL, 2)), working, settings_with(), 20.0)
    assert resumes(late) == [THUMBNAIL]
    much_later = decide(
        snapshot(held(THUMBNAIL, 2)),
        replace(working, paused_by_daemon=frozenset()),
        settings_with(),
        100.0,
    )
    assert much_later.reasons[THUMBNAIL] is Reason.PAUSED_BY_OTHERS


# 8. What Immich reports is believed


def test_rule_8_a_lost_resume_is_sent_again() -> None:
    seen = snapshot(held(THUMBNAIL, 5))
    first = decide(seen, ours(THUMBNAIL), settings_with(), 0.0)
    again = decide(seen, after_failure(first.state), settings_with(), 1.0)
    assert resumes(first) == resumes(again) == [THUMBNAIL]


def test_rule_8_a_lost_pause_is_sent_again_and_is_nobodys_wish() -> None:
    seen = snapshot(opened(VIDEO, 1, 1), opened("ocr", 0, 4))
    first = decide(seen, replace(KNOWN, slots=(VIDEO,)), settings_with(), 0.0)
    again = decide(seen, after_unconfirmed_pause(first.state, "ocr", 0.0), settings_with(), 1.0)
    assert pauses(first) == pauses(again) == ["ocr"]
    assert again.state.wanted == frozenset()


def test_rule_8_a_queue_that_immich_no_longer_reports_is_forgotten_but_for_the_hold() -> None:
    decision = decide(
        snapshot(held(VIDEO, 1)), ours("gone", VIDEO, slots=("gone",)), settings_with(), 0.0
    )
    assert resumes(decision) == [VIDEO]
    assert "gone" in decision.state.paused_by_daemon


# 9. Refused


def test_rule_9_a_refused_queue_is_left_alone_without_stopping_the_rest() -> None:
    seen = snapshot(opened("odd", 1, 1), opened(VIDEO, 1), opened("ocr", 1), held(METADATA))
    first = decide(seen, SchedulerState(), settings_with(), 0.0)
    assert set(pauses(first)) == {"odd", "ocr"}
    _, _, decision = whole_round(seen, after_refused_pause(first.state, "odd"), settings_with())
    assert decision.reasons["odd"] is Reason.UNPAUSABLE
    assert decision.reasons["ocr"] is Reason.DRAINING
    assert "odd" not in decision.state.paused_by_daemon


# 10. Unrestricted


def test_rule_10_below_the_number_everything_is_open() -> None:
    seen = snapshot(held(METADATA, 3), held(THUMBNAIL), held("backupDatabase"))
    sent, _, decision = whole_round(
        seen, ours(METADATA, THUMBNAIL), settings_with(unrestricted_below=4)
    )
    assert {command.queue for command in sent} == {METADATA, THUMBNAIL}
    assert decision.reasons[THUMBNAIL] is Reason.UNRESTRICTED
    assert decision.state.paused_by_daemon == frozenset()


def test_rule_10_from_the_number_on_the_limit_holds_until_nothing_is_pending() -> None:
    limits = settings_with(unrestricted_below=4)
    seen = snapshot(opened(METADATA, 3), opened(THUMBNAIL, 1))
    _, _, decision = whole_round(seen, KNOWN, limits)
    assert decision.reasons[THUMBNAIL] is Reason.DRAINING
    fewer = snapshot(opened(METADATA, 1), held(THUMBNAIL))
    decision = decide(fewer, decision.state, limits, 1.0)
    assert decision.commands == ()
    nothing = snapshot(opened(METADATA), held(THUMBNAIL))
    sent, _, decision = whole_round(nothing, decision.state, limits, 2.0)
    assert sent == [Command(Action.RESUME, THUMBNAIL)]


def test_rule_10_somebody_elses_pause_stays_and_its_backlog_does_not_hold_the_limit_up() -> None:
    limits = settings_with(unrestricted_below=4)
    state = ours(METADATA, is_limited=True, paused_by_others=frozenset({VIDEO}))
    sent, _, decision = whole_round(snapshot(held(VIDEO, 900), held(METADATA)), state, limits)
    assert sent == [Command(Action.RESUME, METADATA)]
    assert decision.reasons[VIDEO] is Reason.PAUSED_BY_OTHERS


def test_rule_10_is_off_by_default() -> None:
    seen = snapshot(held(METADATA, 1), held(THUMBNAIL, 1))
    assert resumes(decide(seen, ours(*seen), settings_with(), 0.0)) == [METADATA]


# 11. A person's mode


def asked(state: SchedulerState, *changes: Change) -> SchedulerState:
    for change in changes:
        state = after_change(state, change)
    return state


def test_rule_11_open_opens_every_held_queue_and_knows_no_limit() -> None:
    seen = snapshot(held(METADATA, 5), held(THUMBNAIL), held(SEARCH, 9), opened(VIDEO, 1, 3))
    state = asked(ours(METADATA, THUMBNAIL, SEARCH, slots=(VIDEO,)), SetMode(Mode.OPEN))
    sent, after, decision = whole_round(seen, state, settings_with())
    assert [command.queue for command in sent] == [METADATA, SEARCH, THUMBNAIL]
    assert not any(queue.is_paused for queue in after.values())
    assert set(decision.reasons.values()) == {Reason.UNRESTRICTED}
    assert decision.state.paused_by_daemon == frozenset(), "the answers have shown them open"


def test_rule_11_open_goes_before_a_hold_and_leaves_somebody_elses_pause() -> None:
    seen = snapshot(held(METADATA, 5), held(SEARCH, 5))
    state = ours(METADATA, paused_by_others=frozenset({SEARCH}))
    state = asked(state, SetQueue(METADATA, Override.HELD), SetMode(Mode.OPEN))
    sent, after, decision = whole_round(seen, state, settings_with())
    assert sent == [Command(Action.RESUME, METADATA)]
    assert after[SEARCH].is_paused
    assert decision.reasons[SEARCH] is Reason.PAUSED_BY_OTHERS
    back = asked(decision.state, SetMode(Mode.AUTOMATIC))
    sent, after, decision = whole_round(after, back, settings_with())
    assert sent == [Command(Action.PAUSE, METADATA)], "the hold was not forgotten"
    assert decision.reasons[METADATA] is Reason.HELD_BY_USER


def test_rule_11_after_open_the_limit_holds_again() -> None:
    seen = snapshot(opened(METADATA, 1, 5), opened(SEARCH, 1, 5), opened(VIDEO, 1, 5))
    sent, _, decision = whole_round(seen, KNOWN, settings_with())
    assert {command.queue for command in sent} == {SEARCH, VIDEO}
    assert decision.state.slots == (METADATA,)


def test_rule_11_held_pauses_all_and_starts_nothing() -> None:
    seen = snapshot(opened(METADATA), opened(THUMBNAIL, 2, 5), held(SEARCH, 9))
    state = ours(SEARCH, slots=(THUMBNAIL,), lent={METADATA: 0.0})
    sent, after, decision = whole_round(seen, asked(state, SetMode(Mode.HELD)), settings_with(3))
    assert {command.queue for command in sent} == {METADATA, THUMBNAIL}
    assert all(queue.is_paused for queue in after.values())
    assert decision.reasons == {
        METADATA: Reason.HELD_BY_USER,
        THUMBNAIL: Reason.DRAINING,
        SEARCH: Reason.HELD_BY_USER,
    }


def test_rule_11_held_lends_no_turn_and_a_resume_in_immich_is_taken_back() -> None:
    seen = snapshot(held(METADATA), held("library"), opened(SEARCH, 1, 5))
    state = asked(ours(METADATA, "library", SEARCH), SetMode(Mode.HELD))
    sent, _, decision = whole_round(seen, state, settings_with(), 10 * LEND_EVERY)
    assert sent == [Command(Action.PAUSE, SEARCH)]
    assert decision.state.wanted == {SEARCH}, "it is next when the hold is over"


def test_rule_11_protected_queues_are_touched_by_no_mode() -> None:
    seen = snapshot(opened("backgroundTask", 1), held("backupDatabase", 1))
    for mode in Mode:
        assert decide(seen, asked(KNOWN, SetMode(mode)), settings_with(), 0.0).commands == ()


# 12. A person's hold on a queue


def test_rule_12_a_hold_takes_the_slot_and_the_next_queue_gets_it_when_all_is_finished() -> None:
    seen = snapshot(opened(METADATA, 2, 50), held(SEARCH, 5))
    state = asked(ours(SEARCH, slots=(METADATA,)), SetQueue(METADATA, Override.HELD))
    sent, after, decision = whole_round(seen, state, settings_with())
    assert sent == [Command(Action.PAUSE, METADATA)], "its active jobs occupy the slot"
    assert decision.reasons[METADATA] is Reason.DRAINING
    finished = {**after, METADATA: held(METADATA, 50)}
    sent, _, decision = whole_round(finished, decision.state, settings_with())
    assert sent == [Command(Action.RESUME, SEARCH)]
    assert decision.reasons[METADATA] is Reason.HELD_BY_USER


def test_rule_12_a_held_queue_gets_neither_a_slot_nor_a_turn() -> None:
    seen = snapshot(held(METADATA, 5), held("library"))
    state = ours(METADATA, "library", last_open={"library": 0.0})
    state = asked(state, SetQueue(METADATA, Override.HELD), SetQueue("library", Override.HELD))
    assert decide(seen, state, settings_with(), 10 * LEND_EVERY).commands == ()


def test_rule_12_a_hold_holds_below_the_number_as_well() -> None:
    seen = snapshot(opened(METADATA, 1, 5), held(SEARCH, 2))
    state = asked(ours(SEARCH), SetQueue(METADATA, Override.HELD))
    sent, after, decision = whole_round(seen, state, settings_with(unrestricted_below=100))
    assert sent == [Command(Action.PAUSE, METADATA), Command(Action.RESUME, SEARCH)]
    assert after[METADATA].is_paused
    assert decision.reasons[SEARCH] is Reason.UNRESTRICTED


def test_rule_12_what_is_held_by_a_person_does_not_bring_the_limit_back() -> None:
    seen = snapshot(held(METADATA, 500), held(SEARCH, 2))
    state = asked(ours(METADATA, SEARCH), SetQueue(METADATA, Override.HELD))
    sent, _, _ = whole_round(seen, state, settings_with(unrestricted_below=100))
    assert sent == [Command(Action.RESUME, SEARCH)]


def test_rule_12_who_resumes_the_queue_in_immich_lifts_the_hold() -> None:
    seen = snapshot(opened(METADATA, 1, 5), held(SEARCH, 2))
    state = asked(ours(METADATA, SEARCH), SetQueue(METADATA, Override.HELD))
    _, _, decision = whole_round(seen, state, settings_with())
    assert decision.reasons[METADATA] is Reason.RUNNING
    assert decision.state.controls.held_by_user == frozenset()


def test_rule_12_immichs_own_start_lifts_no_hold() -> None:
    seen = snapshot(opened(METADATA))
    state = after_failure(asked(ours(METADATA), SetQueue(METADATA, Override.HELD)))
    sent, _, decision = whole_round(seen, state, settings_with())
    assert sent == [Command(Action.PAUSE, METADATA)]
    assert decision.state.controls.held_by_user == {METADATA}


def test_rule_12_back_to_automatic_it_waits_as_any_other() -> None:
    seen = snapshot(held(METADATA, 5))
    state = asked(
        ours(METADATA), SetQueue(METADATA, Override.HELD), SetQueue(METADATA, Override.AUTOMATIC)
    )
    assert resumes(decide(seen, state, settings_with(), 0.0)) == [METADATA]


# 13. A queue that a person wants next


def test_rule_13_who_is_wanted_next_goes_before_priority_and_interrupts_nothing() -> None:
    seen = snapshot(opened(METADATA, 1, 5), held(THUMBNAIL, 5), held(VIDEO, 5))
    state = asked(ours(THUMBNAIL, VIDEO, slots=(METADATA,)), SetQueue(VIDEO, Override.NEXT))
    decision = decide(seen, state, settings_with(), 0.0)
    assert decision.commands == ()
    drained = {**seen, METADATA: opened(METADATA)}
    sent, _, decision = whole_round(drained, decision.state, settings_with())
    assert sent == [Command(Action.PAUSE, METADATA), Command(Action.RESUME, VIDEO)]
    assert decision.state.wanted == frozenset(), "it has what it was wanted for"


def test_rule_13_it_waits_for_work_if_there_is_none() -> None:
    seen = snapshot(held(THUMBNAIL), held(VIDEO))
    state = asked(ours(THUMBNAIL, VIDEO), SetQueue(VIDEO, Override.NEXT))
    decision = decide(seen, state, settings_with(), 0.0)
    assert decision.state.wanted == {VIDEO}
    later = snapshot(held(THUMBNAIL, 5), held(VIDEO, 1))
    assert resumes(decide(later, decision.state, settings_with(), 1.0)) == [VIDEO]


def test_rule_13_it_speaks_for_whoever_paused_the_queue() -> None:
    seen = snapshot(held(THUMBNAIL, 5), held(VIDEO, 5))
    state = ours(THUMBNAIL, paused_by_others=frozenset({VIDEO}))
    assert resumes(decide(seen, state, settings_with(), 0.0)) == [THUMBNAIL]
    state = asked(state, SetQueue(VIDEO, Override.NEXT))
    assert resumes(decide(seen, state, settings_with(), 0.0)) == [VIDEO]
    undone = asked(state, SetQueue(VIDEO, Override.HELD))
    decision = decide(seen, undone, settings_with(), 0.0)
    assert resumes(decision) == [THUMBNAIL]
    assert decision.reasons[VIDEO] is Reason.HELD_BY_USER, "paused, as it was found"


# 14. A person's limit


def test_rule_14_a_higher_limit_opens_more_at_once() -> None:
    seen = snapshot(opened(METADATA, 1, 5), held(THUMBNAIL, 5), held(VIDEO, 5))
    state = asked(ours(THUMBNAIL, VIDEO, slots=(METADATA,)), SetLimit(2))
    assert resumes(decide(seen, state, settings_with(1), 0.0)) == [THUMBNAIL]


def test_rule_14_a_lower_limit_lets_the_best_go_on() -> None:
    seen = snapshot(opened(METADATA, 1, 5), opened(THUMBNAIL, 1, 5))
    state = asked(ours(slots=(THUMBNAIL, METADATA)), SetLimit(1))
    sent, _, decision = whole_round(seen, state, settings_with(2))
    assert sent == [Command(Action.PAUSE, THUMBNAIL)]
    assert decision.reasons[THUMBNAIL] is Reason.DRAINING
    back = asked(decision.state, SetLimit(None))
    seen = {**seen, THUMBNAIL: held(THUMBNAIL, 5)}
    assert resumes(decide(seen, back, settings_with(2), 0.0)) == [THUMBNAIL]


# 15. Windows

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Window(frozenset({VIDEO, SEARCH}), time(22), time(6))


def at(clock: str, day: int = 24) -> Conditions:
    hour, minute = map(int, clock.split(":"))
    return Conditions(local=datetime(2026, 11, day, hour, minute, tzinfo=BERLIN))


def test_rule_15_a_queue_runs_inside_its_window_only() -> None:
    seen = snapshot(held(SEARCH, 5), held(VIDEO, 5))
    limits = settings_with(schedule=(NIGHT,))
    noon = decide(seen, ours(SEARCH, VIDEO), limits, 0.0, at("12:00"))
    assert noon.commands == ()
    assert noon.reasons == dict.fromkeys((SEARCH, VIDEO), Reason.OUTSIDE_WINDOW)
    assert noon.opens_at[VIDEO] == datetime(2026, 11, 24, 22, tzinfo=BERLIN)
    assert noon.wake_at == 10 * 3600.0
    night = decide(seen, ours(SEARCH, VIDEO), limits, 0.0, at("22:00"))
    assert resumes(night) == [SEARCH]
    assert night.opens_at == {}


def test_rule_15_a_queue_in_no_window_runs_always() -> None:
    seen = snapshot(held(THUMBNAIL, 5), held(VIDEO, 5))
    decision = decide(
        seen, ours(THUMBNAIL, VIDEO), settings_with(schedule=(NIGHT,)), 0.0, at("12:00")
    )
    assert resumes(decision) == [THUMBNAIL]


def test_rule_15_when_the_window_closes_active_jobs_finish_and_nothing_new_starts() -> None:
    seen = snapshot(opened(VIDEO, 1, 5), held(THUMBNAIL, 3))
    limits = settings_with(schedule=(NIGHT,))
    sent, after, decision = whole_round(
        seen, ours(THUMBNAIL, slots=(VIDEO,)), limits, conditions=at("06:00")
    )
    assert sent == [Command(Action.PAUSE, VIDEO)]
    assert decision.reasons[VIDEO] is Reason.DRAINING
    done = {**after, VIDEO: held(VIDEO, 5)}
    sent, _, decision = whole_round(done, decision.state, limits, conditions=at("06:01"))
    assert sent == [Command(Action.RESUME, THUMBNAIL)]
    assert decision.reasons[VIDEO] is Reason.OUTSIDE_WINDOW


def test_rule_15_a_closed_queue_gets_no_turn_and_a_resume_in_immich_is_taken_back() -> None:
    seen = snapshot(held(METADATA), opened(VIDEO, 1, 5), held(SEARCH))
    state = ours(METADATA, VIDEO, SEARCH, last_open={SEARCH: -LEND_EVERY})
    sent, _, decision = whole_round(
        seen, state, settings_with(2, schedule=(NIGHT,)), conditions=at("12:00")
    )
    assert sent == [Command(Action.PAUSE, VIDEO), Command(Action.RESUME, METADATA)]
    assert decision.state.wanted == {VIDEO}, "it is next when its window opens"


def test_rule_15_windows_hold_below_the_number_as_well() -> None:
    seen = snapshot(held(THUMBNAIL, 2), held(VIDEO, 2))
    limits = settings_with(schedule=(NIGHT,), unrestricted_below=100)
    sent, _, decision = whole_round(seen, ours(THUMBNAIL, VIDEO), limits, conditions=at("12:00"))
    assert sent == [Command(Action.RESUME, THUMBNAIL)]
    assert decision.reasons[VIDEO] is Reason.OUTSIDE_WINDOW


def test_rule_15_who_opens_everything_opens_what_is_closed() -> None:
    seen = snapshot(held(VIDEO, 2))
    state = asked(ours(VIDEO), SetMode(Mode.OPEN))
    decision = decide(seen, state, settings_with(schedule=(NIGHT,)), 0.0, at("12:00"))
    assert resumes(decision) == [VIDEO]


# 16. Exclusive groups

MODELS = frozenset({SEARCH, "faceDetection", "ocr"})


def test_rule_16_of_a_group_one_runs_whatever_the_limit() -> None:
    seen = snapshot(held(SEARCH, 5), held("faceDetection", 5), held("ocr", 5), held(VIDEO, 5))
    limits = settings_with(4, exclusive=(MODELS,))
    sent, after, decision = whole_round(seen, ours(*seen), limits)
    assert {command.queue for command in sent} == {SEARCH, VIDEO}
    assert decision.reasons["ocr"] is Reason.WAITING
    drained = {**after, SEARCH: opened(SEARCH)}
    sent, _, _ = whole_round(drained, decision.state, limits)
    assert sent == [Command(Action.PAUSE, SEARCH), Command(Action.RESUME, "faceDetection")]


def test_rule_16_a_rival_that_still_runs_keeps_the_other_waiting() -> None:
    seen = snapshot(held(SEARCH, 5), held("ocr", 0, active=1))
    limits = settings_with(4, exclusive=(MODELS,))
    sent, _, decision = whole_round(seen, ours(SEARCH, "ocr"), limits)
    assert sent == []
    assert decision.reasons[SEARCH] is Reason.WAITING


def test_rule_16_a_turn_is_lent_beside_no_rival_and_ends_for_one_with_work() -> None:
    limits = settings_with(2, exclusive=(MODELS,))
    seen = snapshot(opened(SEARCH, 1, 5), held("ocr"), held("library"))
    state = ours("ocr", "library", slots=(SEARCH,), last_open={"ocr": -900.0, "library": -800.0})
    sent, _, _ = whole_round(seen, state, limits)
    assert sent == [Command(Action.RESUME, "library")]
    seen = snapshot(held(SEARCH, 5), opened("ocr"))
    sent, _, _ = whole_round(seen, ours(SEARCH, lent={"ocr": 0.0}), limits)
    assert sent == [Command(Action.PAUSE, "ocr"), Command(Action.RESUME, SEARCH)]


def test_rule_16_two_of_a_group_that_run_already_become_one() -> None:
    seen = snapshot(opened(SEARCH, 1, 5), opened("ocr", 1, 5))
    sent, _, decision = whole_round(
        seen, ours(slots=("ocr", SEARCH)), settings_with(4, exclusive=(MODELS,))
    )
    assert sent == [Command(Action.PAUSE, "ocr")]
    assert decision.state.slots == (SEARCH,)


def test_rule_16_a_group_holds_below_the_number_as_well() -> None:
    seen = snapshot(held(SEARCH, 2), held("ocr", 2), held("library"))
    limits = settings_with(1, exclusive=(MODELS,), unrestricted_below=100)
    sent, _, decision = whole_round(seen, ours(*seen), limits)
    assert [command.queue for command in sent] == [SEARCH, "library"]
    assert decision.reasons["ocr"] is Reason.WAITING


# 17. Who has had the slot for long lets others go first


def test_rule_17_after_the_time_a_queue_of_higher_priority_goes_first() -> None:
    seen = snapshot(held(METADATA, 1), opened(SEARCH, 2, 900), held(VIDEO, 5))
    state = ours(METADATA, VIDEO, slots=(SEARCH,), slot_since={SEARCH: 0.0})
    limits = settings_with(yield_after=60.0)
    assert decide(seen, state, limits, 59.0).commands == ()
    sent, after, decision = whole_round(seen, state, limits, 60.0)
    assert sent == [Command(Action.PAUSE, SEARCH)], "what is active is not cut short"
    done = {**after, SEARCH: held(SEARCH, 900)}
    sent, after, decision = whole_round(done, decision.state, limits, 60.3)
    assert sent == [Command(Action.RESUME, METADATA)]
    drained = {**after, METADATA: opened(METADATA)}
    sent, _, decision = whole_round(drained, decision.state, limits, 61.0)
    assert sent == [Command(Action.PAUSE, METADATA), Command(Action.RESUME, SEARCH)]


def test_rule_17_one_of_lower_priority_waits() -> None:
    seen = snapshot(opened(SEARCH, 2, 900), held(VIDEO, 5))
    state = ours(VIDEO, slots=(SEARCH,), slot_since={SEARCH: 0.0})
    assert decide(seen, state, settings_with(yield_after=60.0), 1e6).commands == ()


def test_rule_17_without_the_setting_nobody_is_interrupted() -> None:
    seen = snapshot(held(METADATA, 1), opened(SEARCH, 2, 900))
    state = ours(METADATA, slots=(SEARCH,), slot_since={SEARCH: 0.0})
    assert decide(seen, state, settings_with(), 1e6).commands == ()


def test_rule_17_what_comes_right_after_goes_first_as_well() -> None:
    seen = snapshot(held(THUMBNAIL, 1), opened(SEARCH, 2, 900))
    state = ours(THUMBNAIL, slots=(SEARCH,), slot_since={SEARCH: 100.0})
    back = replace(state, yielded=frozenset({SEARCH}))
    limits = settings_with(yield_after=60.0)
    assert pauses(decide(seen, back, limits, 101.0)) == [SEARCH]
    later = decide(seen, back, limits, 100.0 + YIELDS_AGAIN_WITHIN)
    assert later.commands == ()
    assert later.state.yielded == frozenset()
    assert decide(seen, state, limits, 101.0).commands == (), "it has let nobody go first yet"


def test_rule_17_a_free_slot_is_taken_before_anybody_yields() -> None:
    seen = snapshot(held(METADATA, 1), opened(SEARCH, 2, 900))
    state = ours(METADATA, slots=(SEARCH,), slot_since={SEARCH: 0.0})
    sent, _, _ = whole_round(seen, state, settings_with(2, yield_after=60.0), 1000.0)
    assert sent == [Command(Action.RESUME, METADATA)]


def test_rule_17_a_rival_of_higher_priority_is_let_go_first() -> None:
    seen = snapshot(held(SEARCH, 1), opened("ocr", 1, 900))
    state = ours(SEARCH, slots=("ocr",), slot_since={"ocr": 0.0})
    limits = settings_with(4, exclusive=(MODELS,), yield_after=60.0)
    assert pauses(decide(seen, state, limits, 61.0)) == ["ocr"]


# 18. Nobody waits for longer than MAX_WAIT


def lives(
    limits: Settings, seen: Snapshot, state: SchedulerState, seconds: int
) -> dict[str, list[int]]:
    """Let queues that are never drained run; return at which seconds each of them had a slot."""
    ran: dict[str, list[int]] = {name: [] for name in seen}
    for now in range(seconds):
        _, after, decision = whole_round(seen, state, limits, float(now))
        state = decision.state
        for name, queue in after.items():
            if not queue.is_paused:
                ran[name].append(now)
        seen = {
            name: replace(queue, active=0 if queue.is_paused else 1)
            for name, queue in after.items()
        }
    return ran


@pytest.mark.parametrize("limit", [1, 2])
def test_rule_18_every_queue_with_work_has_a_turn_within_the_time(limit: int) -> None:
    names = (METADATA, THUMBNAIL, SEARCH, VIDEO, "ocr")
    seen = snapshot(*(held(name, 10_000) for name in names))
    ran = lives(settings_with(limit, max_wait=600.0), seen, ours(*names), 4000)
    for name, seconds in ran.items():
        waits = [later - earlier for earlier, later in pairwise([0, *seconds, 4000])]
        assert max(waits) <= 600 + 5, name


def test_rule_18_without_the_setting_the_last_by_priority_waits_for_ever() -> None:
    seen = snapshot(held(METADATA, 10_000), held(VIDEO, 10_000))
    assert lives(settings_with(), seen, ours(METADATA, VIDEO), 2000)[VIDEO] == []


def test_rule_18_who_may_not_run_does_not_wait() -> None:
    seen = snapshot(opened(METADATA, 1, 500), held(VIDEO, 5))
    state = ours(VIDEO, slots=(METADATA,), slot_since={METADATA: 0.0}, waiting_since={VIDEO: 0.0})
    limits = settings_with(max_wait=60.0, schedule=(NIGHT,))
    decision = decide(seen, state, limits, 1000.0, at("12:00"))
    assert decision.commands == ()
    assert VIDEO not in decision.state.waiting_since
    assert pauses(decide(seen, state, limits, 1000.0, at("23:00"))) == [METADATA]


# 19. Load


def test_rule_19_on_a_busy_machine_nothing_is_started_and_what_runs_finishes() -> None:
    seen = snapshot(opened(METADATA, 2, 5), held(SEARCH, 5))
    state = ours(SEARCH, slots=(METADATA,))
    busy = Conditions(is_loaded=True)
    sent, after, decision = whole_round(seen, state, settings_with(), conditions=busy)
    assert sent == [Command(Action.PAUSE, METADATA)]
    assert decision.reasons == {METADATA: Reason.DRAINING, SEARCH: Reason.HIGH_LOAD}
    done = {**after, METADATA: held(METADATA, 5)}
    sent, _, decision = whole_round(done, decision.state, settings_with(), conditions=busy)
    assert sent == []
    sent, _, _ = whole_round(done, decision.state, settings_with())
    assert sent == [Command(Action.RESUME, METADATA)]


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        (at("12:00"), Reason.OUTSIDE_WINDOW),
        (Conditions(is_loaded=True), Reason.HIGH_LOAD),
    ],
)
def test_rules_15_and_19_outlive_a_hold_that_somebody_lifts(
    conditions: Conditions, reason: Reason
) -> None:
    seen = snapshot(opened(VIDEO, 0, 5))
    state = asked(ours(VIDEO), SetQueue(VIDEO, Override.HELD))
    sent, _, decision = whole_round(
        seen, state, settings_with(schedule=(NIGHT,)), conditions=conditions
    )
    assert sent == [Command(Action.PAUSE, VIDEO)]
    assert decision.reasons[VIDEO] is reason
    assert decision.state.controls.held_by_user == frozenset()


# 20. The scan for what is missing

AT_THREE = Scan(Window(None, time(3), time(4)))


def test_rule_20_queues_are_asked_one_after_another_when_nothing_else_is_to_be_done() -> None:
    seen = snapshot(held(METADATA), held(THUMBNAIL), held(SEARCH, 2))
    limits = settings_with(scan=AT_THREE)
    state = ours(METADATA, THUMBNAIL, SEARCH)
    assert resumes(decide(seen, state, limits, 0.0, at("03:00"))) == [SEARCH]
    running = {**seen, SEARCH: opened(SEARCH, 1)}
    state = ours(METADATA, THUMBNAIL, slots=(SEARCH,))
    first = decide(running, state, limits, 0.0, at("03:00"))
    assert first.commands == (Command(Action.START, METADATA),)
    assert first.state.scan.asked == {METADATA}
    found = {**running, METADATA: held(METADATA, 1)}
    assert decide(found, first.state, limits, 1.0, at("03:01")).commands == ()
    second = decide(running, first.state, limits, 2.0, at("03:02"))
    assert second.commands == (Command(Action.START, THUMBNAIL),)


def test_rule_20_it_is_not_due_at_another_time_and_once_a_day() -> None:
    seen = snapshot(held(METADATA), opened(SEARCH, 1))
    limits = settings_with(scan=AT_THREE)
    state = ours(METADATA, slots=(SEARCH,))
    assert decide(seen, state, limits, 0.0, at("02:59")).commands == ()
    asked_once = decide(seen, state, limits, 0.0, at("03:00")).state
    assert decide(seen, asked_once, limits, 0.0, at("03:30")).commands == ()
    again = decide(seen, asked_once, limits, 0.0, at("03:00", day=25))
    assert again.commands == (Command(Action.START, METADATA),)


def test_rule_20_who_may_not_start_anything_is_not_asked() -> None:
    seen = snapshot(held(METADATA), opened(SEARCH, 1))
    state = asked(ours(METADATA, slots=(SEARCH,)), SetQueue(METADATA, Override.HELD))
    assert decide(seen, state, settings_with(scan=AT_THREE), 0.0, at("03:00")).commands == ()
    state = replace(ours(METADATA, slots=(SEARCH,)), cannot_scan=True)
    assert decide(seen, state, settings_with(scan=AT_THREE), 0.0, at("03:00")).commands == ()


# 21. No war


def test_rule_21_after_three_times_at_most_one_command_a_minute_is_sent() -> None:
    """Another tool resumes a queue the second after each pause."""
    seen = snapshot(opened(METADATA, 1, 900), held(SEARCH, 0, active=0))
    state = ours(SEARCH, slots=(METADATA,))
    sent: list[float] = []
    contested: list[float] = []
    for second in range(1200):
        now = float(second)
        seen = {**seen, SEARCH: opened(SEARCH, 0, 5)}
        commands, after, decision = whole_round(seen, state, settings_with(), now)
        assert {command.queue for command in commands} <= {SEARCH}
        sent += [now] * len(commands)
        contested += [now] if SEARCH in decision.conflicts else []
        seen, state = after, decision.state
    assert contested[0] <= 3.0, "it is noticed"
    assert decision.conflicts == {SEARCH: Interference.RESUMING}
    late = [moment for moment in sent if moment > contested[0]]
    assert len(late) >= 10, "it does not give up either"
    assert all(later - earlier >= CONFLICT_BACKOFF for earlier, later in pairwise(late))


def test_rule_21_who_keeps_pausing_is_named_as_well() -> None:
    state = ours()
    for second in range(0, 30, 10):
        running, _, decision = whole_round(
            snapshot(opened(SEARCH, 1, 5)), state, settings_with(), float(second)
        )
        assert running == []
        paused = snapshot(held(SEARCH, 5))
        state = decide(paused, decision.state, settings_with(), second + 5.0).state
    decision = decide(snapshot(held(SEARCH, 5)), state, settings_with(), 40.0)
    assert decision.conflicts == {SEARCH: Interference.PAUSING}
    assert decision.reasons[SEARCH] is Reason.PAUSED_BY_OTHERS


def test_rule_21_a_person_who_resumes_a_queue_now_and_then_is_no_war() -> None:
    state = ours(SEARCH, slots=(METADATA,))
    for number in range(6):
        now = number * CONFLICT_WINDOW / 2
        seen = snapshot(opened(METADATA, 1, 900), opened(SEARCH, 0, 5))
        commands, _, decision = whole_round(seen, state, settings_with(), now)
        assert commands == [Command(Action.PAUSE, SEARCH)]
        assert decision.conflicts == {}
        state = decision.state


def test_rule_21_peace_comes_after_ten_quiet_minutes() -> None:
    times = tuple(ConflictEvent(float(n), Interference.RESUMING) for n in range(3))
    state = ours(SEARCH, slots=(METADATA,), conflicts={SEARCH: times})
    seen = snapshot(opened(METADATA, 1, 900), held(SEARCH, 5))
    assert decide(seen, state, settings_with(), CONFLICT_WINDOW - 1).conflicts == {
        SEARCH: Interference.RESUMING
    }
    assert decide(seen, state, settings_with(), CONFLICT_WINDOW + 2).conflicts == {}


def test_rule_21_immichs_own_start_is_nobodys_doing() -> None:
    state = ours(METADATA, slots=(SEARCH,))
    for now in range(10):
        seen = snapshot(opened(METADATA), opened(SEARCH, 1, 5))
        _, _, decision = whole_round(seen, after_failure(state), settings_with(), float(now))
        assert decision.conflicts == {}
        state = decision.state


def test_rule_10_where_there_is_no_limit_what_is_open_stays_open() -> None:
    seen = snapshot(opened(METADATA), opened(SEARCH, 1), opened(VIDEO, 0, 2), held("ocr"))
    sent, _, decision = whole_round(seen, ours("ocr"), settings_with(unrestricted_below=100))
    assert sent == [Command(Action.RESUME, "ocr")]
    assert set(decision.reasons.values()) == {Reason.UNRESTRICTED}
