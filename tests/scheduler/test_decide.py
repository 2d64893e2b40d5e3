"""Tests of the scheduler's rules, by number."""

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
from immich_job_daemon.scheduler.decide import decide
from immich_job_daemon.scheduler.decision import Command, Conditions, Decision
from immich_job_daemon.scheduler.slots import LEND_EVERY, LENT_FOR, YIELDS_AGAIN_WITHIN
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
TAKEN_OVER = SchedulerState(taken_over=True, had_failure=False)


def paused_queue(name: str, backlog: int = 0, **counts: int) -> Queue:
    return Queue(name, is_paused=True, paused=backlog, **counts)


def open_queue(name: str, active: int = 0, waiting: int = 0) -> Queue:
    return Queue(name, is_paused=False, active=active, waiting=waiting)


def snapshot_of(*queues: Queue) -> Snapshot:
    return {queue.name: queue for queue in queues}


def state_with_paused(*names: str, **changes: object) -> SchedulerState:
    state = replace(TAKEN_OVER, paused_by_daemon=frozenset(names))
    return replace(state, **changes)  # type: ignore[arg-type]


def pauses(decision: Decision) -> list[str]:
    return [c.queue for c in decision.commands if c.action is Action.PAUSE]


def resumes(decision: Decision) -> list[str]:
    return [c.queue for c in decision.commands if c.action is Action.RESUME]


Responder = Callable[[Command, Queue], Queue]


def carry_out(command: Command, queue: Queue) -> Queue:
    """Respond as a server that carries out the command while nothing else happens."""
    ready = queue.backlog
    if command.action is Action.PAUSE:
        return replace(queue, is_paused=True, waiting=0, paused=ready)
    return replace(queue, is_paused=False, waiting=ready, paused=0)


def run_round(  # noqa: PLR0913, PLR0917 - all that a decision depends on
    snapshot: Snapshot,
    state: SchedulerState,
    settings: Settings,
    now: float = 0.0,
    respond: Responder = carry_out,
    conditions: Conditions = Conditions(),  # noqa: B008 - it is frozen
) -> tuple[list[Command], Snapshot, Decision]:
    """Decide and carry out until no command is left, as the loop does.

    Returns:
        all commands, the snapshot after them and the last decision.
    """
    sent: list[Command] = []
    for _ in range(10):
        decision = decide(snapshot, state, settings, now, conditions)
        state = decision.state
        if not decision.commands:
            return sent, snapshot, decision
        for command in decision.commands:
            sent.append(command)
            snapshot = {**snapshot, command.queue: respond(command, snapshot[command.queue])}
    raise AssertionError(f"the commands do not end: {sent}")


# 1. Limit


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_rule_1_no_more_queues_are_open_than_the_limit(limit: int) -> None:
    names = (METADATA, THUMBNAIL, SEARCH, VIDEO)
    _, after, _ = run_round(
        snapshot_of(*(paused_queue(name, 5) for name in names)),
        state_with_paused(*names),
        settings_with(limit),
    )
    assert [q.name for q in after.values() if not q.is_paused] == list(names[:limit])


def test_rule_1_an_empty_open_queue_counts() -> None:
    """Jobs may reach it between the poll and the resume."""
    snapshot = snapshot_of(open_queue(METADATA), paused_queue(THUMBNAIL, 5))
    first = decide(
        snapshot, state_with_paused(THUMBNAIL, lent={METADATA: 0.0}), settings_with(), 1.0
    )
    assert (pauses(first), resumes(first)) == ([METADATA], [])


def test_rule_1_pauses_go_before_resumes() -> None:
    snapshot = snapshot_of(open_queue(METADATA), paused_queue(THUMBNAIL, 5), open_queue(VIDEO))
    first = decide(snapshot, state_with_paused(THUMBNAIL, slots=(METADATA,)), settings_with(2), 0.0)
    assert (pauses(first), resumes(first)) == ([VIDEO], [])


def test_rule_1_nothing_is_resumed_until_a_pause_is_confirmed() -> None:
    snapshot = snapshot_of(open_queue(METADATA), paused_queue(THUMBNAIL, 5))
    state = state_with_paused(THUMBNAIL, slots=(METADATA,))
    for _ in range(3):
        decision = decide(snapshot, state, settings_with(), 0.0)
        assert (pauses(decision), resumes(decision)) == ([METADATA], [])
        state = after_failure(decision.state)


def test_rule_1_a_draining_queue_counts() -> None:
    snapshot = snapshot_of(
        paused_queue(METADATA, 5, active=1), paused_queue(THUMBNAIL, 9), paused_queue(SEARCH, 9)
    )
    settings = settings_with(queue_priority=(THUMBNAIL, METADATA))
    assert decide(snapshot, state_with_paused(*snapshot), settings, 0.0).commands == ()


def test_rule_1_protected_and_unpausable_queues_do_not_count() -> None:
    snapshot = snapshot_of(
        open_queue("backgroundTask", 3), open_queue("library", 2), paused_queue(THUMBNAIL, 5)
    )
    state = state_with_paused(THUMBNAIL, unpausable=frozenset({"library"}))
    assert resumes(decide(snapshot, state, settings_with(), 0.0)) == [THUMBNAIL]


# 2. Priority


def test_rule_2_a_free_slot_goes_to_the_first_queue_by_priority_with_a_backlog() -> None:
    snapshot = snapshot_of(
        paused_queue(VIDEO, 99),
        paused_queue(SEARCH, 1),
        paused_queue(THUMBNAIL),
        paused_queue("ocr", 7),
    )
    assert resumes(decide(snapshot, state_with_paused(*snapshot), settings_with(), 0.0)) == [SEARCH]


def test_rule_2_other_queues_follow_in_the_order_of_immich() -> None:
    snapshot = snapshot_of(
        paused_queue("newOne", 1),
        paused_queue("library", 1),
        paused_queue("ocr", 1),
        paused_queue(VIDEO, 1),
    )
    order = []
    state = state_with_paused(*snapshot)
    while any(queue.backlog for queue in snapshot.values()):
        decision = decide(snapshot, state, settings_with(), 0.0)
        order += [name for name in resumes(decision) if snapshot[name].backlog]
        state = decision.state
        snapshot = {
            name: replace(queue, is_paused=True, paused=0, waiting=0) if name in order else queue
            for name, queue in snapshot.items()
        }
    assert order == [VIDEO, "newOne", "library", "ocr"]


def test_rule_2_delayed_jobs_are_no_backlog() -> None:
    snapshot = snapshot_of(paused_queue(METADATA, delayed=5), paused_queue(THUMBNAIL, 1))
    assert resumes(decide(snapshot, state_with_paused(*snapshot), settings_with(), 0.0)) == [
        THUMBNAIL
    ]


@pytest.mark.parametrize("count", ["waiting", "paused"])
def test_rule_2_the_jobs_of_a_paused_queue_are_its_backlog_in_bullmq_5_and_6(count: str) -> None:
    snapshot = snapshot_of(Queue(THUMBNAIL, is_paused=True, **{count: 3}))
    assert resumes(decide(snapshot, state_with_paused(THUMBNAIL), settings_with(), 0.0)) == [
        THUMBNAIL
    ]


# 3. No interruption


def test_rule_3_a_queue_of_higher_priority_waits_until_the_slot_is_free() -> None:
    snapshot = snapshot_of(paused_queue(METADATA, 50), open_queue(VIDEO, active=1, waiting=2))
    decision = decide(snapshot, state_with_paused(METADATA, slots=(VIDEO,)), settings_with(), 0.0)
    assert decision.commands == ()
    assert decision.reasons == {METADATA: Reason.WAITING, VIDEO: Reason.RUNNING}


