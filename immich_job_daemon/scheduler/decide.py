"""Which queues may run: the rules, and nothing else. No I/O, no clock, no logging.

``decide`` is given what Immich reported, what is remembered, the settings and the time, and
returns commands, the new memory and a reason for every queue. The loop sends the commands, puts
each answer into the snapshot and asks again, until nothing is left to do: so every decision
stands on the last answer, never on a hope.

Terms. A queue's backlog is what is ready to run (``waiting`` + ``paused``); delayed jobs are
not, until they fall due. Busy: something is active. Open: not paused. Drained: neither active
nor backlog. Managed: neither protected nor refused by Immich. A managed queue occupies a slot
while it is busy, or open with a backlog. One without a slot is held: paused.

 1. Limit. No resume is sent that would let more than MAX_CONCURRENT_JOBS managed queues occupy
    slots. Every open queue counts, since work may reach it at any moment. Pauses go before
    resumes: while a queue is to be paused, nothing is resumed.
 2. Priority. A free slot goes to the first queue by priority that has a backlog.
 3. No interruption. A queue keeps its slot until it is drained, whatever waits. A look that shows
    it drained may have met the moment between two jobs: it is paused, and the answer tells. Not
    drained after all: it keeps the slot and is resumed at once (rule 1 permitting).
 4. Spare slots are filled while others run.
 5. Over the limit (somebody resumed queues, or the daemon starts on a busy server): the best by
    priority among the busy queues go on, up to the limit; one that has a slot already is first
    among them (rule 3). The rest are paused, their active jobs finish, and nothing new starts
    until the number is back within the limit.
 6. Nothing visible is not nothing. Immich counts no jobs in BullMQ's ``prioritized`` state, so a
    spare slot is lent to held queues without a visible backlog, each in its turn at least every
    15 minutes (where a look takes less than half a second). Between turns it rests with the
    queue at which uploads enter, so that a new photo starts without waiting for a look. A lent
    slot is given back as soon as another queue needs it, unless work was found: then it is a
    slot as any other.
 7. Somebody else's pause stays. At the first start ever every paused managed queue is taken over.
    After that one found paused that the daemon did not pause is left so until somebody resumes
    it. A held queue that somebody resumes is wanted: it gets a slot before those that wait,
    within the limit. One found open after Immich was away was opened by Immich's own start: it
    is held again. One that is held and then becomes protected is given back.
 8. What Immich reports is believed over what was sent: each decision compares and repairs.
 9. A queue that Immich refuses to pause is left alone and counts for nothing.
10. With UNRESTRICTED_BELOW: while fewer jobs are pending in all, every held queue is opened; from
    that number on the limit holds until nothing is pending.
11. A person's mode goes first. Open: every held queue is opened and there is no limit, whatever
    else is wished for. Held: no queue has a slot; what is active finishes, nothing new starts,
    also where somebody resumes a queue in Immich.
12. A person's hold on one queue takes its slot away and gives it none, below UNRESTRICTED_BELOW
    as well; what is active in it finishes. Who resumes the queue in Immich after that lifts it.
13. A queue that a person wants next is wanted as one that somebody resumed (rule 7).
14. A person's limit stands in for MAX_CONCURRENT_JOBS. Lowered, it makes the number exceeded
    (rule 5).
15. A queue that windows of SCHEDULE name runs inside them only. When a window closes the queue is
    paused and its active jobs finish; it has no slot and no turn until one opens. Also below
    UNRESTRICTED_BELOW.
16. Of an EXCLUSIVE group one queue occupies a slot at a time, whatever the limit, also below
    UNRESTRICTED_BELOW. A queue is resumed only if no rival is busy or open.
17. With YIELD_AFTER: a queue that has had its slot for that long lets a waiting queue of higher
    priority go first: it is paused, its active jobs finish, and then it waits as any other. For
    some seconds after it got its turn back it does so again at once, since one photo walks
    through several queues.
18. With MAX_WAIT: who has waited for half of it goes before all others, the longest first, and
    who has a slot gives it up for that, but not before it has had its share of the other half.
    So every queue with work has a turn within MAX_WAIT and what one job takes, while it may run.
19. While the machine has more to do than PAUSE_ABOVE_LOAD says no queue has a slot: what is
    active finishes, nothing new starts.
20. With SCAN: when it is due, and nothing else is to be done, Immich is asked queue by queue to
    look for what is missing: a drained queue in which something may be started, and the next one
    only when what the one before found is done. It is written down before it is asked, so it is
    asked once, whatever becomes of it.
21. No war. Somebody resumes a held queue again and again, or pauses one that has a slot: after
    three times within ten minutes at most one command a minute is sent for it, until ten minutes
    have passed in peace.

The modes of a person go before rules 15 to 19: open means open.
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
from immich_job_daemon.scheduler.context import TURN_EVERY
from immich_job_daemon.scheduler.decision import Command, Conditions, Decision
from immich_job_daemon.scheduler.scan import next_to_ask
from immich_job_daemon.scheduler.state import SchedulerState

TURN: Final = 2.0
"""Seconds a turn lasts: BullMQ's workers take a job within milliseconds of a resume."""


