"""The forecast where hours, or queues that exclude each other, keep queues from running."""

import pytest

from immich_job_daemon.forecast.constraints import Constraints, WindowSpans
from immich_job_daemon.forecast.estimate import forecast
from immich_job_daemon.forecast.rates import Rate, Rates
from immich_job_daemon.model.queue import Queue

NIGHT = Constraints(WindowSpans({"videoConversion": [(3600.0, 7200.0), (90_000.0, 93_600.0)]}))


def drained_at(rate: float) -> Rate:
    return Rate(rate * 1000, 1000.0)


def test_a_queue_outside_its_hours_is_done_after_they_begin() -> None:
    rates = Rates({"videoConversion": drained_at(1.0)})
    seen = {"videoConversion": Queue("videoConversion", is_paused=True, paused=600)}
    told = forecast(seen, rates, [], ["videoConversion"], 1, NIGHT)
    assert told.total == pytest.approx(3600 + 600, rel=0.1)


def test_what_is_not_done_in_one_night_goes_on_in_the_next() -> None:
    rates = Rates({"videoConversion": drained_at(1.0)})
    seen = {"videoConversion": Queue("videoConversion", is_paused=True, paused=5400)}
    told = forecast(seen, rates, [], ["videoConversion"], 1, NIGHT)
    assert told.total == pytest.approx(90_000 + 1800, rel=0.05)


def test_what_takes_more_nights_than_are_known_is_unknown() -> None:
    rates = Rates({"videoConversion": drained_at(1.0)})
    seen = {"videoConversion": Queue("videoConversion", is_paused=True, paused=50_000)}
    assert forecast(seen, rates, [], ["videoConversion"], 1, NIGHT).total is None


def test_while_one_waits_for_its_hours_others_have_the_slot() -> None:
    rates = Rates({"videoConversion": drained_at(1.0), "library": drained_at(1.0)})
    seen = {
        "videoConversion": Queue("videoConversion", is_paused=True, paused=600),
        "library": Queue("library", is_paused=True, paused=600),
    }
    told = forecast(seen, rates, [], ["videoConversion", "library"], 1, NIGHT)
    assert told.queues["library"] == pytest.approx(600, rel=0.1)
    assert told.queues["videoConversion"] == pytest.approx(4200, rel=0.1)


def test_two_that_exclude_each_other_are_done_one_after_the_other() -> None:
    rates = Rates({"migration": drained_at(1.0), "library": drained_at(1.0)})
    seen = {name: Queue(name, is_paused=True, paused=600) for name in ("migration", "library")}
    beside = forecast(seen, rates, [], ["migration", "library"], 2)
    after = forecast(
        seen, rates, [], ["migration", "library"], 2, Constraints(groups=[{"migration", "library"}])
    )
    assert after.queues["library"] == pytest.approx(1200, rel=0.1)
    assert beside.total is not None
    assert after.total == pytest.approx(1200, rel=0.1)
    assert beside.total < 900
