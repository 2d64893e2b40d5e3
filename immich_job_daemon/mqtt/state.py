"""The published picture as the entities show it. Pure: no I/O, no clock.

>>> found = shown(Status(2), queues=["ocr"], done={}, now=0.0)
>>> found["state"], found["pending"], found["limit"], found["queues"]["ocr"]["mode"]
('waiting for Immich', None, 2, 'automatic')
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from immich_job_daemon.model.queue import label
from immich_job_daemon.mqtt.commands import WISHES
from immich_job_daemon.status.status import UNREACHABLE, Status

WHOLE: Final = ""
"""Under which name the estimate for everything is found among those for the queues."""

LONGEST_STATE: Final = 255
"""Characters of a state that Home Assistant takes."""

LONGEST_TEXT: Final = 1000
"""Characters of a problem's text."""

MOST_REASONS: Final = 100

# An estimate is told anew only if it is off by more than this, in seconds or as a share of what
# is left; and it is told to the minute, or nearer the end to ten seconds.
_SLACK: Final = 20.0
_SHARE: Final = 0.1
_MINUTE: Final = 60.0
_NEAR: Final = 600.0


def is_immich_there(status: Status, now: float) -> bool:
    """Whether what is known of Immich's queues still holds; ``now`` is the daemon's clock."""
    return not status.is_stale(now)


def estimates(status: Status, before: Mapping[str, float]) -> dict[str, float]:
    """Return when everything and each queue will be done, in seconds since 1970.

    They stay as they were told before while they are about right: a time that differs by a second
    at each look would fill Home Assistant's history, and nobody could read it.

    Args:
        status: the picture.
        before: what this returned last.
    """
    if status.polled_at_unix is None:
        return {}
    left = {**status.forecast.queues, WHOLE: status.forecast.total if status.pending else None}
    return {
        name: _steady(status.polled_at_unix, seconds, before.get(name))
        for name, seconds in left.items()
        if seconds is not None and math.isfinite(seconds)
    }


def shown(
    status: Status,
    *,
    queues: Iterable[str],
    done: Mapping[str, float],
    now: float,
    hide: Callable[[str], str] = str,
) -> dict[str, Any]:
    """Return what all entities together show; what nobody knows is None.

    Args:
        status: the picture.
        queues: those that have entities of their own.
        done: what ``estimates`` says.
        now: the daemon's clock.
        hide: takes secrets out of a text.
    """
    found = status.queues.values()
    is_known = status.polled_at is not None
    most = len(status.managed)
    return {
        "state": str(status.state),
        "connected": _answers(status),
        "problem": _problem(status, hide),
        "rehearsal": status.is_dry_run,
        "mode": str(status.controls.mode),
        "limit": min(status.limit, most) if most else status.limit,
        "running": _names(status) if is_known else None,
        "running_attributes": {
            "queues": [queue.name for queue in status.running],
            "reasons": dict([*map(_pair, status.reasons.items())][:MOST_REASONS]),
            "may_run_again": {
                name: opens.isoformat(timespec="seconds")
                for name, opens in islice(status.opens_at.items(), MOST_REASONS)
            },
        },
        "pending": status.pending if is_known else None,
        "active": sum(queue.active for queue in found) if is_known else None,
        "failed": sum(queue.failed for queue in found) if is_known else None,
        "done_at": None if status.is_stale(now) else _time(done.get(WHOLE)),
        "queues": {name: _queue(name, status, done) for name in queues},
    }


def _answers(status: Status) -> bool:
    if status.problem is None:
        return status.polled_at is not None
    return status.problem.kind not in UNREACHABLE


def _problem(status: Status, hide: Callable[[str], str]) -> dict[str, str] | None:
    problem = status.problem
    if problem is None:
        return None
    return {
        "kind": str(problem.kind),
        "text": hide(problem.text)[:LONGEST_TEXT],
        "since": datetime.fromtimestamp(problem.since, UTC).isoformat(timespec="seconds"),
    }


def _names(status: Status) -> str:
    return _listed([label(queue.name) for queue in status.running])


def _listed(names: Sequence[str]) -> str:
    """Return names as one state, as many as fit.

    >>> _listed([]), _listed(["OCR", "Library"])
    ('none', 'OCR, Library')
    """
    for number in range(len(names), 0, -1):
        left = len(names) - number
        text = ", ".join(names[:number]) + (f" and {left} more" if left else "")
        if len(text) <= LONGEST_STATE:
            return text
    return "many" if names else "none"


def _pair(item: tuple[str, Any]) -> tuple[str, str]:
    name, reason = item
    return name, str(reason)


def _queue(name: str, status: Status, done: Mapping[str, float]) -> dict[str, Any]:
    queue = status.queues.get(name)
    return {
        "pending": None if queue is None else queue.pending,
        "failed": None if queue is None else queue.failed,
        "done_at": _time(done.get(name)),
        "mode": WISHES[status.override(name)],
    }


def _steady(since: float, seconds: float, before: float | None) -> float:
    """Return a time to tell; the one told before if it is still about right."""
    exact = since + seconds
    if before is not None and abs(exact - before) <= max(_SLACK, _SHARE * seconds):
        return before
    grain = _MINUTE if seconds >= _NEAR else _MINUTE / 6
    return math.ceil(exact / grain) * grain


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
