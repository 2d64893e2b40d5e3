"""Collects what a forecast needs from the settings, the snapshot and the state, and caches it."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from math import inf
from typing import Final

from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.forecast import estimate
from immich_job_daemon.forecast.constraints import UNCONSTRAINED, Constraints, WindowSpans
from immich_job_daemon.forecast.estimate import Forecast
from immich_job_daemon.model.controls import Mode
from immich_job_daemon.model.queue import Snapshot
from immich_job_daemon.model.reason import MAY_START, NO_SLOT, Reason
from immich_job_daemon.model.settings import Settings
from immich_job_daemon.model.windows import spans
from immich_job_daemon.scheduler.state import SchedulerState

INTERVAL: Final = 2.0
"""Seconds between two forecasts while the reasons stay the same: a forecast costs some time."""

DAYS_AHEAD: Final = 62
"""Days for which windows are computed. Work that takes more nights than that has no estimate."""


class ForecastService:
    """Makes the forecast of each round."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._without_windows = Constraints(groups=settings.exclusive)
        self._windows = WindowSpans({})
        self._computed_at = -inf
        self._reasons: Mapping[str, Reason] = {}
        self._latest = Forecast()
        self._windows_for: tuple[date, tuple[str, ...]] | None = None

    def forecast(  # noqa: PLR0913, PLR0917 - all that a forecast depends on
        self,
        snapshot: Snapshot,
        order: Sequence[str],
        reasons: Mapping[str, Reason],
        state: DaemonState,
        local: datetime | None,
        now: float,
    ) -> Forecast:
        """Return the forecast, up to two seconds old if no reason has changed since.

        ``order`` starts with the highest priority; ``local`` is None if no setting needs it.
        """
        if now - self._computed_at < INTERVAL and reasons == self._reasons:
            return self._latest
        self._computed_at, self._reasons = now, reasons
        if Reason.HIGH_LOAD in reasons.values():
            # Nothing tells how long the machine will be busy.
            self._latest = Forecast()
            return self._latest
        scheduler = state.scheduler
        running = [n for n in order if reasons.get(n) in MAY_START and snapshot[n].pending]
        may_run = [name for name in order if _may_run(name, reasons, scheduler)]
        waiting = sorted(may_run, key=lambda name: name not in scheduler.wanted)
        limit = scheduler.controls.limit or self._settings.max_concurrent_jobs
        if Reason.UNRESTRICTED in reasons.values():
            limit = len(snapshot)
        constraints = self._constraints(order, scheduler, local)
        self._latest = estimate.forecast(
            snapshot, state.rates, running, waiting, limit, constraints
        )
        return self._latest

    def _constraints(
        self, order: Sequence[str], scheduler: SchedulerState, local: datetime | None
    ) -> Constraints:
        if scheduler.controls.mode is Mode.OPEN:
            return UNCONSTRAINED
        if local is None:
            return self._without_windows
        if (local.date(), tuple(order)) != self._windows_for:
            self._windows_for = local.date(), tuple(order)
            schedule = self._settings.schedule
            found = {name: spans(schedule, name, local, DAYS_AHEAD) for name in order}
            self._windows = WindowSpans(
                {n: those for n, those in found.items() if those is not None}
            )
        return Constraints(self._windows, self._settings.exclusive, local.timestamp())


def _may_run(name: str, reasons: Mapping[str, Reason], scheduler: SchedulerState) -> bool:
    """Whether the queue gets a free slot if it has work now or later."""
    controls = scheduler.controls
    is_schedulable = name in reasons and reasons[name] not in NO_SLOT
    return is_schedulable and name not in controls.held_by_user and controls.mode is not Mode.HELD
