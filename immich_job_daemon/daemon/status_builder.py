"""Builds the published status from what the loop sees and does. No I/O and no clock of its own."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from immich_job_daemon.base.errors import (
    ImmichError,
    KeyRejectedError,
    NotImmichError,
    PermissionMissingError,
    RefusedError,
    UnreachableError,
)
from immich_job_daemon.daemon.forecast_service import ForecastService
from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.forecast import rates
from immich_job_daemon.forecast.rates import Rates
from immich_job_daemon.model.conflict import Interference
from immich_job_daemon.model.queue import Snapshot, by_priority
from immich_job_daemon.model.reason import MAY_START, WORKING, Action
from immich_job_daemon.model.settings import Settings
from immich_job_daemon.scheduler.decision import Decision
from immich_job_daemon.status import history
from immich_job_daemon.status.counters import Counters
from immich_job_daemon.status.status import Problem, ProblemKind, Status

_KINDS: Final[Mapping[type[ImmichError], ProblemKind]] = {
    UnreachableError: ProblemKind.UNREACHABLE,
    NotImmichError: ProblemKind.NOT_IMMICH,
    KeyRejectedError: ProblemKind.KEY_REJECTED,
    PermissionMissingError: ProblemKind.PERMISSION_MISSING,
    RefusedError: ProblemKind.REFUSED,
}


def kind_of(error: ImmichError) -> ProblemKind:
    """Return the kind of problem that an error is."""
    found = (kind for error_type, kind in _KINDS.items() if isinstance(error, error_type))
    return next(found, ProblemKind.UNEXPECTED)


class StatusBuilder:
    """Builds each status from the one before it."""

    def __init__(self, settings: Settings) -> None:
        self._priority = settings.queue_priority
        self._limit = settings.max_concurrent_jobs
        self._forecasts = ForecastService(settings)
        self._polled_at: float | None = None
        self._drained = 0
        self.status = Status(self._limit)
        self.counters = Counters()

    def polled(self, before: Rates, snapshot: Snapshot, took: float, now: float) -> Rates:
        """Count a poll that took ``took`` seconds; return the rates with what it shows."""
        self.counters = self.counters.answered(took)
        status = self.status
        is_answering = status.problem is None or status.problem.kind is ProblemKind.CONTESTED
        was_well = status.polled_at is not None and is_answering
        working = {queue.name for queue in status.running} if was_well else set()
        self._drained = sum(name in snapshot and snapshot[name].is_drained for name in working)
        free_to_run = [
            name
            for name, reason in status.reasons.items()
            if was_well
            and reason in MAY_START
            and name in snapshot
            and not snapshot[name].is_paused
        ]
        return rates.observe(before, snapshot, free_to_run, now)

    def answered(self, action: Action, took: float, now: float, *, has_work: bool) -> None:
        """Count a command that Immich carried out in ``took`` seconds."""
        self.counters = self.counters.answered(took).commanded(str(action))
        if action is Action.RESUME and has_work and self._drained and self._polled_at is not None:
            self._drained -= 1
            self.counters = self.counters.handed_over(now - self._polled_at)

    def failed(self, error: ImmichError) -> None:
        """Count a request that failed."""
        self.counters = self.counters.failed(str(kind_of(error)))

    def build(  # noqa: PLR0913 - the decision, and three kinds of time
        self,
        snapshot: Snapshot,
        decision: Decision,
        state: DaemonState,
        *,
        now: float,
        time: float,
        local: datetime | None = None,
    ) -> Status:
        """Return the status after a round without an error.

        The same moment is ``now`` on the daemon's clock, ``time`` in seconds since 1970, and
        ``local`` as local time, None if no setting needs it.
        """
        self._polled_at = now
        order = tuple(queue.name for queue in by_priority(snapshot, self._priority))
        reasons = decision.reasons
        status = replace(
            self._with_state(self.status, state),
            polled_at=now,
            polled_at_unix=time,
            queues=snapshot,
            order=order,
            reasons=reasons,
            opens_at=decision.opens_at,
            problem=self._conflict(decision.conflicts, time),
            forecast=self._forecasts.forecast(snapshot, order, reasons, state, local, now),
        )
        running = [
            name for name in order if reasons.get(name) in WORKING and snapshot[name].pending
        ]
        seen = history.observe(status.history, running=running, pending=status.pending, now=now)
        return replace(status, history=seen)

    def with_problem(
        self, error: ImmichError, status: Status, state: DaemonState, *, now: float, time: float
    ) -> Status:
        """Return ``status``, which is what is known in spite of the error, with the error in it.

        The same moment is ``now`` on the daemon's clock and ``time`` in seconds since 1970.
        """
        kind = kind_of(error)
        # Without an answer it is unknown which queues run and how many jobs are left.
        seen = history.observe(status.history, running=(), pending=None, now=now)
        return replace(
            self._with_state(status, state),
            problem=Problem(kind, str(error), self._since(kind, time)),
            history=seen,
        )

    def _conflict(self, conflicts: Mapping[str, Interference], time: float) -> Problem | None:
        if not conflicts:
            return None
        what = " and ".join(
            f"{kind} {', '.join(sorted(name for name in conflicts if conflicts[name] is kind))}"
            for kind in Interference
            if kind in conflicts.values()
        )
        return Problem(
            ProblemKind.CONTESTED,
            f"Something else keeps {what}: another tool or a user works against this daemon. "
            "Stop that, or add the queue to PROTECTED_QUEUES; until then at most one command a "
            "minute is sent for it",
            self._since(ProblemKind.CONTESTED, time),
        )

    def _since(self, kind: ProblemKind, time: float) -> float:
        """Return when the problem began: earlier, if the last status had it already."""
        before = self.status.problem
        return before.since if before is not None and before.kind is kind else time

    def _with_state(self, status: Status, state: DaemonState) -> Status:
        controls = state.scheduler.controls
        return replace(
            status,
            limit=controls.limit or self._limit,
            controls=controls,
            wanted=state.scheduler.wanted,
            undo=state.undo,
            rates=state.rates,
            counters=self.counters,
        )
