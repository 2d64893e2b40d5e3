"""The estimate: what is told of what is known, when nothing is, and what always holds."""

from collections.abc import Mapping
from functools import partial
from math import isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.expected import ERROR
from immich_job_daemon.forecast.estimate import UNSURE, Forecast, forecast
from immich_job_daemon.forecast.pipeline import (
    DOWNSTREAM,
    FEEDS,
    OUTSIDE,
    SOURCES,
    UNKNOWN,
    Batch,
    Seen,
    Span,
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


# What is told


def test_the_estimate_is_the_middle_between_best_and_worst() -> None:
    rates = Rates({OCR: Rate(25, 50)})
    assert forecast(queue(OCR, 100), rates, [OCR], [], 1).total == pytest.approx(200, rel=1e-3)


def test_it_is_told_of_each_queue_with_something_pending_and_of_the_whole() -> None:
    rates = Rates({OCR: Rate(1e6, 1e6), "migration": Rate(1e6, 1e6)})
    seen = {**queue(OCR, 10), **queue("migration", 20), **queue("sidecar", 0)}
    found = forecast(seen, rates, [OCR], ["migration", "sidecar"], 1)
    assert found.queues == {
        OCR: pytest.approx(10, rel=1e-2),
        "migration": pytest.approx(30 + HANDOVER, rel=1e-2),
    }
    assert found.total == found.queues["migration"]


def test_bullmq_6_counts_a_paused_queues_jobs_otherwise_and_it_makes_no_difference() -> None:
    rates = Rates({OCR: Rate(25, 50)})
    for counts in ({"paused": 90}, {"waiting": 90}, {"active": 1, "paused": 89}):
        seen = {OCR: Queue(OCR, is_paused=True, **counts)}
        assert forecast(seen, rates, [], [OCR], 1).total == pytest.approx(180.3, rel=1e-2)


def test_delayed_jobs_do_not_count() -> None:
    rates = Rates({OCR: Rate(25, 50)})
    seen = queue(OCR, 10, delayed=1000)
    assert forecast(seen, rates, [OCR], [], 1) == forecast(queue(OCR, 10), rates, [OCR], [], 1)


def test_with_nothing_left_to_do_it_is_done_now() -> None:
    assert forecast(queue(OCR, 0), Rates(), [], [OCR], 1) == Forecast(total=0.0)


def test_with_no_queue_that_may_run_nobody_can_tell_when() -> None:
    assert forecast(queue(OCR, 10), Rates(), [], [], 1) == Forecast(total=None)


def test_a_queue_that_immich_does_not_have_is_no_trouble() -> None:
    rates = Rates({OCR: Rate(1e6, 1e6)})
    found = forecast(queue(OCR, 10), rates, ["gone", OCR], ["missing", OCR], 1)
    assert found.total == pytest.approx(10, rel=1e-2)


# What is not


def test_nothing_is_told_where_nothing_was_measured() -> None:
    assert forecast(queue(OCR, 10), Rates(), [OCR], [], 1) == Forecast({OCR: None}, None)


def test_nothing_is_told_of_a_rate_of_a_few_jobs() -> None:
    seen = queue(OCR, 1000)
    assert forecast(seen, Rates({OCR: Rate(2, 4)}), [OCR], [], 1).total is None
    assert forecast(seen, Rates({OCR: Rate(50, 100)}), [OCR], [], 1).total is not None


def test_what_is_done_in_a_moment_anyway_is_told() -> None:
    assert forecast(queue(OCR, 3), Rates({OCR: Rate(2, 1)}), [OCR], [], 1).total is not None
    assert forecast(queue(OCR, 3), Rates(at_most={OCR: 0.2}), [OCR], [], 1).total is not None


def test_what_is_unknown_but_a_small_part_does_not_hide_the_rest() -> None:
    rates = Rates(
        {LIBRARY: Rate(1e6, 1e6)},
        at_most={"migration": 1.0},
        batches={LIBRARY: {OUTSIDE: Batch(900, usual={"sidecar": Span(0, 0)})}},
    )
    seen = {**queue(LIBRARY, 900), **queue("migration", 100), **queue("sidecar", 0)}
    found = forecast(seen, rates, [LIBRARY], ["sidecar", "migration"], 1)
    assert found.total == pytest.approx(950, rel=0.01)
    many = {**seen, **queue("migration", 900)}
    assert forecast(many, rates, [LIBRARY], ["sidecar", "migration"], 1).total is None


def test_it_is_unknown_what_a_backlog_leads_to_that_came_before_the_first_look() -> None:
    sure = {name: Rate(1e6, 1e6) for name in DOWNSTREAM}
    rates = Rates(sure, batches={THUMBNAIL: {UNKNOWN: Batch(100)}})
    found = forecast(queue(THUMBNAIL, 100), rates, [THUMBNAIL], [*DOWNSTREAM], 1)
    assert found.queues == {THUMBNAIL: pytest.approx(100, rel=0.01)}
    seen = {**snapshot_of(Engine()), **queue(THUMBNAIL, 100)}
    assert forecast(seen, rates, [THUMBNAIL], [*DOWNSTREAM], 1).total is None


def test_until_enough_of_it_was_done() -> None:
    sure = {name: Rate(1e6, 1e6) for name in DOWNSTREAM}
    barren = Batch(100, {name: Seen(50, 0) for name in ("smartSearch", "faceDetection", OCR)})
    rates = Rates(sure, batches={THUMBNAIL: {UNKNOWN: barren}})
    seen = {**snapshot_of(Engine()), **queue(THUMBNAIL, 100)}
    order = [name for name in DOWNSTREAM if name != "videoConversion"]
    found = forecast(seen, rates, [THUMBNAIL], order, 1)
    assert found.total == pytest.approx(100, rel=0.01)


# From looks to an estimate


def test_a_backlog_is_estimated_from_what_was_drained_of_it() -> None:
    engine = Engine()
    engine.add(OCR, lasting(0.5), count=1000)
    rates = observe_rates(engine, until=60)
    seen = snapshot_of(engine)
    found = forecast(seen, rates, [OCR], [], 1)
    truth = engine.settle() - 60
    assert found.total == pytest.approx(truth, rel=0.05)


def test_the_whole_way_of_an_upload_is_known_from_the_upload_before() -> None:
    engine = Engine()
    order = [name for name in DOWNSTREAM if name != "library"]

    def uploaded(rates: Rates, photos: int, videos: int) -> Rates:
        engine.upload(photos=photos, videos=videos)
        engine.advance(engine.now + 1)
        return observe_rates(engine, rates, until=0)

    def one_by_one(rates: Rates) -> Rates:
        while not engine.is_idle:
            queue = next(found for n in order if not (found := engine.queues[n]).is_empty)
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
    found = forecast(snapshot_of(engine), rates, [], order, 1)
    began = engine.now
    one_by_one(rates)
    assert found.total == pytest.approx(engine.now - began, rel=0.2)
    assert found.queues.keys() == {"metadataExtraction"}


# What always holds

names = st.sampled_from((*DOWNSTREAM, "migration"))
some = st.floats(1e-3, 1e6, allow_subnormal=False)
shares = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda two: Span(min(two), max(two)))
pending = st.dictionaries(names, st.integers(0, 10**6), min_size=1, max_size=6)
batch = st.builds(
    Batch,
    left=st.floats(0, 1e6, allow_subnormal=False),
    seen=st.dictionaries(names, st.builds(Seen, some, st.floats(0, 1e6)), max_size=2),
    usual=st.dictionaries(names, shares, max_size=2),
)
rate = st.builds(Rate, some, some)
ways = st.sampled_from((OUTSIDE, UNKNOWN, *SOURCES))
measured = st.builds(
    Rates,
    queues=st.dictionaries(names, rate, max_size=8),
    beside=st.dictionaries(names, st.dictionaries(st.integers(0, 3), rate, max_size=2), max_size=2),
    at_most=st.dictionaries(names, some, max_size=4),
    batches=st.dictionaries(names, st.dictionaries(ways, batch, max_size=2), max_size=4),
)


