"""The facade: Immich's queue APIs in front of a real BullMQ, as a Node process."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import requests

from simulator.immich.ports import free_port
from tests.engine.bullmq import install
from tests.engine.store import Redis
from tests.support.immich_server import KEY
from tests.support.programs import ServerProcess, find_program
from tests.support.waiting import TIMEOUT

USER_KEY: Final = "the-key-of-a-user"
STALLED_INTERVAL: Final = 30.0
"""Seconds between two checks for stalled jobs: BullMQ's default."""

JournalEntry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A job added just before another one ends; with ``seconds`` None it runs until ``finish``."""

    queue: str
    job: str
    seconds: float | None = None
    then: "tuple[FollowUp, ...]" = ()


class Facade(ServerProcess):
    """The facade process.

    Args:
        folder: for its journal and its log.
        redis: the store of its queues.
        bullmq: the major version.
        stalled_interval: seconds between two checks for stalled jobs.
    """

    def __init__(
        self,
        folder: Path,
        redis: Redis,
        bullmq: Literal[5, 6],
        *,
        stalled_interval: float = STALLED_INTERVAL,
    ) -> None:
        super().__init__(folder / "facade.txt")
        self.port = free_port()
        self.bullmq = bullmq
        self.redis = redis
        self._journal = folder / "journal.txt"
        self._journal.touch()
        self._stalled_interval = stalled_interval
        self._starts = 0
        self._session = requests.Session()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return the command that starts it."""
        settings = {
            "bullmq": self.bullmq,
            "redis": self.redis.port,
            "port": self.port,
            "keys": {KEY: "daemon", USER_KEY: "user"},
            "journal": str(self._journal),
            "stalledInterval": self._stalled_interval,
        }
        self._starts = len(self.entries("up"))
        return [find_program("node"), str(install() / "facade.mjs"), json.dumps(settings)]

    def is_ready(self) -> bool:
        """Return whether the journal has a new ``up`` entry since the start."""
        return len(self.entries("up")) > self._starts

    def entries(self, *kinds: str) -> list[JournalEntry]:
        """Return the journal in order: the entries of the given kinds, or all."""
        return list(self.read(0, *kinds)[0])

    def read(self, offset: int, *kinds: str) -> tuple[list[JournalEntry], int]:
        """Return the entries from an offset in bytes on, and the offset after them."""
        with self._journal.open("rb") as file:
            file.seek(offset)
            lines = file.read()
        complete = lines[: lines.rfind(b"\n") + 1]
        entries = [json.loads(line) for line in complete.splitlines()]
        selected = [entry for entry in entries if not kinds or entry["what"] in kinds]
        return selected, offset + len(complete)

    def add(  # noqa: PLR0913 - the options of BullMQ
        self,
        queue: str,
        job: str,
        *,
        count: int = 1,
        seconds: float | None = 0.0,
        delay: float = 0.0,
        priority: int = 0,
        then: tuple[FollowUp, ...] = (),
    ) -> None:
        """Add jobs; each takes ``seconds``, or with None runs until ``finish``."""
        self._control(
            "add",
            queue=queue,
            job=job,
            count=count,
            seconds=seconds,
            delay=delay,
            priority=priority,
            then=[asdict(follow_up) for follow_up in then],
        )

    def finish(self, queue: str) -> int:
        """Finish the running jobs that were added with ``seconds`` None; return their number."""
        count: int = self._control("finish", queue=queue)
        return count

    def kill_after(self, pid: int, *, after: int, delay: float) -> None:
        """Kill a process ``delay`` seconds after the daemon has sent ``after`` more requests."""
        self._control("kill", pid=pid, after=after, delay=delay * 1000)

    def _control(self, action: str, **body: object) -> Any:  # noqa: ANN401 - any JSON
        response = self._session.post(f"{self.url}/test/{action}", json=body, timeout=TIMEOUT)
        response.raise_for_status()
        return response.json()


@contextmanager
def real_immich(
    folder: Path, bullmq: Literal[5, 6], *, stalled_interval: float = STALLED_INTERVAL
) -> Iterator[Facade]:
    """Run the facade and its Redis."""
    with (
        Redis(folder) as redis,
        Facade(folder, redis, bullmq, stalled_interval=stalled_interval) as facade,
    ):
        yield facade
