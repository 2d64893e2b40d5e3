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

BOTH = pytest.mark.parametrize("dialect", [QUEUES_API, JOBS_API], ids=lambda dialect: dialect.name)

COUNTS = ("active", "waiting", "paused", "delayed", "failed")

# In the order in which Immich 3.1.0 lists them, in both APIs.
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
    """Return file, method, path and body of every recorded answer that carries queues."""
    answers = []
    for file in sorted(RECORDINGS.glob("*.json")):
        recording = json.loads(file.read_text())
        request, body = recording["request"], recording["body"]
        parts = request["path"].strip("/").split("/")
        is_of_queues = parts[1] in {"queues", "jobs"} and len(parts) <= 3
        # One is kept as it came, packed; a HEAD has no body.
        if is_of_queues and recording["status"] == 200 and isinstance(body, (list, dict)):
            answers.append((file.stem, request["method"], request["path"].rstrip("/"), body))
    return answers


def listing(dialect: QueueApi, *names: str) -> Any:  # noqa: ANN401 (JSON to be spoilt)
    """Return a sound answer with all queues, decoded."""
    counts = {**dict.fromkeys(COUNTS, 0), "completed": 0}
    if dialect is QUEUES_API:
        return [{"name": name, "isPaused": False, "statistics": {**counts}} for name in names]
    status = {"isPaused": False, "isActive": False}
    return {name: {"queueStatus": {**status}, "jobCounts": {**counts}} for name in names}


def counts_of(data: Any, dialect: QueueApi) -> Any:  # noqa: ANN401 (the same)
    """Return the counts of the second queue, `ocr`."""
    return data[1]["statistics"] if dialect is QUEUES_API else data["ocr"]["jobCounts"]


def status_of(data: Any, dialect: QueueApi) -> Any:  # noqa: ANN401 (the same)
    """Return the object that says whether the second queue is paused."""
    return data[1] if dialect is QUEUES_API else data["ocr"]["queueStatus"]


