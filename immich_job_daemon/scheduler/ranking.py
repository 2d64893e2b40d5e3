"""Step 4: which queues wait for a slot, and in which order they get one."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf

from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.scheduler.attribution import Attribution
from immich_job_daemon.scheduler.limit import Limit
from immich_job_daemon.scheduler.view import View


@dataclass(frozen=True)
class Ranking:
    """The managed queues that may get a slot, and their order.

    Attributes:
        view: the inputs of the decision.
        attribution: who paused or resumed each queue.
        gated: the queues in which nothing may start.
        limit: how many queues may run at once.
    """

    view: View
    attribution: Attribution
    gated: Mapping[str, Reason]
    limit: Limit

    @cached_property
    def priority(self) -> Mapping[str, int]:
        """The place of each managed queue in the order of priority."""
        return {name: place for place, name in enumerate(self.view.managed)}

    @cached_property
    def waiting_since(self) -> Mapping[str, float]:
        """Since when each queue with work that may run waits, if it has no slot."""
        before, now = self.view.state.waiting_since, self.view.now
        blocked = {*self.attribution.paused_by_others, *self.gated}
        return {
            name: before.get(name, now)
            for name, queue in self.view.managed.items()
            if queue.backlog and name not in blocked
        }

    def is_overdue(self, name: str) -> bool:
        """Rule 18: whether a waiting queue has waited for half of MAX_WAIT."""
        longest = self.view.settings.max_wait
        since = self.waiting_since.get(name)
        return longest is not None and since is not None and since <= self.view.now - longest / 2

    def key(self, wanted: Container[str]) -> Callable[[Queue], tuple[bool, float, int]]:
        """Return the sort key: wanted queues (rules 7, 13), overdue ones (18), priority (2)."""

        def key(queue: Queue) -> tuple[bool, float, int]:
            name = queue.name
            waiting = self.waiting_since[name] if self.is_overdue(name) else inf
            return name not in wanted, waiting, self.priority[name]

        return key
