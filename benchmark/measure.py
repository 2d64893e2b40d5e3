"""Every workload under every contender, once over."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from benchmark import forecasts, planned
from benchmark.contenders import (
    ALONE,
    DAEMON,
    IDEAL,
    PLAIN,
    PLAIN_EACH_SECOND,
    UNRESTRICTED,
    Contender,
    measure,
)
from benchmark.forecasts import Halves
from benchmark.outcome import Outcome
from benchmark.planned import Planned
from benchmark.workloads import Workload, album, idle, one_photo, reindex, uploads

LIMITS: Final = (1, 2)
"""How many queues may run at once."""

NO_LIMIT: Final = 0
"""Stands for the limit where there is none."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of each workload: single photos, runs of an album, photos reindexed, idle hours."""

    photos: int
    albums: int
    reindexed: int
    idle_hours: float
    planned: planned.Sizes


FULL: Final = Sizes(photos=300, albums=10, reindexed=85_000, idle_hours=3.0, planned=planned.FULL)
QUICK: Final = Sizes(photos=8, albums=2, reindexed=1_500, idle_hours=0.25, planned=planned.QUICK)


class Key(NamedTuple):
    """Which outcome: of a workload under a contender with a limit."""

    workload: str
    contender: str
    limit: int


@dataclass(frozen=True, slots=True)
class Results:
    """Every outcome, with the workloads and contenders in the order of the report.

    ``halves`` are the estimates that the daemon told at half-time.
    """

    workloads: tuple[Workload, ...]
    outcomes: Mapping[Key, Outcome]
    halves: tuple[Halves, ...]
    planned: Planned

    def of(self, workload: str, contender: Contender, limit: int) -> Outcome:
        """Return one outcome; a contender without a limit has one for all limits."""
        key = Key(workload, contender.key, limit if contender.has_limit else NO_LIMIT)
        return self.outcomes[key]

    def over_ideal(self, workload: str, contender: Contender, limit: int) -> float:
        """Return the total time as a multiple of the ideal's under the same limit."""
        return self.of(workload, contender, limit).total / self.of(workload, IDEAL, limit).total


ALL: Final = (PLAIN, DAEMON, UNRESTRICTED, IDEAL, ALONE)

CONTENDERS: Final[Mapping[str, tuple[Contender, ...]]] = {
    "photo": ALL,
    "album": ALL,
    "reindex": (PLAIN, DAEMON, IDEAL, ALONE),
    "uploads": (PLAIN, DAEMON, IDEAL, ALONE),
    "idle": (PLAIN, DAEMON),
}
"""Who is measured on which workload, in the order of the report."""

BACKLOGS: Final = ("album", "reindex", "uploads")
"""The workloads in which queues wait for each other for long."""


def measure_all(sizes: Sizes, tell: Callable[[str], None]) -> Results:
    """Measure everything in virtual time; ``tell`` is called with what is measured now."""
    workloads = (
        one_photo(sizes.photos),
        album(sizes.albums),
        reindex(sizes.reindexed),
        uploads(sizes.reindexed),
        idle(sizes.idle_hours),
    )
    outcomes = {}
    for workload in workloads:
        for contender in CONTENDERS[workload.key]:
            tell(f"{workload.title}: {contender.title}")
            for limit in LIMITS if contender.has_limit else (NO_LIMIT,):
                key = Key(workload.key, contender.key, limit)
                outcomes[key] = measure(contender, workload, limit)
    # Only to compare with what was measured on a real server.
    for workload in (one_photo(min(sizes.photos, 100)), album(sizes.albums)):
        key = Key(workload.key, PLAIN_EACH_SECOND.key, 1)
        tell(f"{workload.title}: {PLAIN_EACH_SECOND.title}")
        outcomes[key] = measure(PLAIN_EACH_SECOND, workload, 1)
    halves: list[Halves] = []
    for workload in workloads:
        if workload.key in BACKLOGS:
            tell(f"{workload.title}: estimates at half-time")
            for limit in LIMITS:
                outcome = outcomes[Key(workload.key, DAEMON.key, limit)]
                halves += forecasts.measure(workload, limit, outcome)
    tell("A long backlog with turns for new photos, and one that is worked off at night")
    return Results(workloads, outcomes, tuple(halves), planned.measure(sizes.planned))
