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

A decision is a pipeline. Each step takes frozen data and returns frozen data, and a rule is a
function in the module of its step: ``attribution`` (7, 8, 21), ``gates`` (11, 12, 15, 19),
``limit`` (10, 11, 14), ``ranking`` (2, 7, 13, 18), ``slots`` (1 to 7, 16 to 18), ``commands`` (1,
3, 7, 16, 20, 21) and ``reasons``.
"""

from dataclasses import replace

from immich_job_daemon.model.queue import ENTRY, Snapshot
from immich_job_daemon.model.reason import Action
from immich_job_daemon.model.settings import Settings
from immich_job_daemon.model.windows import next_edge
from immich_job_daemon.scheduler import commands as command_steps
from immich_job_daemon.scheduler.attribution import attribute
from immich_job_daemon.scheduler.decision import Command, Conditions, Decision
from immich_job_daemon.scheduler.gates import closed_gates, openings
from immich_job_daemon.scheduler.limit import limit
from immich_job_daemon.scheduler.ranking import Ranking
from immich_job_daemon.scheduler.reasons import reasons
from immich_job_daemon.scheduler.scan import ScanProgress
from immich_job_daemon.scheduler.slots import (
    FILL,
    KEEP,
    LEND_EVERY,
    LENT_FOR,
    Slots,
    apply,
    can_borrow,
    current_slots,
    waiting_since,
)
from immich_job_daemon.scheduler.state import SchedulerState
from immich_job_daemon.scheduler.view import view


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
    seen = view(snapshot, state, settings, now, conditions)
    attribution = attribute(seen)
    gated = closed_gates(seen, attribution)
    ranking = Ranking(seen, attribution, gated, limit(seen, attribution, gated))
    slots = apply(KEEP, current_slots(ranking), ranking)
    commands = command_steps.pauses(slots, ranking)
    released: frozenset[str] = frozenset()
    progress = state.scan
    if not commands:
        slots = apply(FILL, slots, ranking)
        commands = command_steps.resumes(slots, ranking)
        released = command_steps.released(ranking)
    if not commands:
        commands, progress = command_steps.scan(ranking)
    return Decision(
        commands=commands,
        state=_next_state(slots, ranking, commands, progress, released),
        reasons=reasons(slots, ranking, commands),
        opens_at=openings(seen),
        conflicts=attribution.contested,
        wake_at=_wake_at(slots, ranking),
    )


def _next_state(
    slots: Slots,
    ranking: Ranking,
    commands: tuple[Command, ...],
    progress: ScanProgress,
    released: frozenset[str],
) -> SchedulerState:
    """Return the state after the decision."""
    before, attribution, now = ranking.view.state, ranking.attribution, ranking.view.now
    waiting = waiting_since(slots, ranking)
    paused = {command.queue for command in commands if command.action is Action.PAUSE}
    controls = before.controls
    return replace(
        before,
        taken_over=True,
        is_limited=ranking.limit.is_limited,
        paused_by_daemon=(attribution.paused_by_daemon | paused) - released,
        paused_by_others=attribution.paused_by_others,
        slots=slots.own,
        wanted=slots.wanted,
        controls=replace(controls, held_by_user=controls.held_by_user - attribution.unheld),
        scan=progress,
        resumed_by_others=attribution.resumed_by_others,
        conflicts=attribution.conflicts,
        last_commands={**before.last_commands, **{c.queue: now for c in commands}},
        lent=slots.lent,
        slot_since={name: slots.since.get(name, now) for name in slots.own},
        yielded=slots.yielded & {*slots.own, *waiting},
        reserved=slots.reserved,
        waiting_since=waiting,
        last_open=slots.last_open,
        unconfirmed_pauses=ranking.view.unconfirmed,
        had_failure=False,
    )


def _wake_at(slots: Slots, ranking: Ranking) -> float | None:
    """Return when a lent slot expires or falls due, or a window opens or closes."""
    seen = ranking.view
    times = []
    expiring = [since + LENT_FOR for name, since in slots.lent.items() if name != ENTRY]
    if expiring and not ranking.limit.is_lifted:
        times.append(min(expiring))
    elif ENTRY in slots.lent and not ranking.limit.is_lifted:
        borrowers = (name for name in seen.managed if can_borrow(name, slots, ranking))
        times += [slots.last_open[name] + LEND_EVERY for name in borrowers]
    local, scan = seen.conditions.local, seen.settings.scan
    if local is not None:
        windows = [*seen.settings.schedule, *([scan.window] if scan else [])]
        edge = next_edge(windows, local)
        if edge is not None:
            times.append(seen.now + edge.timestamp() - local.timestamp())
    return min(times, default=None)
