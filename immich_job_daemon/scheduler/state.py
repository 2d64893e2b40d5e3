"""What the scheduler carries from one decision to the next, and how events change it.

A ``SchedulerState`` is frozen: each function here returns a new one. The fields up to
``unconfirmed_pauses`` survive a restart in the ledger; the others belong to the current run. Times
are seconds of the clock that the caller passes to the scheduler.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from immich_job_daemon.model.conflict import ConflictEvent
from immich_job_daemon.model.controls import Change, Controls, Override, SetLimit, SetMode, SetQueue
from immich_job_daemon.model.queue import Snapshot
from immich_job_daemon.scheduler.scan import ScanProgress

UNCONFIRMED_FOR: Final = 60.0
"""Seconds for which a pause without a response may still take effect.

A proxy or a stalled server can carry out a request long after the client has given up. A queue
found paused within this time was paused by that request, not by a user.
"""


@dataclass(frozen=True, slots=True)
class SchedulerState:
    """What the scheduler knows beside the snapshot.

    Attributes:
        taken_over: whether the queues that were paused at the very first start were taken over.
        is_limited: the limit applies until nothing is pending (rule 10).
        paused_by_daemon: queues that the daemon has paused or is about to pause: added before a
            pause is sent, removed when the queue is seen open again.
        paused_by_others: managed queues found paused that the daemon did not pause.
        slots: queues that have a slot, in the order they got it.
        wanted: queues that a user resumed or wants next and that have no slot yet.
        controls: what users have set on the page or over MQTT.
        scan: progress of the current scan for missing files.
        unconfirmed_pauses: until when a pause without a response may still take effect, by queue.
        unpausable: queues that Immich refuses to pause.
        lent: queues with a lent slot, and since when they have it.
        cannot_scan: Immich does not let the daemon start a scan.
        slot_since: when each queue with a slot got it.
        yielded: queues that have let others go first since they last got a slot.
        reserved: waiting queues for which others have given up their slots.
        waiting_since: since when each queue waits that has work and may run.
        resumed_by_others: queues that are open although the daemon had paused them.
        conflicts: what others did against the daemon lately, by queue.
        last_commands: when the last command was sent, by queue.
        last_open: when each queue was last seen open, or first seen at all.
        had_failure: a request failed since the last snapshot. What the next snapshot shows may be
            Immich's own doing, so no user's intention is read from it.
    """

    taken_over: bool = False
    is_limited: bool = False
    paused_by_daemon: frozenset[str] = frozenset()
    paused_by_others: frozenset[str] = frozenset()
    slots: tuple[str, ...] = ()
    wanted: frozenset[str] = frozenset()
    controls: Controls = field(default_factory=Controls)
    scan: ScanProgress = field(default_factory=ScanProgress)
    unconfirmed_pauses: Mapping[str, float] = field(default_factory=dict)
    unpausable: frozenset[str] = frozenset()
    lent: Mapping[str, float] = field(default_factory=dict)
    cannot_scan: bool = False
    slot_since: Mapping[str, float] = field(default_factory=dict)
    yielded: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()
    waiting_since: Mapping[str, float] = field(default_factory=dict)
    resumed_by_others: frozenset[str] = frozenset()
    conflicts: Mapping[str, tuple[ConflictEvent, ...]] = field(default_factory=dict)
    last_commands: Mapping[str, float] = field(default_factory=dict)
    last_open: Mapping[str, float] = field(default_factory=dict)
    had_failure: bool = True


def restored(state: SchedulerState, snapshot: Snapshot, now: float) -> SchedulerState:
    """Return the state for a new run that continues from what the ledger kept.

    The previous run may have been killed while a pause was in flight: a queue that it had paused
    and that is open in the first snapshot may still be paused by that request.
    """
    is_open = {
        name for name in state.paused_by_daemon if name in snapshot and not snapshot[name].is_paused
    }
    unconfirmed = is_open | (state.unconfirmed_pauses.keys() & snapshot.keys())
    until = dict.fromkeys(unconfirmed, now + UNCONFIRMED_FOR)
    return replace(state, unconfirmed_pauses=until, had_failure=True)


def after_change(state: SchedulerState, change: Change) -> SchedulerState:
    """Return the state after a user made ``change``.

    An override on a queue that something else had paused adopts that pause: from then on it is the
    daemon's, and the queue is resumed in its turn.

    >>> later = after_change(SchedulerState(), SetQueue("ocr", Override.HELD))
    >>> sorted(later.controls.held_by_user)
    ['ocr']
    """
    controls = state.controls
    match change:
        case SetMode(mode):
            return replace(state, controls=replace(controls, mode=mode))
        case SetLimit(limit):
            return replace(state, controls=replace(controls, limit=limit))
        case SetQueue(name, override):
            is_adopted = name in state.paused_by_others and override is not Override.HELD
            adopted = {name} if is_adopted else set()
            wanted = state.wanted - {name} | ({name} if override is Override.NEXT else set())
            held = controls.held_by_user - {name}
            held |= {name} if override is Override.HELD else set()
            return replace(
                state,
                controls=replace(controls, held_by_user=held),
                # A queue that has a slot needs no other.
                wanted=wanted - set(state.slots),
                paused_by_daemon=state.paused_by_daemon | adopted,
                paused_by_others=state.paused_by_others - adopted,
            )


def after_failure(state: SchedulerState) -> SchedulerState:
    """Return the state after a request failed or got no response."""
    return replace(state, had_failure=True)


def after_unconfirmed_pause(state: SchedulerState, name: str, now: float) -> SchedulerState:
    """Return the state after a pause of ``name`` that may or may not have taken effect."""
    until = {**state.unconfirmed_pauses, name: now + UNCONFIRMED_FOR}
    return replace(state, had_failure=True, unconfirmed_pauses=until)


def after_unsent(
    state: SchedulerState, unsent: Iterable[str], snapshot: Snapshot
) -> SchedulerState:
    """Return the state after the pauses of the queues ``unsent`` were not sent at all.

    Such a queue is open and not the daemon's: if it is found paused later, another tool paused it.
    """
    still_open = {
        name
        for name in unsent
        if name in snapshot
        and not snapshot[name].is_paused
        and name not in state.unconfirmed_pauses
    }
    paused = state.paused_by_daemon - still_open
    return replace(state, had_failure=True, paused_by_daemon=paused)


def after_refused_pause(state: SchedulerState, name: str) -> SchedulerState:
    """Return the state after Immich refused to pause ``name`` (rule 9)."""
    return replace(
        state,
        unpausable=state.unpausable | {name},
        paused_by_daemon=state.paused_by_daemon - {name},
        slots=tuple(slot for slot in state.slots if slot != name),
        lent={queue: since for queue, since in state.lent.items() if queue != name},
    )


def after_refused_start(state: SchedulerState, name: str, *, is_running: bool) -> SchedulerState:
    """Return the state after Immich refused to start a scan in ``name``.

    A queue that was running is asked again once it is drained; any other is not asked again.
    """
    asked = state.scan.asked - ({name} if is_running else set())
    return replace(state, scan=replace(state.scan, asked=asked, latest=None))


def after_release(state: SchedulerState, released: frozenset[str], now: float) -> SchedulerState:
    """Return the state after the queues ``released`` were seen open when the daemon stopped.

    A queue whose pause may still take effect stays in ``paused_by_daemon``, so that the next run
    resumes it.
    """
    unconfirmed = {name: until for name, until in state.unconfirmed_pauses.items() if until > now}
    paused = state.paused_by_daemon - (released - unconfirmed.keys())
    return replace(
        state, paused_by_daemon=paused, unconfirmed_pauses=unconfirmed, slots=(), lent={}
    )
