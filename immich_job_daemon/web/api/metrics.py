"""What Prometheus reads: the published picture as families of metrics, made anew at each scrape.

Nothing is counted in here: every number is one of the picture's. Names and units follow
Prometheus' own rules, times are in seconds.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from immich_job_daemon import __version__
from immich_job_daemon.base import errors
from immich_job_daemon.model.reason import SCHEDULED, Action
from immich_job_daemon.status.counters import Histogram
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import ProblemKind, Status

KINDS: Final = tuple(
    kind.__name__
    for kind in (
        errors.UnreachableError,
        errors.NotImmichError,
        errors.KeyRejectedError,
        errors.PermissionMissingError,
        errors.RefusedError,
        errors.UnexpectedError,
    )
)
"""The kinds of failures that are there from the start, so that their first one is an increase."""

_OURS: Final = "immich_job_daemon"


def exposition(hub: StatusHub, clock: Callable[[], float] = time.monotonic) -> WSGIApplication:
    """Return prometheus_client's application: it speaks both of Prometheus' formats."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(_OfBoard(hub, clock))
    application: WSGIApplication = make_wsgi_app(registry)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            choose_encoder(environ.get("HTTP_ACCEPT", ""))
        except (TypeError, ValueError):
            # prometheus_client 0.26 falls over a version in it that is no number.
            environ = {**environ, "HTTP_ACCEPT": ""}
        return application(environ, start_response)

    return answer


class _OfBoard(Collector):
    """Collects what the board shows at that moment."""

    def __init__(self, hub: StatusHub, clock: Callable[[], float]) -> None:
        self._hub = hub
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield the families of the picture of now."""
        return families(self._hub.status, self._clock())


def families(status: Status, now: float) -> Iterator[Metric]:
    """Yield every family, also one without a value.

    Args:
        status: the picture.
        now: seconds of the clock that ``status.updated`` is of.
    """
    yield from _queues(status)
    yield GaugeMetricFamily(
        "immich_up",
        "Whether the last look at Immich's queues succeeded.",
        not status.is_stale(now),
    )
    yield from _daemon(status)
    yield from _done(status)


def _queues(status: Status) -> Iterator[Metric]:
    jobs = GaugeMetricFamily(
        "immich_queue_jobs",
        "Jobs in a queue of Immich, by their state; both waiting and paused ones could start.",
        labels=("queue", "state"),
    )
    paused = GaugeMetricFamily(
        "immich_queue_paused", "Whether a queue of Immich is paused, by anybody.", labels=("queue",)
    )
    for queue in (status.queues[name] for name in status.order):
        for state in ("active", "waiting", "paused", "delayed", "failed"):
            jobs.add_metric((queue.name, state), getattr(queue, state))
        paused.add_metric((queue.name,), queue.is_paused)
    yield from (jobs, paused)


def _daemon(status: Status) -> Iterator[Metric]:
    held = [
        name
        for name, reason in status.reasons.items()
        if status.queues[name].is_paused and reason in SCHEDULED
    ]
    yield GaugeMetricFamily(f"{_OURS}_held_queues", "Queues that the daemon has paused.", len(held))
    yield GaugeMetricFamily(
        f"{_OURS}_slots_in_use",
        "Queues in which jobs run by the daemon's leave.",
        len(status.running),
    )
    yield GaugeMetricFamily(f"{_OURS}_slots_limit", "Queues that may run at once.", status.limit)
    yield _if_known(
        f"{_OURS}_last_look_timestamp_seconds",
        "When the last look at Immich's queues succeeded, in seconds since 1970.",
        status.updated_at,
    )
    yield _if_known(
        f"{_OURS}_remaining_seconds",
        "The estimate of when everything will be done; missing while it is unknown.",
        status.forecast.total,
    )
    problems = GaugeMetricFamily(
        f"{_OURS}_problem", "Whether there is a problem of that kind.", labels=("kind",)
    )
    trouble = status.problem.kind if status.problem else None
    for kind in ProblemKind:
        problems.add_metric((kind.replace(" ", "_"),), kind is trouble)
    yield problems
    versions = {"version": __version__, "immich_version": status.server or ""}
    yield InfoMetricFamily(_OURS, "The versions of the daemon and of Immich.", versions)


def _done(status: Status) -> Iterator[Metric]:
    counters = status.counters
    commands = CounterMetricFamily(
        f"{_OURS}_commands", "Pauses and resumes that Immich carried out.", labels=("command",)
    )
    for command, number in ({str(action): 0 for action in Action} | {**counters.commands}).items():
        commands.add_metric((command,), number)
    failures = CounterMetricFamily(
        f"{_OURS}_request_failures", "Requests to Immich that failed.", labels=("kind",)
    )
    for kind, number in (dict.fromkeys(KINDS, 0) | {**counters.failures}).items():
        failures.add_metric((_kind(kind),), number)
    yield from (commands, failures)
    yield _histogram(
        f"{_OURS}_request_duration_seconds",
        "Time from a request to Immich's answer.",
        counters.requests,
    )
    yield _histogram(
        f"{_OURS}_handover_duration_seconds",
        "Time from the last look that saw a queue at work to the start of the next in its place.",
        counters.handovers,
    )


def _kind(error: str) -> str:
    """Return the kind of a failure as the problem of that kind is called.

    >>> _kind("KeyRejectedError")
    'key_rejected'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error.removesuffix("Error")).lower()


def _if_known(name: str, documentation: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=())
    if value is not None:
        family.add_metric((), value)
    return family


def _histogram(name: str, documentation: str, found: Histogram) -> Metric:
    bounds = [*(str(bound) for bound in found.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(found.counts), strict=True))
    return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=found.total)
