"""Who runs the queues: the plain algorithm, this daemon, the ideal, or Immich alone."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import exp, log
from random import Random
from typing import Final, Unpack

from benchmark.ideal import Ideal
from benchmark.outcome import Outcome, Run
from benchmark.plain import EVERY, Plain
from benchmark.record import MANAGED, Record, Span
from benchmark.workloads import Arrival, Workload
from immich_job_daemon.base.clock import StopRequested
from immich_job_daemon.daemon.loop import Daemon
from immich_job_daemon.model.settings import OnExit
from simulator.immich import KEY
from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine
from simulator.immich.virtual_time import VirtualTransport
from simulator.worlds.virtual_daemon import (
    SettingOverrides,
    VirtualClient,
    VirtualDaemonClock,
    VirtualLedger,
    settings,
)

# Median and 95th percentile of a look's response time in seconds (seen on Immich 3.1.0).
_IDLE: Final = (0.006, 0.010)
_BUSY: Final = (0.018, 0.033)

_AT_95_PERCENT: Final = 1.645
"""Where the normal distribution has 95 % below it."""


class Scenario:
    """One run of a workload: a fresh server, what comes when, and a record of it all.

    Args:
        arrivals: what comes when, in the order of their times.
        limit: how many queues may run at once.
        seed: of the server and of its response times.
        quiet: seconds for which it lasts at least.
    """

    def __init__(
        self, arrivals: tuple[Arrival, ...], limit: int, *, seed: int, quiet: float = 0.0
    ) -> None:
        self.engine = Engine(seed=seed)
        self.limit = limit
        self.record = Record(self.engine, limit)
        self.alarm = VirtualDaemonClock(self.engine, self.is_over)
        self.on_arrival: list[Callable[[], None]] = [self.record.notice]
        self._arrivals = arrivals
        self._left = len(arrivals)
        self._quiet = quiet
        self._random = Random(seed)
        self._transport: VirtualTransport | None = None
        self._before = 0
        for arrival in arrivals:
            self.engine.at(arrival.time, partial(self._arrive, arrival))

    def server(self, api: str) -> VirtualClient:
        """Return a client of the server, over the API "queues" or "jobs"."""
        serves = frozenset({api})
        keys = {KEY: Key()}
        self._transport = VirtualTransport(
            self.engine, Api(self.engine, keys=keys, serves=serves), KEY, latency=self.latency
        )
        return VirtualClient(self._transport)

    def latency(self) -> float:
        """Return the seconds that a request takes now: longer while jobs run."""
        is_busy = any(queue.running for queue in self.engine.queues.values())
        median, most = _BUSY if is_busy else _IDLE
        return median * exp(self._random.gauss(0, log(most / median) / _AT_95_PERCENT))

    def is_over(self) -> bool:
        """Return whether everything came and everything is done."""
        return not self._left and self.engine.now >= self._quiet and self.engine.is_idle

    def requests(self) -> int:
        """Return how many requests were sent up to now."""
        return self._transport.requests.total() if self._transport else 0

    def seen(self) -> Run:
        """Return what was seen, when it is over."""
        start = self._arrivals[0].time if self._arrivals else 0.0
        assets = self.engine.assets
        return Run(
            thumbnails=[a.thumbnail_done - a.uploaded for a in assets if a.thumbnail_done],
            all_done=[a.all_done - a.uploaded for a in assets if a.all_done],
            total=max(0.0, self.record.last_end - start),
            stalled=self.record.stalled,
            over=self.record.over,
            handovers=self.record.handovers,
            requests=self.requests() - self._before,
            lasted=self.engine.now - start,
            spans=[Span(s.queue, s.start - start, s.end - start) for s in self.record.spans],
        )

    def _arrive(self, arrival: Arrival) -> None:
        if arrival is self._arrivals[0]:
            self._before = self.requests()
        self._left -= 1
        arrival.arrive(self.engine)
        for notice in self.on_arrival:
            notice()


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to run the queues: ``run`` does it until the scene is over."""

    key: str
    title: str
    run: Callable[[Scenario], None]
    has_limit: bool = True


def measure(contender: Contender, workload: Workload, limit: int) -> Outcome:
    """Return what the contender makes of all runs of the workload."""
    runs = []
    for seed, arrivals in enumerate(workload.runs):
        most = limit if contender.has_limit else len(MANAGED)
        scenario = Scenario(arrivals, most, seed=seed, quiet=workload.quiet)
        contender.run(scenario)
        runs.append(scenario.seen())
    return Outcome(tuple(runs))


def _plain(scenario: Scenario, every: float = EVERY) -> None:
    with suppress(StopRequested):
        # The shell daemon speaks the jobs API, which lets it pause every queue.
        Plain(scenario.server("jobs"), scenario.alarm, scenario.limit, every=every).run()


def run_daemon(scenario: Scenario, **changes: Unpack[SettingOverrides]) -> None:
    """Let this daemon run the queues until the scene is over, with these settings changed."""
    # The end is not measured.
    limited = settings(max_concurrent_jobs=scenario.limit, on_exit=OnExit.KEEP)
    chosen = replace(limited, **changes)
    Daemon(chosen, scenario.server("queues"), VirtualLedger(), scenario.alarm).run()


def _ideal(scenario: Scenario) -> None:
    scenario.on_arrival.append(Ideal(scenario.engine, scenario.limit).notice)
    _alone(scenario)


def _alone(scenario: Scenario) -> None:
    while not scenario.is_over() and (when := scenario.engine.next_event()) is not None:
        scenario.engine.advance(when)


PLAIN: Final = Contender("plain", "Shell daemon, every 10 s", _plain)
PLAIN_EACH_SECOND: Final = Contender(
    "plain-1", "Shell daemon, every second", partial(_plain, every=1.0)
)
DAEMON: Final = Contender("daemon", "This daemon", run_daemon)
UNRESTRICTED: Final = Contender(
    "unrestricted",
    "This daemon, UNRESTRICTED_BELOW=50",
    partial(run_daemon, unrestricted_below=50),
)
IDEAL: Final = Contender("ideal", "Ideal", _ideal)
ALONE: Final = Contender("alone", "Immich alone, no limit", _alone, has_limit=False)
