"""What a rate is measured by, and what must not fool it."""

from functools import partial
from itertools import chain, cycle, repeat
from math import inf
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from immich_job_daemon.forecast.pipeline import DOWNSTREAM, UNKNOWN
from immich_job_daemon.forecast.rates import (
    FASTEST,
    JUMP,
    MOST_BESIDE,
    Rate,
    Rates,
    job_takes,
    observe,
)
from immich_job_daemon.forecast.storage import from_json, to_json
from immich_job_daemon.model.queue import Queue
from simulator.immich.engine import Engine
from simulator.immich.pipeline import Kind, lasting
from tests.support.observed_rates import observe_rates, pause_all_but, snapshot_of

OCR = "ocr"


def per_second(rates: Rates, name: str = OCR) -> float:
    found = rates.queues[name].per_second
    assert found is not None
    return found


def busy(jobs: int = 100_000, seconds: float = 0.5, name: str = OCR) -> Engine:
    engine = Engine()
    engine.add(name, lasting(seconds), count=jobs)
    return engine


# What it is measured by


@pytest.mark.parametrize("bullmq", [5, 6])
@pytest.mark.parametrize("every", [0.25, 1.7, 10.0, 60.0])
def test_a_rate_is_what_was_drained_while_jobs_waited(every: float, bullmq: Literal[5, 6]) -> None:
    engine = Engine(bullmq=bullmq)
    engine.add(OCR, lasting(0.5), count=100_000)
    assert per_second(observe_rates(engine, every=every, until=300)) == pytest.approx(2.0, rel=0.03)


def test_looks_may_come_at_any_time() -> None:
    every = cycle((0.25, 0.3, 1.0, 10.0, 0.25, 4.0))
    assert per_second(observe_rates(busy(), every=every, until=600)) == pytest.approx(2.0, rel=0.03)


def test_all_workers_of_a_queue_count_together() -> None:
    rates = observe_rates(busy(name="thumbnailGeneration"), until=60)
    assert per_second(rates, "thumbnailGeneration") == pytest.approx(6.0, rel=0.03)


def test_nothing_is_told_before_enough_was_seen() -> None:
    engine = busy(seconds=10.0)
    assert OCR not in observe_rates(engine, until=0).queues
    rates = observe_rates(engine, until=39)
    assert 3 <= rates.queues[OCR].jobs <= 4
    assert rates.queues[OCR].per_second is None
    assert per_second(observe_rates(engine, rates, until=60)) == pytest.approx(0.1, rel=0.2)


def test_a_job_that_takes_longer_than_many_looks_is_measured_all_the_same() -> None:
    assert per_second(observe_rates(busy(seconds=600.0), every=10.0, until=7200)) == pytest.approx(
        1 / 600, rel=0.1
    )


def test_older_work_counts_less_and_less() -> None:
    engine = busy(jobs=2000, seconds=0.25)
    engine.add(OCR, lasting(1.0), count=10_000)
    rates = observe_rates(engine, until=400)
    assert per_second(rates) == pytest.approx(4.0, rel=0.03)
    rates = observe_rates(engine, rates, until=1800)
    assert per_second(rates) == pytest.approx(1.0, rel=0.1)


def test_a_queue_that_becomes_much_faster_is_believed_step_by_step() -> None:
    engine = busy(jobs=20, seconds=20.0)
    engine.add(OCR, lasting(0.1), count=100_000)
    rates = observe_rates(engine, every=5.0, until=380)
    assert per_second(rates) < 0.06
    assert per_second(observe_rates(engine, rates, every=5.0, until=1200)) == pytest.approx(
        10, rel=0.1
    )


# What must not fool it


def test_arrivals_do_not() -> None:
    engine = busy()
    for second in range(0, 600, 7):
        engine.at(second + 0.5, lambda: engine.add(OCR, lasting(0.5), count=5))
    assert per_second(observe_rates(engine, until=600)) == pytest.approx(2.0, rel=0.05)


def test_time_in_which_there_was_nothing_left_does_not() -> None:
    engine = Engine()
    for second in (0, 500, 1000):
        engine.at(second, lambda: engine.add(OCR, lasting(0.5), count=60))
    rates = observe_rates(engine, every=2.0, until=1100)
    assert per_second(rates) == pytest.approx(2.0, rel=0.07)


