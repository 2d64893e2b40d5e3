"""Step 5: which queues keep, lose, get or borrow a slot, one function after the other."""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from immich_job_daemon.model.queue import ENTRY, Queue
from immich_job_daemon.scheduler.ranking import Ranking

LENT_FOR: Final = 2.0
"""Seconds for which a slot is lent: BullMQ's workers take a job within milliseconds of a resume."""

LEND_EVERY: Final = 600.0
"""Seconds after which a queue is due for a lent slot. Lending and polls fill up the 15 minutes."""

YIELDS_AGAIN_WITHIN: Final = 10.0
"""Seconds after a yielding queue got its slot back in which it yields again at once."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Which queues have a slot, their own or a lent one, and what that depends on.

    Attributes:
        own: the queues with a slot of their own, in the order they got it.
        lent: the queues with a lent slot, and since when.
        since: when each queue with a slot of its own got it.
        yielded: queues that have let others go first.
        reserved: waiting queues for which others have given up their slots.
        wanted: queues that a user wants next and that have no slot yet.
        last_open: when each managed queue was last seen open, or first seen at all.
    """

    own: tuple[str, ...]
    lent: Mapping[str, float]
    since: Mapping[str, float]
    yielded: frozenset[str]
    reserved: frozenset[str]
    wanted: frozenset[str]
    last_open: Mapping[str, float]


Step = Callable[[Slots, Ranking], Slots]


def current_slots(ranking: Ranking) -> Slots:
    """Return the slots before the first step."""
    state, attribution = ranking.view.state, ranking.attribution
    return Slots(
        own=attribution.slots,
        lent=attribution.lent,
        since=state.slot_since,
        yielded=state.yielded,
        reserved=state.reserved,
        wanted=attribution.wanted,
        last_open=attribution.last_open,
    )


# The terms of the steps.


def draining(slots: Slots, ranking: Ranking) -> set[str]:
    """Return the queues whose active jobs finish although they have no slot."""
    return {
        name
        for name, queue in ranking.view.managed.items()
        if queue.is_busy and name not in slots.own and name not in slots.lent
    }


def occupied(slots: Slots, ranking: Ranking) -> set[str]:
    """Return the queues that occupy a slot: their own, a lent one, or one while draining."""
    return {*slots.own, *slots.lent, *draining(slots, ranking)}


def _may_get_slot(queue: Queue, slots: Slots, ranking: Ranking) -> bool:
    """Whether a queue could use a slot: it is the daemon's to resume, now, and has none."""
    name, attribution = queue.name, ranking.attribution
    return (
        queue.is_paused
        and name in attribution.paused_by_daemon
        and name not in slots.own
        and name not in ranking.gated
        and name not in attribution.backing_off
    )


def waiting(slots: Slots, ranking: Ranking) -> list[Queue]:
    """Return the paused queues that wait for a slot, in the order in which they get one."""
    managed = ranking.view.managed.values()
    found = [queue for queue in managed if queue.backlog and _may_get_slot(queue, slots, ranking)]
    return sorted(found, key=ranking.key(slots.wanted))


def waiting_since(slots: Slots, ranking: Ranking) -> dict[str, float]:
    """Return since when each queue waits that has work and may run, but has no slot."""
    return {
        name: since
        for name, since in ranking.waiting_since.items()
        if name not in slots.own and name not in slots.lent
    }


def startable(slots: Slots, ranking: Ranking) -> list[Queue]:
    """Return the waiting queues that no rival blocks (rule 16), in the order of the slots.

    A rival blocks a queue while it runs, and while a slot is reserved for it.
    """
    rivals, busy = ranking.view.rivals, {*slots.own, *draining(slots, ranking)}
    found = waiting(slots, ranking)
    return [
        queue
        for queue in sorted(found, key=lambda queue: queue.name not in slots.reserved)
        if not rivals[queue.name] & (busy | slots.reserved)
    ]