@pytest.mark.parametrize(("active", "waiting"), [(1, 0), (0, 1)])
def test_rule_3_active_jobs_or_a_backlog_keep_the_slot(active: int, waiting: int) -> None:
    snapshot = snapshot_of(paused_queue(METADATA, 50), open_queue(VIDEO, active, waiting))
    assert (
        decide(snapshot, state_with_paused(METADATA, slots=(VIDEO,)), settings_with(), 0.0).commands
        == ()
    )


def test_rule_3_a_drained_queue_hands_over_its_slot() -> None:
    snapshot = snapshot_of(paused_queue(METADATA, 50), open_queue(VIDEO))
    sent, _, decision = run_round(
        snapshot, state_with_paused(METADATA, slots=(VIDEO,)), settings_with()
    )
    assert sent == [Command(Action.PAUSE, VIDEO), Command(Action.RESUME, METADATA)]
    assert decision.state.slots == (METADATA,)
    assert decision.state.paused_by_daemon == {VIDEO}


def test_rule_3_a_queue_empty_only_between_two_jobs_is_resumed_at_once() -> None:
    def respond_with_new_jobs(command: Command, queue: Queue) -> Queue:
        response = carry_out(command, queue)
        return replace(response, paused=3) if command == Command(Action.PAUSE, VIDEO) else response

    snapshot = snapshot_of(paused_queue(METADATA, 50), open_queue(VIDEO))
    sent, after, decision = run_round(
        snapshot,
        state_with_paused(METADATA, slots=(VIDEO,)),
        settings_with(),
        respond=respond_with_new_jobs,
    )
    assert sent == [Command(Action.PAUSE, VIDEO), Command(Action.RESUME, VIDEO)]
    assert decision.state.slots == (VIDEO,)
    assert after[METADATA].is_paused


# 4. Free slots


def test_rule_4_two_queues_with_work_run_when_the_limit_is_two() -> None:
    snapshot = snapshot_of(
        open_queue(METADATA, 5, 20), paused_queue(THUMBNAIL, 3), paused_queue(SEARCH, 3)
    )
    sent, _, decision = run_round(
        snapshot, state_with_paused(THUMBNAIL, SEARCH, slots=(METADATA,)), settings_with(2)
    )
    assert sent == [Command(Action.RESUME, THUMBNAIL)]
    assert decision.reasons[SEARCH] is Reason.WAITING


# 5. Above the limit


def test_rule_5_on_a_busy_server_the_first_by_priority_continue_and_the_rest_drain() -> None:
    snapshot = snapshot_of(
        open_queue(VIDEO, 1, 9),
        open_queue(SEARCH, 2, 9),
        open_queue(THUMBNAIL, 3),
        open_queue("ocr"),
    )
    sent, after, decision = run_round(snapshot, SchedulerState(), settings_with(2))
    assert {c.queue for c in sent} == {VIDEO, "ocr"}
    assert all(command.action is Action.PAUSE for command in sent)
    assert decision.reasons == {
        VIDEO: Reason.DRAINING,
        SEARCH: Reason.RUNNING,
        THUMBNAIL: Reason.RUNNING,
        "ocr": Reason.IDLE,
    }
    # Thumbnails are done, but video conversion still runs: two of two slots are occupied.
    snapshot = {**after, THUMBNAIL: open_queue(THUMBNAIL), METADATA: paused_queue(METADATA, 5)}
    state = replace(decision.state, paused_by_daemon=decision.state.paused_by_daemon | {METADATA})
    sent, after, decision = run_round(snapshot, state, settings_with(2))
    assert sent == [Command(Action.PAUSE, THUMBNAIL)]
    # Now the number is within the limit again.
    sent, _, _ = run_round(
        {**after, VIDEO: paused_queue(VIDEO, 9)}, decision.state, settings_with(2)
    )
    assert sent == [Command(Action.RESUME, METADATA)]


def test_rule_5_above_the_limit_a_queue_that_was_not_drained_waits_too() -> None:
    """If resumed, it would start new jobs while too many queues run."""

    def respond_with_new_jobs(command: Command, queue: Queue) -> Queue:
        response = carry_out(command, queue)
        is_pause = command.action is Action.PAUSE
        return replace(response, active=1, paused=3) if is_pause else response

    faces = "faceDetection"
    snapshot = snapshot_of(
        open_queue(THUMBNAIL, 1),
        open_queue(SEARCH),
        open_queue(faces),
        paused_queue(VIDEO, 5, active=1),
        paused_queue("ocr", 5),
    )
    state = state_with_paused(VIDEO, "ocr", slots=(THUMBNAIL, SEARCH, faces))
    sent, after, decision = run_round(
        snapshot, state, settings_with(3), respond=respond_with_new_jobs
    )
    assert sent == [Command(Action.PAUSE, SEARCH), Command(Action.PAUSE, faces)]
    assert sum(queue.is_busy for queue in after.values()) == 4
    # One of the four is done: the three that still run continue.
    sent, _, _ = run_round(
        {**after, VIDEO: paused_queue(VIDEO, 5)}, decision.state, settings_with(3)
    )
    assert sent == [Command(Action.RESUME, faces), Command(Action.RESUME, SEARCH)]


def test_rule_5_a_queue_with_a_slot_comes_first_among_the_busy() -> None:
    snapshot = snapshot_of(open_queue(METADATA, 5, 5), open_queue(VIDEO, 1, 5))
    sent, _, decision = run_round(
        snapshot, state_with_paused(METADATA, slots=(VIDEO,)), settings_with()
    )
    assert sent == [Command(Action.PAUSE, METADATA)]
    assert decision.state.slots == (VIDEO,)


def test_rule_5_a_lower_limit_keeps_the_first_busy_queue() -> None:
    snapshot = snapshot_of(
        open_queue(METADATA, 0, 5), open_queue(SEARCH, 1, 5), open_queue(VIDEO, 1, 5)
    )
    _, _, decision = run_round(
        snapshot, state_with_paused(slots=(VIDEO, METADATA, SEARCH)), settings_with(1)
    )
    assert decision.state.slots == (SEARCH,)
    assert decision.reasons[VIDEO] is Reason.DRAINING
    assert decision.reasons[METADATA] is Reason.WAITING


# 6. Lent slots


def test_rule_6_the_free_slot_is_lent_to_the_queue_where_uploads_enter() -> None:
    snapshot = snapshot_of(*(paused_queue(name) for name in PRIORITY))
    sent, _, decision = run_round(snapshot, state_with_paused(*snapshot), settings_with())
    assert sent == [Command(Action.RESUME, METADATA)]
    assert decision.reasons[METADATA] is Reason.LENT
    assert set(decision.reasons.values()) == {Reason.LENT, Reason.IDLE}


@pytest.mark.parametrize("limit", [1, 2])
def test_rule_6_every_paused_queue_is_lent_a_slot_within_15_minutes(limit: int) -> None:
    names = (*PRIORITY, "ocr", "library", "migration", "integrityCheck")
    snapshot = snapshot_of(*(paused_queue(name) for name in names))
    state = state_with_paused(*names)
    now = 0.0
    last_open = dict.fromkeys(names, 0.0)
    while now < 7200:
        _, snapshot, decision = run_round(snapshot, state, settings_with(limit), now)
        state = decision.state
        assert sum(not queue.is_paused for queue in snapshot.values()) <= limit
        for queue in snapshot.values():
            if not queue.is_paused:
                last_open[queue.name] = now
            assert now - last_open[queue.name] <= 900, queue.name
        now += 10.0  # the default POLL_INTERVAL, the longest wait between two polls


