"""How busy the machine is: smoothed, with a way back that is longer than the way there."""

import math
import os
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.daemon.load import RELEASE_SHARE, SMOOTHING, Load, load_per_core, observe

LIMIT = 1.5


def after(*series: float, every: float = 10.0, load: Load = Load()) -> list[Load]:  # noqa: B008 - it cannot be changed
    """Return what is known after each of these measures."""
    known = []
    for value in series:
        load = observe(load, value, limit=LIMIT, now=load.at + every)
        known.append(load)
    return known


def changes(known: list[Load]) -> int:
    """Return how often it became too much, or no longer."""
    return sum(one.is_high is not other.is_high for one, other in pairwise([Load(), *known]))


def test_the_first_measure_counts_whole() -> None:
    assert after(1.0)[0].level == 1.0
    assert not after(LIMIT)[0].is_high
    assert after(LIMIT + 0.01)[0].is_high


def test_a_later_one_counts_the_more_the_longer_ago_the_last_was() -> None:
    start = Load(1.0, 0.0)
    times = (0.0, 1.0, SMOOTHING, 3600.0)
    levels = [observe(start, 2.0, limit=LIMIT, now=now).level or 0.0 for now in times]
    assert levels[0] == 1.0
    assert levels[2] == pytest.approx(2.0 - math.exp(-1))
    assert levels[3] == pytest.approx(2.0)
    assert levels == sorted(levels)


def test_a_moment_of_much_work_is_not_too_much() -> None:
    known = after(*[0.5] * 10, 3.0, *[0.5] * 10)
    assert not any(load.is_high for load in known)


def test_much_work_that_goes_on_is_too_much_within_minutes_and_its_end_is_seen() -> None:
    known = after(*[0.5] * 10, *[3.0] * 12, *[0.5] * 24)
    assert known[21].is_high
    assert not known[-1].is_high
    assert changes(known) == 2


def test_too_much_stays_so_until_it_is_well_below() -> None:
    busy = after(4.0)[0]
    between = after(*[LIMIT * (RELEASE_SHARE + 0.02)] * 200, load=busy)
    assert all(load.is_high for load in between)
    assert not after(*[LIMIT * (RELEASE_SHARE - 0.02)] * 200, load=busy)[-1].is_high


def test_what_is_well_below_may_rise_to_the_limit_again() -> None:
    known = after(*[0.5] * 10, *[LIMIT * (RELEASE_SHARE + 0.1)] * 200)
    assert not any(load.is_high for load in known)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("middle", [0.9, 0.95, 1.0])
def test_noise_about_the_limit_does_not_make_it_flap(middle: float, seed: int) -> None:
    """An hour of a load that jumps up and down by a tenth with each look, around the limit."""
    chance = random.Random(seed)  # noqa: S311 - the same at every run, for no secret
    noisy = [LIMIT * middle * chance.uniform(0.9, 1.1) for _ in range(360)]
    plain = sum((a > LIMIT) is not (b > LIMIT) for a, b in pairwise(noisy))
    assert changes(after(*noisy)) <= 1
    if middle == 1.0:
        assert plain > 100


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.floats(0, 1000))
def test_the_level_is_never_beyond_what_was_measured(series: list[float], every: float) -> None:
    for number, load in enumerate(after(*series, every=every), start=1):
        assert load.level is not None
        seen = series[:number]
        assert min(seen) - 1e-9 <= load.level <= max(seen) + 1e-9


@given(st.lists(st.floats(0, LIMIT), min_size=1, max_size=30))
def test_what_never_was_above_the_limit_is_never_too_much(series: list[float]) -> None:
    assert not any(load.is_high for load in after(*series))


@given(st.lists(st.floats(LIMIT * RELEASE_SHARE + 1e-6, 100), min_size=1, max_size=30))
def test_what_never_was_well_below_goes_on_being_too_much(series: list[float]) -> None:
    assert all(load.is_high for load in after(*series, load=Load(9.0, 0.0, is_high=True)))


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 300), st.floats(0, 1))
def test_looking_more_often_at_the_same_load_makes_no_difference(
    before: float, now: float, seconds: float, share: float
) -> None:
    start = Load(before, 0.0)
    once = observe(start, now, limit=LIMIT, now=seconds)
    half = observe(start, now, limit=LIMIT, now=seconds * share)
    twice = observe(half, now, limit=LIMIT, now=seconds)
    assert twice.level == pytest.approx(once.level, abs=1e-9)


def test_a_clock_that_goes_back_is_as_one_that_stands() -> None:
    assert observe(Load(1.0, 100.0), 5.0, limit=LIMIT, now=50.0).level == 1.0


def test_the_measure_is_the_load_average_of_this_machine_for_each_core() -> None:
    cores = os.cpu_count() or 1
    before, found, later = os.getloadavg()[0], load_per_core(), os.getloadavg()[0]
    assert type(found) is float
    # The average moves every few seconds, perhaps in between.
    low, high = sorted((before, later))
    assert low / cores - 1e-9 <= found <= high / cores + 1e-9