YIELDS_AGAIN: Final = 10.0
"""Seconds after a turn was got back in which it is given up again for who is to go first."""


def decide(
    snapshot: Snapshot,
    state: SchedulerState,
    settings: Settings,
    now: float,
    conditions: Conditions = Conditions(),  # noqa: B008 - it cannot be changed
) -> Decision:
    """Return what is to be done about the snapshot, and why each queue is as it is.

    Either pauses or resumes are asked for, never both: after the pauses were answered, the same
    question with the answers in the snapshot tells what may be resumed.

    Args:
        snapshot: every queue, as reported by the last look and every answer since.
        state: what the last decision returned, with the responses since worked in.
        settings: the limits and the order.
        now: seconds of a clock that never goes back.
        conditions: the time of the wall clock, and how busy the machine is.
    """
    decider = _Decider(snapshot, state, settings, now, conditions)
    decider.bar()
    decider.recognise()
    decider.choose_limit()
    decider.settle()
    decider.admit()
    decider.let_others_go_first()
    decider.take_turns()
    commands = (
        decider.in_peace(decider.pauses())
        or decider.in_peace([*decider.resumes(), *decider.give_back()])
        or decider.starts()
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
    """One decision in the making: the rules, a step each."""

    # Whether there is a limit (rules 10 and 11).

    def choose_limit(self) -> None:
        """Where there is none every queue may have a slot, and idle ones rest open."""
        is_automatic = self.before.controls.mode is Mode.AUTOMATIC
        # Also while a mode rules: what is pending counts all the same.
        is_below = self._is_below()
        self.unrestricted = self.is_open or (is_automatic and is_below)
        if self.unrestricted:
            self.limit = max(len(self.managed), 1)

    def _is_below(self) -> bool:
        if self.settings.unrestricted_below == 0:
            return False
        pending = sum(
            queue.active if name in {*self.others, *self.barred} else queue.pending
            for name, queue in self.managed.items()
        )
        if pending >= self.settings.unrestricted_below:
            self.is_limited = True
        elif pending == 0:
            self.is_limited = False
        return not self.is_limited

    # Who has a slot, who loses it, who gets one without being resumed.

    def settle(self) -> None:
        """Free the slots of drained queues; one that is still open has its slot lent for now."""
        self.slots = [name for name in self.slots if name not in self.barred]
        self.lent = {name: since for name, since in self.lent.items() if name not in self.barred}
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

    def admit(self) -> None:
        """Choose who goes on among those that run or are open without a slot (rules 5, 7, 16)."""
        self._keep_the_best()
        entrants = [
            queue
            for name, queue in self.managed.items()
            if not queue.is_paused and name not in {*self.slots, *self.lent, *self.barred}
        ]
        for queue in entrants:
            is_room = len(self.slots) < self.limit
            if queue.is_busy and is_room and not self.rivals(queue.name) & {*self.slots}:
                self.give_slot(queue.name)
        for queue in entrants:
            if queue.name in self.wanted and not queue.is_busy:
                occupied = {*self.slots, *self.draining()}
                if queue.is_drained:
                    # Nothing to be seen in it, but somebody thinks there is: its turn is next.
                    self.wanted.discard(queue.name)
                    self.last_open[queue.name] = self.now - TURN_EVERY
                elif len(occupied) < self.limit and not self.rivals(queue.name) & occupied:
                    self.give_slot(queue.name)
        if self.unrestricted:
            self._leave_open(entrants)
        while self.lent and len(self.occupied()) > self.limit:
            self.latest_lent()

    def _keep_the_best(self) -> None:
        best = sorted(self.ranked(self.slots), key=lambda queue: not queue.is_busy)
        keep: list[str] = []
        for queue in best:
            if len(keep) < self.limit and not self.rivals(queue.name) & {*keep}:
                keep.append(queue.name)
        self.slots = [name for name in self.slots if name in keep]

    def _leave_open(self, entrants: Iterable[Queue]) -> None:
        """Let what is open stay so where there is no limit, but for rivals of others."""
        for queue in entrants:
            name = queue.name
            if name in self.slots or self.rivals(name) & self.occupied():
                continue
            if queue.is_drained:
                self.lent[name] = self.now
            else:
                self.give_slot(name)

    def let_others_go_first(self) -> None:
        """Take slots from queues that have had them long enough (rules 17 and 18)."""
        for name in sorted(self.slots, key=lambda name: self.slot_since.get(name, self.now)):
            if self.now - self.slot_since.get(name, self.now) >= YIELDS_AGAIN:
                self.yielded.discard(name)
            free = max(0, self.limit - len({*self.slots, *self.draining()}))
            served = self.startable()[:free]
            others = [queue for queue in self.startable(but={name}) if queue not in served]
            if any(self._goes_before(other.name, name) for other in others):
                self.slots.remove(name)
                self.yielded.add(name)

    def _goes_before(self, other: str, name: str) -> bool:
        """Whether a waiting queue is to have the slot of one that has had it for a while."""
        had = self.now - self.slot_since.get(name, self.now)
        settings = self.settings
        if settings.max_wait is not None and other in self.overdue():
            share = settings.max_wait / 2 / max(len(self.waiting_since()), 1)
            return had >= share
        order = list(self.managed)
        if settings.yield_after is None or order.index(other) > order.index(name):
            return False
        return had >= settings.yield_after or (name in self.yielded and had < YIELDS_AGAIN)

    def take_turns(self) -> None:
        """End the lent turns that are over or in the way of a queue with work (rule 6).

        Ended means: a slot as any other again, which its queue loses by being seen drained and
        paused. So the answer to the pause decides, as for every drained queue (rule 3).
        """
        free = self.limit - len(self.occupied())
        startable = self.startable()
        in_the_way = {rival for queue in startable for rival in self.rivals(queue.name)}
        ending = [name for name in self.lent if name in in_the_way]
        for name in ending:
            del self.lent[name]
        more = len(startable) - free - len(ending)
        ending += [self.latest_lent() for _ in range(min(more, len(self.lent)))]
        if self.unrestricted:
            self.slots += ending
            return
        for name, since in tuple(self.lent.items()):
            if name != ENTRY and self.now - since >= TURN:
                del self.lent[name]
                ending.append(name)
        if not ending and free <= 0 and ENTRY in self.lent and self.due():
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
            # A queue whose last jobs still run occupies its slot already.
            room = self.limit if queue.is_busy else self.limit - 1
            if len(self.occupied()) > room:
                break
            if not self.rivals(queue.name) & {*self.slots}:
                self.give_slot(queue.name)
        free = self.limit - len(self.occupied())
        rest = self.managed if self.unrestricted else (ENTRY,)
        for name in dict.fromkeys((*self.due(), *rest)):
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
            # Also one that still runs: resumed, it would start new jobs.
            is_within = len(occupying | {name}) <= self.limit
            if is_within and not self.rivals(name) & occupying:
                occupying.add(name)
                commands.append(Command(Action.RESUME, name))
        return commands

    def give_back(self) -> list[Command]:
        """Resume what is held but no longer managed, for nobody else would (rule 7)."""
        left = [
            queue
            for name in sorted(self.paused_by_daemon - self.managed.keys())
            if (queue := self.snapshot.get(name)) is not None
        ]
        self.paused_by_daemon -= {queue.name for queue in left if not queue.is_paused}
        return [Command(Action.RESUME, queue.name) for queue in left if queue.is_paused]

    def in_peace(self, commands: list[Command]) -> list[Command]:
        """Return the commands without those that would go on with a war (rule 21)."""
        contested = self.contested()
        return [
            command
            for command in commands
            if command.queue not in contested
            or self.now - self.before.last_commands.get(command.queue, -inf) >= CONFLICT_BACKOFF
        ]

    def starts(self) -> list[Command]:
        scan, local = self.settings.scan, self.conditions.local
        if scan is None or local is None or self.before.cannot_scan:
            return []
        may_start = self.managed.keys() - self.others - self.barred.keys()
        name, self.scan = next_to_ask(scan, self.scan, self.snapshot, may_start, local)
        return [] if name is None else [Command(Action.START, name)]

    def wake_at(self) -> float | None:
        wakes = []
        ends = [since + TURN for name, since in self.lent.items() if name != ENTRY]
        if self.unrestricted:
            pass
        elif ends:
            wakes.append(min(ends))
        elif ENTRY in self.lent:
            wakes += [
                self.last_open[name] + TURN_EVERY for name in self.managed if self.can_be_lent(name)
            ]
        local = self.conditions.local
        if local is not None:
            scan = self.settings.scan
            windows = [*self.settings.schedule, *([scan.window] if scan else [])]
            edge = next_edge(windows, local)
            if edge is not None:
                wakes.append(self.now + edge.timestamp() - local.timestamp())
        return min(wakes, default=None)
