"""Soak test: the daemon with both listeners against the real queue engine, uploads and faults.

Run by script/soak --hours H. The process is measured all the time. At the end all jobs must be
done, all queues open, and no resource may have grown.
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
from tests.engine.facade import Facade, FollowUp, real_immich
from tests.engine.samples import Sample, SampleSeries, late_polls
from tests.support.faulty_proxy import FaultyProxy
from tests.support.immich_server import KEY
from tests.support.waiting import wait_until

POLL_INTERVAL: Final = 10.0
SLACK: Final = 5.0
"""Seconds by which a poll may be late, since everything runs on one machine."""
RECOVERY: Final = 45.0
"""Seconds after a fault until polls are due: a hanging request and the longest back-off."""
SAMPLES: Final = 600
REPORT_INTERVAL: Final = 60.0
PAGES: Final = (
    ("UI_PORT", "/"),
    ("UI_PORT", "/now"),
    ("STATUS_PORT", "/"),
    ("STATUS_PORT", "/queues"),
    ("STATUS_PORT", "/metrics"),
)
QUIET_SHARE: Final = 0.05
"""The share of the time at the end without uploads and faults."""


def print_line(text: str) -> None:
    """Print a line and flush it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Soak:
    """One long run.

    Args:
        facade: the real engine, as Immich.
        proxy: the proxy between the daemon and the facade.
        folder: for DATA_DIR and the log.
        random: decides what happens when.
        measures_objects: measure the memory of Python objects instead of the process.
    """

    def __init__(
        self,
        facade: Facade,
        proxy: FaultyProxy,
        folder: Path,
        random: Random,
        *,
        measures_objects: bool,
    ) -> None:
        self.facade = facade
        self.proxy = proxy
        self.random = random
        self.happened: Counter[str] = Counter()
        self.faults: list[tuple[float, float]] = []
        self.samples: list[Sample] = []
        self.began = time.monotonic()
        self._data = folder / "data"
        self._data.mkdir()
        self._log = folder / "log.txt"
        self._object_memory_file = folder / "object-memory.txt" if measures_objects else None
        self._ports = {"STATUS_PORT": free_port(), "UI_PORT": free_port()}
        self._pending_actions: list[tuple[float, Callable[[], None]]] = []
        self._session = requests.Session()

    def start(self) -> None:
        """Start the daemon and wait until it is healthy."""
        self.daemon = daemon_process.start(
            self.proxy.url,
            self._data,
            self._log,
            object_memory_file=self._object_memory_file,
            **self._ports,
            POLL_INTERVAL=f"{POLL_INTERVAL:g}",
        )
        wait_until(self._is_healthy)
        if self._object_memory_file:
            wait_until(self._object_memory_file.exists)
        for port, path in PAGES:
            self._get(port, path)
        self.began = time.monotonic()

    def run(self, seconds: float) -> None:
        """Run uploads and faults for a time."""
        events = (
            (8.0, self._upload),
            (3.0, self._request_page),
            (90.0, self._restart_immich),
            (200.0, self._restart_redis),
            (70.0, self._slow_down),
            (45.0, self._reset_connections),
        )
        plan = {event: self.random.expovariate(1 / every) for every, event in events}
        intervals = {event: every for every, event in events}
        reported = sampled = 0.0
        while (now := time.monotonic() - self.began) < seconds:
            is_quiet = now > seconds * (1 - QUIET_SHARE)
            for event, when in plan.items():
                if when <= now:
                    plan[event] = now + self.random.expovariate(1 / intervals[event])
                    # One fault at a time, and no upload during it.
                    if event == self._request_page or not (is_quiet or self._pending_actions):
                        event()
                        self.happened[event.__name__.strip("_").replace("_", " ")] += 1
            self._run_due_actions()
            if now >= sampled:
                sampled = now + max(seconds / SAMPLES, 0.5)
                self._sample()
                if now >= reported:
                    reported = now + REPORT_INTERVAL
                    print_line(str(self.samples[-1]))
            time.sleep(0.05)

    def end(self) -> list[str]:
        """Wait until all jobs are done, stop the daemon and return the problems."""
        wait_until(self._is_drained, "all jobs are done", timeout=600.0, interval=0.2)
        polls = [*self.proxy.polls]
        self.daemon.terminate()
        code = self.daemon.wait(60)
        problems = [*SampleSeries(self.samples).problems()]
        problems += late_polls(polls, self.faults, POLL_INTERVAL + SLACK)
        if code != 0:
            problems.append(f"the daemon exited with code {code}")
        if paused := [str(queue["name"]) for queue in self._queues() if queue["isPaused"]]:
            problems.append(f"still paused: {', '.join(paused)}")
        log = self._log.read_text()
        problems += [line for line in log.splitlines() if "Traceback" in line or "FATAL" in line]
        return problems

    def report(self) -> None:
        """Print the measurements."""
        series = SampleSeries(self.samples)
        first, last = series.first, series.last
        jobs = len(self.facade.entries("finished"))
        gaps = sorted(b - a for a, b in zip(self.proxy.polls, self.proxy.polls[1:], strict=False))
        rows = [
            ("memory in MiB", lambda sample: sample.memory, ".2f"),
            ("threads", lambda sample: sample.threads, "g"),
            ("open files", lambda sample: sample.descriptors, "g"),
            ("bytes in DATA_DIR", lambda sample: sum(sample.files.values()), "g"),
        ]
        print_line(
            f"{(time.monotonic() - self.began) / 3600:.2f} hours, {len(self.samples)} samples"
        )
        happened = ", ".join(f"{event} {count}" for event, count in sorted(self.happened.items()))
        print_line(f"{jobs} jobs; {happened}")
        print_line(
            f"{len(gaps) + 1} polls; seconds between two: median {median(gaps):.2f}, "
            f"maximum {gaps[-1]:.2f}"
        )
        for label, value_of, form in rows:
            before, after = (median(map(value_of, part)) for part in (first, last))
            highest = max(map(value_of, self.samples))
            print_line(
                f"{label}: {before:{form}} in the first tenth, {after:{form}} in the last, "
                f"maximum {highest:{form}}"
            )

    # Events.

    def _upload(self) -> None:
        """Upload some photos; each passes through several queues, as in Immich."""
        photos = self.random.choice((1, 1, 3, 10, 30))
        seconds = self.random.choice((0.005, 0.02, 0.05))

        def job(queue: str, *then: FollowUp) -> FollowUp:
            return FollowUp(queue, "photo", seconds, then)

        after = (
            job("smartSearch", job("duplicateDetection")),
            job("faceDetection", job("facialRecognition")),
            job("ocr"),
        )
        chain = job("storageTemplateMigration", job("thumbnailGeneration", *after))
        with suppress(requests.RequestException):
            self.facade.add(
                "metadataExtraction", "photo", count=photos, seconds=seconds, then=(chain,)
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

    def _request_page(self) -> None:
        """Request a page, as a browser, a panel or Prometheus does."""
        self._get(*self.random.choice(PAGES))

    def _get(self, port: str, path: str) -> None:
        url = f"http://127.0.0.1:{self._ports[port]}{path}"
        response = self._session.get(url, timeout=30)
        # 503: Immich is down at the moment.
        assert response.status_code in {200, 503}, response.text

    def _restart_immich(self) -> None:
        self.facade.kill()
        self._after(self.random.uniform(1, 10), self.facade.start)

    def _restart_redis(self) -> None:
        self.facade.redis.kill()
        self._after(self.random.uniform(0.5, 5), self.facade.redis.start)

    def _slow_down(self) -> None:
        self.proxy.delay = self.random.choice((0.1, 0.5, 1.5))
        self._after(self.random.uniform(5, 20), self._end_slow_phase)

    def _end_slow_phase(self) -> None:
        self.proxy.delay = 0.0

    def _reset_connections(self) -> None:
        self._note_fault(0.0)
        self.proxy.reset_connections()

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._note_fault(seconds)
        self._pending_actions.append((time.monotonic() + seconds, act))

    def _note_fault(self, seconds: float) -> None:
        now = time.monotonic()
        self.faults.append((now, now + seconds + RECOVERY))

    def _run_due_actions(self) -> None:
        for sample in [sample for sample in self._pending_actions if sample[0] <= time.monotonic()]:
            self._pending_actions.remove(sample)
            sample[1]()

    # Measurements.

    def _sample(self) -> None:
        at = time.monotonic() - self.began
        is_healthy = self._is_healthy()
        sample = Sample.take(at, self.daemon.pid, self._data, is_healthy=is_healthy)
        if self._object_memory_file:
            sample = replace(sample, memory=float(self._object_memory_file.read_text()))
        self.samples.append(sample)

    def _is_healthy(self) -> bool:
        assert self.daemon.poll() is None, self._log.read_text()[-5000:]
        with suppress(requests.ConnectionError):
            url = f"http://127.0.0.1:{self._ports['STATUS_PORT']}/health"
            return self._session.get(url, timeout=30).status_code == 200
        return False

    def _queues(self) -> list[dict[str, object]]:
        url = f"{self.facade.url}/api/queues"
        response = self._session.get(url, headers={"x-api-key": KEY}, timeout=60)
        response.raise_for_status()
        found: list[dict[str, object]] = response.json()
        return found

    def _is_drained(self) -> bool:
        self._run_due_actions()
        for queue in self._queues():
            statistics = queue["statistics"]
            assert isinstance(statistics, dict)
            if queue["name"] not in PROTECTED and any(
                count for state, count in statistics.items() if state != "failed"
            ):
                return False
        return True


def main() -> int:
    """Run the soak test; return the exit code."""
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__)
    parser.add_argument("--hours", type=float, required=True, help="duration")
    parser.add_argument(
        "--bullmq", type=int, choices=(5, 6), default=5, help="major version (default: 5)"
    )
    parser.add_argument(
        "--objects",
        action="store_true",
        help="measure the memory of Python objects instead of the process",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random events (default: 0)"
    )
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        facade = stack.enter_context(real_immich(folder, arguments.bullmq))
        proxy = stack.enter_context(FaultyProxy(facade.port))
        random = Random(arguments.seed)  # noqa: S311 - seeded on purpose
        soak = Soak(facade, proxy, folder, random, measures_objects=arguments.objects)
        try:
            soak.start()
            soak.run(arguments.hours * 3600)
            problems = soak.end()
        finally:
            soak.daemon.kill()
            soak.daemon.wait()
        soak.report()
    for problem in problems:
        print_line(f"PROBLEM: {problem}")
    print_line("No problems." if not problems else f"{len(problems)} problems.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