def can_borrow(name: str, slots: Slots, ranking: Ranking) -> bool:
    """Rule 6: whether a free slot may be lent to this queue."""
    queue = ranking.view.managed.get(name)
    return (
        queue is not None
        and queue.is_drained
        and name not in slots.lent
        and _may_get_slot(queue, slots, ranking)
    )


def due_for_lending(slots: Slots, ranking: Ranking) -> list[str]:
    """Return the paused queues that are due for a lent slot, the longest wait first."""
    due = [
        name
        for name in ranking.view.managed
        if ranking.view.now - slots.last_open[name] >= LEND_EVERY
        and can_borrow(name, slots, ranking)
    ]
    return sorted(due, key=slots.last_open.__getitem__)


def _give(slots: Slots, name: str, ranking: Ranking) -> Slots:
    """Give the queue a slot of its own. If it was overdue it does not yield at once."""
    return replace(
        slots,
        own=(*slots.own, name),
        since={**slots.since, name: ranking.view.now},
        yielded=slots.yielded - {name} if ranking.is_overdue(name) else slots.yielded,
        reserved=slots.reserved - {name},
        wanted=slots.wanted - {name},
    )


def _latest_lent(lent: Mapping[str, float]) -> str:
    """Return the queue to take a lent slot from; the entry queue keeps its own the longest."""
    return max(lent, key=lambda name: (name != ENTRY, lent[name]))


def _without(lent: Mapping[str, float], names: Container[str]) -> dict[str, float]:
    return {name: since for name, since in lent.items() if name not in names}


# The steps, in the order in which they run.


def release_gated(slots: Slots, ranking: Ranking) -> Slots:
    """Rules 11, 12, 15, 19: a queue in which nothing may start has no slot."""
    own = tuple(name for name in slots.own if name not in ranking.gated)
    return replace(slots, own=own, lent=_without(slots.lent, ranking.gated))


def release_contested(slots: Slots, ranking: Ranking) -> Slots:
    """Rule 21: a paused queue to which no command may be sent has no slot: it could not use it."""
    managed, backing_off = ranking.view.managed, ranking.attribution.backing_off
    stuck = {name for name in backing_off if name in managed and managed[name].is_paused}
    own = tuple(name for name in slots.own if name not in stuck)
    return replace(slots, own=own, lent=_without(slots.lent, stuck))


def release_drained(slots: Slots, ranking: Ranking) -> Slots:
    """Rule 3: a drained queue loses its slot; while it is open, it has the slot lent."""
    managed = ranking.view.managed
    drained = [name for name in slots.own if managed[name].is_drained]
    lent = dict(slots.lent)
    lent |= {name: ranking.view.now for name in drained if not managed[name].is_paused}
    found_work = [n for n in lent if not managed[n].is_paused and not managed[n].is_drained]
    own = tuple(name for name in slots.own if name not in drained)
    gone = {*found_work, *(name for name in lent if managed[name].is_paused)}
    # Rule 6: a lent slot in which work was found is a slot like any other.
    return replace(slots, own=(*own, *found_work), lent=_without(lent, gone))


def trim_to_limit(slots: Slots, ranking: Ranking) -> Slots:
    """Rules 5, 16: above the limit the busy queues go on first, and no rivals together."""
    managed = ranking.view.managed
    best = [managed[name] for name in managed if name in slots.own]
    keep: set[str] = set()
    for queue in sorted(best, key=lambda queue: not queue.is_busy):
        if len(keep) < ranking.limit.slots and not ranking.view.rivals[queue.name] & keep:
            keep.add(queue.name)
    return replace(slots, own=tuple(name for name in slots.own if name in keep))


