"""What is seen, told apart by whose doing it is: the daemon's, a person's, another tool's.

Pure, a part of the scheduler, whose rules are numbered in ``scheduler.py``.
"""

from typing import Final

from immich_job_daemon.model.conflict import CONFLICT_THRESHOLD, ConflictEvent, Interference
from immich_job_daemon.model.controls import Mode
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.model.windows import closed_until
from immich_job_daemon.scheduler.context import DecisionContext

CONFLICT_BACKOFF: Final = 60.0
"""Seconds between two commands for a queue that somebody else works against."""


class Attribution(DecisionContext):
    """A situation that is being understood."""

    # In which queues nothing may be started (rules 11, 12, 15 and 19).

    def bar(self) -> None:
        """Note in which queues nothing may be started, and why."""
        if not self.is_open:
            for name in self.managed:
                self._bar(name)

    def _bar(self, name: str) -> None:
        controls = self.before.controls
        opens = None
        if self.conditions.local is not None:
            opens = closed_until(self.settings.schedule, name, self.conditions.local)
        if opens is not None:
            self.opens_at[name] = opens
        if controls.mode is Mode.HELD or name in controls.held_by_user - self.lifted:
            self.barred[name] = Reason.HELD_BY_USER
        elif opens is not None:
            self.barred[name] = Reason.OUTSIDE_WINDOW
        elif self.conditions.is_loaded:
            self.barred[name] = Reason.HIGH_LOAD

    def _lift(self, name: str) -> None:
        """Forget that a person wants nothing started in this queue; the hour and the load stay."""
        self.lifted.add(name)
        del self.barred[name]
        self._bar(name)

    # What is seen, told apart by whose doing it is (rules 7 and 8).

    def recognise(self) -> None:
        """Tell what the daemon did from what others did."""
        for name, queue in self.managed.items():
            if queue.is_paused:
                self.resumed_by_others.discard(name)
                self._recognise_paused(name)
            else:
                self._recognise_open(queue)
                self.last_open[name] = self.now

    def _recognise_paused(self, name: str) -> None:
        if (
            name in self.paused_by_daemon
            or name in self.unconfirmed_pauses
            or not self.before.taken_over
        ):
            self.paused_by_daemon.add(name)
            self.others.discard(name)
            return
        if name in {*self.slots, *self.lent}:
            self._contradicted(name, Interference.PAUSING)
        self.others.add(name)
        self.wanted.discard(name)
        self.lent.pop(name, None)
        if name in self.slots:
            self.slots.remove(name)

    def _recognise_open(self, queue: Queue) -> None:
        name = queue.name
        if name in self.slots or name in self.lent:
            if name not in self.unconfirmed_pauses:
                self.paused_by_daemon.discard(name)
        elif not self.before.had_failure and (name in self.paused_by_daemon or name in self.others):
            if name in self.paused_by_daemon and name not in self.resumed_by_others:
                self._contradicted(name, Interference.RESUMING)
            self.resumed_by_others.add(name)
            self.wanted.add(name)
            controls = self.before.controls
            is_automatic = controls.mode is Mode.AUTOMATIC
            if (
                is_automatic
                and name in controls.held_by_user
                and name not in self.unconfirmed_pauses
            ):
                self._lift(name)
        self.others.discard(name)

    # Who works against the daemon (rule 21).

    def _contradicted(self, name: str, doing: Interference) -> None:
        if name not in self.unconfirmed_pauses:
            before = self.conflicts.get(name, ())
            self.conflicts[name] = (*before, ConflictEvent(self.now, doing))[-CONFLICT_THRESHOLD:]

    def contested(self) -> dict[str, Interference]:
        """Return the queues about which there would be a war, and what the others keep doing."""
        return {
            name: times[-1].doing
            for name, times in self.conflicts.items()
            if len(times) >= CONFLICT_THRESHOLD
        }