def test_rule_6_a_queue_that_becomes_busy_keeps_its_lent_slot() -> None:
    snapshot = snapshot_of(open_queue("library", active=1), paused_queue(METADATA, 5))
    decision = decide(
        snapshot, state_with_paused(METADATA, lent={"library": 0.0}), settings_with(), LENT_FOR + 1
    )
    assert decision.commands == ()
    assert decision.state.slots == ("library",)
    assert decision.reasons["library"] is Reason.RUNNING


def test_rule_6_jobs_shown_by_the_final_pause_keep_the_slot() -> None:
    def respond_with_active_job(command: Command, queue: Queue) -> Queue:
        response = carry_out(command, queue)
        return (
            replace(response, active=1) if command == Command(Action.PAUSE, "library") else response
        )

    snapshot = snapshot_of(open_queue("library"), paused_queue(METADATA))
    sent, _, decision = run_round(
        snapshot,
        state_with_paused(METADATA, lent={"library": 0.0}),
        settings_with(),
        LENT_FOR,
        respond_with_active_job,
    )
    assert sent == [Command(Action.PAUSE, "library"), Command(Action.RESUME, "library")]
    assert decision.state.slots == ("library",)


def test_rule_6_a_lent_slot_is_taken_back_for_a_queue_with_work() -> None:
    snapshot = snapshot_of(open_queue(METADATA), paused_queue(VIDEO, 1))
    sent, _, _ = run_round(
        snapshot, state_with_paused(VIDEO, lent={METADATA: 0.0}), settings_with(), 0.5
    )
    assert sent == [Command(Action.PAUSE, METADATA), Command(Action.RESUME, VIDEO)]


def test_rule_6_the_decision_wakes_the_loop_when_a_lent_slot_ends() -> None:
    snapshot = snapshot_of(*(paused_queue(name) for name in PRIORITY))
    _, snapshot, decision = run_round(snapshot, state_with_paused(*snapshot), settings_with(), 5.0)
    assert decision.wake_at == 5.0 + LEND_EVERY
    _, _, decision = run_round(snapshot, decision.state, settings_with(), decision.wake_at)
    assert decision.wake_at == 5.0 + LEND_EVERY + LENT_FOR


# 7. Pauses by others


def test_rule_7_at_the_first_start_every_paused_queue_is_taken_over() -> None:
    snapshot = snapshot_of(paused_queue(METADATA), paused_queue(THUMBNAIL, 5), open_queue(VIDEO))
    _, _, decision = run_round(snapshot, SchedulerState(), settings_with())
    assert decision.state.paused_by_others == frozenset()
    assert decision.state.slots == (THUMBNAIL,)


def test_rule_7_a_pause_by_others_stays() -> None:
    snapshot = snapshot_of(paused_queue(THUMBNAIL, 500), paused_queue(VIDEO, 5))
    sent, _, decision = run_round(snapshot, state_with_paused(VIDEO), settings_with(2))
    assert sent == [Command(Action.RESUME, VIDEO)]
    assert decision.reasons[THUMBNAIL] is Reason.PAUSED_BY_OTHERS
    assert THUMBNAIL not in decision.state.paused_by_daemon


def test_rule_7_a_user_who_pauses_a_running_queue_takes_its_slot() -> None:
    snapshot = snapshot_of(paused_queue(THUMBNAIL, 500), paused_queue(VIDEO, 5))
    sent, _, decision = run_round(
        snapshot, state_with_paused(VIDEO, slots=(THUMBNAIL,)), settings_with()
    )
    assert sent == [Command(Action.RESUME, VIDEO)]
    assert decision.state.paused_by_others == {THUMBNAIL}


def test_rule_7_a_queue_resumed_by_a_user_gets_a_slot_before_those_that_wait() -> None:
    snapshot = snapshot_of(
        paused_queue(METADATA, 9), open_queue(SEARCH, 1, 9), open_queue("ocr", 0, 9)
    )
    state = state_with_paused(METADATA, "ocr", slots=(SEARCH,))
    sent, snapshot, decision = run_round(snapshot, state, settings_with())
    assert sent == [Command(Action.PAUSE, "ocr")]
    assert decision.state.wanted == {"ocr"}
    sent, _, decision = run_round(
        {**snapshot, SEARCH: open_queue(SEARCH)}, decision.state, settings_with()
    )
    assert sent == [Command(Action.PAUSE, SEARCH), Command(Action.RESUME, "ocr")]
    assert decision.state.wanted == frozenset()


def test_rule_7_a_queue_resumed_by_a_user_takes_a_free_slot() -> None:
    snapshot = snapshot_of(paused_queue(METADATA, 9), open_queue("ocr", 0, 9))
    sent, _, decision = run_round(snapshot, state_with_paused(METADATA, "ocr"), settings_with())
    assert sent == []
    assert decision.state.slots == ("ocr",)


def test_rule_7_an_empty_queue_resumed_by_a_user_is_lent_a_slot_next() -> None:
    snapshot = snapshot_of(open_queue(METADATA), open_queue("library"), paused_queue(VIDEO))
    state = state_with_paused("library", VIDEO, lent={METADATA: 0.0})
    _, _, decision = run_round(snapshot, state, settings_with(), 1.0)
    assert decision.reasons["library"] is Reason.LENT


def test_rule_7_a_pause_by_others_ends_when_the_queue_is_resumed() -> None:
    snapshot = snapshot_of(open_queue(THUMBNAIL, 1, 5))
    state = replace(TAKEN_OVER, paused_by_others=frozenset({THUMBNAIL}))
    _, _, decision = run_round(snapshot, state, settings_with())
    assert decision.state.paused_by_others == frozenset()
    assert decision.reasons[THUMBNAIL] is Reason.RUNNING


def test_rule_7_a_queue_opened_by_the_start_of_immich_is_paused_again() -> None:
    snapshot = snapshot_of(
        open_queue(METADATA, 0, 4), open_queue(SEARCH, 1, 9), paused_queue(THUMBNAIL, 3)
    )
    state = after_failure(state_with_paused(METADATA, THUMBNAIL, slots=(SEARCH,)))
    sent, snapshot, decision = run_round(snapshot, state, settings_with())
    assert sent == [Command(Action.PAUSE, METADATA)]
    assert decision.state.wanted == frozenset()


def test_rule_7_a_paused_queue_that_becomes_protected_is_resumed() -> None:
    snapshot = snapshot_of(paused_queue("library", 3), open_queue(SEARCH, 1))
    settings = settings_with(protected_queues=frozenset({"library"}))
    sent, _, decision = run_round(snapshot, state_with_paused("library", slots=(SEARCH,)), settings)
    assert sent == [Command(Action.RESUME, "library")]
    assert "library" not in decision.state.paused_by_daemon


def test_rule_7_a_protected_queue_paused_by_others_gets_no_command() -> None:
    snapshot = snapshot_of(paused_queue("backupDatabase", 3), paused_queue(METADATA))
    for state in (SchedulerState(), TAKEN_OVER):
        sent, _, decision = run_round(snapshot, state, settings_with())
        assert "backupDatabase" not in {command.queue for command in sent}
        assert decision.reasons["backupDatabase"] is Reason.PROTECTED


def test_rule_7_a_late_pause_of_the_daemon_is_not_attributed_to_others() -> None:
    state = after_unconfirmed_pause(state_with_paused(slots=(THUMBNAIL,)), THUMBNAIL, 0.0)
    working = decide(snapshot_of(open_queue(THUMBNAIL, 1, 3)), state, settings_with(), 10.0).state
    later_commands = decide(snapshot_of(paused_queue(THUMBNAIL, 2)), working, settings_with(), 20.0)
    assert resumes(later_commands) == [THUMBNAIL]
    after_a_minute = decide(
        snapshot_of(paused_queue(THUMBNAIL, 2)),
        replace(working, paused_by_daemon=frozenset()),
        settings_with(),
        100.0,
    )
    assert after_a_minute.reasons[THUMBNAIL] is Reason.PAUSED_BY_OTHERS


