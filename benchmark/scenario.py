"""The workloads, one run of a workload on a simulated Immich, and the figures of the run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, exp, log
from random import Random
from typing import Final, NamedTuple

from immich_job_daemon.model.queue import PROTECTED
from simulator.immich import KEY
from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine, Event, EventKind
from simulator.immich.pipeline import QUEUES
from simulator.immich.virtual_time import VirtualTransport
from simulator.worlds.virtual_daemon import VirtualClient, VirtualDaemonClock

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
    """The arrivals of each run; every run gets a fresh server and lasts ``quiet`` s at least."""

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
    times = [SETTLED + random.uniform(0, 30) for _ in range(runs)]
    arrivals = tuple((Arrival(time, photos=300, videos=3),) for time in times)
    return Workload("album", "300 photos and 3 videos at once", arrivals)


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
    title = f"{count:,} photos reindexed, and 200 new ones uploaded meanwhile"
    return Workload("uploads", title, (run,))


MANAGED: Final = tuple(name for name in QUEUES if name not in PROTECTED)
"""The queues that are measured: those that the daemon manages by default."""

# Median and 95th percentile of the response time to a poll, in seconds (seen on Immich 3.1.0).
_IDLE: Final = (0.006, 0.010)
_BUSY: Final = (0.018, 0.033)

_Z_95: Final = 1.645
"""The 95th percentile of the standard normal distribution."""


class Span(NamedTuple):
    """A span of time in which a queue always had active jobs, in seconds."""

    queue: str
    start: float
    end: float


class QueueRecorder:
    """Records from an engine's events which queues ran, and when none did although jobs waited.

    It must be the engine's first observer. Adding jobs from outside is not an event, so callers
    report that with ``jobs_added``.

    Attributes:
        spans: when each queue ran, ordered by end.
        stalled: seconds in which jobs were ready and no queue ran.
        over: seconds in which more queues than the limit ran.
        handovers: seconds from the end of a drained queue to the first job of another queue that
            waited then; measured only while a slot was free.
    """

    def __init__(self, engine: Engine, limit: int) -> None:
        self.spans: list[Span] = []
        self.stalled = 0.0
        self.over = 0.0
        self.handovers: list[float] = []
        self._engine = engine
        self._limit = limit
        self._queues = {name: engine.queues[name] for name in MANAGED}
        self._busy: dict[str, float] = {}
        self._stalled_since: float | None = None
        self._over_since: float | None = None
        self._drained: list[tuple[str, float]] = []
        engine.observers.append(self._observe)

    @property
    def last_end(self) -> float:
        """When the last queue stopped, in seconds on the engine's clock; 0 if none ever ran."""
        return self.spans[-1].end if self.spans else 0.0

    def jobs_added(self) -> None:
        """Take note of jobs that were added from outside at the current time."""
        if not self._busy and self._stalled_since is None and self._is_waiting():
            self._stalled_since = self._engine.now

    def _observe(self, event: Event) -> None:
        if event.queue not in self._queues:
            return
        if event.kind is EventKind.STARTED:
            if event.queue not in self._busy:
                self._begin(event.queue, event.time)
        elif event.kind is EventKind.COMPLETED:
            queue = self._queues[event.queue]
            # An open queue with a backlog starts its next job at this very moment.
            if not queue.active and (queue.is_paused or not queue.ready):
                self._end(event.queue, event.time)

    def _begin(self, name: str, now: float) -> None:
        self._busy[name] = now
        if self._stalled_since is not None:
            self.stalled += now - self._stalled_since
            self._stalled_since = None
        if self._over_since is None and len(self._busy) > self._limit:
            self._over_since = now
        if self._drained:
            before, since = self._drained.pop(0)
            # A queue that continues after a moment without jobs is not a hand-over.
            if before != name:
                self.handovers.append(now - since)
            if not self._is_waiting():
                self._drained.clear()

    def _end(self, name: str, now: float) -> None:
        self.spans.append(Span(name, self._busy.pop(name), now))
        if self._over_since is not None and len(self._busy) <= self._limit:
            self.over += now - self._over_since
            self._over_since = None
        if self._is_waiting():
            if not self._busy:
                self._stalled_since = now
            if len(self._busy) < self._limit and not self._queues[name].ready:
                self._drained.append((name, now))

    def _is_waiting(self) -> bool:
        """Return whether a queue that does not run has ready jobs."""
        return any(queue.ready and name not in self._busy for name, queue in self._queues.items())


