"""The scheduling rules. Pure: no I/O, no clock, no logging.

``decide`` takes the queues that Immich reported, the state, the settings and the time; it returns
commands, the new state and a reason for every queue. The loop sends the commands, puts each
response into the snapshot and calls ``decide`` again until no command is left. So every decision
relies on the latest responses: the pause of a queue that seemed drained shows whether it was.

Terms. The backlog of a queue is its jobs that are ready to run (``waiting`` + ``paused``); delayed
jobs are not, until they are due. A queue is busy if a job is active, open if it is not paused,
drained if it has neither active jobs nor a backlog, and managed if it is neither protected nor
unpausable. A managed queue occupies a slot while it is busy, or open with a backlog. A managed
queue without a slot is kept paused.

 1. Limit. No resume is sent that would let more than MAX_CONCURRENT_JOBS managed queues occupy
    slots. Every open queue counts, since a job may reach it at any moment. Pauses go before
    resumes: while a queue is to be paused, none is resumed.
 2. Priority. A free slot goes to the first queue by priority that has a backlog.
 3. No interruption. A queue keeps its slot until it is drained, whatever waits. A snapshot may
    show it drained in the moment between two jobs, so it is paused first, and the response
    decides: if it still has jobs it keeps the slot and is resumed at once (within rule 1).
 4. Free slots are filled while other queues run.
 5. Above the limit (another client resumed queues, or the daemon starts on a busy server): the
    first busy queues by priority continue, up to the limit; queues that have a slot come before
    those that have none (rule 3). The rest are paused, their active jobs finish, and nothing
    starts until the number is within the limit again.
 6. Invisible jobs. Immich does not count jobs in BullMQ's ``prioritized`` state. So a free slot is
    lent to paused queues without a visible backlog, each at least every 15 minutes (if a poll
    takes less than half a second). Between these turns it is lent to the queue where uploads
    enter, so that a new photo starts without waiting for a poll. A lent slot is taken back as
    soon as another queue needs it, unless jobs were found; then it becomes an ordinary slot.
 7. Pauses by others stay. At the very first start every paused managed queue is taken over.
    After that, a queue that is found paused and was not paused by the daemon stays paused until
    a user resumes it. A queue that the daemon had paused and a user resumes is wanted: it gets a
    slot before those that wait, within the limit. A queue found open after Immich was away was
    opened by Immich itself at its start, and is paused again. A queue that the daemon has paused
    and that becomes protected is resumed.
 8. What Immich reports counts, not what was sent: each decision compares the two and corrects.
 9. A queue that Immich refuses to pause is left alone and does not count.
10. UNRESTRICTED_BELOW: while fewer jobs are pending in all, every paused queue is opened. From
    that number on, the limit applies until nothing is pending.
11. The user's mode goes first. Run everything: all queues are opened and there is no limit.
    Pause everything: no queue has a slot; active jobs finish and nothing starts, even in a queue
    that is resumed in Immich.
12. A queue that the user holds has no slot, below UNRESTRICTED_BELOW as well; its active jobs
    finish. Resuming it in Immich after that clears the hold.
13. A queue that the user wants next is wanted, as if it had been resumed in Immich (rule 7).
14. A limit set by the user replaces MAX_CONCURRENT_JOBS. Lowering it may put the number of
    running queues above the limit (rule 5).
15. A queue named in SCHEDULE runs inside its windows only. When a window closes the queue is
    paused and its active jobs finish; it has no slot and none is lent to it until one opens. This
    also holds below UNRESTRICTED_BELOW.
16. EXCLUSIVE: one queue of a group occupies a slot at a time, whatever the limit, also below
    UNRESTRICTED_BELOW. A queue is resumed only if none of its rivals is busy or open.
17. YIELD_AFTER: a queue that has had its slot for that long lets a waiting queue of higher
    priority go first: it is paused, its active jobs finish, and it waits like any other. In the
    first seconds after it got the slot back it yields again at once, because one photo passes
    through several queues.
18. MAX_WAIT: a queue that has waited for half of it goes before all others, the longest wait
    first. A queue with a slot gives it up for that, after it has had its share of the other half.
    So every queue with work runs within MAX_WAIT plus the length of one job, while it may run.
19. While the load of the machine is above PAUSE_ABOVE_LOAD no queue has a slot: active jobs
    finish and nothing starts.
20. SCAN: when a scan is due and no other command is left, Immich is asked queue by queue to look
    for missing files: a drained queue in which jobs may start, and the next one only when the
    jobs that were found are done. The request is saved before it is sent, so it is sent once,
    whatever becomes of it.
21. Conflicts. If something else resumes a queue that the daemon has paused, or pauses one that
    has a slot, three times within ten minutes, at most one command a minute is sent for that
    queue until ten minutes have passed without a conflict.

The user's modes go before rules 15 to 19: "run everything" means everything.
"""

