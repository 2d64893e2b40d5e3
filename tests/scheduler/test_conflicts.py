"""Queues that something else works against: what they must not cost the others (rule 21)."""

from dataclasses import replace

from immich_job_daemon.model.conflict import ConflictEvent, Interference
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Action, Reason
from immich_job_daemon.scheduler.attribution import CONFLICT_BACKOFF
from immich_job_daemon.scheduler.decide import decide
from immich_job_daemon.scheduler.decision import Command
from immich_job_daemon.scheduler.state import SchedulerState
from tests.support.settings import settings_with

SEARCH, VIDEO, METADATA = "smartSearch", "videoConversion", "metadataExtraction"


def contested(name: str, kind: Interference, **fields: object) -> SchedulerState:
    """Return the state a second after the third event of a conflict, and the last command."""
    events = tuple(ConflictEvent(float(at), kind) for at in (97, 98, 99))
    state = SchedulerState(
        taken_over=True, had_failure=False, conflicts={name: events}, last_commands={name: 99.0}
    )
    return replace(state, **fields)  # type: ignore[arg-type] # any field


def test_a_queue_that_may_not_be_resumed_takes_no_slot_from_others() -> None:
    snapshot = {
        SEARCH: Queue(SEARCH, is_paused=True, paused=5),
        VIDEO: Queue(VIDEO, is_paused=True, paused=50),
    }
    paused = frozenset({SEARCH, VIDEO})
    state = contested(
        SEARCH, Interference.RESUMING, paused_by_daemon=paused, wanted=frozenset({SEARCH})
    )
    decision = decide(snapshot, state, settings_with(1), 100.0)
    assert decision.commands == (Command(Action.RESUME, VIDEO),)
    assert decision.reasons[SEARCH] is Reason.WAITING


def test_it_is_a_candidate_again_once_a_command_may_be_sent() -> None:
    snapshot = {
        SEARCH: Queue(SEARCH, is_paused=True, paused=5),
        VIDEO: Queue(VIDEO, is_paused=True, paused=50),
    }
    paused = frozenset({SEARCH, VIDEO})
    state = contested(SEARCH, Interference.RESUMING, paused_by_daemon=paused)
    decision = decide(snapshot, state, settings_with(1), 99.0 + CONFLICT_BACKOFF)
    assert decision.commands == (Command(Action.RESUME, SEARCH),)


def test_a_slot_that_was_given_to_it_before_goes_to_others() -> None:
    snapshot = {
        SEARCH: Queue(SEARCH, is_paused=True, paused=5),
        VIDEO: Queue(VIDEO, is_paused=True, paused=50),
    }
    paused = frozenset({SEARCH, VIDEO})
    state = contested(SEARCH, Interference.RESUMING, paused_by_daemon=paused, slots=(SEARCH,))
    decision = decide(snapshot, state, settings_with(1), 100.0)
    assert decision.commands == (Command(Action.RESUME, VIDEO),)
    assert decision.state.slots == (VIDEO,)


def test_a_pause_by_a_user_after_a_conflict_stays() -> None:
    """An open queue that the daemon may not pause is not the daemon's."""
    running = Queue(METADATA, is_paused=False, active=1, waiting=9)
    state = contested(
        SEARCH,
        Interference.RESUMING,
        paused_by_daemon=frozenset({SEARCH}),
        slots=(METADATA,),
        resumed_by_others=frozenset({SEARCH}),
    )
    is_open = {METADATA: running, SEARCH: Queue(SEARCH, is_paused=False, waiting=5)}
    decision = decide(is_open, state, settings_with(1), 100.0)
    assert decision.commands == ()
    assert SEARCH not in decision.state.paused_by_daemon
    is_paused = {METADATA: running, SEARCH: Queue(SEARCH, is_paused=True, paused=5)}
    decision = decide(is_paused, decision.state, settings_with(1), 101.0)
    assert decision.reasons[SEARCH] is Reason.PAUSED_BY_OTHERS
    assert decision.commands == ()
