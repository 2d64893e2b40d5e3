"""Makes the published picture of what the loop sees and does. No I/O and no clock of its own."""

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
from immich_job_daemon.daemon.forecast_service import Outlook
from immich_job_daemon.forecast import estimate
from immich_job_daemon.forecast.estimate import Rates
from immich_job_daemon.model.conflict import Doing
from immich_job_daemon.model.queue import Snapshot, by_priority
from immich_job_daemon.scheduler.decision import Action, Decision, Limits
from immich_job_daemon.scheduler.state import Memory
from immich_job_daemon.status import history
from immich_job_daemon.status.counters import Tally
from immich_job_daemon.status.status import AT_WORK, MAY_START, Problem, Status, Trouble

_TROUBLES: Final[Mapping[type[ImmichError], Trouble]] = {
    UnreachableError: Trouble.UNREACHABLE,
    NotImmichError: Trouble.NOT_IMMICH,
    KeyRejectedError: Trouble.KEY_REJECTED,
    PermissionMissingError: Trouble.PERMISSION_MISSING,
    RefusedError: Trouble.REFUSED,
}


def trouble_of(error: ImmichError) -> Trouble:
    """Return what kind of problem an error is."""
    found = (trouble for kind, trouble in _TROUBLES.items() if isinstance(error, kind))
    return next(found, Trouble.UNEXPECTED)


def _is_well(status: Status) -> bool:
    return status.problem is None or status.problem.trouble is Trouble.CONTESTED


class Recorder:
    """Keeps what the pictures are made of beside the memory.

    Args:
        settings: the limit, the order, and the hours of queues.
    """

    def __init__(self, settings: Limits) -> None:
        self._priority = settings.queue_priority
        self._limit = settings.max_concurrent_jobs
        self._outlook = Outlook(settings)
        self._looked_at: float | None = None
        self._drained = 0
        self.status = Status(self._limit)
        self.tally = Tally()

    def looked(self, rates: Rates, snapshot: Snapshot, took: float, now: float) -> Rates:
        """Take note of a look; return the rates with what it tells about them.

        Args:
            rates: what was measured before.
            snapshot: what the look saw.
            took: its response time in seconds.
            now: when the answer was there.
        """
        self.tally = self.tally.answered(took)
        before = self.status
        was_well = before.updated is not None and _is_well(before)
        working = {queue.name for queue in before.running} if was_well else set()
        self._drained = sum(name in snapshot and snapshot[name].is_drained for name in working)

        free = [
            name
            for name, reason in before.reasons.items()
            if was_well
            and reason in MAY_START
            and name in snapshot
            and not snapshot[name].is_paused
        ]
        return estimate.observe(rates, snapshot, free, now)

    def answered(self, action: Action, took: float, now: float, *, has_work: bool) -> None:
        """Take note of a command that was carried out.

        Args:
            action: what was asked for.
            took: seconds until the answer.
            now: when the answer was there.
            has_work: whether the queue has something to do now.
        """
        self.tally = self.tally.answered(took).commanded(str(action))
        if action is Action.RESUME and has_work and self._drained and self._looked_at is not None:
            self._drained -= 1
            self.tally = self.tally.handed_over(now - self._looked_at)

    def failed(self, error: ImmichError) -> None:
        """Take note of a request that failed."""
        self.tally = self.tally.failed(str(trouble_of(error)))

    def picture(  # noqa: PLR0913 - what was decided, and the three times of it
        self,
        snapshot: Snapshot,
        decision: Decision,
        memory: Memory,
        *,
        now: float,
        time: float,
        local: datetime | None = None,
    ) -> Status:
        """Return the picture after a round in which nothing failed.

        Args:
            snapshot: every queue, as the last answers showed it.
            decision: the last one on it.
            memory: what is remembered after it.
            now: the present time of the daemon's clock.
            time: the same in seconds since 1970.
            local: the time of the wall clock, where hours are kept.
        """
        self._looked_at = now
        order = tuple(queue.name for queue in by_priority(snapshot, self._priority))
        reasons = decision.reasons
        status = replace(
            self._at(memory),
            updated=now,
            updated_at=time,
            queues=snapshot,
            order=order,
            reasons=reasons,
            opens=decision.opens,
            problem=self._contest(decision.contested, time),
            forecast=self._outlook.forecast(snapshot, order, reasons, memory, local, now),
        )
        running = [
            name for name in order if reasons.get(name) in AT_WORK and snapshot[name].pending
        ]
        seen = history.observe(status.history, running=running, pending=status.pending, now=now)
        return replace(status, history=seen)

    def _contest(self, contested: Mapping[str, Doing], time: float) -> Problem | None:
        if not contested:
            return None
        what = " and ".join(
            f"{doing} {', '.join(sorted(name for name in contested if contested[name] is doing))}"
            for doing in Doing
            if doing in contested.values()
        )
        return Problem(
            Trouble.CONTESTED,
            f"Something else keeps {what}: another tool or a person works against this daemon. "
            "End that, or add the queue to PROTECTED_QUEUES; until then at most one command a "
            "minute is sent for it",
            self._since(Trouble.CONTESTED, time),
        )

    def _since(self, trouble: Trouble, time: float) -> float:
        """Return since when there is trouble of this kind: for longer, where it was seen before."""
        before = self.status.problem
        return before.since if before is not None and before.trouble is trouble else time

    def trouble(
        self, error: ImmichError, status: Status, memory: Memory, *, now: float, time: float
    ) -> Status:
        """Return the picture while something is wrong.

        Args:
            error: what went wrong.
            status: what is known all the same.
            memory: what is remembered.
            now: the present time of the daemon's clock.
            time: the same in seconds since 1970.
        """
        trouble = trouble_of(error)
        # Who has a slot meanwhile, and what is left to do, nobody knows.
        seen = history.observe(status.history, running=(), pending=None, now=now)
        return replace(
            self._at(memory, status),
            problem=Problem(trouble, str(error), self._since(trouble, time)),
            history=seen,
        )

    def _at(self, memory: Memory, status: Status | None = None) -> Status:
        return replace(
            status or self.status,
            limit=memory.controls.limit or self._limit,
            controls=memory.controls,
            next=memory.wanted,
            undo=memory.undo,
            rates=memory.rates,
            tally=self.tally,
        )
