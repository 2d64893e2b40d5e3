import json
from typing import Any

import pytest

from simulator.immich import KEY, simulated_immich
from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine, Event, EventKind
from simulator.immich.pipeline import lasting

HEADERS = {"x-api-key": KEY, "content-type": "application/json"}


def ask(api: Api, method: str, path: str, document: object = None) -> tuple[int, Any]:
    body = None if document is None else json.dumps(document).encode()
    answer = api.answer(method, path, HEADERS, body)
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("path", ["/api/queues", "/api/queues/library"])
def test_an_older_immich_has_the_jobs_api_only(path: str) -> None:
    engine = Engine()
    api = Api(engine, keys={KEY: Key()}, version=(2, 3, 1), serves=frozenset({"jobs"}))
    assert ask(api, "GET", path) == (404, {"message": f"Cannot GET {path}"})
    assert ask(api, "GET", "/api/jobs")[0] == 200
    assert ask(api, "GET", "/api/server/version")[1]["minor"] == 3
    assert ask(api, "GET", "/api/server/about")[1]["version"] == "v2.3.1"


def test_a_future_immich_may_have_the_queues_api_only() -> None:
    api = Api(Engine(), keys={KEY: Key()}, serves=frozenset({"queues"}))
    assert ask(api, "GET", "/api/jobs") == (404, {"message": "Cannot GET /api/jobs"})
    assert ask(api, "PUT", "/api/jobs/ocr", {"command": "pause"})[0] == 404
    assert ask(api, "GET", "/api/queues")[0] == 200


def test_any_key_may_read_what_it_may_do() -> None:
    keys = {"few": Key(frozenset({"job.read", "asset.upload"}), is_admin=False, name="phone")}
    api = Api(Engine(), keys=keys)
    answer = api.answer("GET", "/api/api-keys/me", {"x-api-key": "few"}, None)
    document = json.loads(answer.body)
    assert answer.status == 200
    assert set(document) == {"id", "name", "createdAt", "updatedAt", "permissions"}
    assert document["permissions"] == ["asset.upload", "job.read"]
    assert document["name"] == "phone"
    assert api.answer("GET", "/api/api-keys/me", {}, None).status == 401
    assert api.answer("GET", "/api/server/about", {"x-api-key": "few"}, None).status == 403


def test_a_change_is_told_with_the_name_of_the_key_that_made_it() -> None:
    engine = Engine()
    api = Api(engine, keys={KEY: Key(name="daemon")})
    events: list[Event] = []
    engine.observers.append(events.append)
    ask(api, "PUT", "/api/queues/ocr", {"isPaused": True})
    ask(api, "PUT", "/api/jobs/ocr", {"command": "resume"})
    assert events == [
        Event(0.0, EventKind.PAUSED, "ocr", "daemon"),
        Event(0.0, EventKind.RESUMED, "ocr", "daemon"),
    ]


def test_an_empty_object_leaves_a_paused_queue_paused() -> None:
    engine, api = simulated_immich()
    engine.pause("ocr")
    status, queue = ask(api, "PUT", "/api/queues/ocr", {})
    assert (status, queue["isPaused"]) == (200, True)


def test_the_answer_to_a_pause_counts_the_backlog_as_paused_at_once() -> None:
    engine, api = simulated_immich()
    engine.add("ocr", lasting(60.0), count=7)
    _, queue = ask(api, "PUT", "/api/queues/ocr", {"isPaused": True})
    assert queue["statistics"]["paused"] == 6
    assert queue["statistics"]["active"] == 1
    _, job = ask(api, "PUT", "/api/jobs/ocr", {"command": "resume"})
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
def test_a_value_of_the_wrong_type_is_named(
    path: str, document: object, field: str, message: str
) -> None:
    _, api = simulated_immich()
    status, body = ask(api, "PUT", f"/api/{path}/ocr", document)
    assert status == 400
    assert body["message"] == "Validation failed"
    (error,) = body["errors"]
    assert error["path"] == [field]
    assert error["message"].endswith(message)


def test_a_body_that_is_no_json_or_no_object_is_refused() -> None:
    _, api = simulated_immich()
    for body, message in ((b'{"isPaused" 1}', "Unexpected token"), (b"[1]", "Validation failed")):
        answer = api.answer("PUT", "/api/queues/ocr", HEADERS, body)
        assert answer.status == 400
        assert json.loads(answer.body)["message"].startswith(message)


@pytest.mark.parametrize("path", ["/x/api/queues/ocr", "/api/queues/ocr/jobs/1", "/", "/api"])
def test_a_path_that_is_not_served_is_not_found(path: str) -> None:
    _, api = simulated_immich()
    assert ask(api, "GET", path) == (404, {"message": f"Cannot GET {path}"})


def test_a_query_does_not_matter() -> None:
    _, api = simulated_immich()
    assert ask(api, "GET", "/api/queues/ocr?fresh=1")[1]["name"] == "ocr"


def test_starting_an_active_queue_is_refused() -> None:
    engine, api = simulated_immich()
    engine.add("ocr", lasting(60.0))
    expected = (400, {"message": "Job is already running"})
    assert ask(api, "PUT", "/api/jobs/ocr", {"command": "start"}) == expected


@pytest.mark.parametrize(("force", "ready"), [(True, 12), (False, 0)])
def test_a_forced_start_runs_on_all_assets(*, force: bool, ready: int) -> None:
    engine, api = simulated_immich()
    engine.upload(photos=12)
    engine.settle()
    status, job = ask(api, "PUT", "/api/jobs/ocr", {"command": "start", "force": force})
    assert status == 200
    assert (job["jobCounts"]["active"], job["jobCounts"]["waiting"]) == (1, ready)


def test_the_jobs_api_empties_a_queue_and_clears_its_failed_jobs() -> None:
    engine, api = simulated_immich()
    engine.add("ocr", lasting(60.0), count=5)
    engine.fail("ocr", 2)
    _, job = ask(api, "PUT", "/api/jobs/ocr", {"command": "empty"})
    assert (job["jobCounts"]["waiting"], job["jobCounts"]["failed"]) == (0, 2)
    _, job = ask(api, "PUT", "/api/jobs/ocr", {"command": "clear-failed"})
    assert job["jobCounts"]["failed"] == 0


def test_the_representation_shows_no_key() -> None:
    _, api = simulated_immich()
    assert KEY not in repr(api)
