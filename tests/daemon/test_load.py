"""The machine's load: smoothed, with hysteresis."""

import math
import os
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.daemon.load import RELEASE_SHARE, SMOOTHING, Load, load_per_core, observe

LIMIT = 1.5


def observed(*measurements: float, every: float = 10.0, load: Load = Load()) -> list[Load]:  # noqa: B008 - it is immutable
    """Return the load after each of these measurements."""
    loads = []
    for value in measurements:
        load = observe(load, value, limit=LIMIT, now=load.at + every)
        loads.append(load)
    return loads


def transitions(loads: list[Load]) -> int:
    """Return how often the load became high or normal."""
    return sum(
        earlier.is_high is not later.is_high for earlier, later in pairwise([Load(), *loads])
    )


def test_the_first_measurement_is_not_smoothed() -> None:
    assert observed(1.0)[0].level == 1.0
    assert not observed(LIMIT)[0].is_high
    assert observed(LIMIT + 0.01)[0].is_high


def test_the_weight_of_a_measurement_grows_with_the_time_since_the_last() -> None:
    start = Load(1.0, 0.0)
    times = (0.0, 1.0, SMOOTHING, 3600.0)
    levels = [observe(start, 2.0, limit=LIMIT, now=now).level or 0.0 for now in times]
    assert levels[0] == 1.0
    assert levels[2] == pytest.approx(2.0 - math.exp(-1))
    assert levels[3] == pytest.approx(2.0)
    assert levels == sorted(levels)


def test_a_short_peak_is_not_a_high_load() -> None:
    loads = observed(*[0.5] * 10, 3.0, *[0.5] * 10)
    assert not any(load.is_high for load in loads)


def test_a_lasting_high_load_is_detected_within_minutes_and_so_is_its_end() -> None:
    loads = observed(*[0.5] * 10, *[3.0] * 12, *[0.5] * 24)
    assert loads[21].is_high
    assert not loads[-1].is_high
    assert transitions(loads) == 2


def test_a_high_load_ends_well_below_the_limit() -> None:
    busy = observed(4.0)[0]
    between = observed(*[LIMIT * (RELEASE_SHARE + 0.02)] * 200, load=busy)
    assert all(load.is_high for load in between)
    assert not observed(*[LIMIT * (RELEASE_SHARE - 0.02)] * 200, load=busy)[-1].is_high


def test_a_load_below_the_limit_is_not_high() -> None:
    loads = observed(*[0.5] * 10, *[LIMIT * (RELEASE_SHARE + 0.1)] * 200)
    assert not any(load.is_high for load in loads)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("middle", [0.9, 0.95, 1.0])
def test_noise_around_the_limit_does_not_cause_flapping(middle: float, seed: int) -> None:
    """The load varies by a tenth around the limit for an hour."""
    rng = random.Random(seed)  # noqa: S311 - the same at each run
    noisy_loads = [LIMIT * middle * rng.uniform(0.9, 1.1) for _ in range(360)]
    crossings = sum((a > LIMIT) is not (b > LIMIT) for a, b in pairwise(noisy_loads))
    assert transitions(observed(*noisy_loads)) <= 1
    if middle == 1.0:
        assert crossings > 100


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.floats(0, 1000))
def test_the_level_stays_between_the_extreme_measurements(
    measurements: list[float], every: float
) -> None:
    for number, load in enumerate(observed(*measurements, every=every), start=1):
        assert load.level is not None
        so_far = measurements[:number]
        assert min(so_far) - 1e-9 <= load.level <= max(so_far) + 1e-9


@given(st.lists(st.floats(0, LIMIT), min_size=1, max_size=30))
def test_measurements_up_to_the_limit_never_make_the_load_high(measurements: list[float]) -> None:
    assert not any(load.is_high for load in observed(*measurements))


@given(st.lists(st.floats(LIMIT * RELEASE_SHARE + 1e-6, 100), min_size=1, max_size=30))
def test_measurements_above_the_release_level_keep_the_load_high(measurements: list[float]) -> None:
    assert all(load.is_high for load in observed(*measurements, load=Load(9.0, 0.0, is_high=True)))


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 300), st.floats(0, 1))
def test_the_result_does_not_depend_on_how_often_the_load_is_measured(
    before: float, now: float, seconds: float, share: float
) -> None:
    start = Load(before, 0.0)
    once = observe(start, now, limit=LIMIT, now=seconds)
    half = observe(start, now, limit=LIMIT, now=seconds * share)
    twice = observe(half, now, limit=LIMIT, now=seconds)
    assert twice.level == pytest.approx(once.level, abs=1e-9)


def test_a_clock_that_goes_back_is_treated_as_stopped() -> None:
    assert observe(Load(1.0, 100.0), 5.0, limit=LIMIT, now=50.0).level == 1.0


def test_the_load_average_is_measured_per_core() -> None:
    cores = os.cpu_count() or 1
    before, measured, after = os.getloadavg()[0], load_per_core(), os.getloadavg()[0]
    assert type(measured) is float
    # The average is updated every few seconds, perhaps between the calls.
    low, high = sorted((before, after))
    assert low / cores - 1e-9 <= measured <= high / cores + 1e-9
