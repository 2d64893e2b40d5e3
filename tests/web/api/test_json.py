"""The status as JSON: its values, and when they are stale."""

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
from immich_job_daemon.web.api.json import STATES, queues, totals
from tests.web.sample_statuses import AT, BUSY, LOST, NOTHING


def test_the_totals_include_queues_that_the_daemon_does_not_manage() -> None:
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


def test_every_queue_is_listed_by_priority_with_all_fields() -> None:
    result = queues(BUSY, AT)
    assert [queue["name"] for queue in result] == [*BUSY.order]
    assert result[1] == {
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
    waiting = result[4]
    assert (waiting["waiting"], waiting["paused"], waiting["state"]) == (234, True, "waiting")
    assert waiting["reason"] == "waiting for a slot"
    assert waiting["eta_seconds"] is waiting["rate_per_minute"] is None
    assert [queue["state"] for queue in result] == [
        "idle",
        "running",
        "paused",
        "protected",
        "waiting",
    ]


def test_every_reason_has_a_state() -> None:
    assert STATES.keys() == set(Reason)


def test_a_queue_outside_its_window_shows_when_the_window_opens_with_the_time_zone() -> None:
    opens = {"ocr": datetime(2026, 11, 24, 22, tzinfo=ZoneInfo("Europe/Berlin"))}
    reasons = {**BUSY.reasons, "ocr": Reason.OUTSIDE_WINDOW, "videoConversion": Reason.HIGH_LOAD}
    result = {q["name"]: q for q in queues(replace(BUSY, opens_at=opens, reasons=reasons), AT)}
    assert result["ocr"]["may_run_at"] == "2026-11-24T22:00:00+01:00"
    assert (result["ocr"]["state"], result["ocr"]["reason"]) == ("closed", "outside its window")
    busy = result["videoConversion"]
    assert (busy["state"], busy["reason"], busy["may_run_at"]) == (
        "loaded",
        "the load is too high",
        None,
    )


def test_a_dry_run_is_marked() -> None:
    result = totals(replace(BUSY, is_dry_run=True), AT)
    assert result is not None
    assert result["dry_run"] is True


def test_before_the_first_poll_there_are_no_totals_and_no_queues() -> None:
    assert totals(NOTHING, AT) is None
    assert queues(NOTHING, AT) == []


@pytest.mark.parametrize(("mode", "state"), [(Mode.HELD, "held"), (Mode.OPEN, "open")])
def test_the_state_is_that_of_the_status(mode: Mode, state: str) -> None:
    result = totals(replace(BUSY, controls=Controls(mode=mode)), AT)
    assert result is not None
    assert result["state"] == state


def test_while_immich_is_unreachable_the_last_values_stay_with_their_age_and_no_estimate() -> None:
    result = totals(LOST, AT + 75.2)
    assert result is not None
    assert (result["waiting"], result["age_seconds"], result["stale"]) == (1242, 75, True)
    assert (result["eta_seconds"], result["state"]) == (None, "waiting for Immich")
    assert {queue["eta_seconds"] for queue in queues(LOST, AT)} == {None}


def test_the_age_is_never_negative() -> None:
    result = totals(BUSY, AT - 0.2)
    assert result is not None
    assert result["age_seconds"] == 0


def test_a_rate_is_shown_once_it_is_known() -> None:
    queue = Queue("ocr", is_paused=False, active=1)
    status = Status(1, AT, 0.0, AT, queues={"ocr": queue}, order=("ocr",))
    status = replace(status, reasons={"ocr": Reason.RUNNING})
    for rate, shown in ((Rate(0.4, 9.0), None), (Rate(100.0, 900.0), 6.67)):
        (result,) = queues(replace(status, rates=Rates({"ocr": rate})), AT)
        assert result["rate_per_minute"] == shown
    (result,) = queues(replace(status, forecast=Forecast({"ocr": 0.4})), AT)
    assert result["eta_seconds"] == 0
