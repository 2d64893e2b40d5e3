"""The real engine and the simulated one, each as BullMQ 5 and 6."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from tests.engine.engines import EngineUnderTest, real_engine, simulated_engine

VERSIONS: tuple[Literal[5, 6], ...] = (5, 6)


@pytest.fixture(
    params=[(kind, version) for kind in ("simulated", "real") for version in VERSIONS],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EngineUnderTest]:
    kind, version = request.param
    with (
        simulated_engine(version)
        if kind == "simulated"
        else real_engine(tmp_path, version) as engine
    ):
        yield engine
