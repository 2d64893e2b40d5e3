"""Sample statuses, and a listener that serves one over real HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from immich_job_daemon.forecast.estimate import Forecast
from immich_job_daemon.forecast.rates import Rate, Rates
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.counters import Counters
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Problem, ProblemKind, Status
from immich_job_daemon.web.api.routes import create_api
from immich_job_daemon.web.server import App, Listener, create_dispatcher

AT: Final = 1000.0
"""When the last poll was, in seconds of the daemon's clock; the next status is due 30 s later."""

QUEUES: Final = {
    queue.name: queue
    for queue in (
        Queue("search", is_paused=False, waiting=1),
        Queue("ocr", is_paused=True, paused=234, failed=2),
        Queue("thumbnailGeneration", is_paused=False, active=3, waiting=1000),
        Queue("videoConversion", is_paused=True, waiting=7, delayed=3),
        Queue("sidecar", is_paused=True),
    )
}

BUSY: Final = Status(
    limit=2,
    polled_at=AT,
    polled_at_unix=1_790_000_000.5,
    next_due=AT + 30,
    immich_version="3.1.0",
    queues=QUEUES,
    order=("sidecar", "thumbnailGeneration", "videoConversion", "search", "ocr"),
    reasons={
        "search": Reason.PROTECTED,
        "ocr": Reason.WAITING,
        "thumbnailGeneration": Reason.RUNNING,
        "videoConversion": Reason.PAUSED_BY_OTHERS,
        "sidecar": Reason.IDLE,
    },
    rates=Rates({"thumbnailGeneration": Rate(jobs=30.0, seconds=40.0)}),
    forecast=Forecast({"thumbnailGeneration": 1337.4, "ocr": None}, total=1500.6),
    counters=Counters()
    .answered(0.004)
    .answered(0.3)
    .answered(60.0)
    .commanded("pause")
    .failed(str(ProblemKind.UNREACHABLE))
    .handed_over(0.2),
)
"""One queue is running, one is waiting, one was paused by a user, and one is protected."""

NOTHING: Final = Status(limit=1, next_due=AT + 30)
"""Before the first poll."""

UNREACHABLE: Final = Problem(
    ProblemKind.UNREACHABLE, "http://photos:2283 refuses the connection", since=1_790_000_010.0
)
LOST: Final = replace(BUSY, next_due=AT + 100, problem=UNREACHABLE)
"""Immich responded once and is unreachable now; the loop still runs."""


class Clock:
    """A clock that stands still at ``now``."""

    def __init__(self, now: float = AT) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@contextmanager
def serve_status(status: Status, clock: Clock | None = None) -> Iterator[str]:
    """Serve this status with the API; yield the URL of the API."""
    api = create_api(StatusHub(status), clock or Clock())
    listener = Listener(App.API, 0, create_dispatcher({App.API: api}))
    try:
        yield f"http://127.0.0.1:{listener.port}"
    finally:
        listener.close()
