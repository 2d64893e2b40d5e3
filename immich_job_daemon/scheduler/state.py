"""What the scheduler carries from one decision to the next, and what an answer does to it.

A ``Memory`` is never changed: each function here returns a new one. The fields down to ``unsure``
survive a restart in the ledger, the others are of this run only. Times are the caller's seconds,
of whatever clock it passes to the scheduler.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from immich_job_daemon.daemon.load import Load
from immich_job_daemon.forecast.estimate import Rates
from immich_job_daemon.model.conflict import Contradiction
from immich_job_daemon.model.controls import (
    Change,
    Controls,
    SetLimit,
    SetMode,
    SetQueue,
    Wish,
    wish_of,
)
from immich_job_daemon.model.queue import Snapshot
from immich_job_daemon.model.scan import Progress

UNSURE_FOR: Final = 60.0
"""Seconds for which a pause whose answer never came may still take effect.

A proxy or a stalled server can carry a request out long after the client has given up. A queue
found paused within this time was paused by that request, not by a person.
"""


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known beside the snapshot.

    Attributes:
        taken_over: whether the paused queues of the first start ever were taken over.
        is_limited: the limit holds until nothing is pending (rule 10).
        held: queues that are paused by the daemon, or may be: added before a pause is sent,
            removed when the queue is seen open again.
        paused_by_others: managed queues found paused that the daemon did not pause.
        slots: the queues that have a slot, in the order they got it.
        wanted: queues that somebody resumed or wants next, and that have no slot yet.
        controls: what a person asks for on the page or over MQTT.
        instance: tells this daemon from any other, for ever; empty before the first start.
        configured: MAX_CONCURRENT_JOBS of the run that kept this, 0 where that is not known.
        undo: what takes the last change of those back, None if there is nothing to take back.
        rates: how fast each queue is drained.
        scan: how far the present scan for what is missing has come.
        unsure: until when a pause without an answer may still take effect.
        refused: queues that Immich refuses to pause.
        lent: queues with a lent slot, and since when.
        cannot_scan: Immich does not let the daemon ask for a scan.
        load: how busy the machine is.
        since: when each of the queues with a slot got it.
        yielded: the queues that have let others go first since they got their turn.
        waits: since when each queue waits that has work and may run.
        defied: queues that are open though the daemon had paused them.
        contradictions: what others did against the daemon, by queue, the latest ones.
        commanded: when the last command was sent for each queue.
        turns: when each queue was last seen open, or first seen at all.
        was_away: something failed since the last snapshot, so that what it shows may have come
            about by itself: nobody's wish is read from it.
    """

    taken_over: bool = False
    is_limited: bool = False
    held: frozenset[str] = frozenset()
    paused_by_others: frozenset[str] = frozenset()
    slots: tuple[str, ...] = ()
    wanted: frozenset[str] = frozenset()
    controls: Controls = field(default_factory=Controls)
    instance: str = ""
    configured: int = 0
    undo: Change | None = None
    rates: Rates = field(default_factory=Rates)
    scan: Progress = field(default_factory=Progress)
    unsure: Mapping[str, float] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    lent: Mapping[str, float] = field(default_factory=dict)
    cannot_scan: bool = False
    load: Load = field(default_factory=Load)
    since: Mapping[str, float] = field(default_factory=dict)
    yielded: frozenset[str] = frozenset()
    waits: Mapping[str, float] = field(default_factory=dict)
    defied: frozenset[str] = frozenset()
    contradictions: Mapping[str, tuple[Contradiction, ...]] = field(default_factory=dict)
    commanded: Mapping[str, float] = field(default_factory=dict)
    turns: Mapping[str, float] = field(default_factory=dict)
    was_away: bool = True


def restored(memory: Memory, snapshot: Snapshot, now: float) -> Memory:
    """Return the memory of a run that starts now from what the ledger kept of an earlier one.

    The earlier run may have been killed with a pause under way: what it held and is open at the
    first look may still be paused by it. So may be what it had asked for without an answer.
    """
    is_open = {name for name in memory.held if name in snapshot and not snapshot[name].is_paused}
    asked = memory.unsure.keys() & snapshot.keys()
    unsure = dict.fromkeys(is_open | asked, now + UNSURE_FOR)
    return replace(memory, unsure=unsure, was_away=True)