# 8. What Immich reports counts


def test_rule_8_a_lost_resume_is_sent_again() -> None:
    snapshot = snapshot_of(paused_queue(THUMBNAIL, 5))
    first = decide(snapshot, state_with_paused(THUMBNAIL), settings_with(), 0.0)
    again = decide(snapshot, after_failure(first.state), settings_with(), 1.0)
    assert resumes(first) == resumes(again) == [THUMBNAIL]


def test_rule_8_a_lost_pause_is_sent_again_and_does_not_make_the_queue_wanted() -> None:
    snapshot = snapshot_of(open_queue(VIDEO, 1, 1), open_queue("ocr", 0, 4))
    first = decide(snapshot, replace(TAKEN_OVER, slots=(VIDEO,)), settings_with(), 0.0)
    again = decide(snapshot, after_unconfirmed_pause(first.state, "ocr", 0.0), settings_with(), 1.0)
    assert pauses(first) == pauses(again) == ["ocr"]
    assert again.state.wanted == frozenset()


def test_rule_8_a_queue_that_disappears_loses_its_slot_but_stays_in_the_ledger() -> None:
    decision = decide(
        snapshot_of(paused_queue(VIDEO, 1)),
        state_with_paused("gone", VIDEO, slots=("gone",)),
        settings_with(),
        0.0,
    )
    assert resumes(decision) == [VIDEO]
    assert "gone" in decision.state.paused_by_daemon


# 9. Unpausable queues


def test_rule_9_an_unpausable_queue_is_left_alone_and_does_not_block_the_rest() -> None:
    snapshot = snapshot_of(
        open_queue("odd", 1, 1), open_queue(VIDEO, 1), open_queue("ocr", 1), paused_queue(METADATA)
    )
    first = decide(snapshot, SchedulerState(), settings_with(), 0.0)
    assert set(pauses(first)) == {"odd", "ocr"}
    _, _, decision = run_round(snapshot, after_refused_pause(first.state, "odd"), settings_with())
    assert decision.reasons["odd"] is Reason.UNPAUSABLE
    assert decision.reasons["ocr"] is Reason.DRAINING
    assert "odd" not in decision.state.paused_by_daemon


# 10. UNRESTRICTED_BELOW


def test_rule_10_below_unrestricted_below_everything_is_open() -> None:
    snapshot = snapshot_of(
        paused_queue(METADATA, 3), paused_queue(THUMBNAIL), paused_queue("backupDatabase")
    )
    sent, _, decision = run_round(
        snapshot, state_with_paused(METADATA, THUMBNAIL), settings_with(unrestricted_below=4)
    )
    assert {command.queue for command in sent} == {METADATA, THUMBNAIL}
    assert decision.reasons[THUMBNAIL] is Reason.UNRESTRICTED
    assert decision.state.paused_by_daemon == frozenset()


def test_rule_10_from_unrestricted_below_on_the_limit_applies_until_nothing_is_pending() -> None:
    settings = settings_with(unrestricted_below=4)
    snapshot = snapshot_of(open_queue(METADATA, 3), open_queue(THUMBNAIL, 1))
    _, _, decision = run_round(snapshot, TAKEN_OVER, settings)
    assert decision.reasons[THUMBNAIL] is Reason.DRAINING
    fewer = snapshot_of(open_queue(METADATA, 1), paused_queue(THUMBNAIL))
    decision = decide(fewer, decision.state, settings, 1.0)
    assert decision.commands == ()
    nothing = snapshot_of(open_queue(METADATA), paused_queue(THUMBNAIL))
    sent, _, decision = run_round(nothing, decision.state, settings, 2.0)
    assert sent == [Command(Action.RESUME, THUMBNAIL)]


def test_rule_10_a_pause_by_others_stays_and_its_backlog_does_not_count() -> None:
    settings = settings_with(unrestricted_below=4)
    state = state_with_paused(METADATA, is_limited=True, paused_by_others=frozenset({VIDEO}))
    sent, _, decision = run_round(
        snapshot_of(paused_queue(VIDEO, 900), paused_queue(METADATA)), state, settings
    )
    assert sent == [Command(Action.RESUME, METADATA)]
    assert decision.reasons[VIDEO] is Reason.PAUSED_BY_OTHERS


def test_rule_10_is_off_by_default() -> None:
    snapshot = snapshot_of(paused_queue(METADATA, 1), paused_queue(THUMBNAIL, 1))
    assert resumes(decide(snapshot, state_with_paused(*snapshot), settings_with(), 0.0)) == [
        METADATA
    ]


# 11. The user's mode


def with_changes(state: SchedulerState, *changes: Change) -> SchedulerState:
    for change in changes:
        state = after_change(state, change)
    return state


def test_rule_11_mode_open_resumes_every_paused_queue_without_a_limit() -> None:
    snapshot = snapshot_of(
        paused_queue(METADATA, 5),
        paused_queue(THUMBNAIL),
        paused_queue(SEARCH, 9),
        open_queue(VIDEO, 1, 3),
    )
    state = with_changes(
        state_with_paused(METADATA, THUMBNAIL, SEARCH, slots=(VIDEO,)), SetMode(Mode.OPEN)
    )
    sent, after, decision = run_round(snapshot, state, settings_with())
    assert [command.queue for command in sent] == [METADATA, SEARCH, THUMBNAIL]
    assert not any(queue.is_paused for queue in after.values())
    assert set(decision.reasons.values()) == {Reason.UNRESTRICTED}
    assert decision.state.paused_by_daemon == frozenset(), "the responses showed them open"


def test_rule_11_mode_open_overrides_a_hold_but_not_a_pause_by_others() -> None:
    snapshot = snapshot_of(paused_queue(METADATA, 5), paused_queue(SEARCH, 5))
    state = state_with_paused(METADATA, paused_by_others=frozenset({SEARCH}))
    state = with_changes(state, SetQueue(METADATA, Override.HELD), SetMode(Mode.OPEN))
    sent, after, decision = run_round(snapshot, state, settings_with())
    assert sent == [Command(Action.RESUME, METADATA)]
    assert after[SEARCH].is_paused
    assert decision.reasons[SEARCH] is Reason.PAUSED_BY_OTHERS
    back = with_changes(decision.state, SetMode(Mode.AUTOMATIC))
    sent, after, decision = run_round(after, back, settings_with())
    assert sent == [Command(Action.PAUSE, METADATA)], "the hold was lost"
    assert decision.reasons[METADATA] is Reason.HELD_BY_USER


def test_rule_11_after_mode_open_the_limit_applies_again() -> None:
    snapshot = snapshot_of(
        open_queue(METADATA, 1, 5), open_queue(SEARCH, 1, 5), open_queue(VIDEO, 1, 5)
    )
    sent, _, decision = run_round(snapshot, TAKEN_OVER, settings_with())
    assert {command.queue for command in sent} == {SEARCH, VIDEO}
    assert decision.state.slots == (METADATA,)


