"""One random world: a server with users, restarts and faults, a daemon that crashes, and a judge.

The seed determines everything, so a world that failed can be simulated again.
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
from simulator.worlds.judge import DAEMON, USER, Judge
from simulator.worlds.virtual_daemon import EPOCH, VirtualLedger, settings

T = TypeVar("T")

EVENT_SECONDS: Final = 1800.0
"""Default seconds of virtual time with random events."""
DRAIN_TIMEOUT: Final = 6 * 3600.0
"""Seconds after the events within which all queues must be drained."""


MACHINE_LEARNING: Final = frozenset({"smartSearch", "faceDetection", "ocr"})
CPU_HEAVY: Final = frozenset({"thumbnailGeneration", "videoConversion", "smartSearch"})


class Crash(BaseException):
    """The daemon is killed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a world.

    Attributes:
        seed: seed of the world.
        violations: what the daemon did although it must not.
        seconds: virtual time until all queues were drained.
        polls: number of polls.
        resumes: number of queues that the daemon resumed.
        crashes: how often the daemon was killed.
    """

    seed: int
    violations: tuple[str, ...]
    seconds: float
    polls: int
    resumes: int
    crashes: int


class World:
    """A simulated server and a real daemon.

    Random events happen for ``event_seconds``; then the queues get the time to drain.
    """

    def __init__(self, seed: int, event_seconds: float = EVENT_SECONDS) -> None:
        self.random = Random(seed)
        self.seed = seed
        self.event_seconds = event_seconds
        self.crashes = 0
        self.io_until_crash: int | None = None
        self.is_killed = False
        self.is_releasing = False
        self.in_flight: str | None = None
        self.stop_at: float | None = None
        self.daemon: Daemon | None = None
        self.changes: list[Change] = []
        version: Literal[5, 6] = self.random.choice((5, 6))
        self.engine = Engine(bullmq=version, seed=seed)
        self.ledger = VirtualLedger()
        self.settings = settings(
            max_concurrent_jobs=self.random.choice((1, 1, 2, 2, 3, 4)),
            poll_interval=self.random.choice((5.0, 10.0, 10.0, 30.0)),
            unrestricted_below=self.random.choice((0, 0, 0, 0, 50)),
            schedule=self._random_schedule(),
            exclusive=self.random.choice(
                ((), (), (MACHINE_LEARNING,), (MACHINE_LEARNING, CPU_HEAVY))
            ),
            yield_after=self.random.choice((None, None, 5.0, 60.0)),
            max_wait=self.random.choice((None, None, 60.0, 600.0)),
            pause_above_load=self.random.choice((None, None, None, 1.0)),
            scan=Scan(self._random_window()) if self.random.random() < 0.2 else None,
        )
        self.transport = self._transport()
        self.judge = Judge(
            self.engine,
            self._current_limit,
            is_limited=self._is_limited,
            paused_by_daemon=self._paused_by_daemon,
            in_flight=lambda: self.in_flight,
            may_not_start=self._may_not_start,
            rivals=self._rivals,
        )
        self._schedule_events()

    def run(self) -> Outcome:
        """Simulate the world and return the outcome."""
        self.engine.advance(self.random.uniform(0, 5))
        while not self._is_over():
            self._run_daemon()
            self.engine.advance(self.engine.now + self.random.uniform(0, 20))
        # However the last run ended: once Immich works again, a start, a round and a stop leave
        # no queue paused by the daemon.
        self.engine.advance(self.engine.now + 120)
        self._run_daemon()
        self.judge.check_end()
        return Outcome(
            seed=self.seed,
            violations=tuple(self.judge.violations),
            seconds=self.engine.now,
            polls=self.transport.requests["GET"],
            resumes=self.judge.resumes,
            crashes=self.crashes,
        )

    # The daemon, from its start to its stop or its crash.

    def _run_daemon(self) -> None:
        has_events = self.engine.now < self.event_seconds
        self.io_until_crash = self.random.randint(1, 300) if has_events else None
        self.stop_at = self.engine.now + self.random.expovariate(1 / 900) if has_events else None
        self.daemon = Daemon(
            self.settings,
            CrashingClient(self),
            CrashingLedger(self),
            CrashingClock(self),
            take_changes=self._take_changes,
            measure_load=self._measure_load,
        )
        try:
            self.daemon.run()
        except Crash:
            self.crashes += 1
        self.is_killed = self.is_releasing = False
        self.in_flight = None
        self.daemon = None

    def should_stop(self) -> bool:
        """Return whether the daemon must stop now."""
        if self.stop_at is not None and self.engine.now >= self.stop_at:
            return True
        return self._is_over()

    def perform_io(self, operation: Callable[[], T]) -> T:
        """Perform one I/O operation of the daemon, or kill the daemon just before or after it."""
        if self.is_killed:
            raise Crash  # A killed process runs no code, not even clean-up.
        if self.io_until_crash is not None:
            self.io_until_crash -= 1
            if self.io_until_crash == 0:
                self.is_killed = True
                if self.random.random() < 0.5:
                    self._perform_and_crash(operation)
                raise Crash
        return operation()

    def _perform_and_crash(self, operation: Callable[[], object]) -> None:
        try:
            operation()
        except Exception as error:
            raise Crash from error

    def _is_over(self) -> bool:
        now = self.engine.now
        if now < self.event_seconds:
            return False
        if now > self.event_seconds + DRAIN_TIMEOUT:
            return True
        return self.judge.is_done()

    def _current_limit(self) -> int:
        controls = self.daemon.state.scheduler.controls if self.daemon else Controls()
        return controls.limit or self.settings.max_concurrent_jobs

    def _may_not_start(self, name: str) -> bool:
        """Return whether the controls or the schedule forbid resuming a queue."""
        controls = self.daemon.state.scheduler.controls if self.daemon else Controls()
        if self.is_releasing or controls.mode is Mode.OPEN:
            return False
        if controls.mode is Mode.HELD or name in controls.held_by_user:
            return True
        # The daemon may have decided some commands ago, before a window closed.
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

    def _random_window(self) -> Window:
        """Return a window that is open all day except for some minutes while events happen."""
        closes = self._local(60.0 * self.random.randint(1, 25))
        opens = closes + timedelta(minutes=self.random.randint(1, 20))
        names = self.random.sample(sorted(REINDEX), 3)
        queues = self.random.choice((None, frozenset(names)))
        return Window(queues, _minute(opens), _minute(closes))

    def _random_schedule(self) -> tuple[Window, ...]:
        return self.random.choice(((), (), (self._random_window(),)))

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

    def _paused_by_daemon(self) -> frozenset[str]:
        kept = self.ledger.load()
        if kept is None or not kept.scheduler.taken_over:
            # The daemon cannot know who paused a queue before its first poll.
            return frozenset(self.engine.queues)
        state = (self.daemon.state if self.daemon else DaemonState()).scheduler
        kept_paused = kept.scheduler.paused_by_daemon
        return kept_paused | state.paused_by_daemon | state.unconfirmed_pauses.keys()

    # The random events.

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

    def _schedule_events(self) -> None:
        events = (
            (1 / 40, self._upload),
            (1 / 150, self._reindex),
            (1 / 90, self._add_unusual_jobs),
            (1 / 200, self._pause_or_resume_as_user),
            (1 / 500, self._restart_immich),
            (1 / 150, self._start_faults),
            (1 / 200, self._change_as_user),
        )
        for rate, action in events:
            when = self.random.expovariate(rate)
            while when < self.event_seconds:
                self.engine.at(when, action)
                when += self.random.expovariate(rate)
        if self.random.random() < 0.3:
            # Users switch from tools that leave all queues paused.
            for name in self.engine.queues:
                self.engine.pause(name, by="shell daemon")
            for name in PROTECTED:
                self.engine.resume(name, by=USER)
        if self.random.random() < 0.5:
            self.engine.upload(photos=self.random.randint(1, 60), videos=1)

    def _upload(self) -> None:
        self.engine.upload(
            photos=self.random.choice((1, 1, 2, 5, 20, 40)), videos=self.random.choice((0, 0, 1))
        )

    def _reindex(self) -> None:
        self.engine.reindex(self.random.choice(tuple(REINDEX)), self.random.randint(5, 200))

    def _add_unusual_jobs(self) -> None:
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

    def _pause_or_resume_as_user(self) -> None:
        name = self.random.choice([name for name in self.engine.queues if name not in PROTECTED])
        if self.engine.queues[name].is_paused:
            self.engine.resume(name, by=USER)
        else:
            self.engine.pause(name, by=USER)
            if self.random.random() < 0.8:
                later = self.engine.now + self.random.expovariate(1 / 120)
                self.engine.at(later, lambda: self.engine.resume(name, by=USER))

    def _change_as_user(self) -> None:
        """Make a change as a user on the page; most changes are undone later."""
        name = self.random.choice([name for name in self.engine.queues if name not in PROTECTED])
        change = self.random.choice(
            (
                SetMode(self.random.choice(tuple(Mode))),
                SetLimit(self.random.choice((None, 1, 2, 3, 4))),
                SetQueue(name, self.random.choice(tuple(Override))),
                SetQueue(name, Override.NEXT),
            )
        )
        self.changes.append(change)
        if self.random.random() < 0.8:
            later = self.engine.now + self.random.expovariate(1 / 200)
            self.engine.at(later, self._undo_as_user)

    def _undo_as_user(self) -> None:
        undo = self.daemon.state.undo if self.daemon else None
        if undo is not None:
            self.changes.append(undo)

    def _take_changes(self) -> list[Change]:
        taken, self.changes = self.changes, []
        if self.daemon is not None and self.engine.now >= self.event_seconds:
            controls = self.daemon.state.scheduler.controls
            # At the end all queues must drain without further changes by users.
            taken = [SetQueue(name, Override.AUTOMATIC) for name in sorted(controls.held_by_user)]
            taken += [SetMode(Mode.AUTOMATIC)] if controls.mode is not Mode.AUTOMATIC else []
        for change in taken:
            if isinstance(change, SetQueue):
                self.judge.forgive_resume(change.queue)
        return taken

    def _measure_load(self) -> float:
        """Return a load average per core that is too high from time to time."""
        return 2.0 if self.engine.now < self.event_seconds and self.engine.now % 300 > 240 else 0.1

    def _restart_immich(self) -> None:
        if self.engine.is_up:
            self.engine.restart(self.random.uniform(7, 10))

    def _start_faults(self) -> None:
        self.transport.faults = RandomFaults(
            self.random.randrange(1 << 30), self.random.choice((0.05, 0.3, 1.0)), tuple(Fault)
        )
        self.engine.at(self.engine.now + self.random.uniform(1, 60), self._stop_faults)

    def _stop_faults(self) -> None:
        self.transport.faults = None


def _minute(moment: datetime) -> time:
    return moment.time().replace(second=0, microsecond=0)
