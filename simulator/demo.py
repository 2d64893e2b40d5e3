"""The demo: the daemon at work, over real HTTP, against the simulated Immich.

The daemon is a process of its own, started as the add-on starts it. What is shown is what the
simulated server knows to be true, not what the daemon says of itself.
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
from simulator.immich.run_history import Run, RunHistory
from simulator.immich.server import SimulatedServer

LONGEST: Final = 600.0
"""Seconds after which a demo that is not done has failed."""
INTERRUPTED: Final = 130
"""The exit code of a program that Ctrl-C ended, as shells give it."""
STOPS_WITHIN: Final = 10.0
PASSWORD: Final = "simulated"  # noqa: S105 - of the demo, told to everybody


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo as the arguments say (default: the process's); return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        return 0 if demo(photos=given.photos, limit=given.limit, keep=given.keep) else 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="script/demo", description="Show the daemon at work against a simulated Immich."
    )
    parser.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")
    parser.add_argument("--photos", type=_at_least_one, default=40, help="uploaded (default: 40)")
    parser.add_argument(
        "--limit", type=_at_least_one, default=1, help="queues that run at once (default: 1)"
    )
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a whole number from 1 is expected")
    return number


def demo(*, photos: int, limit: int, keep: bool) -> bool:
    """Run the demo, tell about it on standard output, and return whether all went as promised.

    Args:
        photos: how many were uploaded while everything was paused; a video comes along.
        limit: MAX_CONCURRENT_JOBS.
        keep: leave it running when all is done, until Ctrl-C or SIGTERM.
    """
    # Else the daemon would be left alone, with an Immich that is gone.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    engine, api = simulated_immich()
    for name in engine.queues:
        if name not in PROTECTED:
            engine.pause(name, by="an older tool")
    engine.upload(photos=photos, videos=1)
    chronicle = RunHistory(engine, ignored=PROTECTED)
    with SimulatedServer(engine, api) as server:
        print(
            f"A simulated Immich at {server.url}: {photos} photos and a video were uploaded, and "
            "another tool has left all queues paused.\n"
            f"The daemon now runs them by priority, at most {limit} at once.\n"
        )
        ports = _Ports(page=free_port(), totals=free_port()) if keep else _Ports()
        if keep:
            print(ports.told())
        with _daemon(server.url, limit, ports) as daemon:
            is_done = _watch(server, daemon, limit)
            if keep and is_done:
                _keep(server, ports)
            took = _stop(daemon)
        with server.present() as after:
            return _summary(after, chronicle, limit, is_done=is_done, stop_took=took)


class _Ports(NamedTuple):
    """Where the daemon shows itself; 0 is nowhere."""

    page: int = 0
    totals: int = 0

    def told(self) -> str:
        return (
            f"The page:                   http://127.0.0.1:{self.page}/  (to change something, the "
            f"password is {PASSWORD})\n"
            f"The totals for dashboards:  http://127.0.0.1:{self.totals}/\n"
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
            "STATUS_PORT": ports.totals,
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
    """Show what happens, a line a second, until all jobs are done; return whether they are."""
    began = time.monotonic()
    while (seconds := time.monotonic() - began) < LONGEST:
        with server.present() as engine:
            line = _line(engine, limit)
            if engine.is_idle:
                return True
        print(f"{seconds:4.0f} s  {line}", flush=True)
        if daemon.poll() is not None:
            print(f"The daemon ended by itself, with code {daemon.returncode}.")
            return False
        time.sleep(1)
    print("Not done in time.")
    return False


def _line(engine: Engine, limit: int) -> str:
    queues = [queue for queue in engine.queues.values() if queue.name not in PROTECTED]
    running = [f"{q.name} ({q.active} active, {q.ready} left)" for q in queues if q.active]
    waiting = sum(queue.ready for queue in queues if not queue.active)
    shown = ", ".join(running) or "nothing"
    return f"{len(running)} of {limit} at once: {shown}; {waiting} jobs wait in other queues"


def _keep(server: SimulatedServer, ports: _Ports) -> None:
    # A signal just before a plain sleep would be heard only after it.
    with suppress(StopRequested), SystemClock() as alarm:
        print(
            f"\nLeft running: the simulated Immich at {server.url} with the API key {KEY}, and "
            f"the daemon. End both with Ctrl-C.\n{ports.told()}",
            flush=True,
        )
        while True:
            alarm.wait(3600)


def _stop(daemon: subprocess.Popen[bytes]) -> float | None:
    """Stop the daemon as a container is stopped; return how many seconds it took."""
    began = time.monotonic()
    daemon.terminate()
    try:
        daemon.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        return None
    return time.monotonic() - began


def _summary(
    engine: Engine, chronicle: RunHistory, limit: int, *, is_done: bool, stop_took: float | None
) -> bool:
    """Print what came of it; return whether all went as promised."""
    runs = sorted(chronicle.runs, key=lambda run: run.began)
    print(f"\n{'queue':<26}{'began':>9}{'ended':>9}{'jobs':>7}")
    for run in runs:
        print(f"{run.queue:<26}{_at(run.began, runs)}{_at(run.ended, runs)}{run.jobs:>7}")
    gaps = chronicle.gaps()
    still_paused = [queue.name for queue in engine.queues.values() if queue.is_paused]
    took = runs[-1].ended - runs[0].began if runs else 0.0
    middle = statistics.median(gaps) if gaps else 0.0
    print(
        f"\nAll jobs done:              {'yes' if is_done else 'NO'}, in {took:.1f} s\n"
        f"Most queues at once:        {chronicle.most_at_once}, the limit is {limit}: "
        f"{'never exceeded' if chronicle.most_at_once <= limit else 'EXCEEDED'}\n"
        f"Gaps with nothing running:  {len(gaps)}, {middle:.2f} s in the median, "
        f"{max(gaps, default=0.0):.2f} s at most\n"
        f"Paused after the stop:      {', '.join(still_paused) or 'none'}\n"
        f"The stop took:              "
        f"{f'{stop_took:.1f} s' if stop_took is not None else 'TOO LONG'}"
    )
    return (
        is_done and chronicle.most_at_once <= limit and not still_paused and stop_took is not None
    )


def _at(moment: float, runs: list[Run]) -> str:
    return f"{moment - runs[0].began:>7.1f} s"


if __name__ == "__main__":
    sys.exit(main())