from collections.abc import Iterable
from math import inf
from typing import Final

from immich_job_daemon.model.controls import Mode
from immich_job_daemon.model.queue import ENTRY, Queue, Snapshot
from immich_job_daemon.model.reason import Action
from immich_job_daemon.model.settings import Settings
from immich_job_daemon.model.windows import next_edge
from immich_job_daemon.scheduler.attribution import CONFLICT_BACKOFF, Attribution
from immich_job_daemon.scheduler.context import LEND_EVERY
from immich_job_daemon.scheduler.decision import Command, Conditions, Decision
from immich_job_daemon.scheduler.scan import next_to_scan
from immich_job_daemon.scheduler.state import SchedulerState

LENT_FOR: Final = 2.0
"""Seconds for which a slot is lent: BullMQ's workers take a job within milliseconds of a resume."""

YIELDS_AGAIN_WITHIN: Final = 10.0
"""Seconds after a yielding queue got its slot back in which it yields again at once."""


def decide(
    snapshot: Snapshot,
    state: SchedulerState,
    settings: Settings,
    now: float,
    conditions: Conditions = Conditions(),  # noqa: B008 - it is frozen
) -> Decision:
    """Return the commands for a snapshot, the new state, and the reason for each queue's state.

    The commands are pauses or resumes, never both: call again with the responses to the pauses in
    the snapshot to learn what may be resumed.

    Args:
        snapshot: every queue, as the last poll and all responses since reported it.
        state: what the last decision returned, with the responses since worked in.
        settings: the limit, the priorities and the other rules' settings.
        now: seconds of a monotonic clock.
        conditions: the local time, and whether the load is too high.
    """
    decider = _Decider(snapshot, state, settings, now, conditions)
    decider.apply_gates()
    decider.attribute()
    decider.choose_limit()
    decider.release_drained()
    decider.admit_open()
    decider.yield_slots()
    decider.end_lent_slots()
    commands = (
        decider.without_contested(decider.pauses())
        or decider.without_contested([*decider.resumes(), *decider.release_unmanaged()])
        or decider.scans()
    )
    return Decision(
        commands=tuple(commands),
        state=decider.state(commands),
        reasons={name: decider.reason(queue, commands) for name, queue in snapshot.items()},
        opens_at=decider.opens_at,
        conflicts=decider.contested(),
        wake_at=decider.wake_at(),
    )