def test_rule_11_mode_held_pauses_all_and_starts_nothing() -> None:
    snapshot = snapshot_of(
        open_queue(METADATA), open_queue(THUMBNAIL, 2, 5), paused_queue(SEARCH, 9)
    )
    state = state_with_paused(SEARCH, slots=(THUMBNAIL,), lent={METADATA: 0.0})
    sent, after, decision = run_round(
        snapshot, with_changes(state, SetMode(Mode.HELD)), settings_with(3)
    )
    assert {command.queue for command in sent} == {METADATA, THUMBNAIL}
    assert all(queue.is_paused for queue in after.values())
    assert decision.reasons == {
        METADATA: Reason.HELD_BY_USER,
        THUMBNAIL: Reason.DRAINING,
        SEARCH: Reason.HELD_BY_USER,
    }


def test_rule_11_mode_held_lends_no_slot_and_reverts_a_resume_in_immich() -> None:
    snapshot = snapshot_of(
        paused_queue(METADATA), paused_queue("library"), open_queue(SEARCH, 1, 5)
    )
    state = with_changes(state_with_paused(METADATA, "library", SEARCH), SetMode(Mode.HELD))
    sent, _, decision = run_round(snapshot, state, settings_with(), 10 * LEND_EVERY)
    assert sent == [Command(Action.PAUSE, SEARCH)]
    assert decision.state.wanted == {SEARCH}, "it must be next when the mode ends"


def test_rule_11_protected_queues_get_no_command_in_any_mode() -> None:
    snapshot = snapshot_of(open_queue("backgroundTask", 1), paused_queue("backupDatabase", 1))
    for mode in Mode:
        assert (
            decide(snapshot, with_changes(TAKEN_OVER, SetMode(mode)), settings_with(), 0.0).commands
            == ()
        )


# 12. Queues held by the user


def test_rule_12_a_hold_hands_the_slot_over_when_the_active_jobs_are_done() -> None:
    snapshot = snapshot_of(open_queue(METADATA, 2, 50), paused_queue(SEARCH, 5))
    state = with_changes(
        state_with_paused(SEARCH, slots=(METADATA,)), SetQueue(METADATA, Override.HELD)
    )
    sent, after, decision = run_round(snapshot, state, settings_with())
    assert sent == [Command(Action.PAUSE, METADATA)], "its active jobs still occupy the slot"
    assert decision.reasons[METADATA] is Reason.DRAINING
    finished = {**after, METADATA: paused_queue(METADATA, 50)}
    sent, _, decision = run_round(finished, decision.state, settings_with())
    assert sent == [Command(Action.RESUME, SEARCH)]
    assert decision.reasons[METADATA] is Reason.HELD_BY_USER


def test_rule_12_a_held_queue_gets_no_slot_and_is_lent_none() -> None:
    snapshot = snapshot_of(paused_queue(METADATA, 5), paused_queue("library"))
    state = state_with_paused(METADATA, "library", last_open={"library": 0.0})
    state = with_changes(
        state, SetQueue(METADATA, Override.HELD), SetQueue("library", Override.HELD)
    )
    assert decide(snapshot, state, settings_with(), 10 * LEND_EVERY).commands == ()


def test_rule_12_a_hold_applies_below_unrestricted_below_too() -> None:
    snapshot = snapshot_of(open_queue(METADATA, 1, 5), paused_queue(SEARCH, 2))
    state = with_changes(state_with_paused(SEARCH), SetQueue(METADATA, Override.HELD))
    sent, after, decision = run_round(snapshot, state, settings_with(unrestricted_below=100))
    assert sent == [Command(Action.PAUSE, METADATA), Command(Action.RESUME, SEARCH)]
    assert after[METADATA].is_paused
    assert decision.reasons[SEARCH] is Reason.UNRESTRICTED


def test_rule_12_the_backlog_of_a_held_queue_does_not_count_for_unrestricted_below() -> None:
    snapshot = snapshot_of(paused_queue(METADATA, 500), paused_queue(SEARCH, 2))
    state = with_changes(state_with_paused(METADATA, SEARCH), SetQueue(METADATA, Override.HELD))
    sent, _, _ = run_round(snapshot, state, settings_with(unrestricted_below=100))
    assert sent == [Command(Action.RESUME, SEARCH)]


def test_rule_12_resuming_the_queue_in_immich_clears_the_hold() -> None:
    snapshot = snapshot_of(open_queue(METADATA, 1, 5), paused_queue(SEARCH, 2))
    state = with_changes(state_with_paused(METADATA, SEARCH), SetQueue(METADATA, Override.HELD))
    _, _, decision = run_round(snapshot, state, settings_with())
    assert decision.reasons[METADATA] is Reason.RUNNING
    assert decision.state.controls.held_by_user == frozenset()


def test_rule_12_the_start_of_immich_does_not_clear_the_hold() -> None:
    snapshot = snapshot_of(open_queue(METADATA))
    state = after_failure(
        with_changes(state_with_paused(METADATA), SetQueue(METADATA, Override.HELD))
    )
    sent, _, decision = run_round(snapshot, state, settings_with())
    assert sent == [Command(Action.PAUSE, METADATA)]
    assert decision.state.controls.held_by_user == {METADATA}


def test_rule_12_with_override_automatic_it_waits_like_any_other() -> None:
    snapshot = snapshot_of(paused_queue(METADATA, 5))
    state = with_changes(
        state_with_paused(METADATA),
        SetQueue(METADATA, Override.HELD),
        SetQueue(METADATA, Override.AUTOMATIC),
    )
    assert resumes(decide(snapshot, state, settings_with(), 0.0)) == [METADATA]


# 13. Queues wanted next


def test_rule_13_a_queue_wanted_next_goes_before_priority_and_interrupts_nothing() -> None:
    snapshot = snapshot_of(
        open_queue(METADATA, 1, 5), paused_queue(THUMBNAIL, 5), paused_queue(VIDEO, 5)
    )
    state = with_changes(
        state_with_paused(THUMBNAIL, VIDEO, slots=(METADATA,)), SetQueue(VIDEO, Override.NEXT)
    )
    decision = decide(snapshot, state, settings_with(), 0.0)
    assert decision.commands == ()
    drained = {**snapshot, METADATA: open_queue(METADATA)}
    sent, _, decision = run_round(drained, decision.state, settings_with())
    assert sent == [Command(Action.PAUSE, METADATA), Command(Action.RESUME, VIDEO)]
    assert decision.state.wanted == frozenset(), "it has got its slot"


def test_rule_13_an_empty_queue_stays_wanted_until_it_has_work() -> None:
    snapshot = snapshot_of(paused_queue(THUMBNAIL), paused_queue(VIDEO))
    state = with_changes(state_with_paused(THUMBNAIL, VIDEO), SetQueue(VIDEO, Override.NEXT))
    decision = decide(snapshot, state, settings_with(), 0.0)
    assert decision.state.wanted == {VIDEO}
    later = snapshot_of(paused_queue(THUMBNAIL, 5), paused_queue(VIDEO, 1))
    assert resumes(decide(later, decision.state, settings_with(), 1.0)) == [VIDEO]


def test_rule_13_override_next_claims_a_queue_paused_by_others() -> None:
    snapshot = snapshot_of(paused_queue(THUMBNAIL, 5), paused_queue(VIDEO, 5))
    state = state_with_paused(THUMBNAIL, paused_by_others=frozenset({VIDEO}))
    assert resumes(decide(snapshot, state, settings_with(), 0.0)) == [THUMBNAIL]
    state = with_changes(state, SetQueue(VIDEO, Override.NEXT))
    assert resumes(decide(snapshot, state, settings_with(), 0.0)) == [VIDEO]
    undone = with_changes(state, SetQueue(VIDEO, Override.HELD))
    decision = decide(snapshot, undone, settings_with(), 0.0)
    assert resumes(decision) == [THUMBNAIL]
    assert decision.reasons[VIDEO] is Reason.HELD_BY_USER, "it stays paused, as it was before"


# 14. The user's limit


