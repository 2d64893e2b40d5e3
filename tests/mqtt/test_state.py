"""The published picture as the entities show it."""

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
    LONGEST_STATE,
    LONGEST_TEXT,
    MOST_REASONS,
    WHOLE,
    estimates,
    is_immich_there,
    managed,
    shown,
)
from immich_job_daemon.status.status import Problem, ProblemKind, Status
from tests.web.sample_statuses import AT, BUSY, LOST, NOTHING

KEY: Final = "a-secret-key-of-tests"
BEGAN: Final = 1_790_000_000.5


def show(status: Status, **done: float) -> dict[str, Any]:
    found = shown(status, queues=managed(status), done=done, now=AT)
    assert json.loads(json.dumps(found)) == found
    return found


def test_everything_is_shown_at_its_place() -> None:
    found = show(BUSY, **{WHOLE: BEGAN, "thumbnailGeneration": BEGAN + 60})
    assert found == {
        "state": "running",
        "connected": True,
        "problem": None,
        "rehearsal": False,
        "mode": "automatic",
        "limit": 2,
        "running": "Thumbnail generation",
        "running_attributes": {
            "queues": ["thumbnailGeneration"],
            "reasons": {
                "search": "protected",
                "ocr": "waiting for a slot",
                "thumbnailGeneration": "running",
                "videoConversion": "paused by someone else",
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


def test_a_rehearsal_and_the_hours_of_queues_are_told() -> None:
    opens = datetime(2026, 11, 25, 22, 30, tzinfo=timezone(timedelta(hours=1)))
    found = show(replace(BUSY, is_dry_run=True, opens_at={"ocr": opens}))
    assert found["rehearsal"] is True
    assert found["running_attributes"]["may_run_again"] == {"ocr": "2026-11-25T22:30:00+01:00"}


def test_before_anything_is_known_nothing_is_made_up() -> None:
    found = show(NOTHING)
    assert (found["state"], found["connected"], found["limit"]) == ("waiting for Immich", False, 1)
    unknown = ("pending", "active", "failed", "running", "done_at", "problem")
    assert [found[key] for key in unknown] == [None] * len(unknown)
    assert found["queues"] == {}
    assert not is_immich_there(NOTHING, AT)


def test_while_immich_is_away_it_says_so_and_what_to_do() -> None:
    found = show(LOST, **{WHOLE: BEGAN})
    assert found["state"] == "waiting for Immich"
    assert not found["connected"]
    assert found["problem"] == {
        "kind": "unreachable",
        "text": "http://photos:2283 refuses the connection",
        "since": "2026-09-21T14:13:30+00:00",
    }
    assert found["done_at"] is None
    assert not is_immich_there(LOST, AT)


def test_a_problem_with_the_key_is_no_missing_connection_but_nothing_holds_any_more() -> None:
    rejected = replace(BUSY, problem=Problem(ProblemKind.KEY_REJECTED, "make a new one", AT))
    assert show(rejected)["connected"]
    assert show(rejected)["state"] == "needs attention"
    assert not is_immich_there(rejected, AT)


def test_a_refused_command_leaves_what_is_known_of_immich_standing() -> None:
    refused = replace(BUSY, problem=Problem(ProblemKind.REFUSED, "no", BEGAN - 10))
    assert show(refused)["state"] == "needs attention"
    assert is_immich_there(refused, AT)


def test_when_the_loop_stands_still_nothing_holds_any_more() -> None:
    assert is_immich_there(BUSY, BUSY.next_due)
    assert not is_immich_there(BUSY, BUSY.next_due + 1)


def test_what_a_person_asks_for_is_shown() -> None:
    asked = replace(
        BUSY,
        controls=Controls(Mode.HELD, 1, frozenset({"ocr"})),
        wanted=frozenset({"videoConversion"}),
    )
    found = show(asked)
    assert (found["mode"], found["state"]) == ("held", "held")
    assert found["queues"]["ocr"]["mode"] == "held"
    assert found["queues"]["videoConversion"]["mode"] == "run next"


def test_the_limit_is_one_that_home_assistant_lets_a_person_set() -> None:
    assert show(replace(BUSY, limit=50))["limit"] == 4


def test_only_managed_queues_with_a_name_that_can_be_spoken_have_entities() -> None:
    odd = "two words/#"
    status = replace(
        BUSY,
        queues={**BUSY.queues, odd: Queue(odd, is_paused=False)},
        order=(*BUSY.order, odd),
        reasons={**BUSY.reasons, odd: Reason.IDLE, "sidecar": Reason.UNPAUSABLE},
    )
    assert managed(status) == ["thumbnailGeneration", "videoConversion", "ocr"]
    assert odd in show(status)["running_attributes"]["reasons"]


def test_a_queue_that_is_gone_is_unknown() -> None:
    found = shown(BUSY, queues=["gone"], done={}, now=AT)
    assert found["queues"]["gone"] == {
        "pending": None,
        "failed": None,
        "done_at": None,
        "mode": "automatic",
    }


def test_secrets_in_a_problem_are_not_shown_and_its_text_has_an_end() -> None:
    told = Problem(ProblemKind.UNEXPECTED, f"it says {KEY} " + "x" * 5000, AT)
    found = shown(replace(BUSY, problem=told), queues=[], done={}, now=AT, hide=redactor(KEY))
    assert KEY not in json.dumps(found)
    assert len(found["problem"]["text"]) == LONGEST_TEXT


def test_many_queues_fit_into_one_state() -> None:
    names = [f"queueWithLongName{number}" for number in range(200)]
    crowded = replace(
        BUSY,
        queues={name: Queue(name, is_paused=False, active=1) for name in names},
        order=tuple(names),
        reasons=dict.fromkeys(names, Reason.RUNNING),
    )
    found = show(crowded)
    assert len(found["running"]) <= LONGEST_STATE
    assert found["running"].startswith("Queue with long name0, Queue with")
    assert found["running"].endswith(" more")
    assert len(found["running_attributes"]["reasons"]) == MOST_REASONS


def test_where_nothing_runs_no_queue_is_named() -> None:
    idle = replace(BUSY, reasons=dict.fromkeys(BUSY.reasons, Reason.IDLE))
    assert show(idle)["running"] == "none"
    assert show(idle)["state"] == "idle"


# When everything will be done


def expecting(seconds: float | None, at: float = 0.0) -> Status:
    return replace(
        BUSY,
        polled_at_unix=1_790_000_000 + at,
        forecast=Forecast({"ocr": seconds, "videoConversion": None}, total=seconds),
    )


def test_a_time_far_off_is_told_to_the_minute_and_a_near_one_to_ten_seconds() -> None:
    assert estimates(expecting(3600), {})["ocr"] % 60 == 0
    assert 0 <= estimates(expecting(3600), {})["ocr"] - 1_790_003_600 < 60
    assert estimates(expecting(75), {})["ocr"] % 10 == 0
    assert 0 <= estimates(expecting(75), {})["ocr"] - 1_790_000_075 < 10


def test_a_time_stays_while_the_estimate_only_trembles() -> None:
    told, seen = estimates(expecting(3600), {}), set()
    for second in range(600):
        trembling = 3600 - second + (second * 7919 % 200) - 100
        told = estimates(expecting(trembling, second), told)
        seen.add(told[WHOLE])
    assert len(seen) == 1


def test_a_time_moves_once_the_estimate_does() -> None:
    told = estimates(expecting(3600), {})
    later = estimates(expecting(7200, at=10), told)
    assert later[WHOLE] - 1_790_007_210 < 60
    near = estimates(expecting(60), told)
    assert near[WHOLE] == 1_790_000_060


def test_a_time_that_is_passed_is_told_anew() -> None:
    told = estimates(expecting(30), {})
    assert estimates(expecting(30, at=120), told)[WHOLE] >= 1_790_000_150


@pytest.mark.parametrize("seconds", [None, float("inf"), float("nan")])
def test_what_nobody_can_tell_is_not_told(seconds: float | None) -> None:
    assert estimates(expecting(seconds), {}) == {}


def test_with_nothing_left_to_do_there_is_no_time() -> None:
    drained = {name: replace(q, active=0, waiting=0, paused=0) for name, q in BUSY.queues.items()}
    assert estimates(replace(expecting(0.0), queues=drained, forecast=Forecast({}, 0.0)), {}) == {}
    assert estimates(NOTHING, {}) == {}
