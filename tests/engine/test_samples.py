"""The checks of a long run."""

import os
from dataclasses import replace
from pathlib import Path

from tests.engine.samples import MORE_BYTES, MORE_MEMORY, Sample, SampleSeries, late_polls

FLAT = [
    Sample(float(at), 40.0, 11, 20 + at % 3, {"ledger.json": 900}, is_healthy=True)
    for at in range(100)
]


def series_with_last_tenth(**changes: object) -> SampleSeries:
    """Return a flat series whose last tenth has other values."""
    return SampleSeries([*FLAT[:90], *(replace(sample, **changes) for sample in FLAT[90:])])  # type: ignore[arg-type] # any of its fields


def test_a_flat_series_has_no_problems() -> None:
    assert SampleSeries(FLAT).problems() == []
    assert series_with_last_tenth(memory=40.0 + MORE_MEMORY - 0.01).problems() == []


def test_everything_that_grows_is_named() -> None:
    assert series_with_last_tenth(memory=40.0 + MORE_MEMORY).problems() == [
        "memory grew by 2.00 MiB"
    ]
    assert series_with_last_tenth(threads=12).problems() == ["threads leaked"]
    assert series_with_last_tenth(descriptors=23).problems() == ["open files leaked"]
    size = 900 + MORE_BYTES + 1
    file_grown = series_with_last_tenth(files={"ledger.json": size}).problems()
    assert file_grown == [f"ledger.json grew to {size} bytes"]
    files_left = series_with_last_tenth(files={"ledger.json": 900, "a": 1, "b": 1}).problems()
    assert files_left == ["files were left: ['a', 'b']"]


def test_one_unhealthy_sample_is_a_problem() -> None:
    samples = [*FLAT[:50], replace(FLAT[50], is_healthy=False), *FLAT[51:]]
    assert SampleSeries(samples).problems() == ["the daemon was unhealthy at times"]


def test_a_late_poll_is_excused_only_by_a_fault() -> None:
    polls = [0.0, 5.0, 30.0, 35.0]
    assert late_polls(polls, [], max_gap=10.0) == ["25.0 s without a poll"]
    assert late_polls(polls, [(29.0, 60.0)], max_gap=10.0) == []
    assert late_polls(polls, [(30.5, 60.0)], max_gap=10.0) == ["25.0 s without a poll"]


def test_a_sample_of_a_real_process(tmp_path: Path) -> None:
    (tmp_path / "ledger.json").write_text("{}")

    sample = Sample.take(0.0, os.getpid(), tmp_path, is_healthy=True)
    assert sample.memory > 5
    assert sample.threads >= 1
    assert sample.descriptors >= 3
    assert sample.files == {"ledger.json": 2}
