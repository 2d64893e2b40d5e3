"""What every step of a decision reads: the inputs of ``decide`` and terms derived from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from immich_job_daemon.model.controls import Mode
from immich_job_daemon.model.queue import Queue, Snapshot, by_priority
from immich_job_daemon.model.settings import Settings, rivals
from immich_job_daemon.scheduler.decision import Conditions
from immich_job_daemon.scheduler.state import SchedulerState


@dataclass(frozen=True)
class View:
    """The inputs of one decision.

    Attributes:
        snapshot: every queue.
        state: the state before the decision.
        settings: the user's settings.
        now: seconds of a monotonic clock.
        conditions: the local time, and whether the load is too high.
        managed: the queues that the daemon schedules, highest priority first.
    """

    snapshot: Snapshot
    state: SchedulerState
    settings: Settings
    now: float
    conditions: Conditions
    managed: Mapping[str, Queue]

    @cached_property
    def runs_everything(self) -> bool:
        """Whether the user's mode is "run everything", which goes before rules 15 to 19."""
        return self.state.controls.mode is Mode.OPEN

    @cached_property
    def rivals(self) -> Mapping[str, frozenset[str]]:
        """The queues that must not run together with each managed queue (rule 16)."""
        groups = () if self.runs_everything else self.settings.exclusive
        return {name: frozenset(rivals(groups, name)) for name in self.managed}

    @cached_property
    def unconfirmed(self) -> Mapping[str, float]:
        """The pauses without a response that may still take effect."""
        pauses = self.state.unconfirmed_pauses
        return {name: until for name, until in pauses.items() if until > self.now}


def view(
    snapshot: Snapshot,
    state: SchedulerState,
    settings: Settings,
    now: float,
    conditions: Conditions,
) -> View:
    """Return the view of one decision."""
    unmanaged = settings.protected_queues | state.unpausable
    managed = {
        queue.name: queue
        for queue in by_priority(snapshot, settings.queue_priority)
        if queue.name not in unmanaged
    }
    return View(snapshot, state, settings, now, conditions, managed)
