"""Estimates: when there is one, when it is unknown, and properties that always hold."""

from collections.abc import Mapping
from functools import partial
from math import isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.results import MAX_FORECAST_ERROR
from immich_job_daemon.forecast.estimate import MAX_RANGE, Forecast, forecast
from immich_job_daemon.forecast.pipeline import (
    DOWNSTREAM,
    OUTSIDE,
    PIPELINE_ORDER,
    UNKNOWN,
    UPSTREAM,
    Batch,
    Bounds,
    Sample,
)
from immich_job_daemon.forecast.rates import Rate, Rates
from immich_job_daemon.forecast.simulation import HANDOVER
from immich_job_daemon.model.queue import Queue, Snapshot
from simulator.immich.engine import Engine
from simulator.immich.pipeline import lasting
from tests.support.observed_rates import observe_rates, pause_all_but, snapshot_of

OCR, LIBRARY, THUMBNAIL = "ocr", "library", "thumbnailGeneration"


def queue(name: str, waiting: int, delayed: int = 0) -> Snapshot:
    return {name: Queue(name, is_paused=True, waiting=waiting, delayed=delayed)}


# Known estimates


def test_the_estimate_is_the_midpoint_of_best_and_worst() -> None:
    rates = Rates({OCR: Rate(25, 50)})
    assert forecast(queue(OCR, 100), rates, [OCR], [], 1).total == pytest.approx(200, rel=1e-3)


def test_the_forecast_has_the_total_and_each_queue_with_pending_jobs() -> None:
    rates = Rates({OCR: Rate(1e6, 1e6), "migration": Rate(1e6, 1e6)})
    snapshot = {**queue(OCR, 10), **queue("migration", 20), **queue("sidecar", 0)}
    result = forecast(snapshot, rates, [OCR], ["migration", "sidecar"], 1)
    assert result.queues == {
        OCR: pytest.approx(10, rel=1e-2),
        "migration": pytest.approx(30 + HANDOVER, rel=1e-2),
    }
    assert result.total == result.queues["migration"]


def test_the_counts_of_bullmq_5_and_6_give_the_same_estimate() -> None:
    rates = Rates({OCR: Rate(25, 50)})
    for counts in ({"paused": 90}, {"waiting": 90}, {"active": 1, "paused": 89}):
        snapshot = {OCR: Queue(OCR, is_paused=True, **counts)}
        assert forecast(snapshot, rates, [], [OCR], 1).total == pytest.approx(180.3, rel=1e-2)


def test_delayed_jobs_are_not_counted() -> None:
    rates = Rates({OCR: Rate(25, 50)})
    snapshot = queue(OCR, 10, delayed=1000)
    assert forecast(snapshot, rates, [OCR], [], 1) == forecast(queue(OCR, 10), rates, [OCR], [], 1)


def test_without_pending_jobs_the_total_is_zero() -> None:
    assert forecast(queue(OCR, 0), Rates(), [], [OCR], 1) == Forecast(total=0.0)


def test_if_no_queue_may_run_the_total_is_unknown() -> None:
    assert forecast(queue(OCR, 10), Rates(), [], [], 1) == Forecast(total=None)


def test_a_queue_missing_from_the_snapshot_is_ignored() -> None:
    rates = Rates({OCR: Rate(1e6, 1e6)})
    result = forecast(queue(OCR, 10), rates, ["gone", OCR], ["missing", OCR], 1)
    assert result.total == pytest.approx(10, rel=1e-2)


# Unknown estimates


def test_without_measurements_the_estimate_is_unknown() -> None:
    assert forecast(queue(OCR, 10), Rates(), [OCR], [], 1) == Forecast({OCR: None}, None)


def test_with_a_rate_from_few_jobs_the_estimate_is_unknown() -> None:
    snapshot = queue(OCR, 1000)
    assert forecast(snapshot, Rates({OCR: Rate(2, 4)}), [OCR], [], 1).total is None
    assert forecast(snapshot, Rates({OCR: Rate(50, 100)}), [OCR], [], 1).total is not None


def test_a_short_estimate_needs_no_precise_rate() -> None:
    assert forecast(queue(OCR, 3), Rates({OCR: Rate(2, 1)}), [OCR], [], 1).total is not None
    assert (
        forecast(queue(OCR, 3), Rates(max_service_times={OCR: 0.2}), [OCR], [], 1).total is not None
    )


