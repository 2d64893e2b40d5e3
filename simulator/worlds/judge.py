"""Watches a world and says what the daemon must never have done."""

from collections.abc import Callable, Container
from typing import Final

from immich_job_daemon.model.queue import PROTECTED
from simulator.immich.engine import Engine, Event, EventKind

DAEMON: Final = "daemon"
PERSON: Final = "person"


class Judge:
    """Observes an engine.

    Args:
        engine: whose queues are watched.
        limit: how many may run at once at the moment.
        is_limited: whether the limit holds at the moment.
        ours: the queues that are written down as held. When a person pauses one of them that is
            open at the moment, nobody can tell whose pause it is: both is right then.
        in_flight: the queue that the request under way is about.
        is_barred: whether nothing may be started in a queue at the moment.
        rivals: the queues of which none may run while this one does.
    """

    def __init__(  # noqa: PLR0913 - each is something that the judge has to know of the world
        self,
        engine: Engine,
        limit: Callable[[], int],
        *,
        is_limited: Callable[[], bool],
        ours: Callable[[], Container[str]],
        in_flight: Callable[[], str | None],
        is_barred: Callable[[str], bool],
        rivals: Callable[[str], set[str]],
    ) -> None:
        self.engine = engine
        self.limit = limit
        self.is_limited = is_limited
        self.ours = ours
        self.in_flight = in_flight
        self.is_barred = is_barred
        self.rivals = rivals
        self.complaints: list[str] = []
        self.paused_by_person: set[str] = set()
        self.paused_by_anyone: set[str] = set()
        self.opened_by_others: set[str] = set()
        self.resumes = 0
        engine.observers.append(self.observe)

    def observe(self, event: Event) -> None:
        """Judge one event."""
        if event.kind is EventKind.PAUSED:
            self._paused(event)
        elif event.kind is EventKind.RESUMED:
            self._resumed(event)

    def excuse(self, name: str) -> None:
        """Take note that the daemon asks for a pause of ``name``, which it last saw open.

        If a person paused the queue in the milliseconds since, no answer of Immich tells that.
        """
        if name in self.paused_by_person:
            self.paused_by_person.remove(name)
            self.paused_by_anyone.add(name)

    def is_done(self) -> bool:
        """Return whether every queue is drained but those that a person keeps paused."""
        excused = self.paused_by_person | self.paused_by_anyone
        return all(queue.is_empty or name in excused for name, queue in self.engine.queues.items())

    def finish(self) -> None:
        """Judge the end: the daemon has stopped, and everything had time to be done."""
        for name, queue in self.engine.queues.items():
            if name in self.paused_by_person:
                if not queue.is_paused:
                    self._complain(f"{name}, paused by a person, is open")
                continue
            if name in self.paused_by_anyone:
                continue
            if not queue.is_empty:
                self._complain(f"{name} is not drained: {queue.counts()}, {queue.prioritized}")
            if queue.is_paused:
                self._complain(f"{name} is still paused")

    def _paused(self, event: Event) -> None:
        self.opened_by_others.discard(event.queue)
        if event.by == PERSON:
            is_clear = event.queue not in self.ours()
            (self.paused_by_person if is_clear else self.paused_by_anyone).add(event.queue)
        if event.by == DAEMON and event.queue in PROTECTED:
            self._complain(f"{event.queue} is protected and was paused")

    def _resumed(self, event: Event) -> None:
        name = event.queue
        self.paused_by_anyone.discard(name)
        if event.by != DAEMON:
            self.paused_by_person.discard(name)
            self.opened_by_others.add(name)
            return
        if self.in_flight() != name:
            # A request of long ago that took effect only now: nobody could know.
            self.paused_by_person.discard(name)
            self.opened_by_others.add(name)
            return
        self.resumes += 1
        if name in self.paused_by_person:
            self._complain(f"{name} was paused by a person, and the daemon resumed it")
        if name in PROTECTED:
            self._complain(f"{name} is protected and was resumed")
        if self.is_barred(name):
            self._complain(f"{name} was resumed though nothing may be started in it")
        against = {rival for rival in self.rivals(name) if self._may_run(rival)}
        if against:
            self._complain(f"{name} was resumed beside its rivals {sorted(against)}")
        if self.is_limited():
            self._judge_limit(name)

    def _may_run(self, name: str) -> bool:
        queue = self.engine.queues[name]
        is_ours = name not in self.opened_by_others and name not in PROTECTED
        return is_ours and (queue.active > 0 or not queue.is_paused)

    def _judge_limit(self, name: str) -> None:
        occupying = {
            queue.name for queue in self.engine.queues.values() if self._may_run(queue.name)
        }
        limit = self.limit()
        if len(occupying) > limit:
            self._complain(f"resuming {name} made {sorted(occupying)} of {limit}")

    def _complain(self, text: str) -> None:
        self.complaints.append(f"{self.engine.now:.3f}: {text}")
