from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from immich_job_daemon.base.errors import UnexpectedError
from immich_job_daemon.immich.apis import (
    JOBS_API,
    QUEUES_API,
    QueueApi,
    parse_message,
    parse_permissions,
    parse_version,
)
from immich_job_daemon.model.queue import MAX_QUEUES, Queue

RECORDINGS = Path(__file__).parents[1] / "recordings"

BOTH_APIS = pytest.mark.parametrize("api", [QUEUES_API, JOBS_API], ids=lambda api: api.name)

COUNTS = ("active", "waiting", "paused", "delayed", "failed")

# In the order of Immich 3.1.0, in both APIs.
NAMES = [
    "thumbnailGeneration",
    "metadataExtraction",
    "videoConversion",
    "faceDetection",
    "facialRecognition",
    "smartSearch",
    "duplicateDetection",
    "backgroundTask",
    "storageTemplateMigration",
    "migration",
    "search",
    "sidecar",
    "library",
    "notifications",
    "backupDatabase",
    "ocr",
    "workflow",
    "integrityCheck",
    "editor",
]


def recorded() -> list[tuple[str, str, str, Any]]:
    """Return file, method, path and body of every recorded response with queues."""
    responses = []
    for file in sorted(RECORDINGS.glob("*.json")):
        recording = json.loads(file.read_text())
        request, body = recording["request"], recording["body"]
        parts = request["path"].strip("/").split("/")
        has_queues = parts[1] in {"queues", "jobs"} and len(parts) <= 3
        # One recording is compressed, and the response to a HEAD has no body.
        if has_queues and recording["status"] == 200 and isinstance(body, (list, dict)):
            responses.append((file.stem, request["method"], request["path"].rstrip("/"), body))
    return responses


def queue_list(api: QueueApi, *names: str) -> Any:  # noqa: ANN401 (JSON to be modified)
    """Return the decoded JSON of a valid response with these queues."""
    counts = {**dict.fromkeys(COUNTS, 0), "completed": 0}
    if api is QUEUES_API:
        return [{"name": name, "isPaused": False, "statistics": {**counts}} for name in names]
    status = {"isPaused": False, "isActive": False}
    return {name: {"queueStatus": {**status}, "jobCounts": {**counts}} for name in names}


def counts_of(data: Any, api: QueueApi) -> Any:  # noqa: ANN401 (the same)
    """Return the counts of the second queue, `ocr`."""
    return data[1]["statistics"] if api is QUEUES_API else data["ocr"]["jobCounts"]


def status_of(data: Any, api: QueueApi) -> Any:  # noqa: ANN401 (the same)
    """Return the object with the isPaused of the second queue."""
    return data[1] if api is QUEUES_API else data["ocr"]["queueStatus"]


