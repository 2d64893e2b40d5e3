"""Who paused or resumed a queue: the daemon, a user, another tool, or Immich itself. Pure.

The rules are numbered in ``decide.py``.
"""

from typing import Final

from immich_job_daemon.model.conflict import CONFLICT_THRESHOLD, ConflictEvent, Interference
from immich_job_daemon.model.controls import Mode
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.model.windows import closed_until
from immich_job_daemon.scheduler.context import DecisionContext

CONFLICT_BACKOFF: Final = 60.0
"""Seconds between two commands for a queue in conflict (rule 21)."""


class Attribution(DecisionContext):
    """Attributes what the snapshot shows to the daemon or to others."""

    # In which queues may nothing start? (rules 11, 12, 15 and 19)

    def apply_gates(self) -> None:
        """Note the queues in which nothing may start, and why."""
        if not self.is_open:
            for name in self.managed:
                self._apply_gate(name)

    def _apply_gate(self, name: str) -> None:
        controls = self.before.controls
        opens = None
        if self.conditions.local is not None:
            opens = closed_until(self.settings.schedule, name, self.conditions.local)
        if opens is not None:
            self.opens_at[name] = opens
        if controls.mode is Mode.HELD or name in controls.held_by_user - self.unheld:
            self.gated[name] = Reason.HELD_BY_USER
        elif opens is not None:
            self.gated[name] = Reason.OUTSIDE_WINDOW
        elif self.conditions.is_loaded:
            self.gated[name] = Reason.HIGH_LOAD

    def _clear_hold(self, name: str) -> None:
        """Clear the user's hold on this queue; a closed window or a high load still applies."""
        self.unheld.add(name)
        del self.gated[name]
        self._apply_gate(name)

    # Who did it? (rules 7 and 8)

    def attribute(self) -> None:
        """Work out which queues the daemon, and which ones others, have paused or resumed."""
        for name, queue in self.managed.items():
            if queue.is_paused:
                self.resumed_by_others.discard(name)
                self._attribute_paused(name)
            else:
                self._attribute_open(queue)
                self.last_open[name] = self.now

    def _attribute_paused(self, name: str) -> None:
        if (
            name in self.paused_by_daemon
            or name in self.unconfirmed_pauses
            or not self.before.taken_over
        ):
            self.paused_by_daemon.add(name)
            self.paused_by_others.discard(name)
            return
        if name in {*self.slots, *self.lent}:
            self._note_conflict(name, Interference.PAUSING)
        self.paused_by_others.add(name)
        self.wanted.discard(name)
        self.lent.pop(name, None)
        if name in self.slots:
            self.slots.remove(name)

    def _attribute_open(self, queue: Queue) -> None:
        name = queue.name
        if name in self.slots or name in self.lent:
            if name not in self.unconfirmed_pauses:
                self.paused_by_daemon.discard(name)
        elif not self.before.had_failure and (
            name in self.paused_by_daemon or name in self.paused_by_others
        ):
            if name in self.paused_by_daemon and name not in self.resumed_by_others:
                self._note_conflict(name, Interference.RESUMING)
            self.resumed_by_others.add(name)
            self.wanted.add(name)
            controls = self.before.controls
            is_automatic = controls.mode is Mode.AUTOMATIC
            if (
                is_automatic
                and name in controls.held_by_user
                and name not in self.unconfirmed_pauses
            ):
                self._clear_hold(name)
        self.paused_by_others.discard(name)

    # Who works against the daemon? (rule 21)

    def _note_conflict(self, name: str, kind: Interference) -> None:
        if name not in self.unconfirmed_pauses:
            before = self.conflicts.get(name, ())
            self.conflicts[name] = (*before, ConflictEvent(self.now, kind))[-CONFLICT_THRESHOLD:]

    def contested(self) -> dict[str, Interference]:
        """Return the queues in conflict, and what the other side keeps doing to them."""
        return {
            name: times[-1].kind
            for name, times in self.conflicts.items()
            if len(times) >= CONFLICT_THRESHOLD
        }
