"""What the tests of the simulator share."""

from collections.abc import Callable

import pytest

from simulator.immich.engine import Engine

Run = Callable[[Engine, Callable[[], bool]], None]


@pytest.fixture
def run_until() -> Run:
    """Return what moves an engine from event to event until a condition holds."""

    def run(engine: Engine, is_reached: Callable[[], bool]) -> None:
        while not is_reached():
            due = engine.next_event()
            assert due is not None, "nothing happens any more"
            engine.advance(due)

    return run