def test_a_small_unknown_part_does_not_make_the_total_unknown() -> None:
    rates = Rates(
        {LIBRARY: Rate(1e6, 1e6)},
        max_service_times={"migration": 1.0},
        batches={LIBRARY: {OUTSIDE: Batch(900, earlier_ratios={"sidecar": Bounds(0, 0)})}},
    )
    snapshot = {**queue(LIBRARY, 900), **queue("migration", 100), **queue("sidecar", 0)}
    result = forecast(snapshot, rates, [LIBRARY], ["sidecar", "migration"], 1)
    assert result.total == pytest.approx(950, rel=0.01)
    many = {**snapshot, **queue("migration", 900)}
    assert forecast(many, rates, [LIBRARY], ["sidecar", "migration"], 1).total is None


def test_follow_ups_of_jobs_from_before_the_first_poll_are_unknown() -> None:
    exact = {name: Rate(1e6, 1e6) for name in PIPELINE_ORDER}
    rates = Rates(exact, batches={THUMBNAIL: {UNKNOWN: Batch(100)}})
    result = forecast(queue(THUMBNAIL, 100), rates, [THUMBNAIL], [*PIPELINE_ORDER], 1)
    assert result.queues == {THUMBNAIL: pytest.approx(100, rel=0.01)}
    snapshot = {**snapshot_of(Engine()), **queue(THUMBNAIL, 100)}
    assert forecast(snapshot, rates, [THUMBNAIL], [*PIPELINE_ORDER], 1).total is None


def test_follow_ups_of_old_jobs_are_known_once_enough_are_completed() -> None:
    exact = {name: Rate(1e6, 1e6) for name in PIPELINE_ORDER}
    reindex = Batch(100, {name: Sample(50, 0) for name in ("smartSearch", "faceDetection", OCR)})
    rates = Rates(exact, batches={THUMBNAIL: {UNKNOWN: reindex}})
    snapshot = {**snapshot_of(Engine()), **queue(THUMBNAIL, 100)}
    order = [name for name in PIPELINE_ORDER if name != "videoConversion"]
    result = forecast(snapshot, rates, [THUMBNAIL], order, 1)
    assert result.total == pytest.approx(100, rel=0.01)


# From polls to an estimate


def test_a_backlog_is_estimated_from_its_completed_jobs() -> None:
    engine = Engine()
    engine.add(OCR, lasting(0.5), count=1000)
    rates = observe_rates(engine, until=60)
    snapshot = snapshot_of(engine)
    result = forecast(snapshot, rates, [OCR], [], 1)
    actual = engine.settle() - 60
    assert result.total == pytest.approx(actual, rel=0.05)


def test_an_upload_is_estimated_from_the_upload_before() -> None:
    engine = Engine()
    order = [name for name in PIPELINE_ORDER if name != "library"]

    def uploaded(rates: Rates, photos: int, videos: int) -> Rates:
        engine.upload(photos=photos, videos=videos)
        engine.advance(engine.now + 1)
        return observe_rates(engine, rates, until=0)

    def one_by_one(rates: Rates) -> Rates:
        while not engine.is_idle:
            queue = next(q for name in order if not (q := engine.queues[name]).is_empty)
            pause_all_but(engine, queue.name)
            engine.resume(queue.name)
            rates = observe_rates(
                engine, rates, every=0.25, until=partial(getattr, queue, "is_empty")
            )
        return rates

    pause_all_but(engine)
    rates = one_by_one(uploaded(observe_rates(engine, until=0), photos=100, videos=1))
    engine.advance(engine.now + 100)
    rates = uploaded(rates, photos=200, videos=2)
    result = forecast(snapshot_of(engine), rates, [], order, 1)
    began = engine.now
    one_by_one(rates)
    assert result.total == pytest.approx(engine.now - began, rel=0.2)
    assert result.queues.keys() == {"metadataExtraction"}


# Properties

names = st.sampled_from((*PIPELINE_ORDER, "migration"))
positive = st.floats(1e-3, 1e6, allow_subnormal=False)
ratios = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda two: Bounds(min(two), max(two)))
backlogs = st.dictionaries(names, st.integers(0, 10**6), min_size=1, max_size=6)
batch = st.builds(
    Batch,
    pending=st.floats(0, 1e6, allow_subnormal=False),
    samples=st.dictionaries(names, st.builds(Sample, positive, st.floats(0, 1e6)), max_size=2),
    earlier_ratios=st.dictionaries(names, ratios, max_size=2),
)
rate = st.builds(Rate, positive, positive)
origins = st.sampled_from((OUTSIDE, UNKNOWN, *UPSTREAM))
all_rates = st.builds(
    Rates,
    queues=st.dictionaries(names, rate, max_size=8),
    by_others=st.dictionaries(
        names, st.dictionaries(st.integers(0, 3), rate, max_size=2), max_size=2
    ),
    max_service_times=st.dictionaries(names, positive, max_size=4),
    batches=st.dictionaries(names, st.dictionaries(origins, batch, max_size=2), max_size=4),
)


