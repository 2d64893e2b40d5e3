"""For long: the daemon with both listeners against the real queue engine, uploads and faults.

Run by script/soak --hours H. What it costs is measured all the time; at the end everything must be
done and open, and nothing may have grown.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

import requests

from immich_job_daemon.model.queue import PROTECTED
from simulator.immich.ports import free_port
from tests.engine import daemon_process
from tests.engine.facade import Facade, Following, real_immich
from tests.engine.samples import Course, Sample, late
from tests.support.faulty_proxy import FaultyProxy
from tests.support.immich_server import KEY
from tests.support.waiting import wait_until

POLL_INTERVAL: Final = 10.0
SLACK: Final = 5.0
"""Seconds by which a look may be late on a machine that does all this at once."""
RECOVERY: Final = 45.0
"""Seconds after a fault: the request that hangs, and the longest wait until the next try."""
SAMPLES: Final = 600
TELL_EVERY: Final = 60.0
READ: Final = (
    ("UI_PORT", "/"),
    ("UI_PORT", "/now"),
    ("STATUS_PORT", "/"),
    ("STATUS_PORT", "/queues"),
    ("STATUS_PORT", "/metrics"),
)
QUIET: Final = 0.05
"""The share of the time before the end in which nothing more is uploaded and nothing breaks."""


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Soak:
    """One long run.

    Args:
        facade: the real engine, as Immich.
        line: between the daemon and that.
        folder: the daemon's DATA_DIR, and its log beside it.
        random: decides what happens when.
        is_counted: whether the memory is what Python's objects take, and not the process's.
    """

    def __init__(
        self, facade: Facade, line: FaultyProxy, folder: Path, random: Random, *, is_counted: bool
    ) -> None:
        self.facade = facade
        self.line = line
        self.random = random
        self.happened: Counter[str] = Counter()
        self.troubles: list[tuple[float, float]] = []
        self.samples: list[Sample] = []
        self.began = time.monotonic()
        self._data = folder / "data"
        self._data.mkdir()
        self._log = folder / "log.txt"
        self._counted = folder / "counted.txt" if is_counted else None
        self._ports = {"STATUS_PORT": free_port(), "UI_PORT": free_port()}
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._session = requests.Session()

    def start(self) -> None:
        """Start the daemon, and return when it is well."""
        self.daemon = daemon_process.start(
            self.line.url,
            self._data,
            self._log,
            counted=self._counted,
            **self._ports,
            POLL_INTERVAL=f"{POLL_INTERVAL:g}",
        )
        wait_until(self._is_healthy)
        if self._counted:
            wait_until(self._counted.exists)
        for port, path in READ:
            self._get(port, path)
        self.began = time.monotonic()

    def run(self, seconds: float) -> None:
        """Let things happen for so long."""
        chances = (
            (8.0, self._upload),
            (3.0, self._read),
            (90.0, self._restart_immich),
            (200.0, self._restart_redis),
            (70.0, self._slow),
            (45.0, self._cut),
        )
        plan = {what: self.random.expovariate(1 / every) for every, what in chances}
        every_of = {what: every for every, what in chances}
        told = sampled = 0.0
        while (now := time.monotonic() - self.began) < seconds:
            is_quiet = now > seconds * (1 - QUIET)
            for what, when in plan.items():
                if when <= now:
                    plan[what] = now + self.random.expovariate(1 / every_of[what])
                    # One trouble at a time; the person who uploads sees it and waits.
                    if what == self._read or not (is_quiet or self._later):
                        what()
                        self.happened[what.__name__.strip("_").replace("_", " ")] += 1
            self._do_what_is_due()
            if now >= sampled:
                sampled = now + max(seconds / SAMPLES, 0.5)
                self._sample()
                if now >= told:
                    told = now + TELL_EVERY
                    say(str(self.samples[-1]))
            time.sleep(0.05)

    def end(self) -> list[str]:
        """Let everything come to its end, stop the daemon, and return what is wrong."""
        wait_until(self._is_drained, "all jobs are done", timeout=600.0, interval=0.2)
        looks = [*self.line.polls]
        self.daemon.terminate()
        code = self.daemon.wait(60)
        complaints = [*Course(self.samples).complaints()]
        complaints += late(looks, self.troubles, POLL_INTERVAL + SLACK)
        if code != 0:
            complaints.append(f"the daemon ended with {code}")
        if paused := [str(queue["name"]) for queue in self._queues() if queue["isPaused"]]:
            complaints.append(f"still paused: {', '.join(paused)}")
        log = self._log.read_text()
        complaints += [line for line in log.splitlines() if "Traceback" in line or "FATAL" in line]
        return complaints

    def report(self) -> None:
        """Tell the figures."""
        course = Course(self.samples)
        first, last = course.first, course.last
        jobs = len(self.facade.entries("finished"))
        gaps = sorted(b - a for a, b in zip(self.line.polls, self.line.polls[1:], strict=False))
        rows = [
            ("memory in MiB", lambda one: one.memory, ".2f"),
            ("threads", lambda one: one.threads, "g"),
            ("open files", lambda one: one.descriptors, "g"),
            ("bytes in DATA_DIR", lambda one: sum(one.files.values()), "g"),
        ]
        say(f"{(time.monotonic() - self.began) / 3600:.2f} hours, {len(self.samples)} samples")
        happened = ", ".join(f"{what} {count}" for what, count in sorted(self.happened.items()))
        say(f"{jobs} jobs; {happened}")
        say(
            f"{len(gaps) + 1} looks; seconds between two: {median(gaps):.2f} in the median, "
            f"{gaps[-1]:.2f} at most"
        )
        for what, of, form in rows:
            before, after = (median(map(of, part)) for part in (first, last))
            most = max(map(of, self.samples))
            say(
                f"{what}: {before:{form}} in the first tenth, {after:{form}} in the last, "
                f"{most:{form}} at most"
            )

    # What happens.

    def _upload(self) -> None:
        """Upload some photos: each walks through six queues, as in Immich."""
        many = self.random.choice((1, 1, 3, 10, 30))
        seconds = self.random.choice((0.005, 0.02, 0.05))

        def job(queue: str, *then: Following) -> Following:
            return Following(queue, "photo", seconds, then)

        after = (
            job("smartSearch", job("duplicateDetection")),
            job("faceDetection", job("facialRecognition")),
            job("ocr"),
        )
        chain = job("storageTemplateMigration", job("thumbnailGeneration", *after))
        with suppress(requests.RequestException):
            self.facade.add(
                "metadataExtraction", "photo", count=many, seconds=seconds, then=(chain,)
            )
            if self.random.random() < 0.2:
                self.facade.add(
                    self.random.choice(("videoConversion", "library", "sidecar")),
                    "more",
                    count=self.random.randint(1, 10),
                    seconds=0.2,
                    delay=self.random.choice((0.0, 20.0)),
                    priority=self.random.choice((0, 3)),
                )

    def _read(self) -> None:
        """Read what the daemon shows: a page, a panel, a Prometheus."""
        self._get(*self.random.choice(READ))

    def _get(self, port: str, path: str) -> None:
        url = f"http://127.0.0.1:{self._ports[port]}{path}"
        answer = self._session.get(url, timeout=30)
        # The totals say so while Immich is away.
        assert answer.status_code in {200, 503}, answer.text

    def _restart_immich(self) -> None:
        self.facade.kill()
        self._after(self.random.uniform(1, 10), self.facade.start)

    def _restart_redis(self) -> None:
        self.facade.redis.kill()
        self._after(self.random.uniform(0.5, 5), self.facade.redis.start)

    def _slow(self) -> None:
        self.line.delay = self.random.choice((0.1, 0.5, 1.5))
        self._after(self.random.uniform(5, 20), self._fast)

    def _fast(self) -> None:
        self.line.delay = 0.0

    def _cut(self) -> None:
        self._trouble(0.0)
        self.line.reset_connections()

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._trouble(seconds)
        self._later.append((time.monotonic() + seconds, act))

    def _trouble(self, seconds: float) -> None:
        now = time.monotonic()
        self.troubles.append((now, now + seconds + RECOVERY))

    def _do_what_is_due(self) -> None:
        for one in [one for one in self._later if one[0] <= time.monotonic()]:
            self._later.remove(one)
            one[1]()

    # What is seen.

    def _sample(self) -> None:
        at = time.monotonic() - self.began
        is_healthy = self._is_healthy()
        sample = Sample.take(at, self.daemon.pid, self._data, is_healthy=is_healthy)
        if self._counted:
            sample = replace(sample, memory=float(self._counted.read_text()))
        self.samples.append(sample)

    def _is_healthy(self) -> bool:
        assert self.daemon.poll() is None, self._log.read_text()[-5000:]
        with suppress(requests.ConnectionError):
            url = f"http://127.0.0.1:{self._ports['STATUS_PORT']}/health"
            return self._session.get(url, timeout=30).status_code == 200
        return False

    def _queues(self) -> list[dict[str, object]]:
        url = f"{self.facade.url}/api/queues"
        answer = self._session.get(url, headers={"x-api-key": KEY}, timeout=60)
        answer.raise_for_status()
        found: list[dict[str, object]] = answer.json()
        return found

    def _is_drained(self) -> bool:
        self._do_what_is_due()
        for queue in self._queues():
            statistics = queue["statistics"]
            assert isinstance(statistics, dict)
            if queue["name"] not in PROTECTED and any(
                count for state, count in statistics.items() if state != "failed"
            ):
                return False
        return True


def main() -> int:
    """Run for as long as asked; return the exit code."""
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__)
    parser.add_argument("--hours", type=float, required=True, help="for so long")
    parser.add_argument("--bullmq", type=int, choices=(5, 6), default=5, help="(default: 5)")
    parser.add_argument(
        "--objects",
        action="store_true",
        help="measure what Python's objects take, not what the process has",
    )
    parser.add_argument("--seed", type=int, default=0, help="of what happens (default: 0)")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        facade = stack.enter_context(real_immich(folder, given.bullmq))
        line = stack.enter_context(FaultyProxy(facade.port))
        random = Random(given.seed)  # noqa: S311 - seeded on purpose
        soak = Soak(facade, line, folder, random, is_counted=given.objects)
        try:
            soak.start()
            soak.run(given.hours * 3600)
            complaints = soak.end()
        finally:
            soak.daemon.kill()
            soak.daemon.wait()
        soak.report()
    for complaint in complaints:
        say(f"WRONG: {complaint}")
    say("Nothing grew, nothing was late." if not complaints else f"{len(complaints)} complaints.")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
