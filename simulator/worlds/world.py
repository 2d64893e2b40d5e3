"""One random world: a server with its users, restarts and faults, a daemon that crashes, a judge.

Everything follows from the seed, so a world that failed can be lived through again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import Final, Literal, TypeVar

from immich_job_daemon.daemon.loop import Daemon
from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.model.controls import (
    Change,
    Controls,
    Mode,
    Override,
    SetLimit,
    SetMode,
    SetQueue,
)
from immich_job_daemon.model.queue import PROTECTED
from immich_job_daemon.model.settings import Scan
from immich_job_daemon.model.windows import Window, closed_until
from simulator.immich import KEY
from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine
from simulator.immich.faults import Fault, RandomFaults
from simulator.immich.pipeline import REINDEX, lasting
from simulator.immich.virtual_time import VirtualTransport
from simulator.worlds.crashing import CrashingClient, CrashingClock, CrashingLedger
from simulator.worlds.judge import DAEMON, PERSON, Judge
from simulator.worlds.virtual_daemon import EPOCH, VirtualLedger, settings

T = TypeVar("T")

DENSE: Final = 1800.0
"""Seconds of a world in which things happen, by default."""
LONGEST_END: Final = 6 * 3600.0
"""Seconds after that in which everything must be drained."""


LEARNING: Final = frozenset({"smartSearch", "faceDetection", "ocr"})
TWO: Final = frozenset({"thumbnailGeneration", "videoConversion", "smartSearch"})


class Crash(BaseException):
    """The daemon is killed, here and now."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a world.

    Attributes:
        seed: of the world.
        complaints: what the daemon must never do, and did.
        seconds: of virtual time until everything was drained.
        looks, resumes, crashes: how often.
    """

    seed: int
    complaints: tuple[str, ...]
    seconds: float
    looks: int
    resumes: int
    crashes: int


class World:
    """A server and a daemon that live through ``dense`` seconds of events and a quiet end."""

    def __init__(self, seed: int, dense: float = DENSE) -> None:
        self.random = Random(seed)
        self.seed = seed
        self.dense = dense
        self.crashes = 0
        self.io_until_crash: int | None = None
        self.is_dead = False
        self.is_releasing = False
        self.in_flight: str | None = None
        self.stop_at: float | None = None
        self.daemon: Daemon | None = None
        self.take_changes: list[Change] = []
        version: Literal[5, 6] = self.random.choice((5, 6))
        self.engine = Engine(bullmq=version, seed=seed)
        self.ledger = VirtualLedger()
        self.settings = settings(
            max_concurrent_jobs=self.random.choice((1, 1, 2, 2, 3, 4)),
            poll_interval=self.random.choice((5.0, 10.0, 10.0, 30.0)),
            unrestricted_below=self.random.choice((0, 0, 0, 0, 50)),
            schedule=self._hours(),
            exclusive=self.random.choice(((), (), (LEARNING,), (LEARNING, TWO))),
            yield_after=self.random.choice((None, None, 5.0, 60.0)),
            max_wait=self.random.choice((None, None, 60.0, 600.0)),
            pause_above_load=self.random.choice((None, None, None, 1.0)),
            scan=Scan(self._hole()) if self.random.random() < 0.2 else None,
        )
        self.transport = self._transport()
        self.judge = Judge(
            self.engine,
            self._limit,
            is_limited=self._is_limited,
            ours=self._ours,
            in_flight=lambda: self.in_flight,
            is_barred=self._is_barred,
            rivals=self._rivals,
        )
        self._plan()

    def live(self) -> Outcome:
        """Live through the world and return what became of it."""
        self.engine.advance(self.random.uniform(0, 5))
        while not self._is_over():
            self._run_daemon()
            self.engine.advance(self.engine.now + self.random.uniform(0, 20))
        # Whatever its last end was: a start, a round and a stop leave nothing paused behind,
        # once Immich is well again.
        self.engine.advance(self.engine.now + 120)
        self._run_daemon()
        self.judge.finish()
        return Outcome(
            seed=self.seed,
            complaints=tuple(self.judge.complaints),
            seconds=self.engine.now,
            looks=self.transport.requests["GET"],
            resumes=self.judge.resumes,
            crashes=self.crashes,
        )

    # The daemon, from its start to its end or its crash.

    def _run_daemon(self) -> None:
        is_dense = self.engine.now < self.dense
        self.io_until_crash = self.random.randint(1, 300) if is_dense else None
        self.stop_at = self.engine.now + self.random.expovariate(1 / 900) if is_dense else None
        self.daemon = Daemon(
            self.settings,
            CrashingClient(self),
            CrashingLedger(self),
            CrashingClock(self),
            take_changes=self._take_wishes,
            measure_load=self._load,
        )
        try:
            self.daemon.run()
        except Crash:
            self.crashes += 1
        self.is_dead = self.is_releasing = False
        self.in_flight = None
        self.daemon = None

    def must_stop(self) -> bool:
        """Return whether somebody stops the daemon now."""
        if self.stop_at is not None and self.engine.now >= self.stop_at:
            return True
        return self._is_over()

    def io(self, act: Callable[[], T]) -> T:
        """Let the daemon do one thing with the outside, or be killed just before or after it."""
        if self.is_dead:
            raise Crash  # Nothing runs in a process that was killed, no clean-up either.
        if self.io_until_crash is not None:
            self.io_until_crash -= 1
            if self.io_until_crash == 0:
                self.is_dead = True
                if self.random.random() < 0.5:
                    self._kill_after(act)
                raise Crash
        return act()

    def _kill_after(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:
            raise Crash from error

    def _is_over(self) -> bool:
        now = self.engine.now
        if now < self.dense:
            return False
        if now > self.dense + LONGEST_END:
            return True
        return self.judge.is_done()

    def _limit(self) -> int:
        controls = self.daemon.state.scheduler.controls if self.daemon else Controls()
        return controls.limit or self.settings.max_concurrent_jobs

    def _is_barred(self, name: str) -> bool:
        """Whether nothing may be started in a queue, by a person's wish or by the hour."""
        controls = self.daemon.state.scheduler.controls if self.daemon else Controls()
        if self.is_releasing or controls.mode is Mode.OPEN:
            return False
        if controls.mode is Mode.HELD or name in controls.held_by_user:
            return True
        # Whoever decided some commands ago may not have known that a window has closed.
        times = [self._local(self.engine.now - ago) for ago in (0.0, 3.0)]
        return all(closed_until(self.settings.schedule, name, time) for time in times)

    def _rivals(self, name: str) -> set[str]:
        controls = self.daemon.state.scheduler.controls if self.daemon else Controls()
        if self.is_releasing or controls.mode is Mode.OPEN:
            return set()
        groups = [group for group in self.settings.exclusive if name in group]
        return {rival for group in groups for rival in group} - {name}

    def _local(self, now: float) -> datetime:
        return datetime.fromtimestamp(EPOCH + now, UTC)

    def _hole(self) -> Window:
        """Return a window that is open all day but for some minutes of the dense time."""
        closes = self._local(60.0 * self.random.randint(1, 25))
        opens = closes + timedelta(minutes=self.random.randint(1, 20))
        names = self.random.sample(sorted(REINDEX), 3)
        queues = self.random.choice((None, frozenset(names)))
        return Window(queues, _minute(opens), _minute(closes))

    def _hours(self) -> tuple[Window, ...]:
        return self.random.choice(((), (), (self._hole(),)))

    def _is_limited(self) -> bool:
        if self.daemon is not None and self.daemon.state.scheduler.controls.mode is Mode.OPEN:
            return False
        if self.settings.unrestricted_below == 0:
            return not self.is_releasing
        return (
            not self.is_releasing
            and self.daemon is not None
            and self.daemon.state.scheduler.is_limited
        )

    def _ours(self) -> frozenset[str]:
        kept = self.ledger.load()
        if kept is None or not kept.scheduler.taken_over:
            # Nothing is known of what was before the first look.
            return frozenset(self.engine.queues)
        state = (self.daemon.state if self.daemon else DaemonState()).scheduler
        kept_paused = kept.scheduler.paused_by_daemon
        return kept_paused | state.paused_by_daemon | state.unconfirmed_pauses.keys()

    # What happens.

    def _transport(self) -> VirtualTransport:
        serves = self.random.choice((("queues", "jobs"), ("queues",), ("jobs",)))
        api = Api(
            self.engine,
            keys={KEY: Key(name=DAEMON)},
            serves=frozenset(serves),
        )
        latency = self.random.choice((0.006, 0.02, 0.05))
        return VirtualTransport(
            self.engine,
            api,
            KEY,
            latency=lambda: latency * self.random.uniform(0.7, 2.0),
        )

    def _plan(self) -> None:
        chances = (
            (1 / 40, self._upload),
            (1 / 150, self._reindex),
            (1 / 90, self._odd_jobs),
            (1 / 200, self._person),
            (1 / 500, self._restart),
            (1 / 150, self._bad_line),
            (1 / 200, self._wish),
        )
        for rate, action in chances:
            when = self.random.expovariate(rate)
            while when < self.dense:
                self.engine.at(when, action)
                when += self.random.expovariate(rate)
        if self.random.random() < 0.3:
            # People come from tools that leave everything paused.
            for name in self.engine.queues:
                self.engine.pause(name, by="shell daemon")
            for name in PROTECTED:
                self.engine.resume(name, by=PERSON)
        if self.random.random() < 0.5:
            self.engine.upload(photos=self.random.randint(1, 60), videos=1)

    def _upload(self) -> None:
        self.engine.upload(
            photos=self.random.choice((1, 1, 2, 5, 20, 40)), videos=self.random.choice((0, 0, 1))
        )

    def _reindex(self) -> None:
        self.engine.reindex(self.random.choice(tuple(REINDEX)), self.random.randint(5, 200))

    def _odd_jobs(self) -> None:
        queue = self.random.choice(tuple(REINDEX))
        kind = lasting(self.random.choice((0.002, 0.5, 3.0, 20.0)))
        how = self.random.randrange(3)
        self.engine.add(
            queue,
            kind,
            count=self.random.randint(1, 5),
            delay=self.random.uniform(1, 120) if how == 0 else 0.0,
            priority=self.random.randint(1, 3) if how == 1 else 0,
        )

    def _person(self) -> None:
        name = self.random.choice([name for name in self.engine.queues if name not in PROTECTED])
        if self.engine.queues[name].is_paused:
            self.engine.resume(name, by=PERSON)
        else:
            self.engine.pause(name, by=PERSON)
            if self.random.random() < 0.8:
                later = self.engine.now + self.random.expovariate(1 / 120)
                self.engine.at(later, lambda: self.engine.resume(name, by=PERSON))

    def _wish(self) -> None:
        """Let a person use the page; most of what is asked for there is taken back later."""
        name = self.random.choice([name for name in self.engine.queues if name not in PROTECTED])
        change = self.random.choice(
            (
                SetMode(self.random.choice(tuple(Mode))),
                SetLimit(self.random.choice((None, 1, 2, 3, 4))),
                SetQueue(name, self.random.choice(tuple(Override))),
                SetQueue(name, Override.NEXT),
            )
        )
        self.take_changes.append(change)
        if self.random.random() < 0.8:
            later = self.engine.now + self.random.expovariate(1 / 200)
            self.engine.at(later, self._take_back)

    def _take_back(self) -> None:
        undo = self.daemon.state.undo if self.daemon else None
        if undo is not None:
            self.take_changes.append(undo)

    def _take_wishes(self) -> list[Change]:
        taken, self.take_changes = self.take_changes, []
        if self.daemon is not None and self.engine.now >= self.dense:
            controls = self.daemon.state.scheduler.controls
            # In the quiet end everything must come to its end by itself.
            taken = [SetQueue(name, Override.AUTOMATIC) for name in sorted(controls.held_by_user)]
            taken += [SetMode(Mode.AUTOMATIC)] if controls.mode is not Mode.AUTOMATIC else []
        for change in taken:
            if isinstance(change, SetQueue):
                self.judge.excuse(change.queue)
        return taken

    def _load(self) -> float:
        """Return a load that is too much now and then."""
        return 2.0 if self.engine.now < self.dense and self.engine.now % 300 > 240 else 0.1

    def _restart(self) -> None:
        if self.engine.is_up:
            self.engine.restart(self.random.uniform(7, 10))

    def _bad_line(self) -> None:
        self.transport.faults = RandomFaults(
            self.random.randrange(1 << 30), self.random.choice((0.05, 0.3, 1.0)), tuple(Fault)
        )
        self.engine.at(self.engine.now + self.random.uniform(1, 60), self._good_line)

    def _good_line(self) -> None:
        self.transport.faults = None


def _minute(moment: datetime) -> time:
    return moment.time().replace(second=0, microsecond=0)
