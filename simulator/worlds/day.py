"""A day of a busy household: the real daemon in virtual time, and the picture it ends with.

For whoever has to show or measure what a page looks like in everyday use.
"""

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
"""When the daemon is started, on the engine's clock; the day ends 23.3 hours later."""
END: Final = BEGIN + 23.3 * HOUR


class Day:
    """The picture at the end of it, and the time then: of the daemon's clock, and since 1970."""

    def __init__(self) -> None:
        self.status = Status(1)
        self.now = 0.0
        self.time = 0.0


def live() -> Day:
    """Live through the day."""
    engine, api = simulated_immich(seed=7)
    engine.advance(BEGIN)
    _happen(engine)
    found, wishes = Day(), _Wishes(engine)
    alarm = VirtualDaemonClock(engine, lambda: engine.now >= END)

    def publish(status: Status) -> None:
        found.status, found.now, found.time = status, alarm.monotonic(), alarm.time()

    server = VirtualClient(VirtualTransport(engine, api, KEY))
    Daemon(
        settings(), server, VirtualLedger(), alarm, publish=publish, take_changes=wishes.take
    ).run()
    return found


class _Wishes:
    """What a person asks for, once the time has come."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._plan: list[tuple[float, Change]] = [
            (BEGIN + 18 * HOUR, SetLimit(2)),
            (BEGIN + 19 * HOUR, SetQueue("videoConversion", Override.HELD)),
        ]

    def take(self) -> list[Change]:
        """Return what is due."""
        due = [change for when, change in self._plan if when <= self._engine.now]
        self._plan = [plan for plan in self._plan if plan[0] > self._engine.now]
        return due


def _happen(engine: Engine) -> None:
    """Let people upload, and pause something."""

    def upload(when: float, photos: int, videos: int) -> None:
        engine.at(BEGIN + when, partial(_upload, engine, photos, videos))

    upload(1.2 * HOUR, 9_000, 260)
    upload(5.0 * HOUR, 3_000, 12)
    upload(9.0 * HOUR, 5_000, 40)
    upload(14.5 * HOUR, 6_000, 120)
    upload(22.6 * HOUR, 14_000, 180)
    engine.at(BEGIN + 12 * HOUR, lambda: engine.reindex("library", 20_000))
    engine.at(BEGIN + 12 * HOUR + 60, lambda: engine.pause("library", by="person"))
    engine.at(BEGIN + 16 * HOUR, lambda: engine.fail("videoConversion", 3))


def _upload(engine: Engine, photos: int, videos: int) -> None:
    engine.upload(photos=photos, videos=videos)
