"""The status as the JSON object that the entities show. Pure: no I/O, no clock.

>>> state = build_state(Status(2), queues=["ocr"], completion={}, now=0.0)
>>> state["state"], state["pending"], state["limit"], state["queues"]["ocr"]["mode"]
('waiting for Immich', None, 2, 'automatic')
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from immich_job_daemon.model.queue import label
from immich_job_daemon.mqtt.commands import QUEUE_OPTIONS
from immich_job_daemon.status.status import UNREACHABLE, Status

TOTAL: Final = ""
"""The key of the completion time of all queues together; other keys are queue names."""

MAX_STATE_LENGTH: Final = 255
"""Longest state in characters that Home Assistant accepts."""

MAX_PROBLEM_LENGTH: Final = 1000
"""Characters of a problem's text that are published."""

MAX_ATTRIBUTE_QUEUES: Final = 100

# A published completion time changes only if the new estimate differs by more than _TOLERANCE
# seconds and by more than this share of the remaining time. It is rounded up to _MINUTE, or to a
# sixth of that if less than _NEAR seconds remain.
_TOLERANCE: Final = 20.0
_TOLERANCE_SHARE: Final = 0.1
_MINUTE: Final = 60.0
_NEAR: Final = 600.0


def completion_times(status: Status, previous: Mapping[str, float]) -> dict[str, float]:
    """Return when each queue and all queues (``TOTAL``) will be done, in seconds since 1970.

    A time stays the same while it is about right: one that changed by a second with each poll
    would flood Home Assistant's history. ``previous`` is the return value of the last call.
    """
    if status.polled_at_unix is None:
        return {}
    remaining = {**status.forecast.queues, TOTAL: status.forecast.total if status.pending else None}
    return {
        name: _stabilize(status.polled_at_unix, seconds, previous.get(name))
        for name, seconds in remaining.items()
        if seconds is not None and math.isfinite(seconds)
    }


def build_state(
    status: Status,
    *,
    queues: Iterable[str],
    completion: Mapping[str, float],
    now: float,
    redact: Callable[[str], str] = str,
) -> dict[str, Any]:
    """Return the states of all entities as one JSON object; unknown values are None.

    ``queues`` are those that have entities, ``completion`` comes from ``completion_times``,
    ``now`` is the daemon's monotonic time, and ``redact`` removes secrets from a text.
    """
    all_queues = status.queues.values()
    is_known = status.polled_at is not None
    max_limit = len(status.managed)
    return {
        "state": str(status.state),
        "connected": _is_connected(status),
        "problem": _problem(status, redact),
        "dry_run": status.is_dry_run,
        "mode": str(status.controls.mode),
        "limit": min(status.limit, max_limit) if max_limit else status.limit,
        "running": _join([label(queue.name) for queue in status.running]) if is_known else None,
        "running_attributes": _running_attributes(status),
        "pending": status.pending if is_known else None,
        "active": sum(queue.active for queue in all_queues) if is_known else None,
        "failed": sum(queue.failed for queue in all_queues) if is_known else None,
        "done_at": None if status.is_stale(now) else _iso_time(completion.get(TOTAL)),
        "queues": {name: _queue(name, status, completion) for name in queues},
    }


def _is_connected(status: Status) -> bool:
    if status.problem is None:
        return status.polled_at is not None
    return status.problem.kind not in UNREACHABLE


def _problem(status: Status, redact: Callable[[str], str]) -> dict[str, str] | None:
    problem = status.problem
    if problem is None:
        return None
    return {
        "kind": str(problem.kind),
        "text": redact(problem.text)[:MAX_PROBLEM_LENGTH],
        "since": datetime.fromtimestamp(problem.since, UTC).isoformat(timespec="seconds"),
    }


def _join(names: Sequence[str]) -> str:
    """Return as many names as fit into one state.

    >>> _join([]), _join(["OCR", "Library"])
    ('none', 'OCR, Library')
    """
    for number in range(len(names), 0, -1):
        omitted = len(names) - number
        text = ", ".join(names[:number]) + (f" and {omitted} more" if omitted else "")
        if len(text) <= MAX_STATE_LENGTH:
            return text
    return "many" if names else "none"


def _running_attributes(status: Status) -> dict[str, Any]:
    reasons = islice(status.reasons.items(), MAX_ATTRIBUTE_QUEUES)
    opens_at = islice(status.opens_at.items(), MAX_ATTRIBUTE_QUEUES)
    return {
        "queues": [queue.name for queue in status.running],
        "reasons": {name: str(reason) for name, reason in reasons},
        "may_run_again": {name: time.isoformat(timespec="seconds") for name, time in opens_at},
    }


def _queue(name: str, status: Status, completion: Mapping[str, float]) -> dict[str, Any]:
    queue = status.queues.get(name)
    return {
        "pending": None if queue is None else queue.pending,
        "failed": None if queue is None else queue.failed,
        "done_at": _iso_time(completion.get(name)),
        "mode": QUEUE_OPTIONS[status.override(name)],
    }


def _stabilize(since: float, seconds: float, previous: float | None) -> float:
    """Return the completion time to publish: the previous one while it is about right."""
    exact = since + seconds
    if previous is not None and abs(exact - previous) <= max(
        _TOLERANCE, _TOLERANCE_SHARE * seconds
    ):
        return previous
    step = _MINUTE if seconds >= _NEAR else _MINUTE / 6
    return math.ceil(exact / step) * step


def _iso_time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
