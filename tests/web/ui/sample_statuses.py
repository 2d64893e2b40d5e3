"""Sample statuses: tests replace the fields that matter to them."""

import math
from dataclasses import replace
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from immich_job_daemon.forecast.estimate import Forecast
from immich_job_daemon.forecast.rates import Rate, Rates
from immich_job_daemon.model.controls import Controls, Mode
from immich_job_daemon.model.queue import PRIORITY, PROTECTED, Queue, by_priority
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.history import BUCKET_SECONDS, MAX_BUCKETS, Bucket, History
from immich_job_daemon.status.status import Problem, ProblemKind, Status
from simulator.immich.pipeline import QUEUES

NOW: Final = 1_000_000 * BUCKET_SECONDS + 130.0
"""In seconds of the daemon's clock."""
AT: Final = 1_795_600_000.0
"""The same moment in seconds since 1970."""
OPENS: Final = 1_795_640_400.0
"""When the window of videoConversion opens: 25 November 2026, 22:00 in Berlin."""

_BACKLOGS: Final = {
    "thumbnailGeneration": (3, 1231, Reason.RUNNING),
    "smartSearch": (0, 4812, Reason.WAITING),
    "duplicateDetection": (0, 310, Reason.WAITING),
    "faceDetection": (2, 4790, Reason.DRAINING),
    "videoConversion": (0, 38, Reason.WAITING),
    "ocr": (0, 0, Reason.IDLE),
    "library": (0, 96, Reason.PAUSED_BY_OTHERS),
    "metadataExtraction": (0, 0, Reason.LENT),
    "facialRecognition": (0, 655, Reason.HELD_BY_USER),
}


def busy() -> Status:
    """Return a status during a first import."""
    queues = {}
    reasons = {}
    for name in QUEUES:
        active, backlog, reason = _BACKLOGS.get(name, (0, 0, Reason.IDLE))
        if name in PROTECTED:
            reason = Reason.PROTECTED
        is_paused = name == "backupDatabase" or reason in {
            Reason.WAITING,
            Reason.DRAINING,
            Reason.IDLE,
            Reason.PAUSED_BY_OTHERS,
            Reason.HELD_BY_USER,
        }
        queues[name] = Queue(
            name,
            is_paused=is_paused,
            active=active,
            paused=backlog if is_paused else 0,
            waiting=0 if is_paused else backlog,
            failed=7 if name == "videoConversion" else 0,
        )
        reasons[name] = reason
    order = tuple(queue.name for queue in by_priority(queues, PRIORITY))
    return Status(
        limit=2,
        polled_at=NOW - 1.0,
        polled_at_unix=AT - 1.0,
        next_due=NOW + 30.0,
        immich_version="3.1.0",
        queues=queues,
        order=order,
        reasons=reasons,
        controls=Controls(limit=2, held_by_user=frozenset({"facialRecognition"})),
        rates=Rates(
            {
                "thumbnailGeneration": Rate(103.0, 60.0),
                "smartSearch": Rate(300.0, 60.0),
                "faceDetection": Rate(90.0, 600.0),
                "videoConversion": Rate(14.0, 600.0),
            }
        ),
        forecast=Forecast(
            {
                "thumbnailGeneration": 719.0,
                "smartSearch": 719.0 + 962.0,
                "duplicateDetection": None,
                "videoConversion": 5400.0,
                "faceDetection": 3.2 * 3600,
            },
            4.1 * 3600,
        ),
        history=day(),
    )


def day() -> History:
    """Return twenty hours of an import, with an hour without data."""
    parts = []
    for number in range(MAX_BUCKETS - 240, MAX_BUCKETS):
        if 150 <= number < 162:
            continue
        progress = (number - (MAX_BUCKETS - 240)) / 240
        wave = math.sin(progress * 5.0) ** 2
        parts.append(
            Bucket(
                (1_000_001 - MAX_BUCKETS + number) * BUCKET_SECONDS,
                int(16_000 * (1 - progress) ** 0.5 * (0.6 + 0.4 * wave)) if progress > 0.12 else 0,
                _slots(progress),
            )
        )
    return History(tuple(parts), NOW - 1.0, ("thumbnailGeneration",), 15_980)


def _slots(progress: float) -> dict[str, float]:
    plan = (
        ("metadataExtraction", 0.12, 0.30),
        ("storageTemplateMigration", 0.29, 0.33),
        ("thumbnailGeneration", 0.33, 0.62),
        ("smartSearch", 0.62, 0.78),
        ("faceDetection", 0.40, 0.58),
        ("duplicateDetection", 0.78, 0.80),
        ("facialRecognition", 0.80, 0.84),
        ("videoConversion", 0.58, 0.60),
        ("videoConversion", 0.84, 0.92),
        ("thumbnailGeneration", 0.92, 1.01),
        ("faceDetection", 0.95, 1.01),
    )
    return {name: BUCKET_SECONDS for name, begin, end in plan if begin <= progress < end}


def empty() -> Status:
    """Return a status without any jobs."""
    status = busy()
    return replace(
        status,
        queues={
            name: replace(queue, active=0, waiting=0, paused=0, failed=0)
            for name, queue in status.queues.items()
        },
        reasons={
            name: reason if reason in {Reason.PROTECTED, Reason.LENT} else Reason.IDLE
            for name, reason in status.reasons.items()
        },
        controls=Controls(),
        forecast=Forecast(),
        history=replace(status.history, peak_pending=0),
    )


def with_problem(kind: ProblemKind = ProblemKind.UNREACHABLE, text: str = "it refuses") -> Status:
    """Return the import after a problem has stopped the polls."""
    return replace(
        busy(),
        polled_at=NOW - 400.0,
        polled_at_unix=AT - 400.0,
        problem=Problem(kind, text, AT - 395.0),
    )


def all_paused() -> Status:
    """Return the import after the user has paused everything."""
    status = busy()
    unchanged = {Reason.PROTECTED, Reason.PAUSED_BY_OTHERS}
    return replace(
        status,
        reasons={
            name: reason if reason in unchanged else Reason.HELD_BY_USER
            for name, reason in status.reasons.items()
        },
        controls=Controls(mode=Mode.HELD),
    )


def dry_run() -> Status:
    """Return a dry run on a busy server, with videos scheduled for the night."""
    status = busy()
    reasons = dict.fromkeys(status.managed, Reason.HIGH_LOAD) | {
        "videoConversion": Reason.OUTSIDE_WINDOW
    }
    return replace(
        status,
        reasons={**status.reasons, **reasons},
        opens_at={"videoConversion": datetime.fromtimestamp(OPENS, ZoneInfo("Europe/Berlin"))},
        forecast=Forecast(),
        is_dry_run=True,
    )


def starting() -> Status:
    """Return the status before the first poll."""
    return Status(limit=1, next_due=NOW + 60.0)
