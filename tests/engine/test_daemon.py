"""A daemon process against the real queue engine."""

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
from tests.engine.facade import USER_KEY, Facade, FollowUp, real_immich
from tests.support.immich_server import MANAGED
from tests.support.waiting import TIMEOUT, wait_until

KILLS = 100
"""Kills during a backlog, for each version of the engine."""
BACKLOG = 150
"""The least number of jobs at each start of the daemon; more are added while it runs."""


@pytest.fixture(params=VERSIONS)
def facade(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Facade]:
    with real_immich(tmp_path, request.param) as facade:
        yield facade


def queues(facade: Facade) -> dict[str, dict[str, Any]]:
    response = requests.get(
        f"{facade.url}/api/queues", headers={"x-api-key": USER_KEY}, timeout=TIMEOUT
    )
    response.raise_for_status()
    return {queue["name"]: queue for queue in response.json()}


def paused(facade: Facade) -> set[str]:
    return {name for name, queue in queues(facade).items() if queue["isPaused"]}


def pause_all(facade: Facade) -> None:
    for name in MANAGED:
        requests.put(
            f"{facade.url}/api/queues/{name}",
            headers={"x-api-key": USER_KEY},
            json={"isPaused": True},
            timeout=TIMEOUT,
        ).raise_for_status()


@pytest.mark.parametrize("limit", [1, 2])
def test_a_backlog_is_processed_by_priority_within_the_limit(
    facade: Facade, tmp_path: Path, limit: int
) -> None:
    pause_all(facade)
    backlog = [*PRIORITY[:7], "ocr"]
    for name in reversed(backlog):
        # Long enough for the first queue to be busy when the second one is resumed.
        facade.add(name, f"job of {name}", count=4, seconds=0.4)
    facade.add("videoConversion", "hidden", count=2, seconds=0.1, priority=1)
    facade.add("videoConversion", "later", seconds=0.1, delay=1.0)
    process = daemon_process.start(
        facade.url, tmp_path, tmp_path / "log.txt", MAX_CONCURRENT_JOBS=limit, POLL_INTERVAL=1
    )
    try:
        expected = 4 * len(backlog) + 1
        wait_until(lambda: sum(journal.finished_jobs(facade).values()) >= expected)
        entries = facade.entries()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()
    assert journal.resumes_over_limit(entries, limit) == []
    assert journal.max_running_queues(entries) == limit
    order = [name for name in journal.order_of_starts(entries) if name in backlog]
    if limit == 1:
        assert order == backlog
    else:
        # Two start at the same time, in any order.
        assert all(abs(order.index(name) - place) <= 1 for place, name in enumerate(backlog))
    assert paused(facade) == set()
    # Jobs with a priority were in no count; they run at the latest now that all queues are open.
    wait_until(lambda: sum(journal.finished_jobs(facade).values()) == expected + 2)
    assert set(journal.finished_jobs(facade).values()) == {1}


def test_photos_pass_through_all_queues_within_the_limit(facade: Facade, tmp_path: Path) -> None:
    pause_all(facade)
    after = (
        FollowUp("smartSearch", "photo", 0.05, (FollowUp("duplicateDetection", "photo", 0.01),)),
        FollowUp("faceDetection", "photo", 0.05, (FollowUp("facialRecognition", "photo", 0.01),)),
        FollowUp("ocr", "photo", 0.05),
    )
    thumbnail = FollowUp("thumbnailGeneration", "photo", 0.05, after)
    chain = (FollowUp("storageTemplateMigration", "photo", 0.005, (thumbnail,)),)
    process = daemon_process.start(facade.url, tmp_path, tmp_path / "log.txt", POLL_INTERVAL=1)
    try:
        facade.add("metadataExtraction", "photo", count=20, seconds=0.02, then=chain)
        wait_until(lambda: sum(journal.finished_jobs(facade).values()) == 20 * 8)
        entries = facade.entries()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()
    assert journal.resumes_over_limit(entries, 1) == []
    assert journal.max_running_queues(entries) == 1
    assert paused(facade) == set()


class RepeatedKills:
    """A backlog that never ends, and a daemon that is killed at random moments."""

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
        """Yield a running daemon; the next one is spawned in advance and waits for its options."""
        process, self._spare = self._spare, daemon_process.spawn(self._log)
        options = {"MAX_CONCURRENT_JOBS": self.limit, "POLL_INTERVAL": 1}
        try:
            daemon_process.send_options(process, self.facade.url, self.folder, **options)
            yield process
        finally:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Kill the spawned process that was not used."""
        with self._spare:
            self._spare.kill()

    def add(self) -> None:
        """Add a few short jobs to random queues, and a long one."""
        for name in self.random.sample([*PRIORITY, *PROTECTED[:1]], 3):
            count = self.random.randint(1, 5)
            seconds = self.random.choice((0.005, 0.02, 0.05))
            self.facade.add(name, f"{self.added} of {name}", count=count, seconds=seconds)
            self.added += count
        self.facade.add("videoConversion", f"{self.added}", seconds=0.2)
        self.added += 1

    def jobs_left(self) -> int:
        """Return the number of unfinished jobs."""
        entries, self.read = self.facade.read(self.read, "finished")
        self.finished += len(entries)
        return self.added - self.finished

    def kill_once(self) -> bool:
        """Start the daemon and kill it after a random number of requests.

        Returns:
            whether jobs were left: on a slow machine all may be done before the kill.
        """
        self.add()
        while self.jobs_left() < BACKLOG:
            self.add()

        def has_ended() -> bool:
            if self.jobs_left() < BACKLOG:
                self.add()
            return process.poll() is not None

        with self.next_daemon() as process:
            # The first poll is followed by commands, and so may be any later one.
            after = 1 + min(int(self.random.expovariate(1 / 5)), 15)
            self.facade.kill_after(process.pid, after=after, delay=self.random.uniform(0, 0.02))
            wait_until(has_ended)
        assert process.returncode == -signal.SIGKILL
        self.kills += 1
        return self.jobs_left() > 0


def test_random_kills_never_exceed_the_limit_and_lose_no_job(
    facade: Facade, tmp_path: Path
) -> None:
    with closing(RepeatedKills(facade, tmp_path, seed=facade.bullmq)) as run:
        kills_with_backlog = 0
        while kills_with_backlog < KILLS:
            kills_with_backlog += run.kill_once()
        with run.next_daemon() as process:
            wait_until(lambda: run.jobs_left() == 0)
            entries = facade.entries()
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0
    assert sum(entry["what"] == "killed" for entry in entries) == run.kills
    assert journal.resumes_over_limit(entries, run.limit) == []
    assert sum(entry["what"] == "resumed" for entry in entries) > KILLS / 4
    assert len(journal.finished_jobs(facade)) == run.added
    assert set(journal.finished_jobs(facade).values()) == {1}
    assert paused(facade) == set()
    assert all(not any(queue["statistics"].values()) for queue in queues(facade).values())
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
