"""The command ``release``: resume what a dead or removed daemon left paused."""

from dataclasses import replace
from typing import Final, TextIO

from immich_job_daemon.daemon.ledger import StateStore
from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.immich.client import ImmichClient
from immich_job_daemon.scheduler.state import after_release

WITHIN: Final = 15.0
"""Seconds for all of it: unlike at the daemon's own end, nobody is about to kill us."""


def release(immich: ImmichClient, ledger: StateStore, out: TextIO, *, every: bool) -> bool:
    """Resume the queues that the ledger says are held, or every paused one.

    Args:
        immich: the server.
        ledger: what the daemon knew.
        out: where to say what was done.
        every: resume all that is paused, whoever paused it.

    Returns:
        Whether nothing is left paused that should not be.

    Raises:
        ImmichError: nothing could be asked for at all.
    """
    kept = ledger.load()
    state = (kept or DaemonState()).scheduler
    snapshot = immich.fetch_queues()
    paused = {name for name, queue in snapshot.items() if queue.is_paused}
    names = sorted(paused if every else paused & state.paused_by_daemon)
    results = immich.resume_all(names, within=WITHIN)
    failed = {name: error for name, error in results.items() if error is not None}
    out.writelines(f"{name}: {failed.get(name) or 'resumed'}\n" for name in names)
    released = frozenset(snapshot) - paused | (frozenset(names) - failed.keys())
    if kept is not None:
        # Without one none is begun: there is nothing to remember.
        gone = state.paused_by_daemon - snapshot.keys()
        ledger.save(replace(kept, scheduler=after_release(state, released | gone, now=0.0)))
    if failed:
        out.write("Some queues may still be paused: try again.\n")
        return False
    if not names:
        out.write(_nothing(paused, every=every) + "\n")
    elif left := sorted(paused - set(names)):
        out.write(f"Paused by someone else and left so: {', '.join(left)}. Or add --all.\n")
    return True


def _nothing(paused: set[str], *, every: bool) -> str:
    if every or not paused:
        return "No queue is paused: nothing to resume."
    return (
        "The ledger names no queue that is paused now: nothing to resume. Paused by someone else: "
        f"{', '.join(sorted(paused))}. To resume these too, add --all."
    )
