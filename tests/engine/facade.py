"""The process of facade.mjs: an Immich of which only the queues are real."""

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

PERSONS_KEY: Final = "the-key-of-a-person"
SEARCH: Final = 30.0
"""Seconds between two searches for jobs whose worker is gone: BullMQ's own default."""

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Following:
    """A job that is added just before another one ends; ``seconds`` None: until it is told to."""

    queue: str
    job: str
    seconds: float | None = None
    then: "tuple[Following, ...]" = ()


class Facade(ServerProcess):
    """Immich's two APIs in front of a real BullMQ.

    Args:
        folder: for its journal.
        redis: where its queues are.
        bullmq: the major version.
        search: seconds between two searches for jobs whose worker is gone.
    """

    def __init__(
        self, folder: Path, redis: Redis, bullmq: Literal[5, 6], *, search: float = SEARCH
    ) -> None:
        super().__init__(folder / "facade.txt")
        self.port = free_port()
        self.bullmq = bullmq
        self.redis = redis
        self._journal = folder / "journal.txt"
        self._journal.touch()
        self._search = search
        self._starts = 0
        self._session = requests.Session()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return what starts it."""
        settings = {
            "bullmq": self.bullmq,
            "redis": self.redis.port,
            "port": self.port,
            "keys": {KEY: "daemon", PERSONS_KEY: "person"},
            "journal": str(self._journal),
            "search": self._search,
        }
        self._starts = len(self.entries("up"))
        return [find_program("node"), str(install() / "facade.mjs"), json.dumps(settings)]

    def is_ready(self) -> bool:
        """Return whether it is up, once more than before."""
        return len(self.entries("up")) > self._starts

    def entries(self, *what: str) -> list[Entry]:
        """Return what was written down so far, in its order: of these kinds, or all."""
        return list(self.read(0, *what)[0])

    def read(self, place: int, *what: str) -> tuple[list[Entry], int]:
        """Return the same from a place in the journal on, and the place behind it."""
        with self._journal.open("rb") as file:
            file.seek(place)
            lines = file.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        found = [json.loads(line) for line in whole.splitlines()]
        return [entry for entry in found if not what or entry["what"] in what], place + len(whole)

    def add(  # noqa: PLR0913 - what BullMQ lets one say of a new job
        self,
        queue: str,
        job: str,
        *,
        count: int = 1,
        seconds: float | None = 0.0,
        delay: float = 0.0,
        priority: int = 0,
        then: tuple[Following, ...] = (),
    ) -> None:
        """Add jobs; ``seconds`` is how long each takes, None until it is told to finish."""
        self._control(
            "add",
            queue=queue,
            job=job,
            count=count,
            seconds=seconds,
            delay=delay,
            priority=priority,
            then=[asdict(one) for one in then],
        )

    def finish(self, queue: str) -> int:
        """Let the running jobs of a queue end that wait for it; return how many."""
        count: int = self._control("finish", queue=queue)
        return count

    def doom(self, pid: int, *, after: int, delay: float) -> None:
        """Kill a process ``delay`` seconds after the so-manieth request of the daemon from now."""
        self._control("kill", pid=pid, after=after, delay=delay * 1000)

    def _control(self, what: str, **body: object) -> Any:  # noqa: ANN401 - any JSON
        answer = self._session.post(f"{self.url}/test/{what}", json=body, timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def real_immich(folder: Path, bullmq: Literal[5, 6], *, search: float = SEARCH) -> Iterator[Facade]:
    """Run the facade and its Redis."""
    with Redis(folder) as redis, Facade(folder, redis, bullmq, search=search) as facade:
        yield facade
