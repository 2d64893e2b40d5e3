"""The metrics for Prometheus, made from the current status at each scrape.

The exporter keeps no counters of its own, so there is nothing to keep in step: the loop counts, in
``status.counters``. Names and units follow Prometheus' naming rules; times are in seconds.
"""

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
from immich_job_daemon.model.reason import SCHEDULED, Action
from immich_job_daemon.status.counters import Histogram
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import ProblemKind, Status

FAILURE_KINDS: Final = (
    ProblemKind.UNREACHABLE,
    ProblemKind.NOT_IMMICH,
    ProblemKind.KEY_REJECTED,
    ProblemKind.PERMISSION_MISSING,
    ProblemKind.REFUSED,
    ProblemKind.UNEXPECTED,
)
"""Kinds of failures that are exported from the start.

Prometheus sees no increase in a series that begins with its first failure.
"""

_PREFIX: Final = "immich_job_daemon"


def create_metrics_app(hub: StatusHub, clock: Callable[[], float]) -> WSGIApplication:
    """Return prometheus_client's application, which serves the text format and OpenMetrics."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(_StatusCollector(hub, clock))
    application: WSGIApplication = make_wsgi_app(registry)

    def serve_metrics(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            choose_encoder(environ.get("HTTP_ACCEPT", ""))
        except (TypeError, ValueError):
            # prometheus_client 0.26 raises on a version that is not a number.
            environ = {**environ, "HTTP_ACCEPT": ""}
        return application(environ, start_response)

    return serve_metrics


class _StatusCollector(Collector):
    """Collects the metrics of the current status."""

    def __init__(self, hub: StatusHub, clock: Callable[[], float]) -> None:
        self._hub = hub
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family, including those without a sample."""
        status = self._hub.status
        yield from _queue_metrics(status)
        yield GaugeMetricFamily(
            "immich_up",
            "Whether the last poll of Immich's queues succeeded.",
            not status.is_stale(self._clock()),
        )
        yield from _daemon_metrics(status)
        yield from _counter_metrics(status)


def _queue_metrics(status: Status) -> Iterator[Metric]:
    jobs = GaugeMetricFamily(
        "immich_queue_jobs",
        "Jobs in a queue of Immich by state; waiting and paused jobs are both ready to run.",
        labels=("queue", "state"),
    )
    paused = GaugeMetricFamily(
        "immich_queue_paused", "Whether a queue of Immich is paused.", labels=("queue",)
    )
    for queue in (status.queues[name] for name in status.order):
        for state in ("active", "waiting", "paused", "delayed", "failed"):
            jobs.add_metric((queue.name, state), getattr(queue, state))
        paused.add_metric((queue.name,), queue.is_paused)
    yield from (jobs, paused)


def _daemon_metrics(status: Status) -> Iterator[Metric]:
    paused_by_daemon = sum(queue.is_paused for queue in status.with_reasons(*SCHEDULED))
    yield GaugeMetricFamily(
        f"{_PREFIX}_held_queues", "Queues that the daemon has paused.", paused_by_daemon
    )
    yield GaugeMetricFamily(
        f"{_PREFIX}_slots_in_use",
        "Queues that occupy a slot and have jobs.",
        len(status.running),
    )
    yield GaugeMetricFamily(
        f"{_PREFIX}_slots_limit", "Queues that may run at the same time.", status.limit
    )
    yield GaugeMetricFamily(
        f"{_PREFIX}_last_look_timestamp_seconds",
        "Time of the last successful poll of Immich's queues, in seconds since 1970.",
        status.polled_at_unix,
    )
    yield GaugeMetricFamily(
        f"{_PREFIX}_remaining_seconds",
        "Estimated time until all jobs are done; missing while it is unknown.",
        status.forecast.total,
    )
    problems = GaugeMetricFamily(
        f"{_PREFIX}_problem", "Whether the daemon has a problem of this kind.", labels=("kind",)
    )
    current = status.problem.kind if status.problem else None
    for kind in ProblemKind:
        problems.add_metric((_kind_label(kind),), kind is current)
    yield problems
    versions = {"version": __version__, "immich_version": status.immich_version or ""}
    yield InfoMetricFamily(_PREFIX, "The versions of the daemon and of Immich.", versions)


def _counter_metrics(status: Status) -> Iterator[Metric]:
    counters = status.counters
    commands = CounterMetricFamily(
        f"{_PREFIX}_commands", "Pauses and resumes that Immich carried out.", labels=("command",)
    )
    for command, number in ({str(action): 0 for action in Action} | {**counters.commands}).items():
        commands.add_metric((command,), number)
    failures = CounterMetricFamily(
        f"{_PREFIX}_request_failures", "Requests to Immich that failed.", labels=("kind",)
    )
    for kind, number in ({str(kind): 0 for kind in FAILURE_KINDS} | {**counters.failures}).items():
        failures.add_metric((_kind_label(kind),), number)
    yield from (commands, failures)
    yield _histogram(
        f"{_PREFIX}_request_duration_seconds",
        "Response time of Immich.",
        counters.requests,
    )
    yield _histogram(
        f"{_PREFIX}_handover_duration_seconds",
        "Time from the last poll that saw a queue running to the resume of the next queue.",
        counters.handovers,
    )


def _kind_label(kind: str) -> str:
    """Return the value of the label ``kind``.

    >>> _kind_label(ProblemKind.KEY_REJECTED)
    'key_rejected'
    """
    return kind.replace(" ", "_")


def _histogram(name: str, documentation: str, histogram: Histogram) -> Metric:
    bounds = [*(str(bound) for bound in histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
    return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=histogram.total)
