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
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.scheduler.decision import Action, Reason
from immich_job_daemon.status.counters import Histogram
from immich_job_daemon.status.hub import Board
from immich_job_daemon.status.labels import is_stale
from immich_job_daemon.status.status import Status, Trouble

MOST_QUEUES: Final = 100
"""Queues with metrics of their own, the first by priority; Immich 3.1.0 has 19."""

OTHERS: Final = "(others)"
"""The name under which the queues beyond those are added up."""

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

_NOT_HELD: Final = frozenset({Reason.PROTECTED, Reason.REFUSED, Reason.PAUSED_BY_OTHERS})
_OURS: Final = "immich_job_daemon"


def exposition(board: Board, clock: Callable[[], float] = time.monotonic) -> WSGIApplication:
    """Return prometheus_client's application: it speaks both of Prometheus' formats."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(_OfBoard(board, clock))
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

    def __init__(self, board: Board, clock: Callable[[], float]) -> None:
        self._board = board
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield the families of the picture of now."""
        return families(self._board.status, self._clock())


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
        not is_stale(status, now),
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
    for queue in _bounded(status):
        for state in ("active", "waiting", "paused", "delayed", "failed"):
            jobs.add_metric((queue.name, state), getattr(queue, state))
        paused.add_metric((queue.name,), queue.is_paused)
    yield from (jobs, paused)


def _bounded(status: Status) -> Iterator[Queue]:
    """Yield the queues by priority, of which those beyond the bound are one."""
    found = [status.queues[name] for name in status.order]
    yield from found[:MOST_QUEUES]
    if others := found[MOST_QUEUES:]:
        yield Queue(
            OTHERS,
            is_paused=all(queue.is_paused for queue in others),
            active=sum(queue.active for queue in others),
            waiting=sum(queue.waiting for queue in others),
            paused=sum(queue.paused for queue in others),
            delayed=sum(queue.delayed for queue in others),
            failed=sum(queue.failed for queue in others),
        )


def _daemon(status: Status) -> Iterator[Metric]:
    held = [
        name
        for name, reason in status.reasons.items()
        if status.queues[name].is_paused and reason not in _NOT_HELD
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
        status.forecast.whole,
    )
    problems = GaugeMetricFamily(
        f"{_OURS}_problem", "Whether there is a problem of that kind.", labels=("kind",)
    )
    trouble = status.problem.trouble if status.problem else None
    for kind in Trouble:
        problems.add_metric((kind.replace(" ", "_"),), kind is trouble)
    yield problems
    versions = {"version": __version__, "immich_version": status.server or ""}
    yield InfoMetricFamily(_OURS, "The versions of the daemon and of Immich.", versions)


def _done(status: Status) -> Iterator[Metric]:
    tally = status.tally
    commands = CounterMetricFamily(
        f"{_OURS}_commands", "Pauses and resumes that Immich carried out.", labels=("command",)
    )
    for command, number in ({str(action): 0 for action in Action} | {**tally.commands}).items():
        commands.add_metric((command,), number)
    failures = CounterMetricFamily(
        f"{_OURS}_request_failures", "Requests to Immich that failed.", labels=("kind",)
    )
    for kind, number in (dict.fromkeys(KINDS, 0) | {**tally.failures}).items():
        failures.add_metric((_kind(kind),), number)
    yield from (commands, failures)
    yield _histogram(
        f"{_OURS}_request_duration_seconds",
        "Time from a request to Immich's answer.",
        tally.requests,
    )
    yield _histogram(
        f"{_OURS}_handover_duration_seconds",
        "Time from the last look that saw a queue at work to the start of the next in its place.",
        tally.handovers,
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