def test_single_jobs_make_no_rate_for_they_leave_workers_idle() -> None:
    engine = Engine()
    for second in range(0, 1000, 10):
        engine.at(second, lambda: engine.add("smartSearch", lasting(0.5)))
    rates = observe_rates(engine, until=1000)
    assert rates.queues == {}
    takes = job_takes(rates, "smartSearch")
    assert takes is not None
    assert takes[0].low == 0
    assert 0.5 <= takes[0].high <= 1.1


def test_a_short_queue_between_two_looks_tells_how_long_a_job_takes_at_most() -> None:
    engine = busy(jobs=30, seconds=0.1)
    rates = observe_rates(engine, every=10.0, until=20)
    assert OCR not in rates.queues
    assert rates.at_most[OCR] == pytest.approx(10 / 30)


def test_a_bound_is_loosened_by_looks_that_do_not_confirm_it() -> None:
    engine = Engine()
    for second in range(0, 6000, 20):
        count = 10 if second < 1000 else 1
        engine.at(second, partial(engine.add, OCR, lasting(0.1), count=count))
    rates = observe_rates(engine, every=2.0, until=1000)
    tight = rates.at_most[OCR]
    assert tight < 0.3
    assert observe_rates(engine, rates, every=2.0, until=4990).at_most[OCR] > 1


@pytest.mark.parametrize("bullmq", [5, 6])
def test_a_paused_queue_is_not_slow(bullmq: Literal[5, 6]) -> None:
    engine = Engine(bullmq=bullmq)
    engine.add(OCR, lasting(0.5), count=10_000)
    for second in range(0, 1000, 50):
        engine.at(second + 25.5, lambda: engine.pause(OCR))
        engine.at(second + 50.5, lambda: engine.resume(OCR))
    assert per_second(observe_rates(engine, until=1000)) == pytest.approx(2.0, rel=0.05)


def test_a_restart_of_the_daemon_does_not() -> None:
    engine = busy()
    rates = from_json(to_json(observe_rates(engine, until=100)))
    before = rates.queues[OCR]
    engine.advance(engine.now + 3600)
    rates = observe_rates(engine, rates, until=0)
    assert rates.queues[OCR] == before
    assert per_second(observe_rates(engine, rates, until=100)) == pytest.approx(2.0, rel=0.03)


def test_a_clock_that_begins_anew_does_not() -> None:
    engine = busy()
    rates = observe_rates(engine, until=100)
    assert observe(rates, snapshot_of(engine), [OCR], now=0.0).queues == rates.queues


def test_time_in_which_immich_was_away_does_not() -> None:
    engine = busy()
    rates = observe_rates(engine, until=100)
    before = rates.queues[OCR]
    engine.restart(3600)
    rates = observe_rates(engine, rates, every=3600, until=3600, away={0, 1})
    assert rates.queues[OCR] == before


def test_somebody_who_empties_the_queue_does_not() -> None:
    engine = busy()
    engine.at(100.5, lambda: engine.empty(OCR))
    engine.at(101.5, lambda: engine.add(OCR, lasting(0.5), count=1000))
    assert per_second(observe_rates(engine, until=110)) == pytest.approx(2.0, rel=0.05)


def test_somebody_who_empties_a_queue_of_which_nothing_is_known_does_not() -> None:
    engine = busy(seconds=100.0)
    engine.at(2.5, lambda: engine.empty(OCR))
    rates = observe_rates(engine, until=5)
    assert OCR not in rates.at_most
    assert job_takes(rates, OCR) is None


def test_jobs_that_only_wait_for_others_do_not() -> None:
    engine = Engine()
    pause_all_but(engine, "faceDetection", "facialRecognition")
    engine.reindex("faceDetection", 600)
    rates = observe_rates(engine, until=120)
    assert engine.queues["facialRecognition"].is_empty
    # 20 ms of one of the two cores.
    takes = job_takes(rates, "facialRecognition")
    assert takes is not None
    assert takes[0].high < 0.03