def test_rule_14_a_higher_limit_applies_at_once() -> None:
    snapshot = snapshot_of(
        open_queue(METADATA, 1, 5), paused_queue(THUMBNAIL, 5), paused_queue(VIDEO, 5)
    )
    state = with_changes(state_with_paused(THUMBNAIL, VIDEO, slots=(METADATA,)), SetLimit(2))
    assert resumes(decide(snapshot, state, settings_with(1), 0.0)) == [THUMBNAIL]


def test_rule_14_a_lower_limit_keeps_the_first_by_priority() -> None:
    snapshot = snapshot_of(open_queue(METADATA, 1, 5), open_queue(THUMBNAIL, 1, 5))
    state = with_changes(state_with_paused(slots=(THUMBNAIL, METADATA)), SetLimit(1))
    sent, _, decision = run_round(snapshot, state, settings_with(2))
    assert sent == [Command(Action.PAUSE, THUMBNAIL)]
    assert decision.reasons[THUMBNAIL] is Reason.DRAINING
    back = with_changes(decision.state, SetLimit(None))
    snapshot = {**snapshot, THUMBNAIL: paused_queue(THUMBNAIL, 5)}
    assert resumes(decide(snapshot, back, settings_with(2), 0.0)) == [THUMBNAIL]


# 15. Windows

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Window(frozenset({VIDEO, SEARCH}), time(22), time(6))


def at(clock: str, day: int = 24) -> Conditions:
    hour, minute = map(int, clock.split(":"))
    return Conditions(local=datetime(2026, 11, day, hour, minute, tzinfo=BERLIN))


def test_rule_15_a_queue_runs_inside_its_window_only() -> None:
    snapshot = snapshot_of(paused_queue(SEARCH, 5), paused_queue(VIDEO, 5))
    settings = settings_with(schedule=(NIGHT,))
    noon = decide(snapshot, state_with_paused(SEARCH, VIDEO), settings, 0.0, at("12:00"))
    assert noon.commands == ()
    assert noon.reasons == dict.fromkeys((SEARCH, VIDEO), Reason.OUTSIDE_WINDOW)
    assert noon.opens_at[VIDEO] == datetime(2026, 11, 24, 22, tzinfo=BERLIN)
    assert noon.wake_at == 10 * 3600.0
    night = decide(snapshot, state_with_paused(SEARCH, VIDEO), settings, 0.0, at("22:00"))
    assert resumes(night) == [SEARCH]
    assert night.opens_at == {}


def test_rule_15_a_queue_without_windows_runs_at_any_time() -> None:
    snapshot = snapshot_of(paused_queue(THUMBNAIL, 5), paused_queue(VIDEO, 5))
    decision = decide(
        snapshot,
        state_with_paused(THUMBNAIL, VIDEO),
        settings_with(schedule=(NIGHT,)),
        0.0,
        at("12:00"),
    )
    assert resumes(decision) == [THUMBNAIL]


def test_rule_15_when_the_window_closes_active_jobs_finish_and_nothing_starts() -> None:
    snapshot = snapshot_of(open_queue(VIDEO, 1, 5), paused_queue(THUMBNAIL, 3))
    settings = settings_with(schedule=(NIGHT,))
    sent, after, decision = run_round(
        snapshot, state_with_paused(THUMBNAIL, slots=(VIDEO,)), settings, conditions=at("06:00")
    )
    assert sent == [Command(Action.PAUSE, VIDEO)]
    assert decision.reasons[VIDEO] is Reason.DRAINING
    done = {**after, VIDEO: paused_queue(VIDEO, 5)}
    sent, _, decision = run_round(done, decision.state, settings, conditions=at("06:01"))
    assert sent == [Command(Action.RESUME, THUMBNAIL)]
    assert decision.reasons[VIDEO] is Reason.OUTSIDE_WINDOW


def test_rule_15_outside_its_window_a_queue_is_lent_no_slot_and_a_resume_is_reverted() -> None:
    snapshot = snapshot_of(paused_queue(METADATA), open_queue(VIDEO, 1, 5), paused_queue(SEARCH))
    state = state_with_paused(METADATA, VIDEO, SEARCH, last_open={SEARCH: -LEND_EVERY})
    sent, _, decision = run_round(
        snapshot, state, settings_with(2, schedule=(NIGHT,)), conditions=at("12:00")
    )
    assert sent == [Command(Action.PAUSE, VIDEO), Command(Action.RESUME, METADATA)]
    assert decision.state.wanted == {VIDEO}, "it must be next when its window opens"


def test_rule_15_windows_apply_below_unrestricted_below_too() -> None:
    snapshot = snapshot_of(paused_queue(THUMBNAIL, 2), paused_queue(VIDEO, 2))
    settings = settings_with(schedule=(NIGHT,), unrestricted_below=100)
    sent, _, decision = run_round(
        snapshot, state_with_paused(THUMBNAIL, VIDEO), settings, conditions=at("12:00")
    )
    assert sent == [Command(Action.RESUME, THUMBNAIL)]
    assert decision.reasons[VIDEO] is Reason.OUTSIDE_WINDOW


def test_rule_15_mode_open_ignores_windows() -> None:
    snapshot = snapshot_of(paused_queue(VIDEO, 2))
    state = with_changes(state_with_paused(VIDEO), SetMode(Mode.OPEN))
    decision = decide(snapshot, state, settings_with(schedule=(NIGHT,)), 0.0, at("12:00"))
    assert resumes(decision) == [VIDEO]


# 16. Exclusive groups

MODELS = frozenset({SEARCH, "faceDetection", "ocr"})


def test_rule_16_one_queue_of_a_group_runs_whatever_the_limit() -> None:
    snapshot = snapshot_of(
        paused_queue(SEARCH, 5),
        paused_queue("faceDetection", 5),
        paused_queue("ocr", 5),
        paused_queue(VIDEO, 5),
    )
    settings = settings_with(4, exclusive=(MODELS,))
    sent, after, decision = run_round(snapshot, state_with_paused(*snapshot), settings)
    assert {command.queue for command in sent} == {SEARCH, VIDEO}
    assert decision.reasons["ocr"] is Reason.WAITING
    drained = {**after, SEARCH: open_queue(SEARCH)}
    sent, _, _ = run_round(drained, decision.state, settings)
    assert sent == [Command(Action.PAUSE, SEARCH), Command(Action.RESUME, "faceDetection")]


def test_rule_16_a_busy_rival_keeps_the_other_queue_waiting() -> None:
    snapshot = snapshot_of(paused_queue(SEARCH, 5), paused_queue("ocr", 0, active=1))
    settings = settings_with(4, exclusive=(MODELS,))
    sent, _, decision = run_round(snapshot, state_with_paused(SEARCH, "ocr"), settings)
    assert sent == []
    assert decision.reasons[SEARCH] is Reason.WAITING


def test_rule_16_a_slot_is_not_lent_beside_a_rival_and_is_taken_back_for_one_with_work() -> None:
    settings = settings_with(2, exclusive=(MODELS,))
    snapshot = snapshot_of(open_queue(SEARCH, 1, 5), paused_queue("ocr"), paused_queue("library"))
    state = state_with_paused(
        "ocr", "library", slots=(SEARCH,), last_open={"ocr": -900.0, "library": -800.0}
    )
    sent, _, _ = run_round(snapshot, state, settings)
    assert sent == [Command(Action.RESUME, "library")]
    snapshot = snapshot_of(paused_queue(SEARCH, 5), open_queue("ocr"))
    sent, _, _ = run_round(snapshot, state_with_paused(SEARCH, lent={"ocr": 0.0}), settings)
    assert sent == [Command(Action.PAUSE, "ocr"), Command(Action.RESUME, SEARCH)]


