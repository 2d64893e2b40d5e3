"""The loop: look, decide, remember, act, publish, wait. One thread does it all."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from tempora.timing import BackoffDelay

from immich_job_daemon import memory as remember
from immich_job_daemon import pacing
from immich_job_daemon.alarm import Clock, StopRequested
from immich_job_daemon.config import OnExit, Settings
from immich_job_daemon.decision import Action, Command, Decision, Reason
from immich_job_daemon.errors import (
    ImmichError,
    KeyRejectedError,
    PermissionMissingError,
    RefusedError,
    UnreachableError,
)
from immich_job_daemon.ledger import Kept
from immich_job_daemon.log import NOTICE
from immich_job_daemon.memory import Memory
from immich_job_daemon.queues import Queue, Snapshot
from immich_job_daemon.scheduler import decide
from immich_job_daemon.status import Status, changes

RELEASE_WITHIN: Final = 4.0
"""Seconds for resuming all held queues at the end: with what else a stop takes, below 5."""

MOST_DECISIONS: Final = 6
"""Decisions in one round; what is left to do then is done after the next look."""

LONGEST_RETRY: Final = 60.0
"""Seconds between two tries, at most, while Immich does not answer."""

WORKING: Final = (Reason.RUNNING, Reason.DRAINING, Reason.UNRESTRICTED)

log = logging.getLogger(__name__)


class Server(Protocol):
    """What the loop needs of an Immich server; every method may raise an ImmichError."""

    def connect(self) -> object:
        """Find out how to speak to the server; the result says it in words."""
        ...

    def look(self) -> Snapshot:
        """Return every queue as it is now."""
        ...

    def pause(self, name: str) -> Queue:
        """Pause a queue and return it as it is after that."""
        ...

    def resume(self, name: str) -> Queue:
        """Resume a queue and return it as it is after that."""
        ...

    def resume_all(
        self, names: Iterable[str], *, within: float
    ) -> Mapping[str, ImmichError | None]:
        """Resume all these queues within so many seconds; None for each that is seen open."""
        ...


class Daemon:
    """Runs the queues of one Immich server until it is asked to stop.

    Args:
        settings: what the user wants.
        server: the Immich server.
        ledger: where the memory survives.
        clock: the time, and how to wait.
        publish: called with each new picture of now.
    """

    def __init__(
        self,
        settings: Settings,
        server: Server,
        ledger: Kept,
        clock: Clock,
        publish: Callable[[Status], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.server = server
        self.ledger = ledger
        self.clock = clock
        self.publish = publish
        self.memory = Memory()
        self.pace = pacing.Pace()
        self.status = Status(settings.max_concurrent_jobs)
        self._failing_since: float | None = None
        self._retry = BackoffDelay(1, factor=2, limit=min(settings.poll_interval, LONGEST_RETRY))

    def run(self) -> None:
        """Connect and run rounds until the clock raises StopRequested, then release.

        Raises:
            KeyRejectedError, PermissionMissingError: at the start, when nothing can be done.
        """
        try:
            self.memory = self.ledger.load() or Memory()
            self.connect()
            while True:
                self.clock.wait(self.round())
        except StopRequested:
            log.info("Stopping.")
        finally:
            self.stop()

    def connect(self) -> None:
        """Wait until Immich answers, however long that takes.

        Raises:
            KeyRejectedError, PermissionMissingError: Immich answers, and waiting will not help.
        """
        delays = BackoffDelay(1, factor=2, limit=LONGEST_RETRY)
        while True:
            try:
                with self.clock.interruptible():
                    connection = self.server.connect()
            except (KeyRejectedError, PermissionMissingError):
                raise
            except ImmichError as error:
                delay = next(delays)
                log.warning("%s. Trying again in %d s.", error, delay)
                self.clock.wait(delay)
            else:
                log.info("Connected to %s.", connection)
                return

    def round(self) -> float:
        """Look, decide, act, publish; return the seconds until the next round."""
        began = self.clock.monotonic()
        try:
            with self.clock.interruptible():
                snapshot = self.server.look()
        except ImmichError as error:
            return self._failed(error)
        now = self.clock.monotonic()
        took = now - began
        if self.pace.cost is None:
            self.memory = remember.restored(self.memory, snapshot, now)
        failure = None
        for _ in range(MOST_DECISIONS):
            decision = decide(snapshot, self.memory, self.settings, now)
            self._remember(decision)
            if not decision.commands:
                break
            snapshot, failure = self._send(decision.commands, snapshot)
            now = self.clock.monotonic()
            if failure is not None:
                break
        self.ledger.save(self.memory)
        wait = self._pace(snapshot, decision, took, now)
        if failure is not None:
            return self._failed(failure)
        self._well(snapshot, decision, now)
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
        self.memory = remember.after_release(self.memory, released, self.clock.monotonic())
        self.ledger.save(self.memory)
        if released:
            log.info("Resumed: %s.", ", ".join(sorted(released)))
        left = [name for name in held if name not in released]
        if left:
            log.error(
                "Not resumed, so it may stay paused: %s (%s). The next start takes that up again; "
                "to resume it before, run the command `release`.",
                ", ".join(left),
                results.get(left[0]) or "no answer in time",
            )

    def _remember(self, decision: Decision) -> None:
        """Keep the decision's memory; on the disk too if a queue is about to be paused."""
        grows = not decision.memory.held <= self.memory.held
        self.memory = decision.memory
        if grows:
            self.ledger.save(self.memory)

    def _send(
        self, commands: Iterable[Command], snapshot: Snapshot
    ) -> tuple[Snapshot, ImmichError | None]:
        """Send the commands; return the snapshot with the answers in it, and what went wrong.

        After a failure further pauses are still sent, for they can only help, but no resume; after
        no answer at all nothing is.
        """
        failure: ImmichError | None = None
        for command in commands:
            name = command.queue
            if failure is not None and command.action is Action.RESUME:
                break
            log.debug("%s %s", command.action, name)
            try:
                with self.clock.interruptible():
                    act = (
                        self.server.pause if command.action is Action.PAUSE else self.server.resume
                    )
                    queue = act(name)
            except StopRequested:
                if command.action is Action.PAUSE:
                    self._unclear(name)
                raise
            except ImmichError as error:
                if isinstance(error, RefusedError) and command.action is Action.PAUSE:
                    log.warning("Immich refuses to pause %s, so it is left alone: %s", name, error)
                    self.memory = remember.after_refusal(self.memory, name)
                    continue
                failure = failure or error
                if command.action is Action.PAUSE:
                    self._unclear(name)
                else:
                    self.memory = remember.after_failure(self.memory)
                if isinstance(error, UnreachableError):
                    break
            else:
                snapshot = {**snapshot, name: queue}
        return snapshot, failure

    def _unclear(self, name: str) -> None:
        now = self.clock.monotonic()
        self.memory = remember.after_unclear_pause(self.memory, name, now)

    def _pace(self, snapshot: Snapshot, decision: Decision, took: float, now: float) -> float:
        working = [
            snapshot[name]
            for name, reason in decision.reasons.items()
            if reason in WORKING and snapshot[name].pending
        ]
        self.pace = pacing.observe(self.pace, working, is_pending=bool(working), took=took, now=now)
        return pacing.next_look(
            self.pace,
            # Without a limit, too, new work must be noticed: it may bring the limit back.
            is_spare=self.memory.slots == () or len(working) < self.settings.max_concurrent_jobs,
            poll_interval=self.settings.poll_interval,
            now=now,
            wake=decision.wake,
        )

    def _failed(self, error: ImmichError) -> float:
        """Say what went wrong, once; return the seconds until the next try."""
        self.memory = remember.after_failure(self.memory)
        delay = next(self._retry)
        if self._failing_since is None:
            self._failing_since = self.clock.monotonic()
        level = logging.DEBUG if str(error) == self.status.problem else logging.WARNING
        log.log(level, "%s. Nothing is changed meanwhile; the next try is in %.0f s.", error, delay)
        self._publish(replace(self.status, problem=str(error)))
        return float(delay)

    def _well(self, snapshot: Snapshot, decision: Decision, now: float) -> None:
        if self._failing_since is not None:
            log.log(NOTICE, "All is well again after %.0f s.", now - self._failing_since)
            self._failing_since = None
            self._retry.reset()
        before = self.status
        self._publish(
            replace(before, updated=now, queues=snapshot, reasons=decision.reasons, problem=None)
        )
        for text, is_detail in changes(before, self.status):
            log.log(logging.DEBUG if is_detail else logging.INFO, "%s", text)

    def _publish(self, status: Status) -> None:
        self.status = status
        self.publish(status)
