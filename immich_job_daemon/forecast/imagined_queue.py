"""A queue in an imagined course: its jobs by batch, and what they lead to when they are done.

Jobs flow in here, so their numbers have fractions.
"""

from collections.abc import Sequence
from typing import NamedTuple

from immich_job_daemon.forecast.pipeline import CRUMB, WAITING_CAME_FROM


class Part:
    """Pending jobs of one batch, and how many jobs each of them leads to in which queue."""

    __slots__ = ("leads_to", "left", "way")

    def __init__(self, way: str, left: float, leads_to: "Sequence[Lead]") -> None:
        self.way = way
        self.left = left
        self.leads_to = leads_to


class ForecastQueue:
    """A queue in an imagined course; times in seconds from now.

    Attributes:
        name: its name.
        paces: in what time it drains one job, by how many others are at work beside it; None
            where nobody can tell.
        takes: the one of these that holds now.
        parts: its pending jobs, the first ones first.
        left: how many these are.
        waits_for: the queues that must have nothing active for its jobs to go on.
        has_slot: whether it may work.
        starts: when its first job starts since it has its slot.
        ended: when it was drained last.
        is_unknown: nobody can tell when it will be drained.
    """

    __slots__ = (
        "_fed",
        "ended",
        "has_slot",
        "is_unknown",
        "left",
        "name",
        "paces",
        "parts",
        "starts",
        "takes",
        "waits_for",
    )

    def __init__(self, name: str, paces: Sequence[float] | None) -> None:
        self.name = name
        self.paces = paces
        self.takes = paces[0] if paces else 0.0
        self.parts: list[Part] = []
        self.left = 0.0
        self.waits_for: list[ForecastQueue] = []
        self.has_slot = False
        self.starts = 0.0
        self.ended = 0.0
        self.is_unknown = False
        self._fed: dict[str, Part] = {}

    @property
    def works(self) -> bool:
        """Whether its jobs go on."""
        if not self.has_slot or self.paces is None:
            return False
        is_waiting = self.waits_for and self.is_at(WAITING_CAME_FROM)
        return not is_waiting or not any(
            other.has_slot and other.left and not other.is_at(self.name) for other in self.waits_for
        )

    def is_at(self, way: str) -> bool:
        """Whether it is at jobs that came this way."""
        return bool(self.parts) and self.parts[0].way == way

    def add(self, way: str, jobs: float, leads_to: "Sequence[Lead]") -> None:
        """Let jobs come, behind the others."""
        part = self._fed.get(way)
        if part is None or part.left <= 0:
            part = self._fed[way] = Part(way, 0.0, leads_to)
            self.parts.append(part)
        part.left += jobs
        self.left += jobs

    def do(self, jobs: float) -> float:
        """Do so many jobs, or what there is, with what they lead to; return how many."""
        done = 0.0
        while self.parts and done < jobs:
            part = self.parts[0]
            here = min(part.left, jobs - done)
            done += here
            for lead in part.leads_to:
                lead.queue.add(self.name, here * lead.jobs, lead.then)
            if part.left - here > CRUMB:
                part.left -= here
            else:
                part.left = 0.0
                del self.parts[0]
        self.left = self.left - done if self.parts else 0.0
        return done


class Lead(NamedTuple):
    """So many jobs in a queue follow each job of a batch, and what these lead to."""

    queue: ForecastQueue
    jobs: float
    then: "Sequence[Lead]"
