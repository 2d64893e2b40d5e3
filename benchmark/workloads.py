"""What is asked of Immich, and when: all data, the same for whoever runs the queues."""

from dataclasses import dataclass
from random import Random
from typing import Final

from simulator.immich.engine import Engine

SETTLED: Final = 60.0
"""Seconds after its start in which nothing comes: how somebody starts is not judged."""

REINDEXED: Final = ("thumbnailGeneration", "smartSearch")
"""The queues of a reindex: what a new model or new thumbnail settings ask for."""

_APART: Final = (120.0, 150.0)
"""Seconds between two single photos: everything of the one before is long done."""

_UPLOADS: Final = 200
_SECONDS_EACH: Final = 0.12
"""Seconds that the reindex takes for each asset, at least, so that uploads fall into it."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What comes at one moment: uploads, and a reindex of so many assets in these queues."""

    time: float
    photos: int = 0
    videos: int = 0
    reindexed: int = 0
    queues: tuple[str, ...] = REINDEXED

    def arrive(self, engine: Engine) -> None:
        """Let it happen now."""
        for queue in self.queues if self.reindexed else ():
            engine.reindex(queue, self.reindexed)
        if self.photos or self.videos:
            engine.upload(photos=self.photos, videos=self.videos)


@dataclass(frozen=True, slots=True)
class Workload:
    """Something that is asked of Immich.

    Attributes:
        key: its name in the program.
        title: its name for people.
        runs: the arrivals of each of its runs, every run on a fresh server.
        quiet: seconds for which a run without arrivals lasts.
    """

    key: str
    title: str
    runs: tuple[tuple[Arrival, ...], ...]
    quiet: float = 0.0


def idle(hours: float) -> Workload:
    """Return a server on which nothing happens."""
    return Workload("idle", "nothing to do", ((),), quiet=hours * 3600)


def one_photo(count: int) -> Workload:
    """Return single photos, one after the other, each on an idle server at a random moment."""
    random = Random(1)
    arrivals = []
    time = SETTLED
    for _ in range(count):
        time += random.uniform(*_APART)
        arrivals.append(Arrival(time, photos=1))
    return Workload("photo", "One photo on an idle server", (tuple(arrivals),))


def album(runs: int) -> Workload:
    """Return 300 photos and 3 videos at once, several times at random moments."""
    random = Random(2)
    return Workload(
        "album",
        "300 photos and 3 videos at once",
        tuple(
            (Arrival(SETTLED + random.uniform(0, 30), photos=300, videos=3),) for _ in range(runs)
        ),
    )


def reindex(count: int) -> Workload:
    """Return a reindex of so many photos."""
    run = (Arrival(SETTLED, reindexed=count),)
    return Workload("reindex", f"{count:,} photos reindexed", (run,))


def uploads(count: int) -> Workload:
    """Return a reindex of so many photos during which 200 new ones are uploaded, one by one."""
    random = Random(3)
    times = sorted(random.uniform(0, count * _SECONDS_EACH) for _ in range(_UPLOADS))
    news = (Arrival(SETTLED + time, photos=1) for time in times)
    run = (Arrival(SETTLED, reindexed=count), *news)
    return Workload(
        "uploads", f"{count:,} photos reindexed, and 200 new ones uploaded meanwhile", (run,)
    )