def paused(backlog: Mapping[str, int]) -> Snapshot:
    return {name: Queue(name, is_paused=True, paused=number) for name, number in backlog.items()}


@given(
    backlogs,
    all_rates,
    st.lists(names, max_size=4),
    st.permutations(PIPELINE_ORDER),
    st.integers(1, 1000),
)
@settings(max_examples=200)
def test_an_estimate_is_never_negative_and_the_total_is_never_below_a_part(
    backlog: Mapping[str, int], rates: Rates, running: list[str], order: list[str], limit: int
) -> None:
    result = forecast(paused(backlog), rates, running, order, limit)
    estimates = [
        seconds for seconds in (*result.queues.values(), result.total) if seconds is not None
    ]
    assert all(isfinite(seconds) and seconds >= 0 for seconds in estimates)
    if result.total is not None:
        assert result.total >= max((s for s in result.queues.values() if s is not None), default=0)
    assert result.queues.keys() == {
        name for name, number in backlog.items() if number and name in {*running, *order}
    }


@given(backlogs, all_rates, st.permutations(PIPELINE_ORDER), st.integers(1, 20))
@settings(max_examples=200)
def test_queues_that_were_never_observed_working_are_unknown(
    backlog: Mapping[str, int], rates: Rates, order: list[str], limit: int
) -> None:
    result = forecast(paused(backlog), Rates(batches=rates.batches), [], order, limit)
    assert {*result.queues.values()} <= {None}
    assert result.total is None or not result.queues


@st.composite
def exact_rates(draw: st.DrawFn) -> Rates:
    """Draw exact service times and follow-up ratios for every queue."""
    seconds = st.sampled_from((0.005, 0.1, 1.0, 37.0))
    ratio_of_batch = st.sampled_from((0.0, 0.1, 0.5, 1.0))
    queues = {name: Rate(1e9, 1e9 * draw(seconds)) for name in PIPELINE_ORDER}
    batches = {
        name: {
            origin: Batch(
                earlier_ratios={target: Bounds(ratio, ratio) for target in PIPELINE_ORDER}
            )
            for origin in (OUTSIDE, UNKNOWN, *PIPELINE_ORDER)
            for ratio in [draw(ratio_of_batch)]
        }
        for name in DOWNSTREAM
    }
    return Rates(queues, batches=batches)


@given(
    st.dictionaries(st.sampled_from(PIPELINE_ORDER), st.integers(0, 10**4), min_size=1),
    st.sampled_from(PIPELINE_ORDER),
    st.integers(1, 10**4),
    exact_rates(),
    st.permutations(PIPELINE_ORDER),
)
@settings(max_examples=200)
def test_a_larger_backlog_is_never_done_earlier_with_one_slot(
    backlog: Mapping[str, int], name: str, more: int, rates: Rates, order: list[str]
) -> None:
    fewer = forecast(paused(backlog), rates, [], order, 1).total
    larger = {**backlog, name: backlog.get(name, 0) + more}
    longer = forecast(paused(larger), rates, [], order, 1).total
    if fewer is not None and longer is not None:
        assert longer >= fewer * (1 - 1e-6) - 1e-3


@given(
    st.dictionaries(st.sampled_from(("ocr", "videoConversion", "migration", "sidecar")),
                    st.integers(0, 10**4), min_size=1),
    st.sampled_from(("ocr", "videoConversion", "migration", "sidecar")),
    st.integers(1, 10**4),
    st.dictionaries(st.sampled_from(("ocr", "videoConversion", "migration", "sidecar")),
                    positive.map(lambda seconds: Rate(1e9, 1e9 * seconds))),
    st.integers(1, 5),
)  # fmt: skip
@settings(max_examples=200)
def test_a_larger_backlog_is_never_done_earlier_without_follow_ups(
    backlog: Mapping[str, int], name: str, more: int, rates: Mapping[str, Rate], limit: int
) -> None:
    order = ("ocr", "videoConversion", "migration", "sidecar")
    known = Rates(rates, batches={"sidecar": {}})
    fewer = forecast(paused(backlog), known, [], order, limit).total
    larger = {**backlog, name: backlog.get(name, 0) + more}
    longer = forecast(paused(larger), known, [], order, limit).total
    if fewer is not None and longer is not None:
        assert longer >= fewer * (1 - 1e-6) - 1e-3


def test_the_error_of_an_estimate_is_at_most_half_the_largest_range() -> None:
    assert 100 * MAX_RANGE / 2 == MAX_FORECAST_ERROR
