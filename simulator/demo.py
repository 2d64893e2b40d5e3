"""A demo: the daemon runs the queues of a simulated Immich over real HTTP.

The daemon runs in its own process, started in the same way as in the add-on. The demo shows the
state of the simulated server, not the daemon's view of it.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from immich_job_daemon.base.clock import StopRequested, SystemClock
from immich_job_daemon.config.schema import SETTINGS
from immich_job_daemon.model.queue import PROTECTED
from simulator.immich import KEY, simulated_immich
from simulator.immich.engine import Engine
from simulator.immich.ports import free_port
from simulator.immich.run_history import QueueRun, RunHistory
from simulator.immich.server import SimulatedServer

LONGEST: Final = 600.0
"""Seconds after which the demo fails if jobs are left."""
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells report it."""
STOP_TIMEOUT: Final = 10.0
PASSWORD: Final = "simulated"  # noqa: S105 - the demo prints it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo with these arguments (default: the command line's); return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return 0 if demo(photos=options.photos, limit=options.limit, keep=options.keep) else 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="script/demo", description="Watch the daemon run the queues of a simulated Immich."
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep running until Ctrl-C when all jobs are done"
    )
    parser.add_argument(
        "--photos", type=_at_least_one, default=40, help="photos to upload (default: 40)"
    )
    parser.add_argument(
        "--limit", type=_at_least_one, default=1, help="queues to run at once (default: 1)"
    )
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be a whole number of at least 1")
    return number


def demo(*, photos: int, limit: int, keep: bool) -> bool:
    """Run the demo and print its progress; return whether the daemon kept its promises.

    Args:
        photos: number of photos to upload while all queues are paused; a video is added.
        limit: MAX_CONCURRENT_JOBS.
        keep: keep running when all jobs are done, until Ctrl-C or SIGTERM.
    """
    # Without this handler SIGTERM would end the demo and its Immich, but not the daemon.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    engine, api = simulated_immich()
    for name in engine.queues:
        if name not in PROTECTED:
            engine.pause(name, by="another tool")
    engine.upload(photos=photos, videos=1)
    history = RunHistory(engine, ignored=PROTECTED)
    with SimulatedServer(engine, api) as server:
        print(
            f"Simulated Immich:  {server.url}\n"
            f"Uploaded:          {photos} photo{'s' if photos > 1 else ''} and 1 video, while "
            "another tool had all queues paused\n"
            f"Daemon:            runs the queues by priority, at most {limit} at a time\n"
        )
        ports = _Ports(page=free_port(), status=free_port()) if keep else _Ports()
        if keep:
            print(ports.addresses())
        with _daemon(server.url, limit, ports) as daemon:
            is_done = _watch(server, daemon, limit)
            if keep and is_done:
                _keep(server, ports)
            took = _stop(daemon)
        with server.present() as after:
            return _summary(after, history, limit, is_done=is_done, stop_took=took)


class _Ports(NamedTuple):
    """Ports of the daemon's web servers; 0 means off."""

    page: int = 0
    status: int = 0

    def addresses(self) -> str:
        return (
            f"Page:              http://127.0.0.1:{self.page}/  (password: {PASSWORD})\n"
            f"Status (JSON):     http://127.0.0.1:{self.status}/\n"
        )


@contextmanager
def _daemon(url: str, limit: int, ports: _Ports) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "IMMICH_URL": url,
            "API_KEY": KEY,
            "MAX_CONCURRENT_JOBS": limit,
            "DATA_DIR": folder,
            "UI_PORT": ports.page,
            "STATUS_PORT": ports.status,
            "UI_PASSWORD": PASSWORD,
        }
        daemon = subprocess.Popen(
            [sys.executable, "-m", "immich_job_daemon", "run", "--options", "-"],
            stdin=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name not in SETTINGS},
        )
        try:
            if daemon.stdin is not None:
                daemon.stdin.write(json.dumps(options).encode())
                daemon.stdin.close()
            yield daemon
        finally:
            daemon.kill()
            daemon.wait()


def _watch(server: SimulatedServer, daemon: subprocess.Popen[bytes], limit: int) -> bool:
    """Print a line per second until all jobs are done; return whether they are."""
    started = time.monotonic()
    while (seconds := time.monotonic() - started) < LONGEST:
        with server.present() as engine:
            line = _line(engine, limit)
            if engine.is_idle:
                return True
        print(f"{seconds:4.0f} s  {line}", flush=True)
        if daemon.poll() is not None:
            print(
                f"The daemon exited unexpectedly with code {daemon.returncode}. Its log is above."
            )
            return False
        time.sleep(1)
    print(f"The jobs were not done within {LONGEST:.0f} s.")
    return False


def _line(engine: Engine, limit: int) -> str:
    queues = [queue for queue in engine.queues.values() if queue.name not in PROTECTED]
    running = [f"{q.name} ({q.active} active, {q.ready} waiting)" for q in queues if q.active]
    waiting = sum(queue.ready for queue in queues if not queue.active)
    names = ", ".join(running) or "none"
    return f"{len(running)} of {limit} running: {names}; waiting in other queues: {waiting}"


def _keep(server: SimulatedServer, ports: _Ports) -> None:
    # A plain sleep would delay a signal that arrives just before it.
    with suppress(StopRequested), SystemClock() as clock:
        print(
            "\nAll jobs are done. The simulated Immich and the daemon keep running. Press Ctrl-C "
            "to stop them.\n\n"
            f"Simulated Immich:  {server.url}  (API key: {KEY})\n{ports.addresses()}",
            flush=True,
        )
        while True:
            clock.wait(3600)


def _stop(daemon: subprocess.Popen[bytes]) -> float | None:
    """Stop the daemon with SIGTERM, as a container is stopped; return the seconds it took.

    None means that it did not stop in time.
    """
    started = time.monotonic()
    daemon.terminate()
    try:
        daemon.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        return None
    return time.monotonic() - started


def _summary(
    engine: Engine, history: RunHistory, limit: int, *, is_done: bool, stop_took: float | None
) -> bool:
    """Print the summary; return whether the daemon kept its promises."""
    runs = sorted(history.runs, key=lambda run: run.start)
    print(f"\n{'queue':<26}{'start':>9}{'end':>9}{'jobs':>7}")
    for run in runs:
        print(f"{run.queue:<26}{_seconds(run.start, runs)}{_seconds(run.end, runs)}{run.jobs:>7}")
    gaps = history.gaps()
    still_paused = [queue.name for queue in engine.queues.values() if queue.is_paused]
    took = runs[-1].end - runs[0].start if runs else 0.0
    median = statistics.median(gaps) if gaps else 0.0
    print(
        f"\nAll jobs done:          {'yes' if is_done else 'NO'}, in {took:.1f} s\n"
        f"Most queues at once:    {history.most_at_once} (limit {limit}, "
        f"{'never exceeded' if history.most_at_once <= limit else 'EXCEEDED'})\n"
        f"Gaps between queues:    {len(gaps)}, median {median:.2f} s, "
        f"longest {max(gaps, default=0.0):.2f} s\n"
        f"Paused after the stop:  {', '.join(still_paused) or 'none'}\n"
        f"Time to stop:           "
        f"{f'{stop_took:.1f} s' if stop_took is not None else 'TOO LONG'}"
    )
    return is_done and history.most_at_once <= limit and not still_paused and stop_took is not None


def _seconds(moment: float, runs: list[QueueRun]) -> str:
    return f"{moment - runs[0].start:>7.1f} s"


if __name__ == "__main__":
    sys.exit(main())
