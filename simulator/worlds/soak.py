"""As many random worlds as asked, on all processors; a world that fails says its seed."""

import argparse
import logging
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count

from simulator.worlds.world import DENSE, Outcome, World


def live(seed: int, dense: float) -> Outcome:
    """Live through one world."""
    logging.getLogger("immich_job_daemon").setLevel(logging.CRITICAL + 1)
    return World(seed, dense).live()


def main() -> int:
    """Live through worlds until the number is reached; return the exit code."""
    given = _parser().parse_args()
    if given.verbose:
        return _tell(given.seed, given.minutes * 60)
    worlds = looks = crashes = resumes = 0
    failed = []
    seconds = 0.0
    with ProcessPoolExecutor() as pool:
        for first in count(given.seed, 10 * (os.cpu_count() or 1)):
            last = min(first + 10 * (os.cpu_count() or 1), given.seed + given.worlds)
            for outcome in pool.map(partial(live, dense=given.minutes * 60), range(first, last)):
                worlds += 1
                looks += outcome.looks
                crashes += outcome.crashes
                resumes += outcome.resumes
                seconds += outcome.seconds
                for complaint in outcome.complaints[:3]:
                    print(f"seed {outcome.seed}: {complaint}", flush=True)
                if outcome.complaints:
                    failed.append(outcome.seed)
            if last == given.seed + given.worlds:
                break
    print(
        f"{worlds} worlds, {seconds / 3600:.0f} hours of their time: {looks} looks, {resumes} "
        f"resumes, {crashes} crashes of the daemon, {len(failed)} worlds failed."
    )
    if failed:
        print(
            f"See one again: script/soak --seed {failed[0]} --minutes {given.minutes:g} --verbose"
        )
    return 1 if failed else 0


def _tell(seed: int, dense: float) -> int:
    """Live through one world and tell all that happens in it."""
    world = World(seed, dense)
    world.engine.observers.append(
        lambda event: (
            print(f"{event.time:10.3f} {event.kind.value:>9} {event.queue} by {event.by}")
            if event.by
            else None
        )
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Virtual(world))
    logger = logging.getLogger("immich_job_daemon")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    outcome = world.live()
    print(outcome)
    return 1 if outcome.complaints else 0


class _Virtual(logging.Formatter):
    """Log lines with the world's own time."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def format(self, record: logging.LogRecord) -> str:
        return f"{self.world.engine.now:10.3f} {record.levelname:>9} {record.getMessage()}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__)
    parser.add_argument("--worlds", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first world (default: 0)")
    parser.add_argument(
        "--minutes", type=float, default=DENSE / 60, help="of events in a world (default: 30)"
    )
    parser.add_argument("--verbose", action="store_true", help="only that seed, and all of it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
