"""All that the daemon keeps over a restart: the scheduler's state and what the loop adds to it."""

from dataclasses import dataclass, field, replace

from immich_job_daemon.daemon.load import Load
from immich_job_daemon.forecast.rates import Rates
from immich_job_daemon.model.controls import Change, SetLimit, inverse
from immich_job_daemon.scheduler.state import SchedulerState, after_change


@dataclass(frozen=True, slots=True)
class DaemonState:
    """The state of one daemon. All but the load is written to the ledger.

    Attributes:
        instance: identifies this daemon for good; empty before the very first start.
        configured_limit: MAX_CONCURRENT_JOBS of the run that wrote this, 0 if unknown.
        undo: the change that takes the last one back, None if there is none.
    """

    scheduler: SchedulerState = field(default_factory=SchedulerState)
    instance: str = ""
    configured_limit: int = 0
    undo: Change | None = None
    rates: Rates = field(default_factory=Rates)
    load: Load = field(default_factory=Load)


def apply_change(state: DaemonState, change: Change) -> DaemonState:
    """Return the state after a user made ``change``, with what would undo it."""
    before = state.scheduler
    undo = inverse(change, before.controls, before.wanted, before.paused_by_others)
    return replace(state, scheduler=after_change(before, change), undo=undo)


def apply_configured_limit(state: DaemonState, configured: int) -> DaemonState:
    """Return the state for a run that starts with MAX_CONCURRENT_JOBS as ``configured``.

    A new value of the setting is meant to take effect, so it clears a limit that was set on the
    page or over MQTT before.
    """
    if state.configured_limit == configured:
        return state
    scheduler = state.scheduler
    controls = replace(scheduler.controls, limit=None)
    undo = None if isinstance(state.undo, SetLimit) else state.undo
    return replace(
        state,
        scheduler=replace(scheduler, controls=controls),
        configured_limit=configured,
        undo=undo,
    )
