"""The face for machines over real HTTP: what it answers, and what it says instead."""

from dataclasses import replace
from typing import Final

import pytest
import requests

from immich_job_daemon import __version__
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Problem, ProblemKind, Status
from immich_job_daemon.web.api import routes
from immich_job_daemon.web.application import Face, with_faces
from immich_job_daemon.web.server import Listener
from tests.web.sample_statuses import AT, AWAY, BUSY, LOST, NOTHING, Clock, shown

PATHS: Final = ("/", "/queues", "/metrics", "/health")


def got(
    status: Status,
    path: str,
    method: str = "GET",
    clock: Clock | None = None,
    origin: str | None = None,
) -> requests.Response:
    with shown(status, clock) as url:
        return requests.request(
            method,
            f"{url}{path}",
            headers={"Origin": origin} if origin else None,
            data="{}" if method == "POST" else None,
            timeout=90,
            allow_redirects=False,
        )


def test_the_totals_are_the_whole_document() -> None:
    answer = got(BUSY, "/")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert [*answer.json().items()][:4] == [
        ("active", 3),
        ("waiting", 1242),
        ("failed", 2),
        ("queues", 5),
    ]
    assert answer.json()["running"] == ["thumbnailGeneration"]
    assert answer.json()["stale"] is False


def test_the_queues_are_an_array_by_priority() -> None:
    answer = got(BUSY, "/queues")
    assert [queue["name"] for queue in answer.json()] == [*BUSY.order]
    assert answer.json()[0]["eta_seconds"] is None


def test_the_age_is_of_the_moment_of_the_request() -> None:
    assert got(BUSY, "/", clock=Clock(AT + 7)).json()["age_seconds"] == 7


@pytest.mark.parametrize("path", ["/", "/queues"])
def test_the_last_known_figures_stay_while_immich_is_away(path: str) -> None:
    answer = got(LOST, path)
    assert answer.status_code == 200
    assert "1000" in answer.text if path == "/queues" else answer.json()["stale"] is True


@pytest.mark.parametrize("path", ["/", "/queues"])
def test_before_immich_ever_answered_that_is_said_or_what_is_wrong(path: str) -> None:
    answer = got(NOTHING, path)
    assert (answer.status_code, answer.json()) == (503, {"error": routes.UNKNOWN})
    answer = got(replace(NOTHING, problem=AWAY), path)
    assert (answer.status_code, answer.json()) == (503, {"error": AWAY.text})


# Health


@pytest.mark.parametrize("status", [BUSY, NOTHING, LOST], ids=["busy", "nothing", "lost"])
def test_the_daemon_is_well_while_its_loop_turns_whatever_immich_does(status: Status) -> None:
    answer = got(status, "/health", clock=Clock(status.due))
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "version": __version__})


def test_it_is_not_well_when_a_round_should_have_ended_and_says_since_when() -> None:
    answer = got(BUSY, "/health", clock=Clock(BUSY.due + 42))
    assert answer.status_code == 503
    assert "should have ended a round 42 s ago" in answer.json()["error"]
    assert "Restart" in answer.json()["error"]


# What is said instead


@pytest.mark.parametrize("path", ["/x", "/queues/", "/queues/ocr", "/index.html"])
def test_where_there_is_nothing_it_says_what_there_is(path: str) -> None:
    answer = got(BUSY, path)
    assert answer.status_code == 404
    assert all(there in answer.json()["error"] for there in PATHS)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"])
def test_nothing_can_be_changed(path: str, method: str) -> None:
    answer = got(BUSY, path, method)
    assert answer.status_code == 405
    assert {*answer.headers["Allow"].split(", ")} == {"GET", "HEAD", "OPTIONS"}
    assert "GET" in answer.json()["error"]


@pytest.mark.parametrize("path", PATHS)
def test_head_says_as_much_as_get_but_for_the_body(path: str) -> None:
    whole, head = got(BUSY, path), got(BUSY, path, "HEAD")
    assert (head.status_code, head.content) == (whole.status_code, b"")
    own = {"Date"}
    assert {k: v for k, v in head.headers.items() if k not in own} == {
        k: v for k, v in whole.headers.items() if k not in own
    }
    assert int(head.headers["Content-Length"]) > 0


@pytest.mark.parametrize("path", PATHS)
def test_options_tell_what_may_be_asked(path: str) -> None:
    answer = got(BUSY, path, "OPTIONS")
    assert (answer.status_code, answer.content) == (200, b"")
    assert {*answer.headers["Allow"].split(", ")} == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("path", [*PATHS, "/x"])
def test_nothing_is_kept_by_a_proxy_or_given_to_another_page(path: str) -> None:
    headers = got(BUSY, path, origin="http://evil.example").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not any(name.lower().startswith("access-control") for name in headers)
    assert "Server" not in headers
    assert "Set-Cookie" not in headers


def test_a_mistake_of_our_own_is_said_without_its_details(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(StatusHub):
        @property
        def status(self) -> Status:
            raise LookupError("the details")

        @status.setter
        def status(self, _: Status) -> None: ...

    hub = StatusHub(NOTHING)
    face = routes.create_machines(hub, Clock())
    hub.__class__ = Broken
    listener = Listener(Face.MACHINES, 0, with_faces({Face.MACHINES: face}))
    try:
        answer = requests.get(f"http://127.0.0.1:{listener.port}/health", timeout=90)
    finally:
        listener.close()
    assert answer.status_code == 500
    assert answer.json() == {"error": "the daemon's own mistake: see its log"}
    (record,) = caplog.records
    assert record.getMessage() == "GET /health cannot be answered: LookupError('the details')"


def test_a_problem_is_shown_as_the_loop_says_it() -> None:
    status = replace(NOTHING, problem=Problem(ProblemKind.KEY_REJECTED, 'ü "quoted"\n<b>', 0.0))
    assert got(status, "/").json() == {"error": 'ü "quoted"\n<b>'}