def parse_error(api: QueueApi, data: object) -> str:
    """Parse an invalid response and return the reason in the error message."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    with pytest.raises(UnexpectedError) as caught:
        api.parse_queues(body)
    start = f"Immich's response to GET {api.path} is invalid: "
    assert str(caught.value).startswith(start)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    return str(caught.value).removeprefix(start)


# Recordings


def test_the_recordings_hold_both_shapes_of_both_apis() -> None:
    shapes = {(path.split("/")[2], isinstance(body, list)) for _, _, path, body in recorded()}
    assert {("queues", True), ("queues", False), ("jobs", False)} <= shapes
    assert len(recorded()) > 30


@pytest.mark.parametrize(
    ("path", "body"), [pytest.param(path, body, id=file) for file, _, path, body in recorded()]
)
def test_every_recorded_response_is_parsed(path: str, body: Any) -> None:  # noqa: ANN401 (JSON)
    api = QUEUES_API if path.startswith("/api/queues") else JOBS_API
    content = json.dumps(body).encode()
    if path == api.path:
        snapshot = api.parse_queues(content)
        assert list(snapshot) == (
            [queue["name"] for queue in body] if api is QUEUES_API else list(body)
        )
        assert set(snapshot) == set(NAMES)
    else:
        name = path.rpartition("/")[2]
        queue = api.parse_queue(name, content)
        is_paused = body["isPaused"] if api is QUEUES_API else body["queueStatus"]["isPaused"]
        assert (queue.name, queue.is_paused) == (name, is_paused)


def test_both_apis_give_the_same_queues() -> None:
    def body(file: str) -> bytes:
        return json.dumps(json.loads((RECORDINGS / f"{file}.json").read_text())["body"]).encode()

    queues = QUEUES_API.parse_queues(body("queues_all_paused_backlog"))
    jobs = JOBS_API.parse_queues(body("jobs_all_paused_backlog"))
    assert queues == jobs
    assert queues["metadataExtraction"].is_paused
    assert queues["metadataExtraction"].backlog > 0


@BOTH_APIS
def test_every_count_is_stored_in_its_own_field(api: QueueApi) -> None:
    data = queue_list(api, "sidecar", "ocr")
    counts_of(data, api).update(active=1, waiting=2, paused=3, delayed=4, failed=5)
    status_of(data, api)["isPaused"] = True
    snapshot = api.parse_queues(json.dumps(data).encode())
    assert snapshot == {
        "sidecar": Queue("sidecar", is_paused=False),
        "ocr": Queue("ocr", True, 1, 2, 3, 4, 5),  # noqa: FBT003 (the fields in order)
    }


@BOTH_APIS
def test_queues_keep_immichs_order(api: QueueApi) -> None:
    backwards = NAMES[::-1]
    snapshot = api.parse_queues(json.dumps(queue_list(api, *backwards)).encode())
    assert list(snapshot) == backwards


@BOTH_APIS
@pytest.mark.parametrize("name", ["newQueue", "face-detection", "with_underscore", "v2.0"])
def test_an_unknown_queue_is_accepted(api: QueueApi, name: str) -> None:
    assert list(api.parse_queues(json.dumps(queue_list(api, name)).encode())) == [name]


@BOTH_APIS
def test_unknown_fields_are_ignored(api: QueueApi) -> None:
    data = queue_list(api, "sidecar", "ocr")
    counts_of(data, api)["prioritized"] = {"deep": [None]}
    status_of(data, api)["since"] = "today"
    del counts_of(data, api)["completed"]
    assert "ocr" in api.parse_queues(json.dumps(data).encode())


# Invalid responses


@BOTH_APIS
@pytest.mark.parametrize("count", COUNTS)
def test_a_missing_count_is_named(api: QueueApi, count: str) -> None:
    data = queue_list(api, "sidecar", "ocr")
    del counts_of(data, api)[count]
    where = "[1].statistics" if api is QUEUES_API else "ocr.jobCounts"
    assert parse_error(api, data).startswith(f"{where}.{count}: missing. ")


@BOTH_APIS
@pytest.mark.parametrize("wrong", [True, -1, 1.0, "1", None, [], {}, 2**53 + 1])
def test_an_invalid_count_is_named(api: QueueApi, wrong: object) -> None:
    data = queue_list(api, "sidecar", "ocr")
    counts_of(data, api)["active"] = wrong
    where = "[1].statistics" if api is QUEUES_API else "ocr.jobCounts"
    message = parse_error(api, data)
    assert message.startswith(f"{where}.active: expected a whole number from 0, got ")


@BOTH_APIS
@pytest.mark.parametrize("wrong", [0, 1, "true", None, []])
def test_is_paused_must_be_a_boolean(api: QueueApi, wrong: object) -> None:
    data = queue_list(api, "sidecar", "ocr")
    status_of(data, api)["isPaused"] = wrong
    assert "isPaused: expected true or false, got " in parse_error(api, data)


@BOTH_APIS
def test_is_paused_is_required(api: QueueApi) -> None:
    data = queue_list(api, "sidecar", "ocr")
    del status_of(data, api)["isPaused"]
    assert "isPaused: missing" in parse_error(api, data)


@BOTH_APIS
@pytest.mark.parametrize(
    "name",
    [
        "",
        *("a/b", "a\\b", "..", ".", " ", "with space"),
        *("a\nb", "a\x00", "\x1b[31m", "\ud800", "größe"),
        "a" * 101,
    ],
)
def test_a_dangerous_name_is_rejected(api: QueueApi, name: str) -> None:
    assert "expected a queue name, got " in parse_error(api, queue_list(api, "ok", name))


@pytest.mark.parametrize("name", [None, 3, ["ocr"], {}])
def test_a_name_must_be_a_string(name: object) -> None:
    data = queue_list(QUEUES_API, "ocr")
    data[0]["name"] = name
    assert parse_error(QUEUES_API, data).startswith("[0].name: expected a queue name, got ")


def test_a_duplicate_queue_is_rejected() -> None:
    assert parse_error(QUEUES_API, queue_list(QUEUES_API, "ocr", "ocr")).startswith(
        "ocr occurs twice"
    )
    job = json.dumps(queue_list(JOBS_API, "ocr")["ocr"])
    body = f'{{"ocr": {job}, "ocr": {job}}}'.encode()
    assert parse_error(JOBS_API, body).startswith("a field occurs twice")


@BOTH_APIS
@pytest.mark.parametrize("data", [[], {}, None, 0, "queues", True, [[]], [None], {"ocr": []}])
def test_another_shape_is_rejected(api: QueueApi, data: object) -> None:
    assert parse_error(api, data)


def test_the_shape_of_the_other_api_is_rejected() -> None:
    assert parse_error(QUEUES_API, queue_list(JOBS_API, "ocr")).startswith("expected list")
    assert parse_error(JOBS_API, queue_list(QUEUES_API, "ocr")).startswith("expected dict")


@BOTH_APIS
def test_too_many_queues_are_rejected(api: QueueApi) -> None:
    assert parse_error(
        api, queue_list(api, *(f"queue{number}" for number in range(MAX_QUEUES + 1)))
    )


@BOTH_APIS
@pytest.mark.parametrize("part", [0, 1, 100, -1])
def test_a_truncated_response_is_rejected(api: QueueApi, part: int) -> None:
    body = json.dumps(queue_list(api, *NAMES)).encode()
    assert "it is not complete JSON" in parse_error(api, body[:part])


@BOTH_APIS
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"NaN", "NaN is not valid JSON"),
        (b'[{"name": "ocr", "statistics": {"active": Infinity}}]', "Infinity is not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "a number with thousands of digits"),
        (b"\xff\xfe\xff", "not complete JSON"),
        (b"\x1f\x8b\x08\x00", "not complete JSON"),
        (b"ok", "not complete JSON"),
    ],
)
def test_invalid_json_is_rejected(api: QueueApi, body: bytes, reason: str) -> None:
    assert reason in parse_error(api, body)


def test_a_response_about_another_queue_is_rejected() -> None:
    body = json.dumps(queue_list(QUEUES_API, "sidecar")[0]).encode()
    with pytest.raises(UnexpectedError, match=r"PUT /api/queues/ocr .* name: expected 'ocr'"):
        QUEUES_API.parse_queue("ocr", body)


@BOTH_APIS
def test_a_response_with_one_queue_is_validated_as_strictly(api: QueueApi) -> None:
    data = queue_list(api, "sidecar", "ocr")
    counts_of(data, api)["failed"] = -1
    one = data[1] if api is QUEUES_API else data["ocr"]
    with pytest.raises(UnexpectedError, match=rf"PUT {api.path}/ocr .*failed: expected"):
        api.parse_queue("ocr", json.dumps(one).encode())


@BOTH_APIS
def test_parsing_nineteen_queues_is_fast(api: QueueApi) -> None:
    body = json.dumps(queue_list(api, *NAMES)).encode()
    rounds = 20

    def seconds() -> float:
        # CPU time of this thread, so that other load of the machine does not count.
        before = time.thread_time()
        for _ in range(rounds):
            api.parse_queues(body)
        return (time.thread_time() - before) / rounds

    # It takes a quarter of a millisecond. The rest allows for slow machines and coverage.
    assert min(seconds() for _ in range(5)) < 0.005


# Requests


@pytest.mark.parametrize(
    ("api", "path", "pause", "resume"),
    [
        (QUEUES_API, "/api/queues/ocr", {"isPaused": True}, {"isPaused": False}),
        (JOBS_API, "/api/jobs/ocr", {"command": "pause"}, {"command": "resume"}),
    ],
)
def test_each_api_has_its_own_path_and_bodies(
    api: QueueApi, path: str, pause: object, resume: object
) -> None:
    assert api.queue_path("ocr") == path
    assert json.loads(api.pause_body(paused=True)) == pause
    assert json.loads(api.pause_body(paused=False)) == resume


@BOTH_APIS
def test_a_name_is_escaped_in_the_path(api: QueueApi) -> None:
    assert api.queue_path("a/b?c#d%") == f"{api.path}/a%2Fb%3Fc%23d%25"


@BOTH_APIS
def test_missing_permissions_of_a_key(api: QueueApi) -> None:
    both = frozenset({api.read_permission, api.write_permission})
    assert api.missing_permissions(both) == frozenset()
    assert api.missing_permissions(frozenset({"all"})) == frozenset()
    assert api.missing_permissions(frozenset({"asset.upload"})) == both
    assert api.missing_permissions(frozenset({api.read_permission})) == {api.write_permission}
    assert api.missing_permissions(None) == frozenset()


# Other responses


def test_the_recorded_version_is_parsed() -> None:
    body = json.loads((RECORDINGS / "version.json").read_text())["body"]
    assert parse_version(json.dumps(body).encode()) == "3.1.0"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"res": "pong"}', b'{"major": "3", "minor": 1, "patch": 0}', b"[]"]
)
def test_an_invalid_version_is_rejected(body: bytes) -> None:
    with pytest.raises(UnexpectedError, match="GET /api/server/version is invalid"):
        parse_version(body)


def test_permissions_are_parsed() -> None:
    body = b'{"id": "x", "permissions": ["queue.read", "queue.update"]}'
    assert parse_permissions(body) == {"queue.read", "queue.update"}


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"permissions": "all"}',
        b'{"permissions": [1]}',
        b'{"permissions": [' + b"0," * 300_000 + b"0]}",
    ],
    ids=lambda body: str(body[:30]),
)
def test_invalid_permissions_are_rejected(body: bytes) -> None:
    with pytest.raises(UnexpectedError, match="permissions"):
        parse_permissions(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message": "Forbidden"}', "Forbidden"),
        (b'{"message": ["first", 2, "second"]}', "first; second"),
        (b'{"message": "two\\r\\nlines\\u001b"}', r"two\r\nlines\x1b"),
        (b'{"message": "' + b"x" * 1000 + b'"}', "x" * 197 + "..."),
        (b'{"message": null}', None),
        (b'{"error": "no"}', None),
        (b'["message"]', None),
        (b'{"message": NaN}', None),
        (b'{"a": 1, "a": 1}', None),
        (b"[" * 100_000, None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_the_message_of_an_error_is_one_short_line(body: bytes, message: str | None) -> None:
    assert parse_message(body) == message
