"""The picture in JSON: what the numbers are, and when they are old."""

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from immich_job_daemon.forecast.estimate import Forecast
from immich_job_daemon.forecast.rates import Rate, Rates
from immich_job_daemon.model.controls import Controls, Mode
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.api.json import WORDS, queues, totals
from tests.web.sample_statuses import AT, BUSY, LOST, NOTHING


def test_the_totals_are_of_all_queues_also_of_those_that_are_not_the_daemons() -> None:
    assert totals(BUSY, AT + 2.9) == {
        "active": 3,
        "waiting": 1242,
        "failed": 2,
        "queues": 5,
        "delayed": 3,
        "running": ["thumbnailGeneration"],
        "state": "running",
        "eta_seconds": 1501,
        "updated": "2026-09-21T14:13:20+00:00",
        "age_seconds": 2,
        "stale": False,
        "dry_run": False,
    }


def test_every_queue_is_there_in_the_order_of_priority_with_all_that_a_tile_shows() -> None:
    found = queues(BUSY, AT)
    assert [queue["name"] for queue in found] == [*BUSY.order]
    assert found[1] == {
        "name": "thumbnailGeneration",
        "label": "Thumbnail generation",
        "active": 3,
        "waiting": 1000,
        "delayed": 0,
        "failed": 0,
        "paused": False,
        "state": "running",
        "reason": "running",
        "eta_seconds": 1337,
        "rate_per_minute": 45.0,
        "may_run_at": None,
    }
    waiting = found[4]
    assert (waiting["waiting"], waiting["paused"], waiting["state"]) == (234, True, "waiting")
    assert waiting["reason"] == "waiting for a slot"
    assert waiting["eta_seconds"] is waiting["rate_per_minute"] is None
    assert [queue["state"] for queue in found] == [
        "idle",
        "running",
        "paused",
        "protected",
        "waiting",
    ]


def test_every_reason_has_a_word() -> None:
    assert WORDS.keys() == set(Reason)


def test_a_queue_outside_its_hours_tells_when_they_begin_again_with_the_zone() -> None:
    opens = {"ocr": datetime(2026, 11, 24, 22, tzinfo=ZoneInfo("Europe/Berlin"))}
    reasons = {**BUSY.reasons, "ocr": Reason.OUTSIDE_WINDOW, "videoConversion": Reason.HIGH_LOAD}
    found = {q["name"]: q for q in queues(replace(BUSY, opens_at=opens, reasons=reasons), AT)}
    assert found["ocr"]["may_run_at"] == "2026-11-24T22:00:00+01:00"
    assert (found["ocr"]["state"], found["ocr"]["reason"]) == ("closed", "outside its hours")
    busy = found["videoConversion"]
    assert (busy["state"], busy["reason"], busy["may_run_at"]) == (
        "loaded",
        "the machine is busy",
        None,
    )


def test_a_rehearsal_says_so() -> None:
    found = totals(replace(BUSY, is_dry_run=True), AT)
    assert found is not None
    assert found["dry_run"] is True


def test_while_nothing_is_known_there_are_no_totals_and_no_queues() -> None:
    assert totals(NOTHING, AT) is None
    assert queues(NOTHING, AT) == []


@pytest.mark.parametrize(("mode", "state"), [(Mode.HELD, "held"), (Mode.OPEN, "open")])
def test_the_state_is_the_pictures(mode: Mode, state: str) -> None:
    found = totals(replace(BUSY, controls=Controls(mode=mode)), AT)
    assert found is not None
    assert found["state"] == state


def test_the_last_figures_stay_when_immich_is_away_with_their_age_and_no_estimate() -> None:
    found = totals(LOST, AT + 75.2)
    assert found is not None
    assert (found["waiting"], found["age_seconds"], found["stale"]) == (1242, 75, True)
    assert (found["eta_seconds"], found["state"]) == (None, "waiting for Immich")
    assert {queue["eta_seconds"] for queue in queues(LOST, AT)} == {None}


def test_a_clock_that_is_read_before_the_look_gives_no_negative_age() -> None:
    found = totals(BUSY, AT - 0.2)
    assert found is not None
    assert found["age_seconds"] == 0


def test_a_rate_is_told_once_there_is_one() -> None:
    queue = Queue("ocr", is_paused=False, active=1)
    status = Status(1, AT, 0.0, AT, queues={"ocr": queue}, order=("ocr",))
    status = replace(status, reasons={"ocr": Reason.RUNNING})
    for rate, told in ((Rate(0.4, 9.0), None), (Rate(100.0, 900.0), 6.67)):
        (found,) = queues(replace(status, rates=Rates({"ocr": rate})), AT)
        assert found["rate_per_minute"] == told
    (found,) = queues(replace(status, forecast=Forecast({"ocr": 0.4})), AT)
    assert found["eta_seconds"] == 0
