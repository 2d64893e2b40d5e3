"""The workloads: uploads and reindexing runs with their times, the same for every contender."""

from dataclasses import dataclass
from random import Random
from typing import Final

from simulator.immich.engine import Engine

SETTLED: Final = 60.0
"""Seconds before the first arrival, so that a contender's start is not measured."""

REINDEXED: Final = ("thumbnailGeneration", "smartSearch")
"""The queues of a reindex, as after a change of the model or of the thumbnail settings."""

_APART: Final = (120.0, 150.0)
"""Seconds between two single photos: all jobs of the first are long done by then."""

_UPLOADS: Final = 200
_SECONDS_EACH: Final = 0.12
"""Shortest time of a reindex per asset, so that all uploads arrive during it."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What arrives at one time: uploads, and a reindex of ``reindexed`` assets in ``queues``."""

    time: float
    photos: int = 0
    videos: int = 0
    reindexed: int = 0
    queues: tuple[str, ...] = REINDEXED

    def arrive(self, engine: Engine) -> None:
        """Add the jobs to the engine now."""
        for queue in self.queues if self.reindexed else ():
            engine.reindex(queue, self.reindexed)
        if self.photos or self.videos:
            engine.upload(photos=self.photos, videos=self.videos)


@dataclass(frozen=True, slots=True)
class Workload:
    """Work for Immich.

    Attributes:
        key: identifier in the program.
        title: display name.
        runs: the arrivals of each run; every run gets a fresh server.
        quiet: shortest duration of a run, in seconds.
    """

    key: str
    title: str
    runs: tuple[tuple[Arrival, ...], ...]
    quiet: float = 0.0


def idle(hours: float) -> Workload:
    """Return a workload without arrivals."""
    return Workload("idle", "nothing to do", ((),), quiet=hours * 3600)


def one_photo(count: int) -> Workload:
    """Return single photos in sequence, each on an idle server at a random time."""
    random = Random(1)
    arrivals = []
    time = SETTLED
    for _ in range(count):
        time += random.uniform(*_APART)
        arrivals.append(Arrival(time, photos=1))
    return Workload("photo", "One photo on an idle server", (tuple(arrivals),))


def album(runs: int) -> Workload:
    """Return 300 photos and 3 videos at once, in several runs at random times."""
    random = Random(2)
    return Workload(
        "album",
        "300 photos and 3 videos at once",
        tuple(
            (Arrival(SETTLED + random.uniform(0, 30), photos=300, videos=3),) for _ in range(runs)
        ),
    )


def reindex(count: int) -> Workload:
    """Return a reindex of ``count`` photos."""
    run = (Arrival(SETTLED, reindexed=count),)
    return Workload("reindex", f"{count:,} photos reindexed", (run,))


def uploads(count: int) -> Workload:
    """Return a reindex of ``count`` photos, and 200 single uploads at random times during it."""
    random = Random(3)
    times = sorted(random.uniform(0, count * _SECONDS_EACH) for _ in range(_UPLOADS))
    new_photos = (Arrival(SETTLED + time, photos=1) for time in times)
    run = (Arrival(SETTLED, reindexed=count), *new_photos)
    return Workload(
        "uploads", f"{count:,} photos reindexed, and 200 new ones uploaded meanwhile", (run,)
    )
