"""Commands on their way to Immich: each is sent once, and its answer is taken in."""

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
from immich_job_daemon.daemon.status_builder import Recorder
from immich_job_daemon.immich.responses import NoSuchApiError
from immich_job_daemon.immich.server import Server
from immich_job_daemon.model.queue import Queue, Snapshot
from immich_job_daemon.scheduler import state
from immich_job_daemon.scheduler.decision import Action, Command
from immich_job_daemon.scheduler.state import Memory

ANSWER_WITHIN: Final = 0.5
"""Seconds that Immich gets to answer a command that is under way when the daemon is to stop.

A pause whose answer nobody waits for could take effect after the queue was resumed for the end. In
this time nearly every answer is there (in the median after 6 ms, seen on Immich 3.1.0).
"""

log = logging.getLogger(__name__)


class Sending:
    """The commands of one decision.

    Args:
        server: the Immich server.
        clock: the time.
        recorder: takes note of each answer and of each failure.
        snapshot: what the decision was made on.
        memory: what is remembered with it.
        answered: called after each answer with the present time.

    Attributes:
        snapshot: the same with the answers so far in it.
        memory: the same with what the answers mean; it holds where ``send`` was interrupted too.
        failure: what went wrong first, None if nothing did that keeps the round from being well.
    """

    def __init__(  # noqa: PLR0913 - what a command is sent with, and what it is sent for
        self,
        server: Server,
        clock: Clock,
        recorder: Recorder,
        *,
        snapshot: Snapshot,
        memory: Memory,
        answered: Callable[[float], None],
    ) -> None:
        self._server = server
        self._clock = clock
        self._recorder = recorder
        self._answered = answered
        self.snapshot = snapshot
        self.memory = memory
        self.failure: ImmichError | None = None

    def send(self, commands: Sequence[Command]) -> None:
        """Send the commands in their order.

        One that fails does not keep the others from being sent: they do not build on it, and what
        was to be resumed keeps its slot. After no answer at all nothing more is sent.

        Raises:
            StopRequested: the daemon is to end; nothing more is sent.
        """
        for sent, command in enumerate(commands, start=1):
            try:
                queue = self._act(command)
            except UnreachableError as error:
                unsent = [command.queue for command in commands[sent:]]
                self.memory = state.after_unsent(self.memory, unsent, self.snapshot)
                self._failed(error)
                return
            except ImmichError as error:
                self._refused(command, error)
            else:
                self.snapshot = {**self.snapshot, queue.name: queue}

    def _failed(self, error: ImmichError) -> None:
        self.failure = self.failure or error

    def _refused(self, command: Command, error: ImmichError) -> None:
        """Take note of what Immich says instead of doing what it was asked for."""
        is_no = isinstance(error, RefusedError | PermissionMissingError | NoSuchApiError)
        if is_no and command.action is Action.START:
            self._not_started(command.queue, error)
        elif isinstance(error, RefusedError) and command.action is Action.PAUSE:
            log.warning("Immich refuses to pause %s, so it is left alone: %s", command.queue, error)
            self.memory = state.after_refusal(self.memory, command.queue)
        else:
            self._failed(error)

    def _not_started(self, name: str, error: ImmichError) -> None:
        """Take note that a queue does not look for what is missing."""
        is_running = isinstance(error, AlreadyRunningError)
        if isinstance(error, PermissionMissingError | NoSuchApiError):
            log.warning("SCAN has no effect: %s. All else works without.", error)
            self.memory = replace(self.memory, cannot_scan=True)
        elif not is_running:
            log.warning("%s is not asked to look for what is missing: %s", name, error)
        self.memory = state.after_refused_start(self.memory, name, is_running=is_running)
        if is_running:
            # Who says that something runs knows better than the look before.
            queue = replace(self.snapshot[name], active=1)
            self.snapshot = {**self.snapshot, name: queue}

    def _act(self, command: Command) -> Queue:
        """Send one command and return the answer; a pause without one may still take effect."""
        act = {
            Action.PAUSE: self._server.pause,
            Action.RESUME: self._server.resume,
            Action.START: self._server.start,
        }[command.action]
        level = logging.INFO if command.action is Action.START else logging.DEBUG
        log.log(level, "%s %s", command.action, command.queue)
        began = self._clock.monotonic()
        try:
            queue = self._clock.interruptibly(partial(act, command.queue), grace=ANSWER_WITHIN)
        except (ImmichError, StopRequested) as error:
            if isinstance(error, ImmichError):
                self._recorder.failed(error)
            if command.action is Action.PAUSE and not isinstance(error, RefusedError):
                self.memory = state.after_unclear_pause(
                    self.memory, command.queue, self._clock.monotonic()
                )
            raise
        now = self._clock.monotonic()
        has_work = queue.backlog > 0 or queue.is_busy
        self._recorder.answered(command.action, now - began, now, has_work=has_work)
        self._answered(now)
        return queue
