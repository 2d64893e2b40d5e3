"""Simulate many random worlds in parallel. A world that fails prints its seed."""

import argparse
import logging
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count

from simulator.worlds.world import EVENT_SECONDS, Outcome, World


def simulate(seed: int, event_seconds: float) -> Outcome:
    """Simulate one world without logging."""
    logging.getLogger("immich_job_daemon").setLevel(logging.CRITICAL + 1)
    return World(seed, event_seconds).run()


def main() -> int:
    """Simulate the worlds and print a summary; return the exit code."""
    options = _parser().parse_args()
    if options.verbose:
        return _simulate_verbosely(options.seed, options.minutes * 60)
    worlds = polls = crashes = resumes = 0
    failed = []
    seconds = 0.0
    with ProcessPoolExecutor() as pool:
        for first in count(options.seed, 10 * (os.cpu_count() or 1)):
            last = min(first + 10 * (os.cpu_count() or 1), options.seed + options.worlds)
            for outcome in pool.map(
                partial(simulate, event_seconds=options.minutes * 60), range(first, last)
            ):
                worlds += 1
                polls += outcome.polls
                crashes += outcome.crashes
                resumes += outcome.resumes
                seconds += outcome.seconds
                for violation in outcome.violations[:3]:
                    print(f"seed {outcome.seed}: {violation}", flush=True)
                if outcome.violations:
                    failed.append(outcome.seed)
            if last == options.seed + options.worlds:
                break
    print(
        f"{worlds} worlds, {seconds / 3600:.0f} hours of virtual time: {polls} polls, {resumes} "
        f"resumes, {crashes} daemon crashes. {len(failed)} worlds failed."
    )
    if failed:
        print(
            f"To replay one: script/soak --seed {failed[0]} --minutes {options.minutes:g} --verbose"
        )
    return 1 if failed else 0


def _simulate_verbosely(seed: int, event_seconds: float) -> int:
    """Simulate one world and print all its events."""
    world = World(seed, event_seconds)
    world.engine.observers.append(
        lambda event: (
            print(f"{event.time:10.3f} {event.kind.value:>9} {event.queue} by {event.by}")
            if event.by
            else None
        )
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_VirtualTimeFormatter(world))
    logger = logging.getLogger("immich_job_daemon")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    outcome = world.run()
    print(outcome)
    return 1 if outcome.violations else 0


class _VirtualTimeFormatter(logging.Formatter):
    """Formats log lines with the virtual time of the world."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def format(self, record: logging.LogRecord) -> str:
        return f"{self.world.engine.now:10.3f} {record.levelname:>9} {record.getMessage()}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__)
    parser.add_argument("--worlds", type=int, default=1000, help="number of worlds (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first world (default: 0)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=EVENT_SECONDS / 60,
        help="virtual minutes of events in each world (default: 30)",
    )
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="simulate only the world with this seed and print all its events",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