def admit_open(slots: Slots, ranking: Ranking) -> Slots:
    """Rules 5, 7: queues that are open without a slot get one, within the limit."""
    view, limit = ranking.view, ranking.limit.slots
    open_queues = _open_without_slot(slots, ranking)
    for queue in open_queues:
        is_room = len(slots.own) < limit
        if queue.is_busy and is_room and not view.rivals[queue.name] & {*slots.own}:
            slots = _give(slots, queue.name, ranking)
    for queue in open_queues:
        if queue.name not in slots.wanted or queue.is_busy:
            continue
        taken = {*slots.own, *draining(slots, ranking)}
        if queue.is_drained:
            # A user resumed it although it looks empty: lend it the next free slot.
            last_open = {**slots.last_open, queue.name: view.now - LEND_EVERY}
            slots = replace(slots, wanted=slots.wanted - {queue.name}, last_open=last_open)
        elif len(taken) < limit and not view.rivals[queue.name] & taken:
            slots = _give(slots, queue.name, ranking)
    return _leave_open(slots, ranking, open_queues) if ranking.limit.is_lifted else slots


def _open_without_slot(slots: Slots, ranking: Ranking) -> list[Queue]:
    return [
        queue
        for name, queue in ranking.view.managed.items()
        if not queue.is_paused
        and name not in slots.own
        and name not in slots.lent
        and name not in ranking.gated
    ]


def _leave_open(slots: Slots, ranking: Ranking, queues: Iterable[Queue]) -> Slots:
    """Rules 10, 11: without a limit, open queues stay open unless they are rivals of others."""
    for queue in queues:
        name = queue.name
        if name in slots.own or ranking.view.rivals[name] & occupied(slots, ranking):
            continue
        if queue.is_drained:
            slots = replace(slots, lent={**slots.lent, name: ranking.view.now})
        else:
            slots = _give(slots, name, ranking)
    return slots


def revoke_lent(slots: Slots, ranking: Ranking) -> Slots:
    """Rule 1: lent slots go first where the limit is exceeded."""
    while slots.lent and len(occupied(slots, ranking)) > ranking.limit.slots:
        slots = replace(slots, lent=_without(slots.lent, {_latest_lent(slots.lent)}))
    return slots


def keep_reservations(slots: Slots, ranking: Ranking) -> Slots:
    """Keep a slot reserved for a queue until it starts, or cannot start any more."""
    names = {queue.name for queue in waiting(slots, ranking)}
    return replace(slots, reserved=slots.reserved & names)


def yield_slots(slots: Slots, ranking: Ranking) -> Slots:
    """Rules 17, 18: queues that had their slots for long enough let a waiting one go first.

    All that stand in its way do so together, or none of them: one that kept its slot would keep
    the waiting queue from starting, and those that gave theirs up would have done so for nothing.
    """
    now = ranking.view.now
    again = {n for n in slots.own if now - slots.since.get(n, now) >= YIELDS_AGAIN_WITHIN}
    slots = replace(slots, yielded=slots.yielded - again)
    served: set[str] = set()
    for queue in waiting(slots, ranking):
        name, rivals = queue.name, ranking.view.rivals[queue.name]
        if name in slots.reserved or rivals & (slots.reserved | served):
            continue
        free = ranking.limit.slots - len({*slots.own, *slots.reserved, *served})
        victims = _victims(name, free, slots, ranking)
        if not victims:
            served |= {name} if free > 0 else set()
        elif all(_must_yield(victim, name, slots, ranking) for victim in victims):
            slots = replace(
                slots,
                own=tuple(one for one in slots.own if one not in victims),
                yielded=slots.yielded | victims,
                reserved=slots.reserved | {name},
            )
    return slots


def _victims(name: str, free: int, slots: Slots, ranking: Ranking) -> frozenset[str]:
    """Return the queues that must give up their slots for ``name`` to start, if any."""
    rivals = ranking.view.rivals[name] & {*slots.own}
    if free + len(rivals) > 0:
        return frozenset(rivals)
    now = ranking.view.now
    longest_first = sorted(slots.own, key=lambda one: slots.since.get(one, now))
    others = (one for one in longest_first if _must_yield(one, name, slots, ranking))
    return frozenset(next(([one] for one in others), slots.own[:1]))


