"""Checks of the daemon against the journal of the real engine."""

from collections import Counter
from collections.abc import Iterable

from immich_job_daemon.model.queue import PROTECTED
from tests.engine.facade import Facade, JournalEntry


def managed(queues: Iterable[str]) -> set[str]:
    return set(queues) - set(PROTECTED)


def resumes_over_limit(entries: Iterable[JournalEntry], limit: int) -> list[str]:
    """Return the daemon's resumes after which more queues were open or busy than the limit."""
    return [
        f"after resuming {entry['queue']}: {sorted(managed(entry['open']))}, limit {limit}"
        for entry in entries
        if entry["what"] == "resumed"
        and entry["by"] == "daemon"
        and len(managed(entry["open"])) > limit
    ]


def max_running_queues(entries: Iterable[JournalEntry]) -> int:
    """Return the largest number of managed queues with an active job at the same time."""
    running: Counter[str] = Counter()
    most = 0
    for entry in entries:
        if entry["what"] == "started":
            running[entry["queue"]] += 1
        elif entry["what"] == "finished":
            running[entry["queue"]] -= 1
        most = max(most, len(managed(+running)))
    return most


def order_of_starts(entries: Iterable[JournalEntry]) -> list[str]:
    """Return the queues in the order of their first job."""
    started = [entry["queue"] for entry in entries if entry["what"] == "started"]
    return list(dict.fromkeys(started))


def finished_jobs(facade: Facade) -> Counter[tuple[str, str]]:
    """Return how often each job finished, by queue and name."""
    return Counter((entry["queue"], entry["job"]) for entry in facade.entries("finished"))
