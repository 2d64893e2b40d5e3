"""The status as the JSON object that the entities show."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import pytest

from immich_job_daemon.base.redaction import redactor
from immich_job_daemon.forecast.estimate import Forecast
from immich_job_daemon.model.controls import Controls, Mode
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.mqtt.state import (
    MAX_ATTRIBUTE_QUEUES,
    MAX_PROBLEM_LENGTH,
    MAX_STATE_LENGTH,
    TOTAL,
    build_state,
    completion_times,
)
from immich_job_daemon.status.status import Problem, ProblemKind, Status
from tests.web.sample_statuses import AT, BUSY, LOST, NOTHING

KEY: Final = "a-secret-key-of-tests"
BEGAN: Final = 1_790_000_000.5


def state_of(status: Status, **completion: float) -> dict[str, Any]:
    """Return the state of a status; check that it survives JSON."""
    state = build_state(status, queues=status.managed, completion=completion, now=AT)
    assert json.loads(json.dumps(state)) == state
    return state


def test_every_value_has_its_place() -> None:
    state = state_of(BUSY, **{TOTAL: BEGAN, "thumbnailGeneration": BEGAN + 60})
    assert state == {
        "state": "running",
        "connected": True,
        "problem": None,
        "dry_run": False,
        "mode": "automatic",
        "limit": 2,
        "running": "Thumbnail generation",
        "running_attributes": {
            "queues": ["thumbnailGeneration"],
            "reasons": {
                "search": "protected",
                "ocr": "waiting for a slot",
                "thumbnailGeneration": "running",
                "videoConversion": "paused by a user or another tool",
                "sidecar": "idle",
            },
            "may_run_again": {},
        },
        "pending": 1237,
        "active": 3,
        "failed": 2,
        "done_at": "2026-09-21T14:13:20.500000+00:00",
        "queues": {
            "sidecar": {"pending": 0, "failed": 0, "done_at": None, "mode": "automatic"},
            "thumbnailGeneration": {
                "pending": 1003,
                "failed": 0,
                "done_at": "2026-09-21T14:14:20.500000+00:00",
                "mode": "automatic",
            },
            "videoConversion": {"pending": 7, "failed": 0, "done_at": None, "mode": "automatic"},
            "ocr": {"pending": 234, "failed": 2, "done_at": None, "mode": "automatic"},
        },
    }


def test_the_state_contains_the_dry_run_and_the_times_when_windows_open() -> None:
    opens = datetime(2026, 11, 25, 22, 30, tzinfo=timezone(timedelta(hours=1)))
    state = state_of(replace(BUSY, is_dry_run=True, opens_at={"ocr": opens}))
    assert state["dry_run"] is True
    assert state["running_attributes"]["may_run_again"] == {"ocr": "2026-11-25T22:30:00+01:00"}


def test_before_the_first_poll_values_are_unknown() -> None:
    state = state_of(NOTHING)
    assert (state["state"], state["connected"], state["limit"]) == ("waiting for Immich", False, 1)
    unknown = ("pending", "active", "failed", "running", "done_at", "problem")
    assert [state[key] for key in unknown] == [None] * len(unknown)
    assert state["queues"] == {}
    assert NOTHING.is_stale(AT)


def test_while_immich_is_away_the_state_contains_the_problem() -> None:
    state = state_of(LOST, **{TOTAL: BEGAN})
    assert state["state"] == "waiting for Immich"
    assert not state["connected"]
    assert state["problem"] == {
        "kind": "unreachable",
        "text": "http://photos:2283 refuses the connection",
        "since": "2026-09-21T14:13:30+00:00",
    }
    assert state["done_at"] is None
    assert LOST.is_stale(AT)


def test_with_a_rejected_key_immich_is_connected_but_the_counts_are_stale() -> None:
    rejected = replace(BUSY, problem=Problem(ProblemKind.KEY_REJECTED, "make a new one", AT))
    assert state_of(rejected)["connected"]
    assert state_of(rejected)["state"] == "needs attention"
    assert rejected.is_stale(AT)


def test_after_a_refused_command_the_counts_are_current() -> None:
    refused = replace(BUSY, problem=Problem(ProblemKind.REFUSED, "no", BEGAN - 10))
    assert state_of(refused)["state"] == "needs attention"
    assert not refused.is_stale(AT)


def test_when_the_loop_is_stuck_the_counts_are_stale() -> None:
    assert not BUSY.is_stale(BUSY.next_due)
    assert BUSY.is_stale(BUSY.next_due + 1)


def test_controls_and_overrides_are_shown() -> None:
    status = replace(
        BUSY,
        controls=Controls(Mode.HELD, 1, frozenset({"ocr"})),
        wanted=frozenset({"videoConversion"}),
    )
    state = state_of(status)
    assert (state["mode"], state["state"]) == ("held", "held")
    assert state["queues"]["ocr"]["mode"] == "held"
    assert state["queues"]["videoConversion"]["mode"] == "run next"


def test_the_limit_is_at_most_the_number_of_managed_queues() -> None:
    assert state_of(replace(BUSY, limit=50))["limit"] == 4


def test_only_managed_queues_have_entities_but_all_have_reasons() -> None:
    status = replace(BUSY, reasons={**BUSY.reasons, "sidecar": Reason.UNPAUSABLE})
    state = state_of(status)
    assert list(state["queues"]) == ["thumbnailGeneration", "videoConversion", "ocr"]
    assert state["running_attributes"]["reasons"].keys() == BUSY.queues.keys()


def test_a_missing_queue_is_unknown() -> None:
    state = build_state(BUSY, queues=["gone"], completion={}, now=AT)
    assert state["queues"]["gone"] == {
        "pending": None,
        "failed": None,
        "done_at": None,
        "mode": "automatic",
    }


def test_the_text_of_a_problem_is_redacted_and_limited() -> None:
    problem = Problem(ProblemKind.UNEXPECTED, f"it says {KEY} " + "x" * 5000, AT)
    state = build_state(
        replace(BUSY, problem=problem), queues=[], completion={}, now=AT, redact=redactor(KEY)
    )
    assert KEY not in json.dumps(state)
    assert len(state["problem"]["text"]) == MAX_PROBLEM_LENGTH


def test_many_running_queues_fit_into_one_state() -> None:
    names = [f"queueWithLongName{number}" for number in range(200)]
    crowded = replace(
        BUSY,
        queues={name: Queue(name, is_paused=False, active=1) for name in names},
        order=tuple(names),
        reasons=dict.fromkeys(names, Reason.RUNNING),
    )
    state = state_of(crowded)
    assert len(state["running"]) <= MAX_STATE_LENGTH
    assert state["running"].startswith("Queue with long name0, Queue with")
    assert state["running"].endswith(" more")
    assert len(state["running_attributes"]["reasons"]) == MAX_ATTRIBUTE_QUEUES


def test_when_nothing_runs_no_queue_is_named() -> None:
    idle = replace(BUSY, reasons=dict.fromkeys(BUSY.reasons, Reason.IDLE))
    assert state_of(idle)["running"] == "none"
    assert state_of(idle)["state"] == "idle"


# Completion times


def with_forecast(seconds: float | None, at: float = 0.0) -> Status:
    return replace(
        BUSY,
        polled_at_unix=1_790_000_000 + at,
        forecast=Forecast({"ocr": seconds, "videoConversion": None}, total=seconds),
    )


def test_times_are_rounded_to_a_minute_or_near_the_end_to_ten_seconds() -> None:
    assert completion_times(with_forecast(3600), {})["ocr"] % 60 == 0
    assert 0 <= completion_times(with_forecast(3600), {})["ocr"] - 1_790_003_600 < 60
    assert completion_times(with_forecast(75), {})["ocr"] % 10 == 0
    assert 0 <= completion_times(with_forecast(75), {})["ocr"] - 1_790_000_075 < 10


def test_a_time_does_not_change_with_small_variations_of_the_forecast() -> None:
    times, seen = completion_times(with_forecast(3600), {}), set()
    for second in range(600):
        remaining = 3600 - second + (second * 7919 % 200) - 100
        times = completion_times(with_forecast(remaining, second), times)
        seen.add(times[TOTAL])
    assert len(seen) == 1


def test_a_time_changes_when_the_forecast_changes() -> None:
    times = completion_times(with_forecast(3600), {})
    later = completion_times(with_forecast(7200, at=10), times)
    assert later[TOTAL] - 1_790_007_210 < 60
    near = completion_times(with_forecast(60), times)
    assert near[TOTAL] == 1_790_000_060


def test_a_time_in_the_past_is_replaced() -> None:
    times = completion_times(with_forecast(30), {})
    assert completion_times(with_forecast(30, at=120), times)[TOTAL] >= 1_790_000_150


@pytest.mark.parametrize("seconds", [None, float("inf"), float("nan")])
def test_an_unknown_forecast_gives_no_time(seconds: float | None) -> None:
    assert completion_times(with_forecast(seconds), {}) == {}


def test_without_pending_jobs_there_is_no_time() -> None:
    drained = {name: replace(q, active=0, waiting=0, paused=0) for name, q in BUSY.queues.items()}
    assert (
        completion_times(
            replace(with_forecast(0.0), queues=drained, forecast=Forecast({}, 0.0)), {}
        )
        == {}
    )
    assert completion_times(NOTHING, {}) == {}
