"""The loop: look, decide, remember, act, publish, wait. One thread, and one for its requests."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from secrets import token_hex
from typing import Final

from tempora.timing import BackoffDelay

from immich_job_daemon.base.clock import Clock, StopRequested
from immich_job_daemon.base.errors import ImmichError, KeyRejectedError, PermissionMissingError
from immich_job_daemon.base.logging import NOTICE
from immich_job_daemon.config.schema import OnExit, Settings
from immich_job_daemon.config.warnings import unknown
from immich_job_daemon.daemon import load, polling
from immich_job_daemon.daemon.executor import Sending
from immich_job_daemon.daemon.ledger import Kept
from immich_job_daemon.daemon.status_builder import Recorder
from immich_job_daemon.immich.server import Server
from immich_job_daemon.model.controls import Change, in_words
from immich_job_daemon.model.queue import Snapshot
from immich_job_daemon.scheduler import state
from immich_job_daemon.scheduler.decide import decide
from immich_job_daemon.scheduler.decision import Circumstances, Command, Decision, Reason
from immich_job_daemon.scheduler.state import Memory
from immich_job_daemon.status.status import Status, changes

RELEASE_WITHIN: Final = 4.0
"""Seconds for resuming all held queues at the end: with what else a stop takes, below 5."""

MOST_DECISIONS: Final = 6
"""Decisions in one round; what is left to do then is done after the next look."""

INSTANCE_BYTES: Final = 4
"""How much chance tells one daemon from another: enough for those in one house."""

LONGEST_RETRY: Final = 60.0
"""Seconds between two tries, at most, while Immich does not answer."""

SLACK: Final = 90.0
"""Seconds in which the loop shows a sign of life, whatever Immich does, beside those it waits.

