"""The command ``release``: resumes the queues that a stopped or removed daemon left paused."""

from dataclasses import replace
from typing import Final, TextIO

from immich_job_daemon.daemon.ledger import StateStore
from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.immich.client import ImmichClient
from immich_job_daemon.scheduler.state import after_release

RELEASE_WITHIN: Final = 15.0
"""Seconds for resuming all queues: more than at a stop of the daemon, which has a deadline."""


def release(immich: ImmichClient, ledger: StateStore, out: TextIO, *, every: bool) -> bool:
    """Resume the queues that the ledger lists as paused by the daemon, or ``every`` paused queue.

    Returns:
        Whether every queue was resumed.

    Raises:
        ImmichError: the queues could not be fetched.
    """
    kept = ledger.load()
    state = (kept or DaemonState()).scheduler
    snapshot = immich.fetch_queues()
    paused = {name for name, queue in snapshot.items() if queue.is_paused}
    names = sorted(paused if every else paused & state.paused_by_daemon)
    results = immich.resume_all(names, within=RELEASE_WITHIN)
    failed = {name: error for name, error in results.items() if error is not None}
    out.writelines(f"{name}: {failed.get(name) or 'resumed'}\n" for name in names)
    released = frozenset(snapshot) - paused | (frozenset(names) - failed.keys())
    # Without a ledger, write none: the next start must still count as the very first one, at which
    # the daemon takes over queues that an older tool left paused.
    if kept is not None:
        gone = state.paused_by_daemon - snapshot.keys()
        ledger.save(replace(kept, scheduler=after_release(state, released | gone, now=0.0)))
    if failed:
        out.write("Some queues may still be paused. Try again.\n")
        return False
    if not names:
        out.write(_explain_nothing(paused, every=every) + "\n")
    elif left := sorted(paused - set(names)):
        out.write(
            f"Not paused by the daemon, so left paused: {', '.join(left)}. To resume these as "
            "well, add --all.\n"
        )
    return True


def _explain_nothing(paused: set[str], *, every: bool) -> str:
    if every or not paused:
        return "No queue is paused, so there is nothing to resume."
    return (
        "No queue is paused by the daemon, so there is nothing to resume. Paused by others: "
        f"{', '.join(sorted(paused))}. To resume these as well, add --all."
    )
