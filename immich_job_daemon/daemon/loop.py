"""The main loop: poll, decide, save, send, publish, wait.

It runs in the main thread. A worker thread makes the requests, so that a signal can end the wait
for one.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from secrets import token_hex
from typing import Final

from tempora.timing import BackoffDelay

from immich_job_daemon.base.clock import Clock, StopRequested
from immich_job_daemon.base.errors import ImmichError, KeyRejectedError, PermissionMissingError
from immich_job_daemon.base.logging import NOTICE
from immich_job_daemon.config.warnings import unknown_queues
from immich_job_daemon.daemon import load, polling
from immich_job_daemon.daemon.executor import Executor
from immich_job_daemon.daemon.ledger import StateStore
from immich_job_daemon.daemon.state import DaemonState, apply_change, apply_configured_limit
from immich_job_daemon.daemon.status_builder import StatusBuilder
from immich_job_daemon.immich.client import ImmichServer
from immich_job_daemon.model.controls import Change, describe
from immich_job_daemon.model.queue import Snapshot
from immich_job_daemon.model.reason import WORKING, Reason
from immich_job_daemon.model.settings import OnExit, Settings
from immich_job_daemon.scheduler.decide import decide
from immich_job_daemon.scheduler.decision import Command, Conditions, Decision
from immich_job_daemon.scheduler.state import SchedulerState, after_failure, after_release, restored
from immich_job_daemon.status.log_lines import log_lines
from immich_job_daemon.status.status import Status

RELEASE_WITHIN: Final = 4.0
"""Seconds for resuming all paused queues at the end, so that the whole stop takes less than 5."""

MAX_DECISIONS_PER_ROUND: Final = 6
"""Decisions in one round. Whatever is left to do then waits for the next poll."""

INSTANCE_BYTES: Final = 4
"""Random bytes that identify a daemon: enough to tell apart those in one home."""

LONGEST_RETRY: Final = 60.0
"""Longest delay in seconds between two tries while Immich does not answer."""

LIVENESS_SLACK: Final = 90.0
"""Seconds that a round may take, whatever Immich does, before the daemon counts as stuck.

