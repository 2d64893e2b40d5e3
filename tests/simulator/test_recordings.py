"""Every recorded request is sent to the simulator over HTTP and must get the same response."""

import gzip
import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine
from simulator.immich.server import SimulatedServer

RECORDINGS = sorted((Path(__file__).parents[1] / "recordings").glob("*.json"))
KEYS = {
    "all": Key(),
    "nonadmin_all": Key(is_admin=False),
    "queue_read": Key(frozenset({"queue.read"})),
    "queue_read_update": Key(frozenset({"queue.read", "queue.update"})),
    "job_read": Key(frozenset({"job.read"})),
    "job_create": Key(frozenset({"job.create"})),
    "job_read_create": Key(frozenset({"job.read", "job.create"})),
    "asset_upload_only": Key(frozenset({"asset.upload"})),
}
# These depend on the time or the machine. All other bodies must be equal.
SAME_SHAPE = {"about", "jobs_busy", "queues_busy", "queue_thumb_busy"}


def shape(value: object) -> object:
    """Return the structure of a JSON value: keys in order, types, and array lengths."""
    if isinstance(value, dict):
        return [(name, shape(inner)) for name, inner in value.items()]
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__


def paused_queues(body: object, path: str) -> list[str]:
    """Return the queues that are paused in a recorded body."""
    if isinstance(body, list):
        return [queue["name"] for queue in body if queue["isPaused"]]
    if isinstance(body, dict) and body.get("isPaused"):
        return [path.rpartition("/")[2]]
    if isinstance(body, dict) and "library" in body:
        return [name for name, queue in body.items() if queue["queueStatus"]["isPaused"]]
    return []


def engine_for(name: str, recording: dict[str, Any]) -> Engine:
    """Return an engine in the state of the recorded server."""
    engine = Engine()
    method, path = recording["request"]["method"], recording["request"]["path"]
    if method == "GET":
        for queue in paused_queues(recording["body"], path):
            engine.pause(queue)
    elif "resume" in name or "false" in name:
        engine.pause(path.rstrip("/").rpartition("/")[2])
    if "busy" in name or "backlog" in name:
        engine.upload(photos=300, videos=3)
    while "busy" in name and engine.queues["metadataExtraction"].ready > 117:
        next_event = engine.next_event()
        assert next_event is not None
        engine.advance(next_event)
    return engine


def exchange(
    name: str, recording: dict[str, Any]
) -> tuple[http.client.HTTPResponse, bytes, Engine]:
    """Send a recorded request to a simulator whose clock is stopped."""
    request = recording["request"]
    engine = engine_for(name, recording)
    headers = {}
    if request["key"] is not None:
        headers["x-api-key"] = request["key"]
    body = None
    if request["body"] is not None:
        text = request["body"]
        body = (text if isinstance(text, str) else json.dumps(text)).encode()
        headers["content-type"] = "text/plain" if "textbody" in name else "application/json"
    if "gzip" in name:
        headers["accept-encoding"] = "gzip"
    with SimulatedServer(engine, Api(engine, keys=KEYS), speed=0.0) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=90)
        try:
            connection.request(request["method"], request["path"], body, headers)
            response = connection.getresponse()
            return response, response.read(), engine
        finally:
            connection.close()


def recorded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in RECORDINGS])
def test_a_response_is_as_recorded(path: Path) -> None:
    recording = recorded(path)
    response, body, _ = exchange(path.stem, recording)
    assert response.status == recording["status"]
    for header, value in recording["headers"].items():
        assert response.headers[header] == value
    if recording["body"] == "":
        assert body == b""
    elif "gzip" in path.stem:
        assert response.headers["content-encoding"] == "gzip"
        # The recording is text, which has lost the bytes that are not.
        assert body.decode(errors="replace")[:3] == recording["body"][:3]
        idle = recorded(path.with_name("jobs_idle.json"))["body"]
        assert shape(json.loads(gzip.decompress(body))) == shape(idle)
    else:
        document = json.loads(body)
        assert shape(document) == shape(recording["body"])
        if path.stem not in SAME_SHAPE:
            assert document == recording["body"]


def test_the_recordings_exist_and_use_only_known_keys() -> None:
    assert len(RECORDINGS) > 100
    keys = {recorded(path)["request"]["key"] for path in RECORDINGS}
    assert keys == {*KEYS, None, "wrongkey123"}


REJECTED = [path for path in RECORDINGS if recorded(path)["status"] != 200]


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in REJECTED])
def test_a_rejected_request_changes_nothing(path: Path) -> None:
    recording = recorded(path)
    before = engine_for(path.stem, recording)
    _, _, after = exchange(path.stem, recording)
    for name, queue in after.queues.items():
        assert queue.is_paused is before.queues[name].is_paused
        assert queue.counts() == before.queues[name].counts()
