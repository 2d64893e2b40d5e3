"""Random worlds: what a server, its users, a bad line and crashes can do to the daemon."""

import logging
import sys
from collections.abc import Iterator

import pytest

from simulator.worlds.world import World

WORLDS = 300
AT_ONCE = 10
ONCE_FAILED = (100_048,)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Say nothing: a world logs a hundred thousand lines."""
    logger = logging.getLogger("immich_job_daemon")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(before)


@pytest.fixture(autouse=True)
def _untraced() -> Iterator[None]:
    """Measure no coverage: for 150 hours of virtual time that takes three times as long."""
    before = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(before)


@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
def test_no_world_makes_the_daemon_break_a_promise(first: int) -> None:
    """Each world is half an hour dense with events, and the time until all is drained."""
    outcomes = [World(seed).live() for seed in range(first, first + AT_ONCE)]
    assert {o.seed: o.complaints for o in outcomes if o.complaints} == {}
    assert sum(outcome.resumes for outcome in outcomes) > 100
    assert sum(outcome.crashes for outcome in outcomes) > 0


@pytest.mark.parametrize("seed", ONCE_FAILED)
def test_a_world_that_once_failed_does_so_no_more(seed: int) -> None:
    assert World(seed).live().complaints == ()


def test_a_world_is_the_same_each_time() -> None:
    assert World(7, dense=600).live() == World(7, dense=600).live()