@dataclass(frozen=True, slots=True)
class RunResult:
    """The figures of one run; times in seconds.

    Attributes:
        thumbnails: from the upload to the thumbnail, for each asset.
        all_done: from the upload to the end of the last job, for each asset.
        total: from the first arrival to the end of the last job.
        stalled: time in which jobs were ready and no queue ran.
        over: time in which more queues than the limit ran.
        handovers: from the end of a drained queue to the first job of the next, each.
        requests: number of requests to Immich since the first arrival.
        duration: time in which these requests were counted.
        spans: when each queue ran, counted from the first arrival.
    """

    thumbnails: Sequence[float]
    all_done: Sequence[float]
    total: float
    stalled: float
    over: float
    handovers: Sequence[float]
    requests: int
    duration: float
    spans: Sequence[Span]


@dataclass(frozen=True, slots=True)
class Outcome:
    """All runs of a workload under one contender."""

    runs: tuple[RunResult, ...]

    @property
    def thumbnails(self) -> list[float]:
        """Seconds from each upload to its thumbnail."""
        return [seconds for run in self.runs for seconds in run.thumbnails]

    @property
    def all_done(self) -> list[float]:
        """Seconds from each upload to the end of its last job."""
        return [seconds for run in self.runs for seconds in run.all_done]

    @property
    def handovers(self) -> list[float]:
        """Seconds of every hand-over."""
        return [seconds for run in self.runs for seconds in run.handovers]

    @property
    def total(self) -> float:
        """Mean seconds from the first arrival of a run to its end."""
        return sum(run.total for run in self.runs) / len(self.runs)

    @property
    def stalled(self) -> float:
        """Mean seconds of a run in which jobs were ready and no queue ran."""
        return sum(run.stalled for run in self.runs) / len(self.runs)

    @property
    def over(self) -> float:
        """Seconds over the limit, in all runs together."""
        return sum(run.over for run in self.runs)

    @property
    def requests_an_hour(self) -> float:
        """Requests to Immich per hour."""
        duration = sum(run.duration for run in self.runs)
        return 3600 * sum(run.requests for run in self.runs) / duration


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed.

    >>> percentile([3.0, 1.0, 2.0, 4.0], 0.5)
    2.0
    >>> percentile(range(1, 1001), 0.99)
    990
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("there is no percentile of nothing: measure something first")
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


class Scenario:
    """One run of a workload: a fresh server, the arrivals ordered by time, and a recorder."""

    def __init__(
        self, arrivals: tuple[Arrival, ...], limit: int, *, seed: int, quiet: float = 0.0
    ) -> None:
        self.engine = Engine(seed=seed)
        self.limit = limit
        self.recorder = QueueRecorder(self.engine, limit)
        self.clock = VirtualDaemonClock(self.engine, self.is_over)
        self.on_arrival: list[Callable[[], None]] = [self.recorder.jobs_added]
        self._arrivals = arrivals
        self._left = len(arrivals)
        self._quiet = quiet
        self._random = Random(seed)
        self._transport: VirtualTransport | None = None
        self._requests_before = 0
        for arrival in arrivals:
            self.engine.at(arrival.time, partial(self._arrive, arrival))

    def client(self, api: str) -> VirtualClient:
        """Return a client of a server that has only the API "queues" or "jobs"."""
        server = Api(self.engine, keys={KEY: Key()}, serves=frozenset({api}))
        self._transport = VirtualTransport(self.engine, server, KEY, latency=self.latency)
        return VirtualClient(self._transport)

    def latency(self) -> float:
        """Return a random response time in seconds, longer while jobs run."""
        is_busy = any(queue.running for queue in self.engine.queues.values())
        median, slow = _BUSY if is_busy else _IDLE
        return median * exp(self._random.gauss(0, log(slow / median) / _Z_95))

    def is_over(self) -> bool:
        """Return whether everything has arrived and all jobs are done."""
        return not self._left and self.engine.now >= self._quiet and self.engine.is_idle

    def requests(self) -> int:
        """Return how many requests have been sent."""
        return self._transport.requests.total() if self._transport else 0

    def result(self) -> RunResult:
        """Return the figures of the run; call it when the run is over."""
        start = self._arrivals[0].time if self._arrivals else 0.0
        assets = self.engine.assets
        recorder = self.recorder
        return RunResult(
            thumbnails=[a.thumbnail_done - a.uploaded for a in assets if a.thumbnail_done],
            all_done=[a.all_done - a.uploaded for a in assets if a.all_done],
            total=max(0.0, recorder.last_end - start),
            stalled=recorder.stalled,
            over=recorder.over,
            handovers=recorder.handovers,
            requests=self.requests() - self._requests_before,
            duration=self.engine.now - start,
            spans=[Span(s.queue, s.start - start, s.end - start) for s in recorder.spans],
        )

    def _arrive(self, arrival: Arrival) -> None:
        if arrival is self._arrivals[0]:
            self._requests_before = self.requests()
        self._left -= 1
        arrival.arrive(self.engine)
        for notify in self.on_arrival:
            notify()