A request that hangs takes 15 s with its connection, and the same again where it is sent anew.
"""

WORKING: Final = (Reason.RUNNING, Reason.DRAINING, Reason.UNRESTRICTED)

log = logging.getLogger(__name__)


def taken_up(ledger: Kept, settings: Settings) -> Memory:
    """Return what an earlier run left in the ledger.

    At the first start a daemon gets its name, and that is kept at once: under a new one at each
    start it would leave a device behind in Home Assistant each time.
    """
    kept = ledger.load() or Memory()
    instance = kept.instance or token_hex(INSTANCE_BYTES)
    memory = state.under(replace(kept, instance=instance), settings.max_concurrent_jobs)
    if not kept.instance:
        ledger.save(memory)
    return memory


class Daemon:
    """Runs the queues of one Immich server until it is asked to stop.

    Args:
        settings: what the user wants.
        server: the Immich server.
        ledger: where the memory survives.
        clock: the time, and how to wait.
        publish: called with each new picture of now.
        wishes: returns what people have asked for since it was called last.
        measure: returns the machine's load for each of its cores.
        memory: what ``taken_up`` returned, where that was needed before the daemon; else it is
            asked for at the start.
    """

    def __init__(  # noqa: PLR0913 - each is one of the things that the loop stands between
        self,
        settings: Settings,
        server: Server,
        ledger: Kept,
        clock: Clock,
        *,
        publish: Callable[[Status], None] = lambda _: None,
        wishes: Callable[[], Iterable[Change]] = tuple,
        measure: Callable[[], float] = load.measured,
        memory: Memory | None = None,
    ) -> None:
        self.settings = settings
        self.server = server
        self.ledger = ledger
        self.clock = clock
        self.publish = publish
        self.wishes = wishes
        self.measure = measure
        self.memory = memory or Memory()
        self.pace = polling.Pace()
        self.recorder = Recorder(settings)
        self._failing_since: float | None = None
        self._retry = BackoffDelay(1, factor=2, limit=min(settings.poll_interval, LONGEST_RETRY))

    def run(self) -> None:
        """Connect and run rounds until the clock raises StopRequested, then release.

        Raises:
            KeyRejectedError, PermissionMissingError: at the start, when nothing can be done.
        """
        try:
            self.take_up()
            self.connect()
            while True:
                self.clock.wait(self.round())
        except StopRequested:
            log.info("Stopping.")
        finally:
            self.stop()

    @property
    def status(self) -> Status:
        """The latest picture."""
        return self.recorder.status

    def take_up(self) -> None:
        """Take up what an earlier run left in the ledger, unless that was done before."""
        if not self.memory.instance:
            self.memory = taken_up(self.ledger, self.settings)
        self.recorder.status = replace(self.status, instance=self.memory.instance)

    def connect(self) -> None:
        """Wait until Immich answers, however long that takes.

        Raises:
            KeyRejectedError, PermissionMissingError: Immich answers, and waiting will not help.
        """
        delays = BackoffDelay(1, factor=2, limit=LONGEST_RETRY)
        while True:
            try:
                connection = self.clock.interruptibly(self.server.connect)
            except (KeyRejectedError, PermissionMissingError):
                raise
            except ImmichError as error:
                delay = next(delays)
                log.warning("%s. Trying again in %d s.", error, delay)
                self._publish(self._trouble(error, self.status), delay)
                self.clock.wait(delay)
                self._take_wishes()
            else:
                log.info("Connected to %s.", connection)
                self._publish(replace(self.status, server=connection.version), 0)
                return

    def round(self) -> float:
        """Look, decide, act, publish; return the seconds until the next round."""
        self._take_wishes()
        began = self.clock.monotonic()
        try:
            snapshot = self.clock.interruptibly(self.server.look)
        except ImmichError as error:
            self.recorder.failed(error)
            return self._failed(error, self.status)
        now = self.clock.monotonic()
        took = now - began
        self._measure(now)
        if self.pace.cost is None:
            self.memory = state.restored(self.memory, snapshot, now)
            for warning in unknown(self.settings, frozenset(snapshot)):
                log.warning("%s", warning)
        rates = self.recorder.looked(self.memory.rates, snapshot, took, now)
        self.memory = replace(self.memory, rates=rates)
        failure = None
        for _ in range(MOST_DECISIONS):
            decision = decide(snapshot, self.memory, self.settings, now, self._around())
            self._remember(decision)
            if not decision.commands:
                break
            snapshot, failure = self._send(decision.commands, snapshot)
            now = self.clock.monotonic()
            if failure is not None:
                break
        self.ledger.save(self.memory)
        wait = self._pace(snapshot, decision, took, now)
        status = self.recorder.picture(
            snapshot,
            decision,
            self.memory,
            now=now,
            time=self.clock.time(),
            local=self._around().local,
        )
        if failure is not None:
            return self._failed(failure, status)
        self._well(status, wait, now)
        return wait

    def stop(self) -> None:
        """Do what ON_EXIT says with the queues that are held."""
        held = sorted(self.memory.held)
        if not held:
            return
        if self.settings.on_exit is OnExit.KEEP:
            log.log(NOTICE, "Kept paused, as ON_EXIT=keep says: %s.", ", ".join(held))
            return
        results = self.server.resume_all(held, within=RELEASE_WITHIN)
        released = frozenset(name for name, error in results.items() if error is None)
        self.memory = state.after_release(self.memory, released, self.clock.monotonic())
        self.ledger.save(self.memory)
        if released:
            log.info("Resumed: %s.", ", ".join(sorted(released)))
        # One that Immich no longer has is in nobody's way, but kept: it might come back.
        gone = self.memory.held - self.status.queues.keys() if self.status.queues else set()
        left = [name for name in held if name not in released and name not in gone]
        if left:
            log.error(
                "Not resumed, so it may stay paused: %s (%s). The next start takes that up again; "
                "to resume it before, run the command `release`.",
                ", ".join(left),
                results.get(left[0]) or "no answer in time",
            )

    def _take_wishes(self) -> None:
        """Do what people have asked for since the last time: it holds from the next decision on."""
        asked = False
        for change in self.wishes():
            asked = True
            log.info("Asked for: %s.", in_words(change))
            self.memory = state.after_change(self.memory, change)
        if asked:
            self.ledger.save(self.memory)

    def _measure(self, now: float) -> None:
        """Look how busy the machine is, where that matters."""
        limit = self.settings.pause_above_load
        if limit is not None:
            seen = load.observe(self.memory.load, self.measure(), limit=limit, now=now)
            self.memory = replace(self.memory, load=seen)

    def _around(self) -> Circumstances:
        keeps_hours = self.settings.schedule or self.settings.scan
        return Circumstances(
            local=self.clock.local() if keeps_hours else None, is_loaded=self.memory.load.is_high
        )

    def _remember(self, decision: Decision) -> None:
        """Keep the decision's memory; on the disk too if a queue is about to be paused or asked."""
        grows = not decision.memory.held <= self.memory.held
        is_asked = decision.memory.scan != self.memory.scan
        self.memory = decision.memory
        if grows or is_asked:
            self.ledger.save(self.memory)

    def _send(
        self, commands: Sequence[Command], snapshot: Snapshot
    ) -> tuple[Snapshot, ImmichError | None]:
        """Send the commands; return the snapshot with the answers in it, and what went wrong."""
        sending = Sending(
            self.server,
            self.clock,
            self.recorder,
            snapshot=snapshot,
            memory=self.memory,
            answered=self._answered,
        )
        try:
            sending.send(commands)
        finally:
            # What is on its way when the daemon is stopped counts too.
            self.memory = sending.memory
        return sending.snapshot, sending.failure

    def _answered(self, now: float) -> None:
        if now > self.status.due - SLACK / 2:
            # A slow server and many commands: the round is long, but it goes on.
            self._publish(self.status, 0)

    @property
    def _limit(self) -> int:
        return self.memory.controls.limit or self.settings.max_concurrent_jobs

    def _pace(self, snapshot: Snapshot, decision: Decision, took: float, now: float) -> float:
        working = [
            snapshot[name]
            for name, reason in decision.reasons.items()
            if reason in WORKING and snapshot[name].pending
        ]
        is_open = Reason.UNRESTRICTED in decision.reasons.values()
        self.pace = polling.observe(
            self.pace, working, is_pending=bool(working), took=took, now=now
        )
        return polling.next_look(
            self.pace,
            # Without a limit, too, new work must be noticed: it may bring the limit back.
            is_spare=is_open or len(working) < self._limit,
            poll_interval=self.settings.poll_interval,
            now=now,
            wake=decision.wake,
            yields=self.settings.yield_after is not None,
            is_first=bool(self.memory.yielded),
        )

    def _failed(self, error: ImmichError, status: Status) -> float:
        """Say what went wrong, once; return the seconds until the next try.

        Args:
            error: what went wrong.
            status: what is known all the same.
        """
        self.memory = state.after_failure(self.memory)
        delay = float(next(self._retry))
        if self._failing_since is None:
            self._failing_since = self.clock.monotonic()
        before = self.status.problem
        level = logging.DEBUG if before and str(error) == before.text else logging.WARNING
        log.log(level, "%s. Nothing is changed meanwhile; the next try is in %.0f s.", error, delay)
        self._publish(self._trouble(error, status), delay)
        return delay

    def _trouble(self, error: ImmichError, status: Status) -> Status:
        now, time = self.clock.monotonic(), self.clock.time()
        return self.recorder.trouble(error, status, self.memory, now=now, time=time)

    def _well(self, status: Status, wait: float, now: float) -> None:
        if self._failing_since is not None:
            log.log(NOTICE, "All is well again after %.0f s.", now - self._failing_since)
            self._failing_since = None
            self._retry.reset()
            status = replace(status, server=self._version())
        before, problem = self.status.problem, status.problem
        if problem is not None and (before is None or before.text != problem.text):
            log.warning("%s.", problem.text)
        self._publish(status, wait)

    def _version(self) -> str | None:
        """Return Immich's version: it may have been away to become another."""
        try:
            return self.clock.interruptibly(self.server.tell_version)
        except ImmichError:
            return self.status.server

    def _publish(self, status: Status, wait: float) -> None:
        """Show a picture; the next one comes after ``wait`` seconds, or somewhat later."""
        status = replace(status, due=self.clock.monotonic() + wait + SLACK)
        for text, is_detail in changes(self.status, status):
            log.log(logging.DEBUG if is_detail else logging.INFO, "%s", text)
        self.recorder.status = status
        self.publish(status)
