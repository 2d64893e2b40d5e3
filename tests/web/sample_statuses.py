"""Pictures made by hand, and a listener that shows one over real HTTP."""

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
from immich_job_daemon.web.api.routes import create_machines
from immich_job_daemon.web.application import Face, with_faces
from immich_job_daemon.web.server import Listener

AT: Final = 1000.0
"""When the last look was, seconds of the daemon's clock; the next is due 30 s later."""

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
    updated=AT,
    updated_at=1_790_000_000.5,
    due=AT + 30,
    server="3.1.0",
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
    .failed("UnreachableError")
    .handed_over(0.2),
)
"""One queue runs, one waits for its turn, one was paused by a person, one is protected."""

NOTHING: Final = Status(limit=1, due=AT + 30)
"""Nothing is known yet."""

AWAY: Final = Problem(
    ProblemKind.UNREACHABLE, "http://photos:2283 refuses the connection", since=1_790_000_010.0
)
LOST: Final = replace(BUSY, due=AT + 100, problem=AWAY)
"""Immich answered once and is away now; the loop turns."""


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self, now: float = AT) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@contextmanager
def shown(status: Status, clock: Clock | None = None) -> Iterator[str]:
    """Give the address at which the face for machines shows this status."""
    face = create_machines(StatusHub(status), clock or Clock())
    listener = Listener(Face.MACHINES, 0, with_faces({Face.MACHINES: face}))
    try:
        yield f"http://127.0.0.1:{listener.port}"
    finally:
        listener.close()
