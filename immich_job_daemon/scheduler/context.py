"""What a decision starts from and works on: the words that the scheduler's rules are written in.

Pure, as the scheduler is; no rule stands in here.
"""

from collections.abc import Container, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from immich_job_daemon.model.conflict import CONFLICT_WINDOW
from immich_job_daemon.model.controls import Mode
from immich_job_daemon.model.queue import ENTRY, Queue, Snapshot, by_priority
from immich_job_daemon.model.reason import Action, Reason
from immich_job_daemon.model.settings import Settings, rivals
from immich_job_daemon.scheduler.decision import Command, Conditions
from immich_job_daemon.scheduler.state import SchedulerState

TURN_EVERY: Final = 600.0
"""Seconds after which a queue is due for a lent slot; turns and looks fill up the 15 minutes."""


class DecisionContext:
    """What a decision is made of. Everything in it is its own, to be changed.

    Attributes:
        managed: the queues that are the daemon's to schedule, by priority.
        barred: those of them in which nothing may be started, and why.
        opens: when those outside their hours may run again.
        lifted: those that a person has resumed in spite of such a wish.
        others: those that somebody else has paused.
        slots, lent, held, wanted, turns, unsure: as in the memory.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        state: SchedulerState,
        settings: Settings,
        now: float,
        conditions: Conditions,
    ) -> None:
        self.snapshot = snapshot
        self.before = state
        self.settings = settings
        controls = state.controls
        self.limit = controls.limit or settings.max_concurrent_jobs
        self.now = now
        alone = settings.protected_queues | state.unpausable
        self.managed = {
            queue.name: queue
            for queue in by_priority(snapshot, settings.queue_priority)
            if queue.name not in alone
        }
        self.conditions = conditions
        self.opens_at = dict[str, datetime]()
        self.barred: dict[str, Reason] = {}
        self.lifted: set[str] = set()
        self.paused_by_daemon = set(state.paused_by_daemon)
        self.others = set(state.paused_by_others & self.managed.keys())
        self.slots = [name for name in state.slots if name in self.managed]
        self.lent = {name: since for name, since in state.lent.items() if name in self.managed}
        self.wanted = set(state.wanted & self.managed.keys())
        self.unconfirmed_pauses = {
            name: until for name, until in state.unconfirmed_pauses.items() if until > now
        }
        self.last_open = {name: state.last_open.get(name, now) for name in self.managed}
        self.scan = state.scan
        self.resumed_by_others = set(state.resumed_by_others & self.managed.keys())
        lately = {
            name: tuple(one for one in those if now - one.at < CONFLICT_WINDOW)
            for name, those in state.conflicts.items()
        }
        self.conflicts = {name: those for name, those in lately.items() if those}
        self.slot_since = dict(state.slot_since)
        self.yielded = set(state.yielded)
        self.is_limited = state.is_limited
        self.unrestricted = False

    @property
    def is_open(self) -> bool:
        """Whether a person wants everything open."""
        return self.before.controls.mode is Mode.OPEN

    # Words that the rules are written in.

    def ranked(self, names: Iterable[str]) -> list[Queue]:
        """Return these queues, the first by priority first."""
        chosen = set(names)
        return [queue for name, queue in self.managed.items() if name in chosen]

    def draining(self) -> set[str]:
        """Return the queues that run to the end of their active jobs without a slot."""
        return {
            name
            for name, queue in self.managed.items()
            if queue.is_busy and name not in self.slots and name not in self.lent
        }

    def occupied(self) -> set[str]:
        """Return the queues that occupy a slot, by right, lent, or because they still run."""
        return {*self.slots, *self.lent, *self.draining()}

    def waiting(self) -> list[Queue]:
        """Return the held queues with a backlog and no slot, the first to get one first."""
        waiting = [
            queue
            for name, queue in self.managed.items()
            if queue.is_paused
            and queue.backlog
            and name in self.paused_by_daemon
            and name not in self.slots
            and name not in self.barred
        ]
        overdue = self.overdue()
        return sorted(
            waiting,
            key=lambda queue: (
                queue.name not in self.wanted,
                overdue.index(queue.name) if queue.name in overdue else len(overdue),
            ),
        )

    def overdue(self) -> list[str]:
        """Return the queues that have waited for most of MAX_WAIT, the longest first."""
        if self.settings.max_wait is None:
            return []
        latest = self.now - self.settings.max_wait / 2
        late = {name: since for name, since in self.waiting_since().items() if since <= latest}
        return sorted(late, key=late.__getitem__)

    def waiting_since(self) -> dict[str, float]:
        """Return since when each queue waits that has work, may run and has no slot."""
        return {
            name: self.before.waiting_since.get(name, self.now)
            for name, queue in self.managed.items()
            if queue.backlog and name not in {*self.slots, *self.lent, *self.others, *self.barred}
        }

    def rivals(self, name: str) -> set[str]:
        """Return the queues of which none runs while this one does."""
        return set() if self.is_open else rivals(self.settings.exclusive, name)

    def startable(self, but: Container[str] = ()) -> list[Queue]:
        """Return the waiting queues that no rival with a slot keeps from running.

        Args:
            but: slots that are about to be free.
        """
        busy = {name for name in {*self.slots, *self.draining()} if name not in but}
        return [queue for queue in self.waiting() if not self.rivals(queue.name) & busy]

    def due(self) -> list[str]:
        """Return the held queues that are due for a turn, the one that waits longest first."""
        due = [
            name
            for name in self.managed
            if self.now - self.last_open[name] >= TURN_EVERY and self.can_be_lent(name)
        ]
        return sorted(due, key=lambda name: self.last_open[name])

    def can_be_lent(self, name: str) -> bool:
        """Whether a spare slot may be lent to this queue."""
        queue = self.managed.get(name)
        return (
            queue is not None
            and queue.is_paused
            and queue.is_drained
            and name in self.paused_by_daemon
            and name not in self.slots
            and name not in self.lent
            and name not in self.barred
        )

    def give_slot(self, name: str) -> None:
        """Give the queue a slot."""
        self.slots.append(name)
        self.slot_since[name] = self.now
        self.wanted.discard(name)

    def latest_lent(self) -> str:
        """Take back the slot that was lent last; the queue that it rests with keeps it longest."""
        name = max(self.lent, key=lambda name: (name != ENTRY, self.lent[name]))
        del self.lent[name]
        return name

    # What comes out.

    def state(self, commands: Iterable[Command]) -> SchedulerState:
        """Return what is to be remembered of it."""
        controls = self.before.controls
        return replace(
            self.before,
            taken_over=True,
            is_limited=self.is_limited,
            paused_by_daemon=frozenset(self.paused_by_daemon),
            paused_by_others=frozenset(self.others),
            slots=tuple(self.slots),
            wanted=frozenset(self.wanted),
            controls=replace(controls, held_by_user=controls.held_by_user - self.lifted),
            scan=self.scan,
            resumed_by_others=frozenset(self.resumed_by_others),
            conflicts=self.conflicts,
            last_commands={
                **self.before.last_commands,
                **{command.queue: self.now for command in commands},
            },
            lent=self.lent,
            slot_since={name: self.slot_since.get(name, self.now) for name in self.slots},
            yielded=frozenset(self.yielded & {*self.slots, *self.waiting_since()}),
            waiting_since=self.waiting_since(),
            last_open=self.last_open,
            unconfirmed_pauses=self.unconfirmed_pauses,
            had_failure=False,
        )

    def reason(self, queue: Queue, commands: Container[Command]) -> Reason:  # noqa: PLR0911 - one line a reason
        """Return why a queue is in its state once the commands are carried out."""
        name = queue.name
        if name in self.settings.protected_queues:
            return Reason.PROTECTED
        if name in self.before.unpausable:
            return Reason.UNPAUSABLE
        if name in self.others:
            return Reason.PAUSED_BY_OTHERS
        if name in self.barred:
            return Reason.DRAINING if queue.is_busy else self.barred[name]
        is_opened = not queue.is_paused or Command(Action.RESUME, name) in commands
        if self.unrestricted and is_opened and name in {*self.slots, *self.lent}:
            return Reason.UNRESTRICTED
        if name in self.slots and is_opened:
            return Reason.RUNNING
        if name in self.lent:
            return Reason.LENT
        if queue.is_busy:
            return Reason.DRAINING
        return Reason.WAITING if queue.backlog else Reason.IDLE
