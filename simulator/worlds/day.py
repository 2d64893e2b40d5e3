"""Simulates a busy day with the real daemon, for screenshots and benchmarks."""

from functools import partial
from typing import Final

from immich_job_daemon.daemon.loop import Daemon
from immich_job_daemon.model.controls import Change, Override, SetLimit, SetQueue
from immich_job_daemon.status.status import Status
from simulator.immich import KEY, simulated_immich
from simulator.immich.engine import Engine
from simulator.immich.virtual_time import VirtualTransport
from simulator.worlds.virtual_daemon import (
    VirtualClient,
    VirtualDaemonClock,
    VirtualLedger,
    settings,
)

HOUR: Final = 3600.0
BEGIN: Final = 7.5 * HOUR
"""When the daemon starts, on the engine's clock."""
END: Final = BEGIN + 23.3 * HOUR


class Day:
    """The end of the day.

    Attributes:
        status: the last one published.
        now: when it was published, in seconds of the daemon's clock.
        time: the same in seconds since 1970.
    """

    def __init__(self) -> None:
        self.status = Status(1)
        self.now = 0.0
        self.time = 0.0


def simulate_day() -> Day:
    """Run the daemon through the whole day in virtual time."""
    engine, api = simulated_immich(seed=7)
    engine.advance(BEGIN)
    _schedule_events(engine)
    day, changes = Day(), _PlannedChanges(engine)
    clock = VirtualDaemonClock(engine, lambda: engine.now >= END)

    def publish(status: Status) -> None:
        day.status, day.now, day.time = status, clock.monotonic(), clock.time()

    client = VirtualClient(VirtualTransport(engine, api, KEY))
    Daemon(
        settings(), client, VirtualLedger(), clock, publish=publish, take_changes=changes.take
    ).run()
    return day


class _PlannedChanges:
    """The changes that the user makes during the day."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._plan: list[tuple[float, Change]] = [
            (BEGIN + 18 * HOUR, SetLimit(2)),
            (BEGIN + 19 * HOUR, SetQueue("videoConversion", Override.HELD)),
        ]

    def take(self) -> list[Change]:
        """Return the changes that are due, and remove them from the plan."""
        due = [change for when, change in self._plan if when <= self._engine.now]
        self._plan = [plan for plan in self._plan if plan[0] > self._engine.now]
        return due


def _schedule_events(engine: Engine) -> None:
    """Schedule uploads, a reindex, a pause by a user and failures."""

    def upload(when: float, photos: int, videos: int) -> None:
        engine.at(BEGIN + when, partial(_upload, engine, photos, videos))

    upload(1.2 * HOUR, 9_000, 260)
    upload(5.0 * HOUR, 3_000, 12)
    upload(9.0 * HOUR, 5_000, 40)
    upload(14.5 * HOUR, 6_000, 120)
    upload(22.6 * HOUR, 14_000, 180)
    engine.at(BEGIN + 12 * HOUR, lambda: engine.reindex("library", 20_000))
    engine.at(BEGIN + 12 * HOUR + 60, lambda: engine.pause("library", by="user"))
    engine.at(BEGIN + 16 * HOUR, lambda: engine.fail("videoConversion", 3))


def _upload(engine: Engine, photos: int, videos: int) -> None:
    engine.upload(photos=photos, videos=videos)
