"""Checks the daemon's behaviour in a random world.

At every resume: the daemon must not exceed the limit by its own commands, resume a queue that a
user has paused, touch a protected queue, or start jobs that the controls, the schedule or an
exclusive group forbid. At the end: every queue is drained, and none is still paused by the daemon.
"""

from collections.abc import Callable, Container
from typing import Final

from immich_job_daemon.model.queue import PROTECTED
from simulator.immich.engine import Engine, Event, EventKind

DAEMON: Final = "daemon"
USER: Final = "user"


class Judge:
    """Observes an engine and collects the daemon's violations of its rules.

    Args:
        engine: the engine to observe.
        limit: returns how many queues may run at once now.
        is_limited: returns whether the limit applies now.
        paused_by_daemon: returns the queues that the ledger or the daemon lists as paused by the
            daemon. If a user pauses one of them while it is open, the daemon cannot know whose
            pause it is, so it may resume the queue or leave it paused.
        in_flight: returns the queue of the daemon's current request.
        may_not_start: returns whether the daemon must not resume a queue now.
        rivals: returns the queues that must not run together with a queue.
    """

    def __init__(  # noqa: PLR0913 - each is a fact about the world that a check needs
        self,
        engine: Engine,
        limit: Callable[[], int],
        *,
        is_limited: Callable[[], bool],
        paused_by_daemon: Callable[[], Container[str]],
        in_flight: Callable[[], str | None],
        may_not_start: Callable[[str], bool],
        rivals: Callable[[str], set[str]],
    ) -> None:
        self.engine = engine
        self.limit = limit
        self.is_limited = is_limited
        self.paused_by_daemon = paused_by_daemon
        self.in_flight = in_flight
        self.may_not_start = may_not_start
        self.rivals = rivals
        self.violations: list[str] = []
        self.paused_by_user: set[str] = set()
        self.paused_by_either: set[str] = set()
        self.resumed_by_others: set[str] = set()
        self.resumes = 0
        engine.observers.append(self.observe)

    def observe(self, event: Event) -> None:
        """Check one event."""
        if event.kind is EventKind.PAUSED:
            self._paused(event)
        elif event.kind is EventKind.RESUMED:
            self._resumed(event)

    def forgive_resume(self, name: str) -> None:
        """Allow the daemon to resume a queue even if a user has paused it.

        It is called when the daemon pauses a queue that was open at the last poll. If a user has
        paused the queue since then, no response of Immich reveals that.
        """
        if name in self.paused_by_user:
            self.paused_by_user.remove(name)
            self.paused_by_either.add(name)

    def is_done(self) -> bool:
        """Return whether every queue is drained, except those that a user keeps paused."""
        excused = self.paused_by_user | self.paused_by_either
        return all(queue.is_empty or name in excused for name, queue in self.engine.queues.items())

    def check_end(self) -> None:
        """Check the end: the daemon has stopped, and all jobs have had time to complete."""
        for name, queue in self.engine.queues.items():
            if name in self.paused_by_user:
                if not queue.is_paused:
                    self._report(f"{name} was paused by a user and is open")
                continue
            if name in self.paused_by_either:
                continue
            if not queue.is_empty:
                self._report(f"{name} is not drained: {queue.counts()}, {queue.prioritized}")
            if queue.is_paused:
                self._report(f"{name} is still paused")

    def _paused(self, event: Event) -> None:
        self.resumed_by_others.discard(event.queue)
        if event.by == USER:
            is_clear = event.queue not in self.paused_by_daemon()
            (self.paused_by_user if is_clear else self.paused_by_either).add(event.queue)
        if event.by == DAEMON and event.queue in PROTECTED:
            self._report(f"{event.queue} is protected and was paused")

    def _resumed(self, event: Event) -> None:
        name = event.queue
        self.paused_by_either.discard(name)
        if event.by != DAEMON:
            self.paused_by_user.discard(name)
            self.resumed_by_others.add(name)
            return
        if self.in_flight() != name:
            # An old request takes effect only now, which the daemon cannot know.
            self.paused_by_user.discard(name)
            self.resumed_by_others.add(name)
            return
        self.resumes += 1
        if name in self.paused_by_user:
            self._report(f"{name} was paused by a user, and the daemon resumed it")
        if name in PROTECTED:
            self._report(f"{name} is protected and was resumed")
        if self.may_not_start(name):
            self._report(f"{name} was resumed although its jobs must not start now")
        against = {rival for rival in self.rivals(name) if self._may_run(rival)}
        if against:
            self._report(f"{name} was resumed while its rivals {sorted(against)} may run")
        if self.is_limited():
            self._check_limit(name)

    def _may_run(self, name: str) -> bool:
        queue = self.engine.queues[name]
        counts = name not in self.resumed_by_others and name not in PROTECTED
        return counts and (queue.active > 0 or not queue.is_paused)

    def _check_limit(self, name: str) -> None:
        occupying = {
            queue.name for queue in self.engine.queues.values() if self._may_run(queue.name)
        }
        limit = self.limit()
        if len(occupying) > limit:
            self._report(
                f"resuming {name} exceeded the limit of {limit}: {sorted(occupying)} may run"
            )

    def _report(self, text: str) -> None:
        self.violations.append(f"{self.engine.now:.3f}: {text}")
