"""The daemon, a process, against the real queue engine."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import requests

from immich_job_daemon.model.queue import PRIORITY, PROTECTED
from tests.engine import daemon_process, journal
from tests.engine.conftest import VERSIONS
from tests.engine.facade import PERSONS_KEY, Facade, Following, real_immich
from tests.support.immich_server import MANAGED
from tests.support.waiting import TIMEOUT, wait_until

KILLS = 100
"""How often the daemon is killed in a backlog, for each version of the engine."""
BACKLOG = 150
"""Jobs that wait at each of its starts, at least, and that are kept up while it runs."""


@pytest.fixture(params=VERSIONS)
def facade(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Facade]:
    with real_immich(tmp_path, request.param) as one:
        yield one


def queues(facade: Facade) -> dict[str, dict[str, Any]]:
    answer = requests.get(
        f"{facade.url}/api/queues", headers={"x-api-key": PERSONS_KEY}, timeout=TIMEOUT
    )
    answer.raise_for_status()
    return {queue["name"]: queue for queue in answer.json()}


def paused(facade: Facade) -> set[str]:
    return {name for name, queue in queues(facade).items() if queue["isPaused"]}


def pause_all(facade: Facade) -> None:
    for name in MANAGED:
        requests.put(
            f"{facade.url}/api/queues/{name}",
            headers={"x-api-key": PERSONS_KEY},
            json={"isPaused": True},
            timeout=TIMEOUT,
        ).raise_for_status()


@pytest.mark.parametrize("limit", [1, 2])
def test_a_backlog_is_run_by_priority_within_the_limit_and_to_its_end(
    facade: Facade, tmp_path: Path, limit: int
) -> None:
    pause_all(facade)
    backlog = [*PRIORITY[:7], "ocr"]
    for name in reversed(backlog):
        # Long enough that the first one is still at work when the second one is resumed.
        facade.add(name, f"job of {name}", count=4, seconds=0.4)
    facade.add("videoConversion", "hidden", count=2, seconds=0.1, priority=1)
    facade.add("videoConversion", "later", seconds=0.1, delay=1.0)
    process = daemon_process.start(
        facade.url, tmp_path, tmp_path / "log.txt", MAX_CONCURRENT_JOBS=limit, POLL_INTERVAL=1
    )
    try:
        expected = 4 * len(backlog) + 1
        wait_until(lambda: sum(journal.done(facade).values()) >= expected)
        entries = facade.entries()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()
    assert journal.over_the_limit(entries, limit) == []
    assert journal.most_at_once(entries) == limit
    order = [name for name in journal.in_order(entries) if name in backlog]
    if limit == 1:
        assert order == backlog
    else:
        # Two begin at the same time: which of them is first in the journal is chance.
        assert all(abs(order.index(name) - place) <= 1 for place, name in enumerate(backlog))
    assert paused(facade) == set()
    # What had a priority was in no count; it runs at the latest now that all is open.
    wait_until(lambda: sum(journal.done(facade).values()) == expected + 2)
    assert set(journal.done(facade).values()) == {1}


def test_photos_walk_through_all_queues_within_the_limit(facade: Facade, tmp_path: Path) -> None:
    pause_all(facade)
    after = (
        Following("smartSearch", "photo", 0.05, (Following("duplicateDetection", "photo", 0.01),)),
        Following("faceDetection", "photo", 0.05, (Following("facialRecognition", "photo", 0.01),)),
        Following("ocr", "photo", 0.05),
    )
    thumbnail = Following("thumbnailGeneration", "photo", 0.05, after)
    chain = (Following("storageTemplateMigration", "photo", 0.005, (thumbnail,)),)
    process = daemon_process.start(facade.url, tmp_path, tmp_path / "log.txt", POLL_INTERVAL=1)
    try:
        facade.add("metadataExtraction", "photo", count=20, seconds=0.02, then=chain)
        wait_until(lambda: sum(journal.done(facade).values()) == 20 * 8)
        entries = facade.entries()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()
    assert journal.over_the_limit(entries, 1) == []
    assert journal.most_at_once(entries) == 1
    assert paused(facade) == set()


class Siege:
    """A backlog that never ends, and a daemon that is killed at random moments of it."""

    def __init__(self, facade: Facade, folder: Path, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - seeded on purpose
        self.facade = facade
        self.folder = folder
        self.limit = 2
        self.added = 0
        self.read = 0
        self.finished = 0
        self.kills = 0
        self._log = folder / "log.txt"
        self._spare = daemon_process.spawn(self._log)

    @contextmanager
    def next_daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        """Give a running daemon. The one after it starts beside, up to where it is told options."""
        process, self._spare = self._spare, daemon_process.spawn(self._log)
        options = {"MAX_CONCURRENT_JOBS": self.limit, "POLL_INTERVAL": 1}
        try:
            daemon_process.tell(process, self.facade.url, self.folder, **options)
            yield process
        finally:
            process.kill()
            process.wait()

    def close(self) -> None:
        """End what waits for its turn."""
        with self._spare:
            self._spare.kill()

    def add(self) -> None:
        """Add what makes the daemon busy: a few short jobs here and there, and a long one."""
        for name in self.random.sample([*PRIORITY, *PROTECTED[:1]], 3):
            count = self.random.randint(1, 5)
            seconds = self.random.choice((0.005, 0.02, 0.05))
            self.facade.add(name, f"{self.added} of {name}", count=count, seconds=seconds)
            self.added += count
        self.facade.add("videoConversion", f"{self.added}", seconds=0.2)
        self.added += 1

    def left(self) -> int:
        """Return how many jobs have not come to their end."""
        entries, self.read = self.facade.read(self.read, "finished")
        self.finished += len(entries)
        return self.added - self.finished

    def kill_once(self) -> bool:
        """Start the daemon and kill it: some requests later, or some time.

        Returns:
            whether that was in a backlog: on a slow machine the jobs may be through before it.
        """
        self.add()
        while self.left() < BACKLOG:
            self.add()

        def has_ended() -> bool:
            if self.left() < BACKLOG:
                self.add()
            return process.poll() is not None

        with self.next_daemon() as process:
            # After the first look of a start come its commands, and every look may bring more.
            after = 1 + min(int(self.random.expovariate(1 / 5)), 15)
            self.facade.doom(process.pid, after=after, delay=self.random.uniform(0, 0.02))
            wait_until(has_ended)
        assert process.returncode == -signal.SIGKILL
        self.kills += 1
        return self.left() > 0


def test_killed_at_random_moments_it_keeps_the_limit_and_loses_nothing(
    facade: Facade, tmp_path: Path
) -> None:
    with closing(Siege(facade, tmp_path, seed=facade.bullmq)) as siege:
        in_a_backlog = 0
        while in_a_backlog < KILLS:
            in_a_backlog += siege.kill_once()
        with siege.next_daemon() as process:
            wait_until(lambda: siege.left() == 0)
            entries = facade.entries()
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0
    assert sum(entry["what"] == "killed" for entry in entries) == siege.kills
    assert journal.over_the_limit(entries, siege.limit) == []
    assert sum(entry["what"] == "resumed" for entry in entries) > KILLS / 4
    assert len(journal.done(facade)) == siege.added
    assert set(journal.done(facade).values()) == {1}
    assert paused(facade) == set()
    assert all(not any(queue["statistics"].values()) for queue in queues(facade).values())
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
