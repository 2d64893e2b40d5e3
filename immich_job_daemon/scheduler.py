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
"""

from collections.abc import Container, Iterable
from dataclasses import replace
from typing import Final

from immich_job_daemon.decision import Action, Command, Decision, Limits, Reason
from immich_job_daemon.memory import Memory
from immich_job_daemon.queues import ENTRY, Queue, Snapshot, by_priority

TURN_EVERY: Final = 600.0
"""Seconds after which a queue is due for a lent slot; turns and looks fill up the 15 minutes."""

TURN: Final = 2.0
"""Seconds a turn lasts: BullMQ's workers take a job within milliseconds of a resume."""


def decide(snapshot: Snapshot, memory: Memory, settings: Limits, now: float) -> Decision:
    """Return what is to be done about the snapshot, and why each queue is as it is.

    Either pauses or resumes are asked for, never both: after the pauses were answered, the same
    question with the answers in the snapshot tells what may be resumed.

    Args:
        snapshot: every queue, as reported by the last look and every answer since.
        memory: what the last decision returned, and what the answers since did to it.
        settings: the limits and the order.
        now: seconds of a clock that never goes back.
    """
    draft = _Draft(snapshot, memory, settings, now)
    draft.recognise()
    if draft.is_unrestricted():
        commands = [*draft.open_all(), *draft.give_back()]
    else:
        draft.settle()
        draft.admit()
        draft.take_turns()
        commands = draft.pauses() or [*draft.resumes(), *draft.give_back()]
    return Decision(
        commands=tuple(commands),
        memory=draft.memory(),
        reasons={name: draft.reason(queue, commands) for name, queue in snapshot.items()},
        wake=draft.wake(),
    )