def after_change(memory: Memory, change: Change) -> Memory:
    """Return the memory after a person asked for ``change``, with what would undo it.

    Who asks for a queue that somebody else had paused speaks for that somebody: from then on its
    pause is the daemon's, to be resumed in its turn. Undone, the queue stays paused as it was.

    >>> later = after_change(Memory(), SetQueue("ocr", Wish.HELD))
    >>> sorted(later.controls.held), later.undo
    (['ocr'], SetQueue(queue='ocr', wish=<Wish.AUTOMATIC: 'automatic'>))
    """
    controls = memory.controls
    match change:
        case SetMode(mode):
            undo: Change = SetMode(controls.mode)
            return replace(memory, controls=replace(controls, mode=mode), undo=undo)
        case SetLimit(limit):
            undo = SetLimit(controls.limit)
            return replace(memory, controls=replace(controls, limit=limit), undo=undo)
        case SetQueue(name, wish):
            undo = SetQueue(name, wish_of(name, controls, memory.wanted))
            is_others = name in memory.paused_by_others
            if is_others:
                undo = SetQueue(name, Wish.HELD)
            taken = {name} if is_others and wish is not Wish.HELD else set()
            wanted = memory.wanted - {name} | ({name} if wish is Wish.NEXT else set())
            held = controls.held - {name} | ({name} if wish is Wish.HELD else set())
            return replace(
                memory,
                controls=replace(controls, held=held),
                undo=undo,
                # One that runs already has what it could be wanted for.
                wanted=wanted - set(memory.slots),
                held=memory.held | taken,
                paused_by_others=memory.paused_by_others - taken,
            )


def under(memory: Memory, configured: int) -> Memory:
    """Return the memory of a run that starts with MAX_CONCURRENT_JOBS as ``configured``.

    Who changes the setting means it: a limit that a person chose before is forgotten then.
    """
    if memory.configured == configured:
        return memory
    controls = replace(memory.controls, limit=None)
    undo = None if isinstance(memory.undo, SetLimit) else memory.undo
    return replace(memory, configured=configured, controls=controls, undo=undo)


def after_failure(memory: Memory) -> Memory:
    """Return the memory after a request that failed or was never answered."""
    return replace(memory, was_away=True)


def after_unclear_pause(memory: Memory, name: str, now: float) -> Memory:
    """Return the memory after a pause of ``name`` of which nobody knows whether it took effect."""
    return replace(memory, was_away=True, unsure={**memory.unsure, name: now + UNSURE_FOR})


def after_unsent(memory: Memory, unsent: Iterable[str], snapshot: Snapshot) -> Memory:
    """Return the memory after pauses of the queues ``unsent`` were not even asked for.

    What is open and was not asked for is not held: a pause found there later is somebody else's.
    """
    free = {
        name
        for name in unsent
        if name in snapshot and not snapshot[name].is_paused and name not in memory.unsure
    }
    return replace(memory, was_away=True, held=memory.held - free)


def after_refusal(memory: Memory, name: str) -> Memory:
    """Return the memory after Immich refused to pause ``name`` (rule 9)."""
    return replace(
        memory,
        refused=memory.refused | {name},
        held=memory.held - {name},
        slots=tuple(slot for slot in memory.slots if slot != name),
        lent={queue: since for queue, since in memory.lent.items() if queue != name},
    )


def after_refused_start(memory: Memory, name: str, *, is_running: bool) -> Memory:
    """Return the memory after Immich refused to look for what ``name`` misses.

    One in which something runs is asked again when it is drained; another never.
    """
    asked = memory.scan.asked - ({name} if is_running else set())
    return replace(memory, scan=replace(memory.scan, asked=asked, latest=None))


def after_release(memory: Memory, released: frozenset[str], now: float) -> Memory:
    """Return the memory after the queues ``released`` were seen open at the daemon's end.

    One with a pause that may still take effect stays on the list: the next run answers for it.
    """
    unsure = {name: until for name, until in memory.unsure.items() if until > now}
    held = memory.held - (released - unsure.keys())
    return replace(memory, held=held, unsure=unsure, slots=(), lent={})
