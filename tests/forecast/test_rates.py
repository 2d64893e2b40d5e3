"""Rates: how they are measured, and what must not distort them."""

from functools import partial
from itertools import chain, cycle, repeat
from math import inf
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from immich_job_daemon.forecast.pipeline import PIPELINE_ORDER, UNKNOWN
from immich_job_daemon.forecast.rates import (
    MAX_OTHERS,
    MAX_PER_SECOND,
    MAX_SPEEDUP,
    Rate,
    Rates,
    observe,
    service_times,
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


# Measurements


@pytest.mark.parametrize("bullmq", [5, 6])
@pytest.mark.parametrize("every", [0.25, 1.7, 10.0, 60.0])
def test_a_rate_is_the_throughput_while_jobs_wait(every: float, bullmq: Literal[5, 6]) -> None:
    engine = Engine(bullmq=bullmq)
    engine.add(OCR, lasting(0.5), count=100_000)
    assert per_second(observe_rates(engine, every=every, until=300)) == pytest.approx(2.0, rel=0.03)


def test_the_interval_between_polls_may_vary() -> None:
    every = cycle((0.25, 0.3, 1.0, 10.0, 0.25, 4.0))
    assert per_second(observe_rates(busy(), every=every, until=600)) == pytest.approx(2.0, rel=0.03)


def test_a_rate_covers_all_workers_of_a_queue() -> None:
    rates = observe_rates(busy(name="thumbnailGeneration"), until=60)
    assert per_second(rates, "thumbnailGeneration") == pytest.approx(6.0, rel=0.03)


def test_a_rate_is_unknown_until_enough_jobs_are_completed() -> None:
    engine = busy(seconds=10.0)
    assert OCR not in observe_rates(engine, until=0).queues
    rates = observe_rates(engine, until=39)
    assert 3 <= rates.queues[OCR].jobs <= 4
    assert rates.queues[OCR].per_second is None
    assert per_second(observe_rates(engine, rates, until=60)) == pytest.approx(0.1, rel=0.2)


def test_jobs_that_take_many_polls_are_measured() -> None:
    assert per_second(observe_rates(busy(seconds=600.0), every=10.0, until=7200)) == pytest.approx(
        1 / 600, rel=0.1
    )


def test_older_jobs_count_less_and_less() -> None:
    engine = busy(jobs=2000, seconds=0.25)
    engine.add(OCR, lasting(1.0), count=10_000)
    rates = observe_rates(engine, until=400)
    assert per_second(rates) == pytest.approx(4.0, rel=0.03)
    rates = observe_rates(engine, rates, until=1800)
    assert per_second(rates) == pytest.approx(1.0, rel=0.1)


def test_a_sudden_speedup_is_adopted_in_steps() -> None:
    engine = busy(jobs=20, seconds=20.0)
    engine.add(OCR, lasting(0.1), count=100_000)
    rates = observe_rates(engine, every=5.0, until=380)
    assert per_second(rates) < 0.06
    assert per_second(observe_rates(engine, rates, every=5.0, until=1200)) == pytest.approx(
        10, rel=0.1
    )


# Distortions


def test_arrivals_do_not_distort_a_rate() -> None:
    engine = busy()
    for second in range(0, 600, 7):
        engine.at(second + 0.5, lambda: engine.add(OCR, lasting(0.5), count=5))
    assert per_second(observe_rates(engine, until=600)) == pytest.approx(2.0, rel=0.05)


def test_time_without_jobs_does_not_distort_a_rate() -> None:
    engine = Engine()
    for second in (0, 500, 1000):
        engine.at(second, lambda: engine.add(OCR, lasting(0.5), count=60))
    rates = observe_rates(engine, every=2.0, until=1100)
    assert per_second(rates) == pytest.approx(2.0, rel=0.07)


def test_single_jobs_only_give_a_bound_as_they_leave_workers_idle() -> None:
    engine = Engine()
    for second in range(0, 1000, 10):
        engine.at(second, lambda: engine.add("smartSearch", lasting(0.5)))
    rates = observe_rates(engine, until=1000)
    assert rates.queues == {}
    times = service_times(rates, "smartSearch")
    assert times is not None
    assert times[0].lower == 0
    assert 0.5 <= times[0].upper <= 1.1


def test_a_backlog_drained_between_two_polls_gives_an_upper_bound() -> None:
    engine = busy(jobs=30, seconds=0.1)
    rates = observe_rates(engine, every=10.0, until=20)
    assert OCR not in rates.queues
    assert rates.max_service_times[OCR] == pytest.approx(10 / 30)


def test_a_bound_grows_with_polls_that_do_not_confirm_it() -> None:
    engine = Engine()
    for second in range(0, 6000, 20):
        count = 10 if second < 1000 else 1
        engine.at(second, partial(engine.add, OCR, lasting(0.1), count=count))
    rates = observe_rates(engine, every=2.0, until=1000)
    tight = rates.max_service_times[OCR]
    assert tight < 0.3
    assert observe_rates(engine, rates, every=2.0, until=4990).max_service_times[OCR] > 1


@pytest.mark.parametrize("bullmq", [5, 6])
def test_pauses_do_not_distort_a_rate(bullmq: Literal[5, 6]) -> None:
    engine = Engine(bullmq=bullmq)
    engine.add(OCR, lasting(0.5), count=10_000)
    for second in range(0, 1000, 50):
        engine.at(second + 25.5, lambda: engine.pause(OCR))
        engine.at(second + 50.5, lambda: engine.resume(OCR))
    assert per_second(observe_rates(engine, until=1000)) == pytest.approx(2.0, rel=0.05)


def test_a_restart_of_the_daemon_does_not_distort_a_rate() -> None:
    engine = busy()
    rates = from_json(to_json(observe_rates(engine, until=100)))
    before = rates.queues[OCR]
    engine.advance(engine.now + 3600)
    rates = observe_rates(engine, rates, until=0)
    assert rates.queues[OCR] == before
    assert per_second(observe_rates(engine, rates, until=100)) == pytest.approx(2.0, rel=0.03)


def test_a_clock_that_starts_again_does_not_distort_a_rate() -> None:
    engine = busy()
    rates = observe_rates(engine, until=100)
    assert observe(rates, snapshot_of(engine), [OCR], now=0.0).queues == rates.queues


def test_an_outage_of_immich_does_not_distort_a_rate() -> None:
    engine = busy()
    rates = observe_rates(engine, until=100)
    before = rates.queues[OCR]
    engine.restart(3600)
    rates = observe_rates(engine, rates, every=3600, until=3600, away={0, 1})
    assert rates.queues[OCR] == before


def test_clearing_a_queue_does_not_distort_its_rate() -> None:
    engine = busy()
    engine.at(100.5, lambda: engine.empty(OCR))
    engine.at(101.5, lambda: engine.add(OCR, lasting(0.5), count=1000))
    assert per_second(observe_rates(engine, until=110)) == pytest.approx(2.0, rel=0.05)


def test_clearing_an_unmeasured_queue_gives_no_bound() -> None:
    engine = busy(seconds=100.0)
    engine.at(2.5, lambda: engine.empty(OCR))
    rates = observe_rates(engine, until=5)
    assert OCR not in rates.max_service_times
    assert service_times(rates, OCR) is None


def test_jobs_that_wait_for_other_queues_do_not_distort_a_rate() -> None:
    engine = Engine()
    pause_all_but(engine, "faceDetection", "facialRecognition")
    engine.reindex("faceDetection", 600)
    rates = observe_rates(engine, until=120)
    assert engine.queues["facialRecognition"].is_empty
    # A job takes 20 ms of one of the two cores.
    times = service_times(rates, "facialRecognition")
    assert times is not None
    assert times[0].upper < 0.03


def test_rates_are_measured_by_number_of_other_busy_queues() -> None:
    engine = Engine()
    pause_all_but(engine, "library", "migration")
    work = Kind("work", cpu=0.2)
    engine.add("migration", work, count=2000)
    rates = observe_rates(engine, until=100)
    engine.add("library", work, count=100_000)
    rates = observe_rates(engine, rates, until=100)
    alone, beside_one, *more = service_times(rates, "migration") or ()
    assert alone.midpoint == pytest.approx(0.1, rel=0.05)
    assert beside_one.midpoint == pytest.approx(0.15, rel=0.4)
    assert beside_one.lower > alone.upper
    assert len(more) == MAX_OTHERS - 1
    assert all(times.upper > beside_one.upper for times in more)


def test_a_queue_observed_only_beside_another_is_at_most_twice_as_fast_alone() -> None:
    measured = Rates(by_others={OCR: {1: Rate(10_000, 10_000)}})
    alone, beside_one, *_ = service_times(measured, OCR) or ()
    assert alone == (beside_one.lower / 2, beside_one.upper)


# Snapshots and batches


def test_jobs_pending_at_the_first_poll_have_an_unknown_origin() -> None:
    engine = busy(jobs=10)
    assert list(observe_rates(engine, until=0).batches[OCR]) == [UNKNOWN]


def test_a_queue_may_be_missing_from_a_snapshot() -> None:
    engine = busy()
    rates = observe_rates(engine, until=100)
    without = {name: queue for name, queue in snapshot_of(engine).items() if name != OCR}
    rates = observe(rates, without, [OCR], now=101.0)
    rates = observe(rates, snapshot_of(engine), [OCR], now=102.0)
    assert per_second(rates) == pytest.approx(2.0, rel=0.03)


def test_delayed_and_failed_jobs_do_not_count_as_completed() -> None:
    rates = Rates()
    for now, (delayed, failed) in enumerate(zip(chain((90,), repeat(0)), cycle((0, 9)))):
        queue = Queue(OCR, is_paused=False, active=1, waiting=50, delayed=delayed, failed=failed)
        rates = observe(rates, {OCR: queue}, [OCR], float(now))
        if now > 20:
            break
    assert rates.queues[OCR].jobs == 0


names = st.sampled_from((*PIPELINE_ORDER, "migration"))
queue_states = st.tuples(
    st.booleans(), st.integers(0, 20), st.integers(0, 10**6), st.integers(0, 10**6)
)
histories = st.lists(
    st.tuples(
        st.floats(0, 4000, allow_subnormal=False),
        st.dictionaries(names, queue_states, max_size=6),
        st.sets(names, max_size=4),
    ),
    max_size=8,
)


@given(histories)
@settings(max_examples=200)
def test_measurements_are_finite_and_can_be_stored_after_any_snapshots(
    history: list[tuple[float, dict[str, tuple[bool, int, int, int]], set[str]]],
) -> None:
    rates, now = Rates(), 0.0
    for elapsed, states, running in history:
        now += elapsed
        snapshot = {name: Queue(name, *state) for name, state in states.items()}
        rates = observe(rates, snapshot, running, now)
        assert from_json(to_json(rates)).queues.keys() <= rates.queues.keys()
        for rate in rates.queues.values():
            assert 0 <= rate.jobs < inf
            assert 0 < rate.seconds < inf
        for name in rates.queues.keys() | rates.max_service_times.keys():
            for lower, upper in service_times(rates, name) or ():
                assert 0 <= lower <= upper < inf
        for name, queue in snapshot.items():
            left = sum(batch.pending for batch in rates.batches.get(name, {}).values())
            assert left == pytest.approx(queue.pending, abs=1e-3)


def test_implausible_rates_are_limited() -> None:
    """A rate grows at most threefold at once, and no queue completes more than 1000 a second."""
    queue = Queue(OCR, is_paused=False, active=1, waiting=10**6)
    rates = Rates({OCR: Rate(50, 100)}, snapshot={OCR: queue}, polled_at=0.0)
    left = Queue(OCR, is_paused=False, active=1, waiting=1)
    after = observe(rates, {OCR: left}, [OCR], now=100.0)
    assert after.queues[OCR].jobs <= 50 + MAX_SPEEDUP * 0.5 * 100 + 10
    unknown = observe(Rates(snapshot={OCR: queue}), {OCR: left}, [OCR], now=1.0)
    assert unknown.queues[OCR].jobs <= MAX_PER_SECOND + 10
