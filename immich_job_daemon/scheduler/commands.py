"""Step 6: the commands that turn the observed queues into the desired ones."""

from immich_job_daemon.model.reason import Action
from immich_job_daemon.scheduler.decision import Command
from immich_job_daemon.scheduler.ranking import Ranking
from immich_job_daemon.scheduler.scan import ScanProgress, next_to_scan
from immich_job_daemon.scheduler.slots import Slots


def pauses(slots: Slots, ranking: Ranking) -> tuple[Command, ...]:
    """Return the pauses of open queues without a slot, and of drained ones (rule 3)."""
    return tuple(
        Command(Action.PAUSE, name)
        for name, queue in ranking.view.managed.items()
        if not queue.is_paused
        and name not in slots.lent
        and (name not in slots.own or queue.is_drained)
        and name not in ranking.attribution.backing_off
    )


def resumes(slots: Slots, ranking: Ranking) -> tuple[Command, ...]:
    """Rules 1, 16: return the resumes that keep within the limit and the exclusive groups."""
    managed = ranking.view.managed
    occupying = {name for name, q in managed.items() if q.is_busy or not q.is_paused}
    commands = []
    for name in (*slots.own, *slots.lent):
        if not managed[name].is_paused:
            continue
        # This includes a draining queue: once resumed, it would start new jobs.
        is_within = len(occupying | {name}) <= ranking.limit.slots
        if is_within and not ranking.view.rivals[name] & occupying:
            occupying.add(name)
            commands.append(Command(Action.RESUME, name))
    unmanaged = (Command(Action.RESUME, name) for name in _unmanaged(ranking, is_paused=True))
    return (*commands, *unmanaged)


def released(ranking: Ranking) -> frozenset[str]:
    """Return the queues that the daemon had paused, no longer manages, and sees open (rule 7)."""
    return frozenset(_unmanaged(ranking, is_paused=False))


def scan(ranking: Ranking) -> tuple[tuple[Command, ...], ScanProgress]:
    """Rule 20: return the next request to scan for missing files, and the progress after it."""
    view = ranking.view
    setting, local, progress = view.settings.scan, view.conditions.local, view.state.scan
    if setting is None or local is None or view.state.cannot_scan:
        return (), progress
    blocked = {*ranking.attribution.paused_by_others, *ranking.gated}
    may_start = view.managed.keys() - blocked
    name, progress = next_to_scan(setting, progress, view.snapshot, may_start, local)
    return () if name is None else (Command(Action.START, name),), progress


def _unmanaged(ranking: Ranking, *, is_paused: bool) -> list[str]:
    view = ranking.view
    names = sorted(ranking.attribution.paused_by_daemon - view.managed.keys())
    found = (view.snapshot[name] for name in names if name in view.snapshot)
    return [
        queue.name
        for queue in found
        if queue.is_paused is is_paused and queue.name not in ranking.attribution.backing_off
    ]
