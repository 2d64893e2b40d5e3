"""The facade responds like the recorded Immich, where queues are concerned."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.engine.facade import Facade, real_immich
from tests.support.immich_server import KEY
from tests.support.waiting import TIMEOUT

RECORDINGS = sorted((Path(__file__).parents[1] / "recordings").glob("*.json"))
# Keys with fewer permissions, other endpoints, and busy queues.
EXCLUDED = (
    "__",
    "about",
    "busy",
    "backlog",
    "config",
    "gzip",
    "queue_jobs",
    "start_",
    "options",
    "textbody",
)


def recorded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.fixture(scope="module")
def facade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facade]:
    with real_immich(tmp_path_factory.mktemp("engine"), 5) as facade:
        yield facade


def prepare_queues(facade: Facade, name: str, recording: dict[str, Any]) -> None:
    """Pause the queue that the recording resumes or shows as paused; resume all others."""
    request, body = recording["request"], recording["body"]
    if request["method"] == "GET":
        is_paused = isinstance(body, dict) and body.get("isPaused", False)
    else:
        is_paused = "resume" in name or "false" in name
    headers = {"x-api-key": KEY}
    queues = requests.get(f"{facade.url}/api/jobs", headers=headers, timeout=TIMEOUT).json()
    for queue, state in queues.items():
        should_be_paused = is_paused and request["path"].rstrip("/").endswith(queue)
        if state["queueStatus"]["isPaused"] is not should_be_paused:
            command = {"command": "pause" if should_be_paused else "resume"}
            url = f"{facade.url}/api/jobs/{queue}"
            requests.put(url, headers=headers, json=command, timeout=TIMEOUT).raise_for_status()


def is_supported(path: Path) -> bool:
    return not any(part in path.stem for part in EXCLUDED)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem) for path in RECORDINGS if is_supported(path)],
)
def test_a_response_equals_the_recording(facade: Facade, path: Path) -> None:
    recording = recorded(path)
    request = recording["request"]
    prepare_queues(facade, path.stem, recording)
    headers = {}
    if request["key"] is not None:
        headers["x-api-key"] = KEY if request["key"] == "all" else request["key"]
    body = request["body"]
    if body is not None:
        headers["content-type"] = "application/json"
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    response = requests.request(
        request["method"], facade.url + request["path"], headers=headers, data=body, timeout=TIMEOUT
    )
    assert response.status_code == recording["status"]
    if recording["body"] == "":
        assert response.content == b""
    else:
        assert response.json() == recording["body"]
    for name in ("content-type", "keep-alive"):
        if name in recording["headers"]:
            assert response.headers[name] == recording["headers"][name]