def test_a_queue_beside_which_others_work_is_measured_for_itself() -> None:
    engine = Engine()
    pause_all_but(engine, "library", "migration")
    work = Kind("work", cpu=0.2)
    engine.add("migration", work, count=2000)
    rates = observe_rates(engine, until=100)
    engine.add("library", work, count=100_000)
    rates = observe_rates(engine, rates, until=100)
    alone, beside_one, *more = job_takes(rates, "migration") or ()
    assert alone.middle == pytest.approx(0.1, rel=0.05)
    assert beside_one.middle == pytest.approx(0.15, rel=0.4)
    assert beside_one.low > alone.high
    assert len(more) == MOST_BESIDE - 1
    assert all(takes.high > beside_one.high for takes in more)


def test_of_a_queue_only_seen_beside_another_it_is_known_what_it_would_take_alone_at_most() -> None:
    measured = Rates(beside={OCR: {1: Rate(10_000, 10_000)}})
    alone, beside_one, *_ = job_takes(measured, OCR) or ()
    assert alone == (beside_one.low / 2, beside_one.high)


# What comes with it


def test_jobs_found_at_the_first_look_came_nobody_knows_how() -> None:
    engine = busy(jobs=10)
    assert list(observe_rates(engine, until=0).batches[OCR]) == [UNKNOWN]


def test_a_queue_that_immich_no_longer_has_is_no_trouble() -> None:
    engine = busy()
    rates = observe_rates(engine, until=100)
    without = {name: queue for name, queue in snapshot_of(engine).items() if name != OCR}
    rates = observe(rates, without, [OCR], now=101.0)
    rates = observe(rates, snapshot_of(engine), [OCR], now=102.0)
    assert per_second(rates) == pytest.approx(2.0, rel=0.03)


def test_delayed_and_failed_jobs_are_nothing_that_was_drained() -> None:
    rates = Rates()
    for now, (delayed, failed) in enumerate(zip(chain((90,), repeat(0)), cycle((0, 9)))):
        queue = Queue(OCR, is_paused=False, active=1, waiting=50, delayed=delayed, failed=failed)
        rates = observe(rates, {OCR: queue}, [OCR], float(now))
        if now > 20:
            break
    assert rates.queues[OCR].jobs == 0


names = st.sampled_from((*DOWNSTREAM, "migration"))
queues = st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 10**6), st.integers(0, 10**6))
lives = st.lists(
    st.tuples(
        st.floats(0, 4000, allow_subnormal=False),
        st.dictionaries(names, queues, max_size=6),
        st.sets(names, max_size=4),
    ),
    max_size=8,
)


@given(lives)
@settings(max_examples=200)
def test_whatever_is_seen_all_that_is_told_is_a_number_and_can_be_kept(
    life: list[tuple[float, dict[str, tuple[bool, int, int, int]], set[str]]],
) -> None:
    rates, now = Rates(), 0.0
    for later, seen, running in life:
        now += later
        snapshot = {name: Queue(name, *queue) for name, queue in seen.items()}
        rates = observe(rates, snapshot, running, now)
        assert from_json(to_json(rates)).queues.keys() <= rates.queues.keys()
        for rate in rates.queues.values():
            assert 0 <= rate.jobs < inf
            assert 0 < rate.seconds < inf
        for name in rates.queues.keys() | rates.at_most.keys():
            for low, high in job_takes(rates, name) or ():
                assert 0 <= low <= high < inf
        for name, queue in snapshot.items():
            left = sum(batch.left for batch in rates.batches.get(name, {}).values())
            assert left == pytest.approx(queue.pending, abs=1e-3)


def test_the_bounds_of_what_is_believed() -> None:
    """More than three times the known rate is not believed at once, and nothing is that fast."""
    queue = Queue(OCR, is_paused=False, active=1, waiting=10**6)
    rates = Rates({OCR: Rate(50, 100)}, seen={OCR: queue}, seen_at=0.0)
    left = Queue(OCR, is_paused=False, active=1, waiting=1)
    after = observe(rates, {OCR: left}, [OCR], now=100.0)
    assert after.queues[OCR].jobs <= 50 + JUMP * 0.5 * 100 + 10
    unknown = observe(Rates(seen={OCR: queue}), {OCR: left}, [OCR], now=1.0)
    assert unknown.queues[OCR].jobs <= FASTEST + 10
