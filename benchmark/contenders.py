"""The contenders: the ways to run Immich's queues that the benchmark compares."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Unpack

from benchmark.scenario import MANAGED, Outcome, Scenario, Workload
from immich_job_daemon.base.clock import Clock, StopRequested
from immich_job_daemon.daemon.loop import Daemon
from immich_job_daemon.immich.client import ImmichClient
from immich_job_daemon.model.queue import PRIORITY, by_priority
from immich_job_daemon.model.settings import OnExit
from simulator.immich.engine import Engine, Event, EventKind
from simulator.worlds.virtual_daemon import SettingOverrides, VirtualLedger, settings

SHELL_INTERVAL: Final = 10.0
"""Default seconds that the shell daemon sleeps between two rounds."""

SHELL_ROUND: Final = 1.2
"""Seconds that a round of the shell daemon takes, because it starts hundreds of processes.

Derived from measurements on Immich 3.1.0: one photo takes seven rounds and part of another one,
which is 83 to 90 s with the default interval of 10 s, and 17.5 to 17.9 s with one of 1 s.
"""

ORDER: Final = (*PRIORITY, *(name for name in MANAGED if name not in PRIORITY))
"""The queues by priority: those in the default priority, then the others in Immich's order."""


class ShellDaemon:
    """The algorithm of the shell daemon that people use today.

    Each round polls all queues. If any of them have active jobs, the first N of these by priority
    continue; otherwise the first N queues with a backlog are resumed. All others are paused. A
    command is sent only if it differs from the last command of this daemon for the queue.

    ``interval`` is in seconds from the end of a round to the next.
    """

    def __init__(
        self,
        server: ImmichClient,
        clock: Clock,
        limit: int,
        *,
        interval: float = SHELL_INTERVAL,
    ) -> None:
        self._server = server
        self._clock = clock
        self._limit = limit
        self._interval = interval
        self._is_open: dict[str, bool] = {}

    def run(self) -> None:
        """Run rounds until the clock raises StopRequested."""
        while True:
            self.round()
            self._clock.wait(self._interval)

    def round(self) -> None:
        """Poll, choose the queues, and send the commands."""
        queues = by_priority(self._server.fetch_queues(), PRIORITY)
        self._clock.wait(SHELL_ROUND)
        chosen = [queue.name for queue in queues if queue.is_busy]
        chosen = chosen or [queue.name for queue in queues if queue.backlog]
        chosen = chosen[: self._limit]
        for name in chosen:
            self._set(name, is_open=True)
        for queue in queues:
            if queue.name not in chosen:
                self._set(queue.name, is_open=False)

    def _set(self, name: str, *, is_open: bool) -> None:
        if self._is_open.get(name) is is_open:
            return
        self._is_open[name] = is_open
        if is_open:
            self._server.resume(name)
        else:
            self._server.pause(name)


class Ideal:
    """The daemon's priorities and limit with perfect knowledge and without any delay.

    It reads the state of the engine directly instead of polling. A queue keeps its slot until it
    is drained. A free slot goes at once to the first queue by priority that has a backlog.
    """

    def __init__(self, engine: Engine, limit: int) -> None:
        self._engine = engine
        self._limit = limit
        self._queues = {name: engine.queues[name] for name in ORDER}
        self._slots: set[str] = set()
        for name in self._queues:
            engine.pause(name)
        engine.observers.append(self._observe)

    def jobs_added(self) -> None:
        """Take note of jobs that were added from outside at the current time."""
        self._assign_slots()

    def _observe(self, event: Event) -> None:
        # The jobs that follow a job were added just before its end.
        if event.kind is EventKind.COMPLETED:
            queue = self._engine.queues[event.queue]
            if len(self._slots) < self._limit or not (queue.active or queue.ready):
                self._assign_slots()

    def _assign_slots(self) -> None:
        for name in tuple(self._slots):
            queue = self._queues[name]
            if not (queue.active or queue.ready):
                self._slots.remove(name)
                self._engine.pause(name)
        for name, queue in self._queues.items():
            if len(self._slots) >= self._limit:
                return
            if queue.ready and name not in self._slots:
                self._slots.add(name)
                self._engine.resume(name)


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to run the queues. ``run`` does so until the scenario is over."""

    key: str
    title: str
    run: Callable[[Scenario], None]
    has_limit: bool = True


def measure(contender: Contender, workload: Workload, limit: int) -> Outcome:
    """Measure all runs of a workload under a contender."""
    runs = []
    for seed, arrivals in enumerate(workload.runs):
        at_once = limit if contender.has_limit else len(MANAGED)
        scenario = Scenario(arrivals, at_once, seed=seed, quiet=workload.quiet)
        contender.run(scenario)
        runs.append(scenario.result())
    return Outcome(tuple(runs))


def run_daemon(scenario: Scenario, **overrides: Unpack[SettingOverrides]) -> None:
    """Let this daemon run the queues until the scenario is over."""
    # The queues stay paused at the end, because the release is not part of the measurement.
    limited = settings(max_concurrent_jobs=scenario.limit, on_exit=OnExit.KEEP)
    chosen = replace(limited, **overrides)
    Daemon(chosen, scenario.client("queues"), VirtualLedger(), scenario.clock).run()


def _run_shell_daemon(scenario: Scenario, interval: float = SHELL_INTERVAL) -> None:
    # The shell daemon uses the jobs API, with which it can pause every queue.
    client = scenario.client("jobs")
    with suppress(StopRequested):
        ShellDaemon(client, scenario.clock, scenario.limit, interval=interval).run()


def _run_ideal(scenario: Scenario) -> None:
    scenario.on_arrival.append(Ideal(scenario.engine, scenario.limit).jobs_added)
    _run_alone(scenario)


def _run_alone(scenario: Scenario) -> None:
    while not scenario.is_over() and (when := scenario.engine.next_event()) is not None:
        scenario.engine.advance(when)


SHELL: Final = Contender("shell", "Shell daemon, every 10 s", _run_shell_daemon)
SHELL_EACH_SECOND: Final = Contender(
    "shell-1", "Shell daemon, every second", partial(_run_shell_daemon, interval=1.0)
)
DAEMON: Final = Contender("daemon", "This daemon", run_daemon)
UNRESTRICTED: Final = Contender(
    "unrestricted",
    "This daemon, UNRESTRICTED_BELOW=50",
    partial(run_daemon, unrestricted_below=50),
)
IDEAL: Final = Contender("ideal", "Ideal", _run_ideal)
ALONE: Final = Contender("alone", "Immich alone, no limit", _run_alone, has_limit=False)
