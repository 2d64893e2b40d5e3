"""The API over real HTTP: its responses and its errors."""

from dataclasses import replace
from typing import Final

import pytest
import requests

from immich_job_daemon import __version__
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Problem, ProblemKind, Status
from immich_job_daemon.web.api import routes
from immich_job_daemon.web.server import App, Listener, create_dispatcher
from tests.web.sample_statuses import AT, BUSY, LOST, NOTHING, UNREACHABLE, Clock, serve_status

PATHS: Final = ("/", "/queues", "/metrics", "/health")


def request(
    status: Status,
    path: str,
    method: str = "GET",
    clock: Clock | None = None,
    origin: str | None = None,
) -> requests.Response:
    with serve_status(status, clock) as url:
        return requests.request(
            method,
            f"{url}{path}",
            headers={"Origin": origin} if origin else None,
            data="{}" if method == "POST" else None,
            timeout=90,
            allow_redirects=False,
        )


def test_the_root_serves_the_totals() -> None:
    response = request(BUSY, "/")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert [*response.json().items()][:4] == [
        ("active", 3),
        ("waiting", 1242),
        ("failed", 2),
        ("queues", 5),
    ]
    assert response.json()["running"] == ["thumbnailGeneration"]
    assert response.json()["stale"] is False


def test_the_queues_are_an_array_by_priority() -> None:
    response = request(BUSY, "/queues")
    assert [queue["name"] for queue in response.json()] == [*BUSY.order]
    assert response.json()[0]["eta_seconds"] is None


def test_the_age_is_measured_at_the_request() -> None:
    assert request(BUSY, "/", clock=Clock(AT + 7)).json()["age_seconds"] == 7


@pytest.mark.parametrize("path", ["/", "/queues"])
def test_the_last_values_stay_while_immich_is_unreachable(path: str) -> None:
    response = request(LOST, path)
    assert response.status_code == 200
    assert "1000" in response.text if path == "/queues" else response.json()["stale"] is True


@pytest.mark.parametrize("path", ["/", "/queues"])
def test_before_the_first_poll_the_error_is_the_problem_if_there_is_one(path: str) -> None:
    response = request(NOTHING, path)
    assert (response.status_code, response.json()) == (503, {"error": routes.NO_DATA})
    response = request(replace(NOTHING, problem=UNREACHABLE), path)
    assert (response.status_code, response.json()) == (503, {"error": UNREACHABLE.text})


# Health


@pytest.mark.parametrize("status", [BUSY, NOTHING, LOST], ids=["busy", "nothing", "lost"])
def test_the_daemon_is_healthy_while_its_loop_runs_whatever_immich_does(status: Status) -> None:
    response = request(status, "/health", clock=Clock(status.next_due))
    assert (response.status_code, response.json()) == (
        200,
        {"status": "ok", "version": __version__},
    )


def test_the_daemon_is_unhealthy_when_a_round_is_overdue() -> None:
    response = request(BUSY, "/health", clock=Clock(BUSY.next_due + 42))
    assert response.status_code == 503
    assert "its last round should have ended 42 s ago" in response.json()["error"]
    assert "Restart" in response.json()["error"]


# Errors


@pytest.mark.parametrize("path", ["/x", "/queues/", "/queues/ocr", "/index.html"])
def test_an_unknown_path_gets_the_list_of_paths(path: str) -> None:
    response = request(BUSY, path)
    assert response.status_code == 404
    assert all(known in response.json()["error"] for known in PATHS)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"])
def test_only_get_is_allowed(path: str, method: str) -> None:
    response = request(BUSY, path, method)
    assert response.status_code == 405
    assert {*response.headers["Allow"].split(", ")} == {"GET", "HEAD", "OPTIONS"}
    assert "GET" in response.json()["error"]


@pytest.mark.parametrize("path", PATHS)
def test_head_returns_the_headers_of_get(path: str) -> None:
    whole, head = request(BUSY, path), request(BUSY, path, "HEAD")
    assert (head.status_code, head.content) == (whole.status_code, b"")
    volatile = {"Date"}
    assert {k: v for k, v in head.headers.items() if k not in volatile} == {
        k: v for k, v in whole.headers.items() if k not in volatile
    }
    assert int(head.headers["Content-Length"]) > 0


@pytest.mark.parametrize("path", PATHS)
def test_options_returns_the_allowed_methods(path: str) -> None:
    response = request(BUSY, path, "OPTIONS")
    assert (response.status_code, response.content) == (200, b"")
    assert {*response.headers["Allow"].split(", ")} == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("path", [*PATHS, "/x"])
def test_responses_are_not_cached_or_shared_with_other_origins(path: str) -> None:
    headers = request(BUSY, path, origin="http://evil.example").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not any(name.lower().startswith("access-control") for name in headers)
    assert "Server" not in headers
    assert "Set-Cookie" not in headers


def test_an_internal_error_does_not_reveal_its_details(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(StatusHub):
        @property
        def status(self) -> Status:
            raise LookupError("the details")

        @status.setter
        def status(self, _: Status) -> None: ...

    hub = StatusHub(NOTHING)
    api = routes.create_api(hub, Clock())
    hub.__class__ = Broken
    listener = Listener(App.API, 0, create_dispatcher({App.API: api}))
    try:
        response = requests.get(f"http://127.0.0.1:{listener.port}/health", timeout=90)
    finally:
        listener.close()
    assert response.status_code == 500
    assert response.json() == {"error": "internal error: see the daemon's log"}
    (record,) = caplog.records
    assert (
        record.getMessage()
        == "Internal error while serving GET /health: LookupError('the details')"
    )


def test_the_text_of_a_problem_is_not_changed() -> None:
    status = replace(NOTHING, problem=Problem(ProblemKind.KEY_REJECTED, 'ü "quoted"\n<b>', 0.0))
    assert request(status, "/").json() == {"error": 'ü "quoted"\n<b>'}
