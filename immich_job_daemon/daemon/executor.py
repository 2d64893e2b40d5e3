"""Sends the commands of a decision and works their responses into the snapshot and the state."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from immich_job_daemon.base.clock import Clock, StopRequested
from immich_job_daemon.base.errors import (
    AlreadyRunningError,
    ImmichError,
    PermissionMissingError,
    RefusedError,
    UnreachableError,
)
from immich_job_daemon.daemon.status_builder import StatusBuilder
from immich_job_daemon.immich.client import ImmichServer
from immich_job_daemon.immich.responses import NoSuchApiError
from immich_job_daemon.model.queue import Queue, Snapshot
from immich_job_daemon.model.reason import Action
from immich_job_daemon.scheduler.decision import Command
from immich_job_daemon.scheduler.state import (
    SchedulerState,
    after_refused_pause,
    after_refused_start,
    after_unconfirmed_pause,
    after_unsent,
)

RESPONSE_GRACE: Final = 0.5
"""Seconds that Immich gets to answer a command that is in flight when the daemon is stopped.

A pause whose response is not awaited could take effect after the final resume of its queue. Within
this time nearly every response arrives (median 6 ms, measured on Immich 3.1.0).
"""

log = logging.getLogger(__name__)


class Executor:
    """Sends the commands of one decision, and calls ``answered`` with the time of each response.

    Attributes:
        snapshot: the snapshot with the responses so far in it.
        state: the state with what the responses mean; valid also if ``execute`` was interrupted.
        failure: the first error, None if there was none.
    """

    def __init__(  # noqa: PLR0913 - what sends a command, and what its response goes into
        self,
        server: ImmichServer,
        clock: Clock,
        status_builder: StatusBuilder,
        *,
        snapshot: Snapshot,
        state: SchedulerState,
        answered: Callable[[float], None],
    ) -> None:
        self._server = server
        self._clock = clock
        self._status_builder = status_builder
        self._answered = answered
        self.snapshot = snapshot
        self.state = state
        self.failure: ImmichError | None = None

    def execute(self, commands: Sequence[Command]) -> None:
        """Send the commands in order.

        If one fails, the rest are still sent: they do not depend on it, and a queue that was to be
        resumed keeps its slot. If Immich does not answer at all, nothing more is sent.

        Raises:
            StopRequested: the daemon is stopping; nothing more is sent.
        """
        for sent, command in enumerate(commands, start=1):
            try:
                queue = self._send(command)
            except UnreachableError as error:
                unsent = [command.queue for command in commands[sent:]]
                self.state = after_unsent(self.state, unsent, self.snapshot)
                self.failure = self.failure or error
                return
            except ImmichError as error:
                self._refused(command, error)
            else:
                self.snapshot = {**self.snapshot, queue.name: queue}

    def _refused(self, command: Command, error: ImmichError) -> None:
        is_refusal = isinstance(error, RefusedError | PermissionMissingError | NoSuchApiError)
        if is_refusal and command.action is Action.START:
            self._scan_refused(command.queue, error)
        elif isinstance(error, RefusedError) and command.action is Action.PAUSE:
            log.warning("Immich refuses to pause %s, so it is left alone: %s", command.queue, error)
            self.state = after_refused_pause(self.state, command.queue)
        else:
            self.failure = self.failure or error

    def _scan_refused(self, name: str, error: ImmichError) -> None:
        is_running = isinstance(error, AlreadyRunningError)
        if isinstance(error, PermissionMissingError | NoSuchApiError):
            log.warning("SCAN has no effect: %s. Everything else works without it.", error)
            self.state = replace(self.state, cannot_scan=True)
        elif not is_running:
            log.warning("%s is not scanned for missing files: %s", name, error)
        self.state = after_refused_start(self.state, name, is_running=is_running)
        if is_running:
            # This response is newer than the poll, which saw nothing running.
            queue = replace(self.snapshot[name], active=1)
            self.snapshot = {**self.snapshot, name: queue}

    def _send(self, command: Command) -> Queue:
        """Send one command and return the queue as the response shows it."""
        send = {
            Action.PAUSE: self._server.pause,
            Action.RESUME: self._server.resume,
            Action.START: self._server.start,
        }[command.action]
        level = logging.INFO if command.action is Action.START else logging.DEBUG
        log.log(level, "%s %s", command.action, command.queue)
        began = self._clock.monotonic()
        try:
            queue = self._clock.run_interruptibly(
                partial(send, command.queue), grace=RESPONSE_GRACE
            )
        except (ImmichError, StopRequested) as error:
            if isinstance(error, ImmichError):
                self._status_builder.failed(error)
            if command.action is Action.PAUSE and not isinstance(error, RefusedError):
                # Without a response the pause may still take effect.
                now = self._clock.monotonic()
                self.state = after_unconfirmed_pause(self.state, command.queue, now)
            raise
        now = self._clock.monotonic()
        has_work = queue.backlog > 0 or queue.is_busy
        self._status_builder.answered(command.action, now - began, now, has_work=has_work)
        self._answered(now)
        return queue