def _must_yield(name: str, other: str, slots: Slots, ranking: Ranking) -> bool:
    """Whether the queue ``name`` must give its slot to the waiting queue ``other``."""
    view = ranking.view
    had = view.now - slots.since.get(name, view.now)
    settings = view.settings
    if settings.max_wait is not None and ranking.is_overdue(other) and other not in slots.lent:
        return had >= settings.max_wait / 2 / max(len(waiting_since(slots, ranking)), 1)
    if settings.yield_after is None or ranking.priority[other] > ranking.priority[name]:
        return False
    is_again = name in slots.yielded and had < YIELDS_AGAIN_WITHIN
    return had >= settings.yield_after or is_again


def end_lent(slots: Slots, ranking: Ranking) -> Slots:
    """Rule 6: take back lent slots that have expired or block a queue with work.

    Such a slot becomes an ordinary one. Its queue then loses it by being drained and paused, so
    the response to the pause decides, as for every drained queue (rule 3).
    """
    view = ranking.view
    free = ranking.limit.slots - len(occupied(slots, ranking))
    ready = startable(slots, ranking)
    blocking = {rival for queue in ready for rival in view.rivals[queue.name]}
    ending = [name for name in slots.lent if name in blocking]
    lent = _without(slots.lent, ending)
    for _ in range(min(len(ready) - free - len(ending), len(lent))):
        ending.append(_latest_lent(lent))
        lent = _without(lent, ending)
    if not ranking.limit.is_lifted:
        expired = [n for n, since in lent.items() if n != ENTRY and view.now - since >= LENT_FOR]
        ending += expired
        lent = _without(lent, expired)
        remaining = replace(slots, lent=lent)
        if not ending and free <= 0 and ENTRY in lent and due_for_lending(remaining, ranking):
            ending.append(ENTRY)
            lent = _without(lent, ending)
    return replace(slots, own=(*slots.own, *ending), lent=lent)


def fill(slots: Slots, ranking: Ranking) -> Slots:
    """Rules 2, 4, 7, 13, 16: free slots go to the waiting queues, in their order."""
    limit = ranking.limit.slots
    for queue in startable(slots, ranking):
        # A queue that is still draining occupies a slot already.
        taken = occupied(slots, ranking) | {queue.name}
        promised = {*slots.own, *slots.reserved, queue.name}
        if len(taken) > limit or (len(promised) > limit and queue.name not in slots.reserved):
            break
        if not ranking.view.rivals[queue.name] & {*slots.own}:
            slots = _give(slots, queue.name, ranking)
    return slots


def lend(slots: Slots, ranking: Ranking) -> Slots:
    """Rule 6: the remaining slots are lent, to queues that are due and to the entry queue."""
    now = ranking.view.now
    free = ranking.limit.slots - len(occupied(slots, ranking))
    rest = ranking.view.managed if ranking.limit.is_lifted else (ENTRY,)
    for name in dict.fromkeys((*due_for_lending(slots, ranking), *rest)):
        is_free = free > 0 and can_borrow(name, slots, ranking)
        if is_free and not ranking.view.rivals[name] & occupied(slots, ranking):
            slots = replace(
                slots,
                lent={**slots.lent, name: now},
                last_open={**slots.last_open, name: now},
            )
            free -= 1
    return slots


# The order of the first three is free, because each of them only takes slots away that the others
# would leave alone or take away as well; so is that of revoke_lent and keep_reservations, since one
# changes lent slots only and the other reservations only.
KEEP: Final[tuple[Step, ...]] = (
    release_gated,
    release_contested,
    release_drained,
    trim_to_limit,
    admit_open,
    revoke_lent,
    keep_reservations,
    yield_slots,
    end_lent,
)
"""Who keeps, loses or gets a slot among the open queues; what they lose is paused."""

FILL: Final[tuple[Step, ...]] = (fill, lend)
"""Who gets a free slot; only once nothing is to be paused any more (rule 1)."""


def apply(steps: Iterable[Step], slots: Slots, ranking: Ranking) -> Slots:
    """Return the slots after these steps."""
    for step in steps:
        slots = step(slots, ranking)
    return slots
