import json
from typing import Any

import pytest

from simulator.immich import KEY, simulated_immich
from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine, Event, EventKind
from simulator.immich.pipeline import lasting

HEADERS = {"x-api-key": KEY, "content-type": "application/json"}


def request(api: Api, method: str, path: str, document: object = None) -> tuple[int, Any]:
    body = None if document is None else json.dumps(document).encode()
    response = api.respond(method, path, HEADERS, body)
    return response.status, json.loads(response.body)


@pytest.mark.parametrize("path", ["/api/queues", "/api/queues/library"])
def test_an_older_immich_has_only_the_jobs_api(path: str) -> None:
    engine = Engine()
    api = Api(engine, keys={KEY: Key()}, version=(2, 3, 1), serves=frozenset({"jobs"}))
    assert request(api, "GET", path) == (404, {"message": f"Cannot GET {path}"})
    assert request(api, "GET", "/api/jobs")[0] == 200
    assert request(api, "GET", "/api/server/version")[1]["minor"] == 3
    assert request(api, "GET", "/api/server/about")[1]["version"] == "v2.3.1"


def test_a_future_immich_may_have_only_the_queues_api() -> None:
    api = Api(Engine(), keys={KEY: Key()}, serves=frozenset({"queues"}))
    assert request(api, "GET", "/api/jobs") == (404, {"message": "Cannot GET /api/jobs"})
    assert request(api, "PUT", "/api/jobs/ocr", {"command": "pause"})[0] == 404
    assert request(api, "GET", "/api/queues")[0] == 200


def test_any_key_may_read_its_own_permissions() -> None:
    keys = {"few": Key(frozenset({"job.read", "asset.upload"}), is_admin=False, name="phone")}
    api = Api(Engine(), keys=keys)
    response = api.respond("GET", "/api/api-keys/me", {"x-api-key": "few"}, None)
    document = json.loads(response.body)
    assert response.status == 200
    assert set(document) == {"id", "name", "createdAt", "updatedAt", "permissions"}
    assert document["permissions"] == ["asset.upload", "job.read"]
    assert document["name"] == "phone"
    assert api.respond("GET", "/api/api-keys/me", {}, None).status == 401
    assert api.respond("GET", "/api/server/about", {"x-api-key": "few"}, None).status == 403


def test_an_event_names_the_key_that_caused_it() -> None:
    engine = Engine()
    api = Api(engine, keys={KEY: Key(name="daemon")})
    events: list[Event] = []
    engine.observers.append(events.append)
    request(api, "PUT", "/api/queues/ocr", {"isPaused": True})
    request(api, "PUT", "/api/jobs/ocr", {"command": "resume"})
    assert events == [
        Event(0.0, EventKind.PAUSED, "ocr", "daemon"),
        Event(0.0, EventKind.RESUMED, "ocr", "daemon"),
    ]


def test_an_empty_object_leaves_a_paused_queue_paused() -> None:
    engine, api = simulated_immich()
    engine.pause("ocr")
    status, queue = request(api, "PUT", "/api/queues/ocr", {})
    assert (status, queue["isPaused"]) == (200, True)


def test_the_response_to_a_pause_counts_the_backlog_as_paused_at_once() -> None:
    engine, api = simulated_immich()
    engine.add("ocr", lasting(60.0), count=7)
    _, queue = request(api, "PUT", "/api/queues/ocr", {"isPaused": True})
    assert queue["statistics"]["paused"] == 6
    assert queue["statistics"]["active"] == 1
    _, job = request(api, "PUT", "/api/jobs/ocr", {"command": "resume"})
    assert job["jobCounts"]["waiting"] == 6


@pytest.mark.parametrize(
    ("path", "document", "field", "message"),
    [
        ("queues", {"isPaused": None}, "isPaused", "expected boolean, received null"),
        ("queues", {"isPaused": 1}, "isPaused", "expected boolean, received number"),
        ("queues", {"isPaused": []}, "isPaused", "expected boolean, received array"),
        ("jobs", {"command": "pause", "force": "no"}, "force", "expected boolean, received string"),
        ("jobs", {}, "command", 'expected one of "start"|"pause"|"resume"|"empty"|"clear-failed"'),
    ],
)
def test_the_error_names_a_value_of_the_wrong_type(
    path: str, document: object, field: str, message: str
) -> None:
    _, api = simulated_immich()
    status, body = request(api, "PUT", f"/api/{path}/ocr", document)
    assert status == 400
    assert body["message"] == "Validation failed"
    (error,) = body["errors"]
    assert error["path"] == [field]
    assert error["message"].endswith(message)


def test_a_body_that_is_not_a_json_object_is_rejected() -> None:
    _, api = simulated_immich()
    for body, message in ((b'{"isPaused" 1}', "Unexpected token"), (b"[1]", "Validation failed")):
        response = api.respond("PUT", "/api/queues/ocr", HEADERS, body)
        assert response.status == 400
        assert json.loads(response.body)["message"].startswith(message)


@pytest.mark.parametrize("path", ["/x/api/queues/ocr", "/api/queues/ocr/jobs/1", "/", "/api"])
def test_an_unknown_path_is_not_found(path: str) -> None:
    _, api = simulated_immich()
    assert request(api, "GET", path) == (404, {"message": f"Cannot GET {path}"})


def test_a_query_is_ignored() -> None:
    _, api = simulated_immich()
    assert request(api, "GET", "/api/queues/ocr?fresh=1")[1]["name"] == "ocr"


def test_starting_an_active_queue_is_rejected() -> None:
    engine, api = simulated_immich()
    engine.add("ocr", lasting(60.0))
    expected = (400, {"message": "Job is already running"})
    assert request(api, "PUT", "/api/jobs/ocr", {"command": "start"}) == expected


@pytest.mark.parametrize(("force", "ready"), [(True, 12), (False, 0)])
def test_a_forced_start_runs_on_all_assets(*, force: bool, ready: int) -> None:
    engine, api = simulated_immich()
    engine.upload(photos=12)
    engine.settle()
    status, job = request(api, "PUT", "/api/jobs/ocr", {"command": "start", "force": force})
    assert status == 200
    assert (job["jobCounts"]["active"], job["jobCounts"]["waiting"]) == (1, ready)


def test_the_jobs_api_empties_a_queue_and_clears_its_failed_jobs() -> None:
    engine, api = simulated_immich()
    engine.add("ocr", lasting(60.0), count=5)
    engine.fail("ocr", 2)
    _, job = request(api, "PUT", "/api/jobs/ocr", {"command": "empty"})
    assert (job["jobCounts"]["waiting"], job["jobCounts"]["failed"]) == (0, 2)
    _, job = request(api, "PUT", "/api/jobs/ocr", {"command": "clear-failed"})
    assert job["jobCounts"]["failed"] == 0


def test_the_repr_shows_no_key() -> None:
    _, api = simulated_immich()
    assert KEY not in repr(api)