class _Decider(Attribution):
    """The steps of one decision, in the order in which ``decide`` calls them."""

    # Is there a limit? (rules 10 and 11)

    def choose_limit(self) -> None:
        """Without a limit every queue may have a slot, and empty queues stay open."""
        is_automatic = self.before.controls.mode is Mode.AUTOMATIC
        # Called in every mode, to keep track of the number of pending jobs.
        is_below = self._is_below_threshold()
        self.unrestricted = self.is_open or (is_automatic and is_below)
        if self.unrestricted:
            self.limit = max(len(self.managed), 1)

    def _is_below_threshold(self) -> bool:
        if self.settings.unrestricted_below == 0:
            return False
        pending = sum(
            queue.active if name in {*self.paused_by_others, *self.gated} else queue.pending
            for name, queue in self.managed.items()
        )
        if pending >= self.settings.unrestricted_below:
            self.is_limited = True
        elif pending == 0:
            self.is_limited = False
        return not self.is_limited

    # Which queues keep, lose or get a slot without a resume?

    def release_drained(self) -> None:
        """Free the slots of drained queues; one that is still open keeps its slot as a lent one."""
        self.slots = [name for name in self.slots if name not in self.gated]
        self.lent = {name: since for name, since in self.lent.items() if name not in self.gated}
        for name in tuple(self.slots):
            queue = self.managed[name]
            if queue.is_drained:
                self.slots.remove(name)
                if not queue.is_paused:
                    self.lent[name] = self.now
        for name in tuple(self.lent):
            queue = self.managed[name]
            if queue.is_paused:
                del self.lent[name]
            elif not queue.is_drained:
                del self.lent[name]
                self.slots.append(name)

    def admit_open(self) -> None:
        """Choose which of the open queues without a slot may continue (rules 5, 7 and 16)."""
        self._trim_to_limit()
        entrants = [
            queue
            for name, queue in self.managed.items()
            if not queue.is_paused and name not in {*self.slots, *self.lent, *self.gated}
        ]
        for queue in entrants:
            is_room = len(self.slots) < self.limit
            if queue.is_busy and is_room and not self.rivals(queue.name) & {*self.slots}:
                self.give_slot(queue.name)
        for queue in entrants:
            if queue.name in self.wanted and not queue.is_busy:
                occupied = {*self.slots, *self.draining()}
                if queue.is_drained:
                    # A user resumed it although it looks empty: lend it the next free slot.
                    self.wanted.discard(queue.name)
                    self.last_open[queue.name] = self.now - LEND_EVERY
                elif len(occupied) < self.limit and not self.rivals(queue.name) & occupied:
                    self.give_slot(queue.name)
        if self.unrestricted:
            self._leave_open(entrants)
        while self.lent and len(self.occupied()) > self.limit:
            self.revoke_latest_lent()

    def _trim_to_limit(self) -> None:
        best = sorted(self.ranked(self.slots), key=lambda queue: not queue.is_busy)
        keep: list[str] = []
        for queue in best:
            if len(keep) < self.limit and not self.rivals(queue.name) & {*keep}:
                keep.append(queue.name)
        self.slots = [name for name in self.slots if name in keep]

    def _leave_open(self, entrants: Iterable[Queue]) -> None:
        """Without a limit, leave open queues open unless they are rivals of others."""
        for queue in entrants:
            name = queue.name
            if name in self.slots or self.rivals(name) & self.occupied():
                continue
            if queue.is_drained:
                self.lent[name] = self.now
            else:
                self.give_slot(name)

    def yield_slots(self) -> None:
        """Take slots away from queues that must let others go first (rules 17 and 18)."""
        for name in sorted(self.slots, key=lambda name: self.slot_since.get(name, self.now)):
            if self.now - self.slot_since.get(name, self.now) >= YIELDS_AGAIN_WITHIN:
                self.yielded.discard(name)
            free = max(0, self.limit - len({*self.slots, *self.draining()}))
            served = self.startable()[:free]
            others = [queue for queue in self.startable(freeing={name}) if queue not in served]
            if any(self._must_yield_to(other.name, name) for other in others):
                self.slots.remove(name)
                self.yielded.add(name)

    def _must_yield_to(self, other: str, name: str) -> bool:
        """Whether the queue ``name`` must give its slot to the waiting queue ``other``."""
        had = self.now - self.slot_since.get(name, self.now)
        settings = self.settings
        if settings.max_wait is not None and other in self.overdue():
            share = settings.max_wait / 2 / max(len(self.waiting_since()), 1)
            return had >= share
        order = list(self.managed)
        if settings.yield_after is None or order.index(other) > order.index(name):
            return False
        return had >= settings.yield_after or (name in self.yielded and had < YIELDS_AGAIN_WITHIN)

    def end_lent_slots(self) -> None:
        """Take back lent slots that have expired or block a queue with work (rule 6).

        Such a slot becomes an ordinary one. Its queue then loses it by being drained and paused,
        so the response to the pause decides, as for every drained queue (rule 3).
        """
        free = self.limit - len(self.occupied())
        startable = self.startable()
        in_the_way = {rival for queue in startable for rival in self.rivals(queue.name)}
        ending = [name for name in self.lent if name in in_the_way]
        for name in ending:
            del self.lent[name]
        more = len(startable) - free - len(ending)
        ending += [self.revoke_latest_lent() for _ in range(min(more, len(self.lent)))]
        if self.unrestricted:
            self.slots += ending
            return
        for name, since in tuple(self.lent.items()):
            if name != ENTRY and self.now - since >= LENT_FOR:
                del self.lent[name]
                ending.append(name)
        if not ending and free <= 0 and ENTRY in self.lent and self.due_for_lending():
            del self.lent[ENTRY]
            ending.append(ENTRY)
        self.slots += ending

    # The commands.

    def pauses(self) -> list[Command]:
        names = [
            name
            for name, queue in self.managed.items()
            if not queue.is_paused
            and name not in self.lent
            and (name not in self.slots or queue.is_drained)
        ]
        self.paused_by_daemon |= set(names)
        return [Command(Action.PAUSE, name) for name in names]

    def resumes(self) -> list[Command]:
        for queue in self.startable():
            # A queue that is still draining occupies a slot already.
            room = self.limit if queue.is_busy else self.limit - 1
            if len(self.occupied()) > room:
                break
            if not self.rivals(queue.name) & {*self.slots}:
                self.give_slot(queue.name)
        free = self.limit - len(self.occupied())
        rest = self.managed if self.unrestricted else (ENTRY,)
        for name in dict.fromkeys((*self.due_for_lending(), *rest)):
            if free > 0 and self.can_be_lent(name) and not self.rivals(name) & self.occupied():
                self.lent[name] = self.last_open[name] = self.now
                free -= 1
        occupying = {
            name for name, queue in self.managed.items() if queue.is_busy or not queue.is_paused
        }
        commands = []
        for name in (*self.slots, *self.lent):
            if not self.managed[name].is_paused:
                continue
            # This includes a draining queue: once resumed, it would start new jobs.
            is_within = len(occupying | {name}) <= self.limit
            if is_within and not self.rivals(name) & occupying:
                occupying.add(name)
                commands.append(Command(Action.RESUME, name))
        return commands

    def release_unmanaged(self) -> list[Command]:
        """Resume queues that the daemon has paused and no longer manages (rule 7)."""
        left = [
            queue
            for name in sorted(self.paused_by_daemon - self.managed.keys())
            if (queue := self.snapshot.get(name)) is not None
        ]
        self.paused_by_daemon -= {queue.name for queue in left if not queue.is_paused}
        return [Command(Action.RESUME, queue.name) for queue in left if queue.is_paused]

    def without_contested(self, commands: list[Command]) -> list[Command]:
        """Return the commands without those for queues in conflict, for a minute (rule 21)."""
        contested = self.contested()
        return [
            command
            for command in commands
            if command.queue not in contested
            or self.now - self.before.last_commands.get(command.queue, -inf) >= CONFLICT_BACKOFF
        ]

    def scans(self) -> list[Command]:
        scan, local = self.settings.scan, self.conditions.local
        if scan is None or local is None or self.before.cannot_scan:
            return []
        may_start = self.managed.keys() - self.paused_by_others - self.gated.keys()
        name, self.scan = next_to_scan(scan, self.scan, self.snapshot, may_start, local)
        return [] if name is None else [Command(Action.START, name)]

    def wake_at(self) -> float | None:
        wakes = []
        ends = [since + LENT_FOR for name, since in self.lent.items() if name != ENTRY]
        if self.unrestricted:
            pass
        elif ends:
            wakes.append(min(ends))
        elif ENTRY in self.lent:
            wakes += [
                self.last_open[name] + LEND_EVERY for name in self.managed if self.can_be_lent(name)
            ]
        local = self.conditions.local
        if local is not None:
            scan = self.settings.scan
            windows = [*self.settings.schedule, *([scan.window] if scan else [])]
            edge = next_edge(windows, local)
            if edge is not None:
                wakes.append(self.now + edge.timestamp() - local.timestamp())
        return min(wakes, default=None)
