"""The data of one decision, and the terms in which the scheduler's rules are written. Pure."""

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

LEND_EVERY: Final = 600.0
"""Seconds after which a queue is due for a lent slot. Lending and polls fill up the 15 minutes."""


class DecisionContext:
    """A working copy of all that a decision depends on.

    Attributes:
        managed: the queues that the daemon schedules, highest priority first.
        gated: the managed queues in which nothing may start, and why.
        opens_at: when queues outside their windows may run again.
        unheld: queues whose hold was cleared by resuming them in Immich.
        slots, lent, wanted, paused_by_daemon, paused_by_others, ...: as in the state.
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
        self.gated: dict[str, Reason] = {}
        self.unheld: set[str] = set()
        self.paused_by_daemon = set(state.paused_by_daemon)
        self.paused_by_others = set(state.paused_by_others & self.managed.keys())
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
        """Whether the user wants everything to run."""
        return self.before.controls.mode is Mode.OPEN

    # The terms of the rules.

    def ranked(self, names: Iterable[str]) -> list[Queue]:
        """Return these queues, highest priority first."""
        chosen = set(names)
        return [queue for name, queue in self.managed.items() if name in chosen]

    def draining(self) -> set[str]:
        """Return the queues whose active jobs finish although they have no slot."""
        return {
            name
            for name, queue in self.managed.items()
            if queue.is_busy and name not in self.slots and name not in self.lent
        }

    def occupied(self) -> set[str]:
        """Return the queues that occupy a slot: their own, a lent one, or one while draining."""
        return {*self.slots, *self.lent, *self.draining()}

    def waiting(self) -> list[Queue]:
        """Return the paused queues that wait for a slot, in the order in which they get one."""
        waiting = [
            queue
            for name, queue in self.managed.items()
            if queue.is_paused
            and queue.backlog
            and name in self.paused_by_daemon
            and name not in self.slots
            and name not in self.gated
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
        """Return the queues that have waited for half of MAX_WAIT, the longest wait first."""
        if self.settings.max_wait is None:
            return []
        latest = self.now - self.settings.max_wait / 2
        late = {name: since for name, since in self.waiting_since().items() if since <= latest}
        return sorted(late, key=late.__getitem__)

    def waiting_since(self) -> dict[str, float]:
        """Return since when each queue waits that has work and may run, but has no slot."""
        return {
            name: self.before.waiting_since.get(name, self.now)
            for name, queue in self.managed.items()
            if queue.backlog
            and name not in {*self.slots, *self.lent, *self.paused_by_others, *self.gated}
        }

    def rivals(self, name: str) -> set[str]:
        """Return the queues that must not run together with this one."""
        return set() if self.is_open else rivals(self.settings.exclusive, name)

    def startable(self, freeing: Container[str] = ()) -> list[Queue]:
        """Return the waiting queues that no running rival blocks.

        Args:
            freeing: queues that are about to lose their slots.
        """
        busy = {name for name in {*self.slots, *self.draining()} if name not in freeing}
        return [queue for queue in self.waiting() if not self.rivals(queue.name) & busy]

    def due_for_lending(self) -> list[str]:
        """Return the paused queues that are due for a lent slot, the longest wait first."""
        due_for_lending = [
            name
            for name in self.managed
            if self.now - self.last_open[name] >= LEND_EVERY and self.can_be_lent(name)
        ]
        return sorted(due_for_lending, key=lambda name: self.last_open[name])

    def can_be_lent(self, name: str) -> bool:
        """Whether a free slot may be lent to this queue."""
        queue = self.managed.get(name)
        return (
            queue is not None
            and queue.is_paused
            and queue.is_drained
            and name in self.paused_by_daemon
            and name not in self.slots
            and name not in self.lent
            and name not in self.gated
        )

    def give_slot(self, name: str) -> None:
        """Give the queue a slot."""
        self.slots.append(name)
        self.slot_since[name] = self.now
        self.wanted.discard(name)

    def revoke_latest_lent(self) -> str:
        """Take back the slot that was lent last; the entry queue keeps its own the longest."""
        name = max(self.lent, key=lambda name: (name != ENTRY, self.lent[name]))
        del self.lent[name]
        return name

    # The result.

    def state(self, commands: Iterable[Command]) -> SchedulerState:
        """Return the state after this decision."""
        controls = self.before.controls
        return replace(
            self.before,
            taken_over=True,
            is_limited=self.is_limited,
            paused_by_daemon=frozenset(self.paused_by_daemon),
            paused_by_others=frozenset(self.paused_by_others),
            slots=tuple(self.slots),
            wanted=frozenset(self.wanted),
            controls=replace(controls, held_by_user=controls.held_by_user - self.unheld),
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

    def reason(self, queue: Queue, commands: Container[Command]) -> Reason:  # noqa: PLR0911 - one return per reason
        """Return the reason for a queue's state once the commands are carried out."""
        name = queue.name
        if name in self.settings.protected_queues:
            return Reason.PROTECTED
        if name in self.before.unpausable:
            return Reason.UNPAUSABLE
        if name in self.paused_by_others:
            return Reason.PAUSED_BY_OTHERS
        if name in self.gated:
            return Reason.DRAINING if queue.is_busy else self.gated[name]
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