class _Draft:
    """One decision in the making. Everything it changes is its own."""

    def __init__(self, snapshot: Snapshot, memory: Memory, settings: Limits, now: float) -> None:
        self.snapshot = snapshot
        self.before = memory
        self.settings = settings
        self.limit = settings.max_concurrent_jobs
        self.now = now
        alone = settings.protected_queues | memory.refused
        self.managed = {
            queue.name: queue
            for queue in by_priority(snapshot, settings.queue_priority)
            if queue.name not in alone
        }
        self.held = set(memory.held)
        self.others = set(memory.paused_by_others & self.managed.keys())
        self.slots = [name for name in memory.slots if name in self.managed]
        self.lent = {name: since for name, since in memory.lent.items() if name in self.managed}
        self.wanted = set(memory.wanted & self.managed.keys())
        self.unsure = {name: until for name, until in memory.unsure.items() if until > now}
        self.turns = {name: memory.turns.get(name, now) for name in self.managed}
        self.is_limited = memory.is_limited
        self.unrestricted = False

    # What is seen, told apart by whose doing it is (rules 7 and 8).

    def recognise(self) -> None:
        for name, queue in self.managed.items():
            if queue.is_paused:
                self._recognise_paused(name)
            else:
                self._recognise_open(queue)
                self.turns[name] = self.now

    def _recognise_paused(self, name: str) -> None:
        if name in self.held or name in self.unsure or not self.before.taken_over:
            self.held.add(name)
            self.others.discard(name)
            return
        self.others.add(name)
        self.wanted.discard(name)
        self.lent.pop(name, None)
        if name in self.slots:
            self.slots.remove(name)

    def _recognise_open(self, queue: Queue) -> None:
        name = queue.name
        if name in self.slots or name in self.lent:
            if name not in self.unsure:
                self.held.discard(name)
        elif not self.before.was_away and (name in self.held or name in self.others):
            self.wanted.add(name)
        self.others.discard(name)

    # Below UNRESTRICTED_BELOW (rule 10).

    def is_unrestricted(self) -> bool:
        if self.settings.unrestricted_below > 0:
            pending = sum(
                queue.active if name in self.others else queue.pending
                for name, queue in self.managed.items()
            )
            if pending >= self.settings.unrestricted_below:
                self.is_limited = True
            elif pending == 0:
                self.is_limited = False
            self.unrestricted = not self.is_limited
        return self.unrestricted

    def open_all(self) -> list[Command]:
        self.slots.clear()
        self.lent.clear()
        self.wanted.clear()
        for name, queue in self.managed.items():
            if not queue.is_paused and name not in self.unsure:
                self.held.discard(name)
        return [
            Command(Action.RESUME, name)
            for name, queue in self.managed.items()
            if queue.is_paused and name in self.held
        ]

    # Who has a slot, who loses it, who gets one without being resumed.

    def settle(self) -> None:
        """Free the slots of drained queues; one that is still open has its slot lent for now."""
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
        """Choose who goes on among those that run or are open without a slot (rules 5 and 7)."""
        if len(self.slots) > self.limit:
            best = sorted(self._ranked(self.slots), key=lambda queue: not queue.is_busy)
            keep = {queue.name for queue in best[: self.limit]}
            self.slots = [name for name in self.slots if name in keep]
        entrants = [
            queue
            for name, queue in self.managed.items()
            if not queue.is_paused and name not in self.slots and name not in self.lent
        ]
        for queue in entrants:
            if queue.is_busy and len(self.slots) < self.limit:
                self._give_slot(queue.name)
        for queue in entrants:
            if queue.name in self.wanted and not queue.is_busy:
                if queue.is_drained:
                    # Nothing to be seen in it, but somebody thinks there is: its turn is next.
                    self.wanted.discard(queue.name)
                    self.turns[queue.name] = self.now - TURN_EVERY
                elif len(self.slots) + len(self._draining()) < self.limit:
                    self._give_slot(queue.name)
        while self.lent and len(self._occupied()) > self.limit:
            self._latest_lent()

    def take_turns(self) -> None:
        """End the lent turns that are over or in the way of a queue with work (rule 6).

        Ended means: a slot as any other again, which its queue loses by being seen drained and
        paused. So the answer to the pause decides, as for every drained queue (rule 3).
        """
        free = self.limit - len(self._occupied())
        ending = [
            self._latest_lent() for _ in range(min(len(self._waiting()) - free, len(self.lent)))
        ]
        for name, since in tuple(self.lent.items()):
            if name != ENTRY and self.now - since >= TURN:
                del self.lent[name]
                ending.append(name)
        if not ending and free <= 0 and ENTRY in self.lent and self._due():
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
        self.held |= set(names)
        return [Command(Action.PAUSE, name) for name in names]

    def resumes(self) -> list[Command]:
        for queue in self._waiting():
            # A queue whose last jobs still run occupies its slot already.
            room = self.limit if queue.is_busy else self.limit - 1
            if len(self._occupied()) > room:
                break
            self._give_slot(queue.name)
        free = self.limit - len(self._occupied())
        for name in list(dict.fromkeys((*self._due(), ENTRY)))[: max(free, 0)]:
            if self._can_be_lent(name):
                self.lent[name] = self.turns[name] = self.now
        occupying = {
            name for name, queue in self.managed.items() if queue.is_busy or not queue.is_paused
        }
        commands = []
        for name in (*self.slots, *self.lent):
            if not self.managed[name].is_paused:
                continue
            # Also one that still runs: resumed, it would start new jobs.
            if len(occupying | {name}) <= self.limit:
                occupying.add(name)
                commands.append(Command(Action.RESUME, name))
        return commands

    def give_back(self) -> list[Command]:
        """Resume what is held but no longer managed, for nobody else would (rule 7)."""
        left = [
            queue
            for name in sorted(self.held - self.managed.keys())
            if (queue := self.snapshot.get(name)) is not None
        ]
        self.held -= {queue.name for queue in left if not queue.is_paused}
        return [Command(Action.RESUME, queue.name) for queue in left if queue.is_paused]

    # What comes out.

    def memory(self) -> Memory:
        return replace(
            self.before,
            taken_over=True,
            is_limited=self.is_limited,
            held=frozenset(self.held),
            paused_by_others=frozenset(self.others),
            slots=tuple(self.slots),
            wanted=frozenset(self.wanted),
            lent=self.lent,
            turns=self.turns,
            unsure=self.unsure,
            was_away=False,
        )

    def reason(self, queue: Queue, commands: Container[Command]) -> Reason:  # noqa: PLR0911 - one line a reason
        name = queue.name
        if name in self.settings.protected_queues:
            return Reason.PROTECTED
        if name in self.before.refused:
            return Reason.REFUSED
        if name in self.others:
            return Reason.PAUSED_BY_OTHERS
        if self.unrestricted:
            return Reason.UNRESTRICTED
        is_opened = not queue.is_paused or Command(Action.RESUME, name) in commands
        if name in self.slots and is_opened:
            return Reason.RUNNING
        if name in self.lent:
            return Reason.LENT
        if queue.is_busy:
            return Reason.DRAINING
        return Reason.WAITING if queue.backlog else Reason.IDLE

    def wake(self) -> float | None:
        ends = [since + TURN for name, since in self.lent.items() if name != ENTRY]
        if ends:
            return min(ends)
        if ENTRY in self.lent:
            dues = [
                self.turns[name] + TURN_EVERY for name in self.managed if self._can_be_lent(name)
            ]
            return min(dues, default=None)
        return None

    # Words that the above is written in.

    def _ranked(self, names: Iterable[str]) -> list[Queue]:
        chosen = set(names)
        return [queue for name, queue in self.managed.items() if name in chosen]

    def _draining(self) -> set[str]:
        """Return the queues that run to the end of their active jobs without a slot."""
        return {
            name
            for name, queue in self.managed.items()
            if queue.is_busy and name not in self.slots and name not in self.lent
        }

    def _occupied(self) -> set[str]:
        return {*self.slots, *self.lent, *self._draining()}

    def _waiting(self) -> list[Queue]:
        """Return the held queues with a backlog and no slot, the first to get one first."""
        waiting = [
            queue
            for name, queue in self.managed.items()
            if queue.is_paused and queue.backlog and name in self.held and name not in self.slots
        ]
        return sorted(waiting, key=lambda queue: queue.name not in self.wanted)

    def _due(self) -> list[str]:
        """Return the held queues that are due for a turn, the one that waits longest first."""
        due = [
            name
            for name in self.managed
            if self.now - self.turns[name] >= TURN_EVERY and self._can_be_lent(name)
        ]
        return sorted(due, key=lambda name: self.turns[name])

    def _can_be_lent(self, name: str) -> bool:
        queue = self.managed.get(name)
        return (
            queue is not None
            and queue.is_paused
            and queue.is_drained
            and name in self.held
            and name not in self.slots
            and name not in self.lent
        )

    def _give_slot(self, name: str) -> None:
        self.slots.append(name)
        self.wanted.discard(name)

    def _latest_lent(self) -> str:
        """Take back the slot that was lent last; the queue that it rests with keeps it longest."""
        name = max(self.lent, key=lambda name: (name != ENTRY, self.lent[name]))
        del self.lent[name]
        return name