A request that hangs takes 15 s with its connection, and the same again if it is sent anew.
"""

log = logging.getLogger(__name__)


def load_state(store: StateStore, settings: Settings) -> DaemonState:
    """Return the state that the previous run left in the store.

    At the very first start the daemon gets its identity, which is saved at once: with a new one at
    each start it would leave a device behind in Home Assistant each time.
    """
    kept = store.load() or DaemonState()
    instance = kept.instance or token_hex(INSTANCE_BYTES)
    state = apply_configured_limit(replace(kept, instance=instance), settings.max_concurrent_jobs)
    if not kept.instance:
        store.save(state)
    return state


class Daemon:
    """Runs the queues of one Immich server until it is stopped.

    ``take_changes`` returns the changes that users have made since the last call. ``state`` is what
    ``load_state`` returned, if the caller needed it earlier; otherwise it is loaded at the start.
    """

    def __init__(  # noqa: PLR0913 - each is one of the things that the loop connects
        self,
        settings: Settings,
        server: ImmichServer,
        store: StateStore,
        clock: Clock,
        *,
        publish: Callable[[Status], None] = lambda _: None,
        take_changes: Callable[[], Iterable[Change]] = tuple,
        measure_load: Callable[[], float] = load.load_per_core,
        state: DaemonState | None = None,
    ) -> None:
        self.settings = settings
        self.server = server
        self.store = store
        self.clock = clock
        self.publish = publish
        self.take_changes = take_changes
        self.measure_load = measure_load
        self.state = state or DaemonState()
        self.poll_stats = polling.PollStats()
        self.status_builder = StatusBuilder(settings)
        self._failing_since: float | None = None
        self._retry = BackoffDelay(1, factor=2, limit=min(settings.poll_interval, LONGEST_RETRY))

    def run(self) -> None:
        """Connect, run rounds until the clock raises StopRequested, then resume the queues.

        Raises:
            KeyRejectedError, PermissionMissingError: at the start, where waiting would not help.
        """
        try:
            self.load_state()
            self.connect()
            while True:
                self.clock.wait(self.round())
        except StopRequested:
            log.info("Stopping.")
        finally:
            self.stop()

    @property
    def status(self) -> Status:
        """The latest status."""
        return self.status_builder.status

    def load_state(self) -> None:
        """Load the state of the previous run, unless the constructor got it."""
        if not self.state.instance:
            self.state = load_state(self.store, self.settings)
        self.status_builder.status = replace(self.status, instance=self.state.instance)

    def connect(self) -> None:
        """Wait until Immich answers, however long that takes.

        Raises:
            KeyRejectedError, PermissionMissingError: Immich answers, and waiting would not help.
        """
        delays = BackoffDelay(1, factor=2, limit=LONGEST_RETRY)
        while True:
            try:
                connection = self.clock.run_interruptibly(self.server.connect)
            except (KeyRejectedError, PermissionMissingError):
                raise
            except ImmichError as error:
                delay = next(delays)
                log.warning("%s. Trying again in %d s.", error, delay)
                self._publish(self._with_problem(error, self.status), delay)
                self.clock.wait(delay)
                self._apply_changes()
            else:
                log.info("Connected to %s.", connection)
                self._publish(replace(self.status, immich_version=connection.version), 0)
                return

    def round(self) -> float:
        """Poll, decide, send, publish; return the seconds until the next round."""
        self._apply_changes()
        began = self.clock.monotonic()
        try:
            snapshot = self.clock.run_interruptibly(self.server.fetch_queues)
        except ImmichError as error:
            self.status_builder.failed(error)
            return self._failed(error, self.status)
        now = self.clock.monotonic()
        took = now - began
        self._measure_load(now)
        if self.poll_stats.cost is None:
            self._update_scheduler(restored(self.state.scheduler, snapshot, now))
            for warning in unknown_queues(self.settings, frozenset(snapshot)):
                log.warning("%s", warning)
        rates = self.status_builder.polled(self.state.rates, snapshot, took, now)
        self.state = replace(self.state, rates=rates)
        snapshot, decision, failure, now = self._act(snapshot, now)
        self.store.save(self.state)
        wait = self._next_poll(snapshot, decision, took, now)
        status = self.status_builder.build(
            snapshot,
            decision,
            self.state,
            now=now,
            time=self.clock.time(),
            local=self._conditions().local,
        )
        if failure is not None:
            return self._failed(failure, status)
        self._succeeded(status, wait, now)
        return wait

    def stop(self) -> None:
        """Resume or keep the paused queues, as ON_EXIT says."""
        paused = sorted(self.state.scheduler.paused_by_daemon)
        if not paused:
            return
        if self.settings.on_exit is OnExit.KEEP:
            log.log(NOTICE, "Kept paused, as ON_EXIT=keep says: %s.", ", ".join(paused))
            return
        results = self.server.resume_all(paused, within=RELEASE_WITHIN)
        released = frozenset(name for name, error in results.items() if error is None)
        now = self.clock.monotonic()
        self._update_scheduler(after_release(self.state.scheduler, released, now))
        self.store.save(self.state)
        if released:
            log.info("Resumed: %s.", ", ".join(sorted(released)))
        # A queue that Immich no longer has blocks nothing, but stays in the ledger: it may return.
        known = self.status.queues
        gone = self.state.scheduler.paused_by_daemon - known.keys() if known else set()
        left = [name for name in paused if name not in released and name not in gone]
        if left:
            log.error(
                "Not resumed, so these may stay paused: %s (%s). The next start resumes them; to "
                "do it earlier, run the command `release`.",
                ", ".join(left),
                results.get(left[0]) or "no answer in time",
            )

    def _act(
        self, snapshot: Snapshot, now: float
    ) -> tuple[Snapshot, Decision, ImmichError | None, float]:
        """Decide and send until nothing is left to do.

        Each decision sees the responses to the commands before it, so a resume never relies on a
        pause that did not take effect.

        Returns:
            the snapshot with all responses in it, the last decision, the first error if there was
            one, and the time of the last response.
        """
        failure = None
        for _ in range(MAX_DECISIONS_PER_ROUND):
            scheduler = self.state.scheduler
            decision = decide(snapshot, scheduler, self.settings, now, self._conditions())
            self._save_before_sending(decision)
            if not decision.commands:
                break
            snapshot, failure = self._send(decision.commands, snapshot)
            now = self.clock.monotonic()
            if failure is not None:
                break
        return snapshot, decision, failure, now

    def _apply_changes(self) -> None:
        """Apply the changes that users have made; the next decision follows them."""
        changes = list(self.take_changes())
        for change in changes:
            log.info("Changed by a user: %s.", describe(change))
            self.state = apply_change(self.state, change)
        if changes:
            self.store.save(self.state)

    def _measure_load(self, now: float) -> None:
        limit = self.settings.pause_above_load
        if limit is not None:
            measured = load.observe(self.state.load, self.measure_load(), limit=limit, now=now)
            self.state = replace(self.state, load=measured)

    def _conditions(self) -> Conditions:
        needs_local = self.settings.schedule or self.settings.scan
        return Conditions(
            local=self.clock.local() if needs_local else None, is_loaded=self.state.load.is_high
        )

    def _update_scheduler(self, scheduler: SchedulerState) -> None:
        self.state = replace(self.state, scheduler=scheduler)

    def _save_before_sending(self, decision: Decision) -> None:
        """Take over the decision's state; write it first if it pauses a queue or starts a scan.

        A crash after the command was sent must find it in the ledger.
        """
        before = self.state.scheduler
        is_pausing = not decision.state.paused_by_daemon <= before.paused_by_daemon
        is_scanning = decision.state.scan != before.scan
        self._update_scheduler(decision.state)
        if is_pausing or is_scanning:
            self.store.save(self.state)

    def _send(
        self, commands: Sequence[Command], snapshot: Snapshot
    ) -> tuple[Snapshot, ImmichError | None]:
        """Send the commands; return the snapshot with the responses, and the first error."""
        executor = Executor(
            self.server,
            self.clock,
            self.status_builder,
            snapshot=snapshot,
            state=self.state.scheduler,
            answered=self._answered,
        )
        try:
            executor.execute(commands)
        finally:
            # Also what was in flight when the daemon was stopped.
            self._update_scheduler(executor.state)
        return executor.snapshot, executor.failure

    def _answered(self, now: float) -> None:
        if now > self.status.next_due - LIVENESS_SLACK / 2:
            # Many commands and a slow server: the round takes long, but the loop is alive.
            self._publish(self.status, 0)

    def _next_poll(self, snapshot: Snapshot, decision: Decision, took: float, now: float) -> float:
        working = [
            snapshot[name]
            for name, reason in decision.reasons.items()
            if reason in WORKING and snapshot[name].pending
        ]
        is_unlimited = Reason.UNRESTRICTED in decision.reasons.values()
        limit = self.state.scheduler.controls.limit or self.settings.max_concurrent_jobs
        self.poll_stats = polling.observe(
            self.poll_stats, working, is_pending=bool(working), took=took, now=now
        )
        return polling.next_poll(
            self.poll_stats,
            # Without a limit, too, new work must be noticed: it may bring the limit back.
            is_slot_free=is_unlimited or len(working) < limit,
            poll_interval=self.settings.poll_interval,
            now=now,
            wake_at=decision.wake_at,
            may_yield=self.settings.yield_after is not None,
            is_yielding=bool(self.state.scheduler.yielded),
        )

    def _failed(self, error: ImmichError, status: Status) -> float:
        """Report an error, once; return the seconds until the next try."""
        self._update_scheduler(after_failure(self.state.scheduler))
        delay = float(next(self._retry))
        if self._failing_since is None:
            self._failing_since = self.clock.monotonic()
        before = self.status.problem
        level = logging.DEBUG if before and str(error) == before.text else logging.WARNING
        log.log(level, "%s. Nothing is changed meanwhile; the next try is in %.0f s.", error, delay)
        self._publish(self._with_problem(error, status), delay)
        return delay

    def _with_problem(self, error: ImmichError, status: Status) -> Status:
        now, time = self.clock.monotonic(), self.clock.time()
        return self.status_builder.with_problem(error, status, self.state, now=now, time=time)

    def _succeeded(self, status: Status, wait: float, now: float) -> None:
        if self._failing_since is not None:
            log.log(NOTICE, "All is well again after %.0f s.", now - self._failing_since)
            self._failing_since = None
            self._retry.reset()
            status = replace(status, immich_version=self._version())
        before, problem = self.status.problem, status.problem
        if problem is not None and (before is None or before.text != problem.text):
            log.warning("%s.", problem.text)
        self._publish(status, wait)

    def _version(self) -> str | None:
        """Return Immich's version, which an update may have changed while Immich was away."""
        try:
            return self.clock.run_interruptibly(self.server.fetch_version)
        except ImmichError:
            return self.status.immich_version

    def _publish(self, status: Status, wait: float) -> None:
        """Publish a status; the next one follows after about ``wait`` seconds."""
        status = replace(status, next_due=self.clock.monotonic() + wait + LIVENESS_SLACK)
        for line in log_lines(self.status, status):
            log.log(logging.DEBUG if line.is_detail else logging.INFO, "%s", line.text)
        self.status_builder.status = status
        self.publish(status)
