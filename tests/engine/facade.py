"""The process of facade.mjs: an Immich of which only the queues are real."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import requests

from immich_job_daemon.simulator.ports import free_port
from tests.engine.installed import install, program
from tests.engine.store import Redis
from tests.held import KEY, LIMIT, until

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


class Facade:
    """Immich's two APIs in front of a real BullMQ. It can be killed and started again.

    Args:
        folder: for its journal.
        redis: where its queues are.
        bullmq: the major version.
        search: seconds between two searches for jobs whose worker is gone.
    """

    def __init__(
        self, folder: Path, redis: Redis, bullmq: Literal[5, 6], *, search: float = SEARCH
    ) -> None:
        self.port = free_port()
        self.bullmq = bullmq
        self.redis = redis
        self._folder = folder
        self._journal = folder / "journal.txt"
        self._journal.touch()
        self._search = search
        self._process: subprocess.Popen[bytes] | None = None
        self._session = requests.Session()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        settings = {
            "bullmq": self.bullmq,
            "redis": self.redis.port,
            "port": self.port,
            "keys": {KEY: "daemon", PERSONS_KEY: "person"},
            "journal": str(self._journal),
            "search": self._search,
        }
        before = len(self.entries("up"))
        command = [program("node"), str(install() / "facade.mjs"), json.dumps(settings)]
        with (self._folder / "facade.txt").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(lambda: self._is_up(before))

    def kill(self) -> None:
        """End it with all that it was about."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

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
        answer = self._session.post(f"{self.url}/test/{what}", json=body, timeout=LIMIT)
        answer.raise_for_status()
        return answer.json()

    def _is_up(self, before: int) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "facade.txt").read_text()
        return len(self.entries("up")) > before


@contextmanager
def real_immich(folder: Path, bullmq: Literal[5, 6], *, search: float = SEARCH) -> Iterator[Facade]:
    """Run the facade and its Redis."""
    with Redis(folder) as redis:
        facade = Facade(folder, redis, bullmq, search=search)
        try:
            facade.start()
            yield facade
        finally:
            facade.kill()
