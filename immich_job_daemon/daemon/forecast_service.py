"""What the forecast is asked for: who runs, who waits in which order, and what keeps them apart."""

from collections.abc import Container, Mapping, Sequence
from datetime import date, datetime
from math import inf
from typing import Final

from immich_job_daemon.forecast import estimate
from immich_job_daemon.forecast.estimate import Forecast
from immich_job_daemon.model.constraints import ALWAYS, Hours, Plan
from immich_job_daemon.model.controls import Mode
from immich_job_daemon.model.queue import Snapshot
from immich_job_daemon.model.windows import spans
from immich_job_daemon.scheduler.decision import Limits, Reason
from immich_job_daemon.scheduler.state import Memory
from immich_job_daemon.status.status import MAY_START

NEVER: Final = (Reason.HELD, Reason.PAUSED_BY_OTHERS, Reason.REFUSED, Reason.PROTECTED)
"""The reasons of the queues to which no slot is given."""

EVERY: Final = 2.0
"""Seconds between two forecasts, at least, while the same queues run: it takes some thinking."""

AHEAD: Final = 62
"""Days for which hours are looked up: what takes more nights than that, nobody can tell."""


class Outlook:
    """Asks for the forecast; knows the hours of queues for the days ahead.

    Args:
        settings: the limit, the hours and the groups.
    """

    def __init__(self, settings: Limits) -> None:
        self._settings = settings
        self._always = Plan(groups=settings.exclusive)
        self._hours = Hours({})
        self._asked = -inf
        self._reasons: Mapping[str, Reason] = {}
        self._latest = Forecast()
        self._known: tuple[date, tuple[str, ...]] | None = None

    def forecast(  # noqa: PLR0913, PLR0917 - all that it follows from
        self,
        snapshot: Snapshot,
        order: Sequence[str],
        reasons: Mapping[str, Reason],
        memory: Memory,
        local: datetime | None,
        now: float,
    ) -> Forecast:
        """Return when everything will be done; some seconds ago, where nothing else has changed.

        Args:
            snapshot: every queue as it is now.
            order: their names, the first by priority first.
            reasons: why each of them is in its state.
            memory: what is remembered.
            local: the time of the wall clock, where hours are kept.
            now: the time of the daemon's clock.
        """
        if now - self._asked >= EVERY or reasons != self._reasons:
            self._asked, self._reasons = now, reasons
            self._latest = self._ask(snapshot, order, reasons, memory, local)
        return self._latest

    def _ask(
        self,
        snapshot: Snapshot,
        order: Sequence[str],
        reasons: Mapping[str, Reason],
        memory: Memory,
        local: datetime | None,
    ) -> Forecast:
        if Reason.LOADED in reasons.values():
            # For how long the machine will be busy, nobody knows.
            return Forecast()
        running = [n for n in order if reasons.get(n) in MAY_START and snapshot[n].pending]
        ready = [name for name in order if _may_run(name, reasons, memory)]
        waiting = sorted(ready, key=lambda name: name not in memory.wanted)
        limit = memory.controls.limit or self._settings.max_concurrent_jobs
        if Reason.UNRESTRICTED in reasons.values():
            limit = len(snapshot)
        plan = self._plan(order, memory, local)
        return estimate.forecast(snapshot, memory.rates, running, waiting, limit, plan)

    def _plan(self, order: Sequence[str], memory: Memory, local: datetime | None) -> Plan:
        if memory.controls.mode is Mode.OPEN:
            return ALWAYS
        if local is None:
            return self._always
        if (local.date(), tuple(order)) != self._known:
            self._known = local.date(), tuple(order)
            found = {name: spans(self._settings.schedule, name, local, AHEAD) for name in order}
            self._hours = Hours({name: kept for name, kept in found.items() if kept is not None})
        return Plan(self._hours, self._settings.exclusive, local.timestamp())


def _may_run(name: str, reasons: Mapping[str, Reason], memory: Memory) -> bool:
    """Whether a queue gets a slot when one is free and it has work, which may yet come."""
    kept: Container[str] = memory.controls.held
    is_ours = name in reasons and reasons[name] not in NEVER
    return is_ours and name not in kept and memory.controls.mode is not Mode.HELD