def looked(left: Mapping[str, int]) -> Snapshot:
    return {name: Queue(name, is_paused=True, paused=number) for name, number in left.items()}


@given(
    pending,
    measured,
    st.lists(names, max_size=4),
    st.permutations(DOWNSTREAM),
    st.integers(1, 1000),
)
@settings(max_examples=200)
def test_an_estimate_is_a_number_from_0_on_and_the_whole_is_never_before_a_part(
    left: Mapping[str, int], rates: Rates, running: list[str], order: list[str], limit: int
) -> None:
    found = forecast(looked(left), rates, running, order, limit)
    told = [seconds for seconds in (*found.queues.values(), found.total) if seconds is not None]
    assert all(isfinite(seconds) and seconds >= 0 for seconds in told)
    if found.total is not None:
        assert found.total >= max((s for s in found.queues.values() if s is not None), default=0)
    assert found.queues.keys() == {
        name for name, number in left.items() if number and name in {*running, *order}
    }


@given(pending, measured, st.permutations(DOWNSTREAM), st.integers(1, 20))
@settings(max_examples=200)
def test_of_what_was_never_seen_at_work_nothing_is_told(
    left: Mapping[str, int], rates: Rates, order: list[str], limit: int
) -> None:
    found = forecast(looked(left), Rates(batches=rates.batches), [], order, limit)
    assert {*found.queues.values()} <= {None}
    assert found.total is None or not found.queues


