"""What the judge of a long run complains of."""

import os
from dataclasses import replace
from pathlib import Path

from tests.engine.samples import MORE_BYTES, MORE_MEMORY, Course, Sample, late

FLAT = [
    Sample(float(at), 40.0, 11, 20 + at % 3, {"ledger.json": 900}, is_healthy=True)
    for at in range(100)
]


def but_last(**changes: object) -> Course:
    """Return a course that is flat, and different in its last tenth."""
    return Course([*FLAT[:90], *(replace(one, **changes) for one in FLAT[90:])])  # type: ignore[arg-type] # any of its fields


def test_nothing_is_said_of_a_flat_course() -> None:
    assert Course(FLAT).complaints() == []
    assert but_last(memory=40.0 + MORE_MEMORY - 0.01).complaints() == []


def test_each_thing_that_grows_is_named() -> None:
    assert but_last(memory=40.0 + MORE_MEMORY).complaints() == ["memory grew by 2.00 MiB"]
    assert but_last(threads=12).complaints() == ["threads are left over"]
    assert but_last(descriptors=23).complaints() == ["open files are left over"]
    size = 900 + MORE_BYTES + 1
    grown = but_last(files={"ledger.json": size}).complaints()
    assert grown == [f"ledger.json grew to {size} bytes"]
    left = but_last(files={"ledger.json": 900, "a": 1, "b": 1}).complaints()
    assert left == ["files are left over: ['a', 'b']"]


def test_one_moment_without_health_is_enough() -> None:
    sick = [*FLAT[:50], replace(FLAT[50], is_healthy=False), *FLAT[51:]]
    assert Course(sick).complaints() == ["it was not healthy all the time"]


def test_a_late_look_is_excused_by_a_trouble_alone() -> None:
    looks = [0.0, 5.0, 30.0, 35.0]
    assert late(looks, [], most=10.0) == ["25.0 s without a look"]
    assert late(looks, [(29.0, 60.0)], most=10.0) == []
    assert late(looks, [(30.5, 60.0)], most=10.0) == ["25.0 s without a look"]


def test_a_sample_is_taken_of_a_real_process(tmp_path: Path) -> None:
    (tmp_path / "ledger.json").write_text("{}")

    sample = Sample.take(0.0, os.getpid(), tmp_path, is_healthy=True)
    assert sample.memory > 5
    assert sample.threads >= 1
    assert sample.descriptors >= 3
    assert sample.files == {"ledger.json": 2}
