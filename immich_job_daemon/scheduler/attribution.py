"""Step 1: who paused or resumed each queue: the daemon, someone else, or Immich itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from typing import Final

from immich_job_daemon.model.conflict import (
    CONFLICT_THRESHOLD,
    CONFLICT_WINDOW,
    ConflictEvent,
    Interference,
)
from immich_job_daemon.model.controls import Mode
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.scheduler.view import View


class Origin(Enum):
    """Why a managed queue is paused or open."""

    PAUSED_BY_DAEMON = auto()
    PAUSED_BY_OTHERS = auto()
    OPEN_WITH_SLOT = auto()
    RESUMED_BY_OTHERS = auto()
    OPENED_BY_IMMICH = auto()


CONFLICT_BACKOFF: Final = 60.0
"""Seconds between two commands for a queue in conflict (rule 21)."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """What the snapshot shows, attributed; the fields are those of the state."""

    paused_by_daemon: frozenset[str]
    paused_by_others: frozenset[str]
    resumed_by_others: frozenset[str]
    wanted: frozenset[str]
    unheld: frozenset[str]
    """Queues whose hold was cleared by resuming them in Immich (rule 12)."""
    conflicts: Mapping[str, tuple[ConflictEvent, ...]]
    last_open: Mapping[str, float]
    slots: tuple[str, ...]
    lent: Mapping[str, float]
    backing_off: frozenset[str]
    """Queues in conflict to which no command may be sent now (rule 21)."""

    @property
    def contested(self) -> Mapping[str, Interference]:
        """The queues in conflict, and what the other side keeps doing to them (rule 21)."""
        return {name: self.conflicts[name][-1].kind for name in contested(self.conflicts)}


def contested(conflicts: Mapping[str, Sequence[ConflictEvent]]) -> list[str]:
    """Return the queues with so many conflict events that they are no chance (rule 21)."""
    return [name for name, events in conflicts.items() if len(events) >= CONFLICT_THRESHOLD]


def origin(queue: Queue, view: View) -> Origin:
    """Return why a managed queue is paused or open (rules 7 and 8)."""
    state, name = view.state, queue.name
    if queue.is_paused:
        is_ours = name in state.paused_by_daemon or name in view.unconfirmed
        # At the very first start every paused queue is taken over.
        is_ours = is_ours or not state.taken_over
        return Origin.PAUSED_BY_DAEMON if is_ours else Origin.PAUSED_BY_OTHERS
    if name in state.slots or name in state.lent:
        return Origin.OPEN_WITH_SLOT
    was_paused = name in state.paused_by_daemon or name in state.paused_by_others
    # After a failure Immich may have restarted, and then it was Immich that opened the queue.
    if was_paused and not state.had_failure:
        return Origin.RESUMED_BY_OTHERS
    return Origin.OPENED_BY_IMMICH


def attribute(view: View) -> Attribution:
    """Return who paused or resumed each managed queue, and what follows for the state."""
    state, managed = view.state, view.managed
    origins = {name: origin(queue, view) for name, queue in managed.items()}

    def of(*wanted: Origin) -> frozenset[str]:
        return frozenset(name for name, found in origins.items() if found in wanted)

    by_others, resumed = of(Origin.PAUSED_BY_OTHERS), of(Origin.RESUMED_BY_OTHERS)
    is_open = frozenset(name for name, queue in managed.items() if not queue.is_paused)
    confirmed_open = is_open - view.unconfirmed.keys()
    controls = state.controls
    conflicts = _conflicts(view, origins)
    unheld = controls.held_by_user & resumed - view.unconfirmed.keys()
    return Attribution(
        paused_by_daemon=(state.paused_by_daemon | of(Origin.PAUSED_BY_DAEMON)) - confirmed_open,
        paused_by_others=by_others,
        resumed_by_others=(state.resumed_by_others & is_open) | resumed,
        wanted=(state.wanted & managed.keys() - by_others) | resumed,
        unheld=unheld if controls.mode is Mode.AUTOMATIC else frozenset(),
        conflicts=conflicts,
        last_open={
            name: view.now if name in is_open else state.last_open.get(name, view.now)
            for name in managed
        },
        slots=tuple(name for name in state.slots if name in managed and name not in by_others),
        lent={
            name: since
            for name, since in state.lent.items()
            if name in managed and name not in by_others
        },
        backing_off=frozenset(
            name
            for name in contested(conflicts)
            if view.now - state.last_commands.get(name, -inf) < CONFLICT_BACKOFF
        ),
    )


def _conflicts(
    view: View, origins: Mapping[str, Origin]
) -> Mapping[str, tuple[ConflictEvent, ...]]:
    """Return the recent conflict events of each queue, with those of this snapshot (rule 21)."""
    state, now = view.state, view.now
    recent = {
        name: tuple(event for event in events if now - event.at < CONFLICT_WINDOW)
        for name, events in state.conflicts.items()
    }
    for name, found in origins.items():
        if name in view.unconfirmed:
            continue
        had_slot = name in state.slots or name in state.lent
        is_new = name in state.paused_by_daemon and name not in state.resumed_by_others
        if found is Origin.PAUSED_BY_OTHERS and had_slot:
            event = ConflictEvent(now, Interference.PAUSING)
        elif found is Origin.RESUMED_BY_OTHERS and is_new:
            event = ConflictEvent(now, Interference.RESUMING)
        else:
            continue
        recent[name] = (*recent.get(name, ()), event)[-CONFLICT_THRESHOLD:]
    return {name: events for name, events in recent.items() if events}