def complaint(dialect: QueueApi, data: object) -> str:
    """Parse an answer that makes no sense, and return what a person is told."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    with pytest.raises(UnexpectedError) as caught:
        dialect.parse_all(body)
    start = f"Immich's answer to GET {dialect.path} makes no sense: "
    assert str(caught.value).startswith(start)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    return str(caught.value).removeprefix(start)


# Recordings


def test_the_recordings_hold_both_shapes_of_both_apis() -> None:
    kinds = {(path.split("/")[2], isinstance(body, list)) for _, _, path, body in recorded()}
    assert {("queues", True), ("queues", False), ("jobs", False)} <= kinds
    assert len(recorded()) > 30


@pytest.mark.parametrize(
    ("path", "body"), [pytest.param(path, body, id=file) for file, _, path, body in recorded()]
)
def test_every_recorded_answer_is_read(path: str, body: Any) -> None:  # noqa: ANN401 (JSON)
    dialect = QUEUES_API if path.startswith("/api/queues") else JOBS_API
    content = json.dumps(body).encode()
    if path == dialect.path:
        snapshot = dialect.parse_all(content)
        assert list(snapshot) == (
            [queue["name"] for queue in body] if dialect is QUEUES_API else list(body)
        )
        assert set(snapshot) == set(NAMES)
    else:
        name = path.rpartition("/")[2]
        queue = dialect.parse_one(name, content)
        is_paused = body["isPaused"] if dialect is QUEUES_API else body["queueStatus"]["isPaused"]
        assert (queue.name, queue.is_paused) == (name, is_paused)


def test_both_apis_tell_the_same_of_the_same_queue() -> None:
    def body(file: str) -> bytes:
        return json.dumps(json.loads((RECORDINGS / f"{file}.json").read_text())["body"]).encode()

    queues = QUEUES_API.parse_all(body("queues_all_paused_backlog"))
    jobs = JOBS_API.parse_all(body("jobs_all_paused_backlog"))
    assert queues == jobs
    assert queues["metadataExtraction"].is_paused
    assert queues["metadataExtraction"].backlog > 0


@BOTH
def test_every_count_goes_to_its_own_field(dialect: QueueApi) -> None:
    data = listing(dialect, "sidecar", "ocr")
    counts_of(data, dialect).update(active=1, waiting=2, paused=3, delayed=4, failed=5)
    status_of(data, dialect)["isPaused"] = True
    snapshot = dialect.parse_all(json.dumps(data).encode())
    assert snapshot == {
        "sidecar": Queue("sidecar", is_paused=False),
        "ocr": Queue("ocr", True, 1, 2, 3, 4, 5),  # noqa: FBT003 (the fields in their order)
    }


@BOTH
def test_immichs_order_is_kept(dialect: QueueApi) -> None:
    backwards = NAMES[::-1]
    snapshot = dialect.parse_all(json.dumps(listing(dialect, *backwards)).encode())
    assert list(snapshot) == backwards


@BOTH
@pytest.mark.parametrize("name", ["newQueue", "face-detection", "größe", "with space", "v2.0"])
def test_an_unknown_queue_is_taken(dialect: QueueApi, name: str) -> None:
    assert list(dialect.parse_all(json.dumps(listing(dialect, name)).encode())) == [name]


@BOTH
def test_fields_that_are_not_known_do_not_matter(dialect: QueueApi) -> None:
    data = listing(dialect, "sidecar", "ocr")
    counts_of(data, dialect)["prioritized"] = {"deep": [None]}
    status_of(data, dialect)["since"] = "today"
    del counts_of(data, dialect)["completed"]
    assert "ocr" in dialect.parse_all(json.dumps(data).encode())


# What makes no sense


@BOTH
@pytest.mark.parametrize("count", COUNTS)
def test_a_missing_count_is_unexpected_and_named(dialect: QueueApi, count: str) -> None:
    data = listing(dialect, "sidecar", "ocr")
    del counts_of(data, dialect)[count]
    where = "[1].statistics" if dialect is QUEUES_API else "ocr.jobCounts"
    assert complaint(dialect, data).startswith(f"{where}.{count}: missing. ")


@BOTH
@pytest.mark.parametrize("wrong", [True, -1, 1.0, "1", None, [], {}, 2**53 + 1])
def test_a_wrong_count_is_unexpected_and_named(dialect: QueueApi, wrong: object) -> None:
    data = listing(dialect, "sidecar", "ocr")
    counts_of(data, dialect)["active"] = wrong
    where = "[1].statistics" if dialect is QUEUES_API else "ocr.jobCounts"
    said = complaint(dialect, data)
    assert said.startswith(f"{where}.active: expected a whole number from 0, got ")


@BOTH
@pytest.mark.parametrize("wrong", [0, 1, "true", None, []])
def test_a_pause_that_is_neither_true_nor_false_is_unexpected(
    dialect: QueueApi, wrong: object
) -> None:
    data = listing(dialect, "sidecar", "ocr")
    status_of(data, dialect)["isPaused"] = wrong
    assert "isPaused: expected true or false, got " in complaint(dialect, data)


@BOTH
def test_a_missing_pause_is_unexpected(dialect: QueueApi) -> None:
    data = listing(dialect, "sidecar", "ocr")
    del status_of(data, dialect)["isPaused"]
    assert "isPaused: missing" in complaint(dialect, data)


@BOTH
@pytest.mark.parametrize(
    "name", ["", "a/b", "a\\b", "a\nb", "a\x00", "\x1b[31m", "..", ".", " ", "a" * 101, "\ud800"]
)
def test_a_name_that_could_do_harm_is_unexpected(dialect: QueueApi, name: str) -> None:
    assert "expected the name of a queue, got " in complaint(dialect, listing(dialect, "ok", name))


@pytest.mark.parametrize("name", [None, 3, ["ocr"], {}])
def test_a_name_that_is_no_text_is_unexpected(name: object) -> None:
    data = listing(QUEUES_API, "ocr")
    data[0]["name"] = name
    assert complaint(QUEUES_API, data).startswith("[0].name: expected the name of a queue, got ")


def test_a_queue_twice_is_unexpected() -> None:
    assert complaint(QUEUES_API, listing(QUEUES_API, "ocr", "ocr")).startswith("ocr is there twice")
    job = json.dumps(listing(JOBS_API, "ocr")["ocr"])
    body = f'{{"ocr": {job}, "ocr": {job}}}'.encode()
    assert complaint(JOBS_API, body).startswith("a field is there twice")


@BOTH
@pytest.mark.parametrize("data", [[], {}, None, 0, "queues", True, [[]], [None], {"ocr": []}])
def test_another_shape_is_unexpected(dialect: QueueApi, data: object) -> None:
    assert complaint(dialect, data)


def test_the_shape_of_the_other_api_is_unexpected() -> None:
    assert complaint(QUEUES_API, listing(JOBS_API, "ocr")).startswith("expected list")
    assert complaint(JOBS_API, listing(QUEUES_API, "ocr")).startswith("expected dict")


@BOTH
def test_more_queues_than_there_can_be_are_unexpected(dialect: QueueApi) -> None:
    assert complaint(
        dialect, listing(dialect, *(f"queue{number}" for number in range(MAX_QUEUES + 1)))
    )


@BOTH
@pytest.mark.parametrize("part", [0, 1, 100, -1])
def test_a_truncated_answer_is_unexpected(dialect: QueueApi, part: int) -> None:
    whole = json.dumps(listing(dialect, *NAMES)).encode()
    assert "it is no complete JSON" in complaint(dialect, whole[:part])


@BOTH
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"NaN", "NaN is no JSON"),
        (b'[{"name": "ocr", "statistics": {"active": Infinity}}]', "Infinity is no JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "a number of thousands of digits"),
        (b"\xff\xfe\xff", "no complete JSON"),
        (b"\x1f\x8b\x08\x00", "no complete JSON"),
        (b"ok", "no complete JSON"),
    ],
)
def test_what_is_no_json_is_unexpected(dialect: QueueApi, body: bytes, reason: str) -> None:
    assert reason in complaint(dialect, body)


def test_an_answer_about_another_queue_is_unexpected() -> None:
    body = json.dumps(listing(QUEUES_API, "sidecar")[0]).encode()
    with pytest.raises(UnexpectedError, match=r"PUT /api/queues/ocr .* name: expected 'ocr'"):
        QUEUES_API.parse_one("ocr", body)


@BOTH
def test_an_answer_about_one_queue_is_checked_as_strictly(dialect: QueueApi) -> None:
    data = listing(dialect, "sidecar", "ocr")
    counts_of(data, dialect)["failed"] = -1
    one = data[1] if dialect is QUEUES_API else data["ocr"]
    with pytest.raises(UnexpectedError, match=rf"PUT {dialect.path}/ocr .*failed: expected"):
        dialect.parse_one("ocr", json.dumps(one).encode())


@BOTH
def test_reading_nineteen_queues_costs_next_to_nothing(dialect: QueueApi) -> None:
    body = json.dumps(listing(dialect, *NAMES)).encode()
    rounds = 20

    def seconds() -> float:
        # The processor's time of this thread: what else the machine does is not counted.
        before = time.thread_time()
        for _ in range(rounds):
            dialect.parse_all(body)
        return (time.thread_time() - before) / rounds

    # It takes a quarter of a millisecond; the rest is for slow machines and for coverage.
    assert min(seconds() for _ in range(5)) < 0.005


# What is asked


@pytest.mark.parametrize(
    ("dialect", "path", "pause", "resume"),
    [
        (QUEUES_API, "/api/queues/ocr", {"isPaused": True}, {"isPaused": False}),
        (JOBS_API, "/api/jobs/ocr", {"command": "pause"}, {"command": "resume"}),
    ],
)
def test_how_each_api_pauses_and_resumes(
    dialect: QueueApi, path: str, pause: object, resume: object
) -> None:
    assert dialect.path_of("ocr") == path
    assert json.loads(dialect.body(paused=True)) == pause
    assert json.loads(dialect.body(paused=False)) == resume


@BOTH
def test_a_name_cannot_leave_its_place_in_the_path(dialect: QueueApi) -> None:
    assert dialect.path_of("a/b?c#d%") == f"{dialect.path}/a%2Fb%3Fc%23d%25"


@BOTH
def test_what_a_key_lacks(dialect: QueueApi) -> None:
    both = frozenset({dialect.read, dialect.write})
    assert dialect.missing(both) == frozenset()
    assert dialect.missing(frozenset({"all"})) == frozenset()
    assert dialect.missing(frozenset({"asset.upload"})) == both
    assert dialect.missing(frozenset({dialect.read})) == {dialect.write}
    assert dialect.missing(None) == frozenset()


# The other answers


def test_the_recorded_version_is_read() -> None:
    body = json.loads((RECORDINGS / "version.json").read_text())["body"]
    assert parse_version(json.dumps(body).encode()) == "3.1.0"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"res": "pong"}', b'{"major": "3", "minor": 1, "patch": 0}', b"[]"]
)
def test_what_is_no_version_is_unexpected(body: bytes) -> None:
    with pytest.raises(UnexpectedError, match="GET /api/server/version makes no sense"):
        parse_version(body)


def test_permissions_are_read() -> None:
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
def test_what_are_no_permissions_is_unexpected(body: bytes) -> None:
    with pytest.raises(UnexpectedError, match="permissions"):
        parse_permissions(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message": "Forbidden"}', "Forbidden"),
        (b'{"message": ["first", 2, "second"]}', "first; second"),
        (b'{"message": "two\\r\\nlines\\u001b"}', "two lines"),
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