@st.composite
def known(draw: st.DrawFn) -> Rates:
    """Return rates that leave nothing in doubt: every queue's, and what each leads to."""
    seconds = st.sampled_from((0.005, 0.1, 1.0, 37.0))
    share = st.sampled_from((0.0, 0.1, 0.5, 1.0))
    queues = {name: Rate(1e9, 1e9 * draw(seconds)) for name in DOWNSTREAM}
    batches = {
        name: {
            way: Batch(usual={target: Span(ratio, ratio) for target in DOWNSTREAM})
            for way in (OUTSIDE, UNKNOWN, *DOWNSTREAM)
            for ratio in [draw(share)]
        }
        for name in FEEDS
    }
    return Rates(queues, batches=batches)


@given(
    st.dictionaries(st.sampled_from(DOWNSTREAM), st.integers(0, 10**4), min_size=1),
    st.sampled_from(DOWNSTREAM),
    st.integers(1, 10**4),
    known(),
    st.permutations(DOWNSTREAM),
)
@settings(max_examples=200)
def test_a_larger_backlog_is_never_done_earlier_one_after_the_other(
    left: Mapping[str, int], name: str, more: int, rates: Rates, order: list[str]
) -> None:
    fewer = forecast(looked(left), rates, [], order, 1).total
    larger = {**left, name: left.get(name, 0) + more}
    longer = forecast(looked(larger), rates, [], order, 1).total
    if fewer is not None and longer is not None:
        assert longer >= fewer * (1 - 1e-6) - 1e-3


@given(
    st.dictionaries(st.sampled_from(("ocr", "videoConversion", "migration", "sidecar")),
                    st.integers(0, 10**4), min_size=1),
    st.sampled_from(("ocr", "videoConversion", "migration", "sidecar")),
    st.integers(1, 10**4),
    st.dictionaries(st.sampled_from(("ocr", "videoConversion", "migration", "sidecar")),
                    some.map(lambda seconds: Rate(1e9, 1e9 * seconds))),
    st.integers(1, 5),
)  # fmt: skip
@settings(max_examples=200)
def test_nor_side_by_side_where_nothing_leads_to_anything(
    left: Mapping[str, int], name: str, more: int, rates: Mapping[str, Rate], limit: int
) -> None:
    order = ("ocr", "videoConversion", "migration", "sidecar")
    known = Rates(rates, batches={"sidecar": {}})
    fewer = forecast(looked(left), known, [], order, limit).total
    larger = {**left, name: left.get(name, 0) + more}
    longer = forecast(looked(larger), known, [], order, limit).total
    if fewer is not None and longer is not None:
        assert longer >= fewer * (1 - 1e-6) - 1e-3


def test_an_estimate_errs_by_half_of_what_best_and_worst_may_lie_apart() -> None:
    assert 100 * UNSURE / 2 == ERROR
