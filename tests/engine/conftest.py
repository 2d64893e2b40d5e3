"""Benches with the real engine and the simulated one, each as BullMQ 5 and as BullMQ 6."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from tests.engine.engines import Bench, real_bench, simulated_bench

VERSIONS: tuple[Literal[5, 6], ...] = (5, 6)


@pytest.fixture(
    params=[(kind, version) for kind in ("simulated", "real") for version in VERSIONS],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    kind, version = request.param
    with simulated_bench(version) if kind == "simulated" else real_bench(tmp_path, version) as one:
        yield one
