"""What the journal of a real engine says about the daemon."""

from collections import Counter
from collections.abc import Iterable

from immich_job_daemon.model.queue import PROTECTED
from tests.engine.facade import Entry, Facade


def managed(queues: Iterable[str]) -> set[str]:
    return set(queues) - set(PROTECTED)


def over_the_limit(entries: Iterable[Entry], limit: int) -> list[str]:
    """Return each resume of the daemon's after which more queues were open or busy than allowed."""
    return [
        f"resuming {entry['queue']} made {sorted(managed(entry['open']))} of {limit}"
        for entry in entries
        if entry["what"] == "resumed"
        and entry["by"] == "daemon"
        and len(managed(entry["open"])) > limit
    ]


def most_at_once(entries: Iterable[Entry]) -> int:
    """Return how many managed queues had a running job at the same time, at most."""
    running: Counter[str] = Counter()
    most = 0
    for entry in entries:
        if entry["what"] == "started":
            running[entry["queue"]] += 1
        elif entry["what"] == "finished":
            running[entry["queue"]] -= 1
        most = max(most, len(managed(+running)))
    return most


def in_order(entries: Iterable[Entry]) -> list[str]:
    """Return the queues in the order in which they began to work."""
    started = [entry["queue"] for entry in entries if entry["what"] == "started"]
    return list(dict.fromkeys(started))


def done(facade: Facade) -> Counter[tuple[str, str]]:
    """Return how often each job came to its end, by queue and name."""
    return Counter((entry["queue"], entry["job"]) for entry in facade.entries("finished"))