def test_rule_16_of_two_running_queues_of_a_group_one_is_paused() -> None:
    snapshot = snapshot_of(open_queue(SEARCH, 1, 5), open_queue("ocr", 1, 5))
    sent, _, decision = run_round(
        snapshot, state_with_paused(slots=("ocr", SEARCH)), settings_with(4, exclusive=(MODELS,))
    )
    assert sent == [Command(Action.PAUSE, "ocr")]
    assert decision.state.slots == (SEARCH,)


def test_rule_16_groups_apply_below_unrestricted_below_too() -> None:
    snapshot = snapshot_of(paused_queue(SEARCH, 2), paused_queue("ocr", 2), paused_queue("library"))
    settings = settings_with(1, exclusive=(MODELS,), unrestricted_below=100)
    sent, _, decision = run_round(snapshot, state_with_paused(*snapshot), settings)
    assert [command.queue for command in sent] == [SEARCH, "library"]
    assert decision.reasons["ocr"] is Reason.WAITING


# 17. YIELD_AFTER


def test_rule_17_after_yield_after_a_queue_of_higher_priority_goes_first() -> None:
    snapshot = snapshot_of(
        paused_queue(METADATA, 1), open_queue(SEARCH, 2, 900), paused_queue(VIDEO, 5)
    )
    state = state_with_paused(METADATA, VIDEO, slots=(SEARCH,), slot_since={SEARCH: 0.0})
    settings = settings_with(yield_after=60.0)
    assert decide(snapshot, state, settings, 59.0).commands == ()
    sent, after, decision = run_round(snapshot, state, settings, 60.0)
    assert sent == [Command(Action.PAUSE, SEARCH)], "active jobs are not interrupted"
    done = {**after, SEARCH: paused_queue(SEARCH, 900)}
    sent, after, decision = run_round(done, decision.state, settings, 60.3)
    assert sent == [Command(Action.RESUME, METADATA)]
    drained = {**after, METADATA: open_queue(METADATA)}
    sent, _, decision = run_round(drained, decision.state, settings, 61.0)
    assert sent == [Command(Action.PAUSE, METADATA), Command(Action.RESUME, SEARCH)]


def test_rule_17_a_queue_of_lower_priority_waits() -> None:
    snapshot = snapshot_of(open_queue(SEARCH, 2, 900), paused_queue(VIDEO, 5))
    state = state_with_paused(VIDEO, slots=(SEARCH,), slot_since={SEARCH: 0.0})
    assert decide(snapshot, state, settings_with(yield_after=60.0), 1e6).commands == ()


def test_rule_17_without_the_setting_no_queue_yields() -> None:
    snapshot = snapshot_of(paused_queue(METADATA, 1), open_queue(SEARCH, 2, 900))
    state = state_with_paused(METADATA, slots=(SEARCH,), slot_since={SEARCH: 0.0})
    assert decide(snapshot, state, settings_with(), 1e6).commands == ()


def test_rule_17_a_queue_that_just_got_its_slot_back_yields_again() -> None:
    snapshot = snapshot_of(paused_queue(THUMBNAIL, 1), open_queue(SEARCH, 2, 900))
    state = state_with_paused(THUMBNAIL, slots=(SEARCH,), slot_since={SEARCH: 100.0})
    back = replace(state, yielded=frozenset({SEARCH}))
    settings = settings_with(yield_after=60.0)
    assert pauses(decide(snapshot, back, settings, 101.0)) == [SEARCH]
    later = decide(snapshot, back, settings, 100.0 + YIELDS_AGAIN_WITHIN)
    assert later.commands == ()
    assert later.state.yielded == frozenset()
    assert decide(snapshot, state, settings, 101.0).commands == (), "it has not yielded yet"


def test_rule_17_a_free_slot_is_used_before_a_queue_yields() -> None:
    snapshot = snapshot_of(paused_queue(METADATA, 1), open_queue(SEARCH, 2, 900))
    state = state_with_paused(METADATA, slots=(SEARCH,), slot_since={SEARCH: 0.0})
    sent, _, _ = run_round(snapshot, state, settings_with(2, yield_after=60.0), 1000.0)
    assert sent == [Command(Action.RESUME, METADATA)]


def test_rule_17_a_queue_yields_to_a_rival_of_higher_priority() -> None:
    snapshot = snapshot_of(paused_queue(SEARCH, 1), open_queue("ocr", 1, 900))
    state = state_with_paused(SEARCH, slots=("ocr",), slot_since={"ocr": 0.0})
    settings = settings_with(4, exclusive=(MODELS,), yield_after=60.0)
    assert pauses(decide(snapshot, state, settings, 61.0)) == ["ocr"]


# 18. MAX_WAIT


def slot_times(
    settings: Settings, snapshot: Snapshot, state: SchedulerState, seconds: int
) -> dict[str, list[int]]:
    """Run queues that are never drained; return the seconds at which each was open."""
    times: dict[str, list[int]] = {name: [] for name in snapshot}
    for now in range(seconds):
        _, after, decision = run_round(snapshot, state, settings, float(now))
        state = decision.state
        for name, queue in after.items():
            if not queue.is_paused:
                times[name].append(now)
        snapshot = {
            name: replace(queue, active=0 if queue.is_paused else 1)
            for name, queue in after.items()
        }
    return times


@pytest.mark.parametrize("limit", [1, 2])
def test_rule_18_every_queue_with_work_runs_within_max_wait(limit: int) -> None:
    names = (METADATA, THUMBNAIL, SEARCH, VIDEO, "ocr")
    snapshot = snapshot_of(*(paused_queue(name, 10_000) for name in names))
    times = slot_times(
        settings_with(limit, max_wait=600.0), snapshot, state_with_paused(*names), 4000
    )
    for name, seconds in times.items():
        waits = [later - earlier for earlier, later in pairwise([0, *seconds, 4000])]
        assert max(waits) <= 600 + 5, name


def test_rule_18_without_the_setting_the_last_by_priority_waits_forever() -> None:
    snapshot = snapshot_of(paused_queue(METADATA, 10_000), paused_queue(VIDEO, 10_000))
    assert (
        slot_times(settings_with(), snapshot, state_with_paused(METADATA, VIDEO), 2000)[VIDEO] == []
    )


def test_rule_18_a_queue_that_may_not_run_does_not_count_as_waiting() -> None:
    snapshot = snapshot_of(open_queue(METADATA, 1, 500), paused_queue(VIDEO, 5))
    state = state_with_paused(
        VIDEO, slots=(METADATA,), slot_since={METADATA: 0.0}, waiting_since={VIDEO: 0.0}
    )
    settings = settings_with(max_wait=60.0, schedule=(NIGHT,))
    decision = decide(snapshot, state, settings, 1000.0, at("12:00"))
    assert decision.commands == ()
    assert VIDEO not in decision.state.waiting_since
    assert pauses(decide(snapshot, state, settings, 1000.0, at("23:00"))) == [METADATA]


# 19. Load


