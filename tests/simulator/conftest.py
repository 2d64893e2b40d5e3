"""Fixtures for the tests of the simulator."""

from collections.abc import Callable

import pytest

from simulator.immich.engine import Engine

RunUntil = Callable[[Engine, Callable[[], bool]], None]


@pytest.fixture
def run_until() -> RunUntil:
    """Return a function that advances an engine event by event until a condition is true."""

    def run(engine: Engine, condition: Callable[[], bool]) -> None:
        while not condition():
            next_event = engine.next_event()
            assert next_event is not None, "no event is left"
            engine.advance(next_event)

    return run
