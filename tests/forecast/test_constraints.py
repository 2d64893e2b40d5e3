"""Forecasts with windows and exclusive groups."""

import pytest

from immich_job_daemon.forecast.constraints import Constraints, WindowSpans
from immich_job_daemon.forecast.estimate import forecast
from immich_job_daemon.forecast.rates import Rate, Rates
from immich_job_daemon.model.queue import Queue

NIGHT = Constraints(WindowSpans({"videoConversion": [(3600.0, 7200.0), (90_000.0, 93_600.0)]}))


def rate(per_second: float) -> Rate:
    return Rate(per_second * 1000, 1000.0)


def test_a_queue_outside_its_window_starts_when_it_opens() -> None:
    rates = Rates({"videoConversion": rate(1.0)})
    snapshot = {"videoConversion": Queue("videoConversion", is_paused=True, paused=600)}
    result = forecast(snapshot, rates, [], ["videoConversion"], 1, NIGHT)
    assert result.total == pytest.approx(3600 + 600, rel=0.1)


def test_jobs_left_when_a_window_closes_continue_in_the_next() -> None:
    rates = Rates({"videoConversion": rate(1.0)})
    snapshot = {"videoConversion": Queue("videoConversion", is_paused=True, paused=5400)}
    result = forecast(snapshot, rates, [], ["videoConversion"], 1, NIGHT)
    assert result.total == pytest.approx(90_000 + 1800, rel=0.05)


def test_jobs_that_need_more_windows_than_are_computed_are_unknown() -> None:
    rates = Rates({"videoConversion": rate(1.0)})
    snapshot = {"videoConversion": Queue("videoConversion", is_paused=True, paused=50_000)}
    assert forecast(snapshot, rates, [], ["videoConversion"], 1, NIGHT).total is None


def test_another_queue_uses_the_slot_until_the_window_opens() -> None:
    rates = Rates({"videoConversion": rate(1.0), "library": rate(1.0)})
    snapshot = {
        "videoConversion": Queue("videoConversion", is_paused=True, paused=600),
        "library": Queue("library", is_paused=True, paused=600),
    }
    result = forecast(snapshot, rates, [], ["videoConversion", "library"], 1, NIGHT)
    assert result.queues["library"] == pytest.approx(600, rel=0.1)
    assert result.queues["videoConversion"] == pytest.approx(4200, rel=0.1)


def test_exclusive_queues_run_one_after_the_other() -> None:
    rates = Rates({"migration": rate(1.0), "library": rate(1.0)})
    snapshot = {name: Queue(name, is_paused=True, paused=600) for name in ("migration", "library")}
    together = forecast(snapshot, rates, [], ["migration", "library"], 2)
    exclusive = forecast(
        snapshot,
        rates,
        [],
        ["migration", "library"],
        2,
        Constraints(groups=[{"migration", "library"}]),
    )
    assert exclusive.queues["library"] == pytest.approx(1200, rel=0.1)
    assert together.total is not None
    assert exclusive.total == pytest.approx(1200, rel=0.1)
    assert together.total < 900