def test_rule_19_at_high_load_active_jobs_finish_and_nothing_starts() -> None:
    snapshot = snapshot_of(open_queue(METADATA, 2, 5), paused_queue(SEARCH, 5))
    state = state_with_paused(SEARCH, slots=(METADATA,))
    busy = Conditions(is_loaded=True)
    sent, after, decision = run_round(snapshot, state, settings_with(), conditions=busy)
    assert sent == [Command(Action.PAUSE, METADATA)]
    assert decision.reasons == {METADATA: Reason.DRAINING, SEARCH: Reason.HIGH_LOAD}
    done = {**after, METADATA: paused_queue(METADATA, 5)}
    sent, _, decision = run_round(done, decision.state, settings_with(), conditions=busy)
    assert sent == []
    sent, _, _ = run_round(done, decision.state, settings_with())
    assert sent == [Command(Action.RESUME, METADATA)]


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        (at("12:00"), Reason.OUTSIDE_WINDOW),
        (Conditions(is_loaded=True), Reason.HIGH_LOAD),
    ],
)
def test_rules_15_and_19_apply_after_a_hold_is_cleared_in_immich(
    conditions: Conditions, reason: Reason
) -> None:
    snapshot = snapshot_of(open_queue(VIDEO, 0, 5))
    state = with_changes(state_with_paused(VIDEO), SetQueue(VIDEO, Override.HELD))
    sent, _, decision = run_round(
        snapshot, state, settings_with(schedule=(NIGHT,)), conditions=conditions
    )
    assert sent == [Command(Action.PAUSE, VIDEO)]
    assert decision.reasons[VIDEO] is reason
    assert decision.state.controls.held_by_user == frozenset()


# 20. SCAN

AT_THREE = Scan(Window(None, time(3), time(4)))


def test_rule_20_queues_are_scanned_one_by_one_when_no_other_command_is_left() -> None:
    snapshot = snapshot_of(paused_queue(METADATA), paused_queue(THUMBNAIL), paused_queue(SEARCH, 2))
    settings = settings_with(scan=AT_THREE)
    state = state_with_paused(METADATA, THUMBNAIL, SEARCH)
    assert resumes(decide(snapshot, state, settings, 0.0, at("03:00"))) == [SEARCH]
    running = {**snapshot, SEARCH: open_queue(SEARCH, 1)}
    state = state_with_paused(METADATA, THUMBNAIL, slots=(SEARCH,))
    first = decide(running, state, settings, 0.0, at("03:00"))
    assert first.commands == (Command(Action.START, METADATA),)
    assert first.state.scan.asked == {METADATA}
    with_jobs = {**running, METADATA: paused_queue(METADATA, 1)}
    assert decide(with_jobs, first.state, settings, 1.0, at("03:01")).commands == ()
    second = decide(running, first.state, settings, 2.0, at("03:02"))
    assert second.commands == (Command(Action.START, THUMBNAIL),)


def test_rule_20_a_scan_is_due_once_a_day_in_its_window() -> None:
    snapshot = snapshot_of(paused_queue(METADATA), open_queue(SEARCH, 1))
    settings = settings_with(scan=AT_THREE)
    state = state_with_paused(METADATA, slots=(SEARCH,))
    assert decide(snapshot, state, settings, 0.0, at("02:59")).commands == ()
    scanned = decide(snapshot, state, settings, 0.0, at("03:00")).state
    assert decide(snapshot, scanned, settings, 0.0, at("03:30")).commands == ()
    again = decide(snapshot, scanned, settings, 0.0, at("03:00", day=25))
    assert again.commands == (Command(Action.START, METADATA),)


def test_rule_20_a_queue_that_may_not_start_is_not_scanned() -> None:
    snapshot = snapshot_of(paused_queue(METADATA), open_queue(SEARCH, 1))
    state = with_changes(
        state_with_paused(METADATA, slots=(SEARCH,)), SetQueue(METADATA, Override.HELD)
    )
    assert decide(snapshot, state, settings_with(scan=AT_THREE), 0.0, at("03:00")).commands == ()
    state = replace(state_with_paused(METADATA, slots=(SEARCH,)), cannot_scan=True)
    assert decide(snapshot, state, settings_with(scan=AT_THREE), 0.0, at("03:00")).commands == ()


# 21. Conflicts


def test_rule_21_after_three_conflicts_at_most_one_command_a_minute_is_sent() -> None:
    """Another tool resumes the queue one second after each pause."""
    snapshot = snapshot_of(open_queue(METADATA, 1, 900), paused_queue(SEARCH, 0, active=0))
    state = state_with_paused(SEARCH, slots=(METADATA,))
    sent: list[float] = []
    conflict_times: list[float] = []
    for second in range(1200):
        now = float(second)
        snapshot = {**snapshot, SEARCH: open_queue(SEARCH, 0, 5)}
        commands, after, decision = run_round(snapshot, state, settings_with(), now)
        assert {command.queue for command in commands} <= {SEARCH}
        sent += [now] * len(commands)
        conflict_times += [now] if SEARCH in decision.conflicts else []
        snapshot, state = after, decision.state
    assert conflict_times[0] <= 3.0, "the conflict was noticed late"
    assert decision.conflicts == {SEARCH: Interference.RESUMING}
    later_commands = [when for when in sent if when > conflict_times[0]]
    assert len(later_commands) >= 10, "the daemon gave up"
    assert all(later - earlier >= CONFLICT_BACKOFF for earlier, later in pairwise(later_commands))


def test_rule_21_repeated_pauses_by_others_are_a_conflict_too() -> None:
    state = state_with_paused()
    for second in range(0, 30, 10):
        running, _, decision = run_round(
            snapshot_of(open_queue(SEARCH, 1, 5)), state, settings_with(), float(second)
        )
        assert running == []
        paused = snapshot_of(paused_queue(SEARCH, 5))
        state = decide(paused, decision.state, settings_with(), second + 5.0).state
    decision = decide(snapshot_of(paused_queue(SEARCH, 5)), state, settings_with(), 40.0)
    assert decision.conflicts == {SEARCH: Interference.PAUSING}
    assert decision.reasons[SEARCH] is Reason.PAUSED_BY_OTHERS


def test_rule_21_occasional_resumes_by_a_user_are_no_conflict() -> None:
    state = state_with_paused(SEARCH, slots=(METADATA,))
    for number in range(6):
        now = number * CONFLICT_WINDOW / 2
        snapshot = snapshot_of(open_queue(METADATA, 1, 900), open_queue(SEARCH, 0, 5))
        commands, _, decision = run_round(snapshot, state, settings_with(), now)
        assert commands == [Command(Action.PAUSE, SEARCH)]
        assert decision.conflicts == {}
        state = decision.state


def test_rule_21_a_conflict_ends_after_ten_quiet_minutes() -> None:
    times = tuple(ConflictEvent(float(n), Interference.RESUMING) for n in range(3))
    state = state_with_paused(SEARCH, slots=(METADATA,), conflicts={SEARCH: times})
    snapshot = snapshot_of(open_queue(METADATA, 1, 900), paused_queue(SEARCH, 5))
    assert decide(snapshot, state, settings_with(), CONFLICT_WINDOW - 1).conflicts == {
        SEARCH: Interference.RESUMING
    }
    assert decide(snapshot, state, settings_with(), CONFLICT_WINDOW + 2).conflicts == {}


def test_rule_21_the_start_of_immich_is_no_conflict() -> None:
    state = state_with_paused(METADATA, slots=(SEARCH,))
    for now in range(10):
        snapshot = snapshot_of(open_queue(METADATA), open_queue(SEARCH, 1, 5))
        _, _, decision = run_round(snapshot, after_failure(state), settings_with(), float(now))
        assert decision.conflicts == {}
        state = decision.state


def test_rule_10_without_a_limit_open_queues_stay_open() -> None:
    snapshot = snapshot_of(
        open_queue(METADATA), open_queue(SEARCH, 1), open_queue(VIDEO, 0, 2), paused_queue("ocr")
    )
    sent, _, decision = run_round(
        snapshot, state_with_paused("ocr"), settings_with(unrestricted_below=100)
    )
    assert sent == [Command(Action.RESUME, "ocr")]
    assert set(decision.reasons.values()) == {Reason.UNRESTRICTED}
