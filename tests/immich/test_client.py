from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socket import create_server
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING

import pytest

from immich_job_daemon.base.errors import (
    AlreadyRunningError,
    ImmichError,
    KeyRejectedError,
    NotImmichError,
    PermissionMissingError,
    RefusedError,
    UnexpectedError,
    UnreachableError,
)
from immich_job_daemon.immich.apis import START_BODY
from immich_job_daemon.immich.client import Connection, ImmichClient
from immich_job_daemon.immich.transport import HttpTransport, Response
from immich_job_daemon.model.queue import MAX_QUEUES
from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine
from simulator.immich.faults import Fault, FaultQueue
from simulator.immich.pipeline import lasting
from simulator.immich.server import SimulatedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Respond = Callable[[str, str], Response | None]
    Serve = Callable[[Respond], ImmichClient]
    Simulate = Callable[..., ImmichClient]

LIMIT = 60.0
"""Seconds after which a test has failed."""

KEYS = {
    "all": Key(),
    "queues": Key(frozenset({"queue.read", "queue.update"})),
    "jobs": Key(frozenset({"job.read", "job.create"})),
    "both": Key(frozenset({"queue.read", "queue.update", "job.read", "job.create"})),
    "queue.read": Key(frozenset({"queue.read"})),
    "job.read": Key(frozenset({"job.read"})),
    "job.create": Key(frozenset({"job.create"})),
    "read both, write jobs": Key(frozenset({"queue.read", "job.read", "job.create"})),
    "read queues, write jobs": Key(frozenset({"queue.read", "job.create"})),
    "upload": Key(frozenset({"asset.upload"})),
    "no admin": Key(is_admin=False),
}

QUEUES_ONLY, JOBS_ONLY = frozenset({"queues"}), frozenset({"jobs"})


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers with a function from method and path to response; None is no response."""
    with ExitStack() as stack:
        over = threading.Event()

        def start(respond: Respond) -> ImmichClient:
            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"
                disable_nagle_algorithm = True

                def do_GET(self) -> None:
                    self.rfile.read(int(self.headers.get("content-length", 0)))
                    response = respond(self.command, self.path)
                    if response is None:
                        self.close_connection = True
                        over.wait(LIMIT)
                        return
                    self.send_response(response.status)
                    self.send_header("content-type", response.content_type)
                    self.send_header("content-length", str(len(response.body)))
                    if response.location is not None:
                        self.send_header("location", response.location)
                    self.end_headers()
                    self.wfile.write(response.body)

                def do_PUT(self) -> None:
                    self.do_GET()

                def log_message(self, *_args: object) -> None:
                    pass

            class Server(ThreadingTCPServer):
                daemon_threads = True
                request_queue_size = 64

            server = stack.enter_context(Server(("127.0.0.1", 0), Handler))
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            transport = HttpTransport(f"http://127.0.0.1:{server.server_address[1]}", "key")
            return stack.enter_context(closing(ImmichClient(transport)))

        stack.callback(over.set)
        yield start
        over.set()


@pytest.fixture
def simulate() -> Iterator[Simulate]:
    """Start simulated servers and return a client of each, with one of KEYS."""
    with ExitStack() as stack:

        def start(
            key: str,
            serves: frozenset[str] = QUEUES_ONLY | JOBS_ONLY,
            faults: FaultQueue | None = None,
        ) -> ImmichClient:
            engine = Engine(seed=1)
            keys = {header_key(name): kind for name, kind in KEYS.items()}
            api = Api(engine, keys=keys, serves=serves)
            server = stack.enter_context(SimulatedServer(engine, api, faults=faults))
            transport = HttpTransport(server.url, header_key(key), read_timeout=LIMIT)
            return stack.enter_context(closing(ImmichClient(transport)))

        yield start


def header_key(name: str) -> str:
    """Return the API key with this name. Unlike the plain name, no response contains it."""
    return f"the-key-{name}".replace(" ", "-")


def json_response(body: object, status: int = 200) -> Response:
    return Response(status, "application/json; charset=utf-8", json.dumps(body).encode())


def queue(name: str, *, paused: bool = False) -> dict[str, object]:
    counts = dict.fromkeys(("active", "completed", "failed", "delayed", "waiting", "paused"), 0)
    return {"name": name, "isPaused": paused, "statistics": counts}


def respond_normally(method: str, path: str) -> Response:
    """Respond as an Immich with one queue that is never paused."""
    if method == "PUT":
        return json_response(queue(path.rpartition("/")[2]))
    bodies: dict[str, object] = {
        "/api/server/version": {"major": 3, "minor": 1, "patch": 0, "prerelease": None},
        "/api/api-keys/me": {"id": "1", "name": "mine", "permissions": ["all"]},
        "/api/queues": [queue("ocr")],
    }
    if path in bodies:
        return json_response(bodies[path])
    return json_response({"message": f"Cannot {method} {path}"}, 404)


def respond_at(path: str, response: Response) -> Respond:
    """Respond normally except at one path."""
    return lambda method, requested: (
        response if requested == path else respond_normally(method, requested)
    )


PAGE = Response(200, "text/html; charset=utf-8", b"<!doctype html><title>Log in</title>")


# Connecting


@pytest.mark.parametrize(
    ("key", "api"),
    [
        ("all", "queues API"),
        ("queues", "queues API"),
        ("both", "queues API"),
        ("jobs", "jobs API"),
        ("read both, write jobs", "jobs API"),
    ],
)
def test_the_first_api_that_the_key_can_use_is_chosen(
    simulate: Simulate, key: str, api: str
) -> None:
    immich = simulate(key)
    assert immich.connect() == Connection("3.1.0", api, KEYS[key].permissions)
    assert immich.api == api
    assert len(immich.fetch_queues()) == 19


@pytest.mark.parametrize(
    ("key", "serves", "missing"),
    [
        ("upload", QUEUES_ONLY | JOBS_ONLY, {"queue.read", "queue.update"}),
        ("upload", JOBS_ONLY, {"job.read", "job.create"}),
        ("queue.read", QUEUES_ONLY | JOBS_ONLY, {"queue.update"}),
        ("queue.read", JOBS_ONLY, {"job.read", "job.create"}),
        ("queues", JOBS_ONLY, {"job.read", "job.create"}),
        ("jobs", QUEUES_ONLY, {"queue.read", "queue.update"}),
        ("job.read", QUEUES_ONLY | JOBS_ONLY, {"queue.read", "queue.update"}),
        ("job.read", JOBS_ONLY, {"job.create"}),
        ("job.create", JOBS_ONLY, {"job.read"}),
        ("read queues, write jobs", QUEUES_ONLY | JOBS_ONLY, {"queue.update"}),
    ],
)
def test_a_key_that_can_use_no_api_lacks_the_permissions_of_the_preferred_one(
    simulate: Simulate, key: str, serves: frozenset[str], missing: set[str]
) -> None:
    with pytest.raises(PermissionMissingError) as caught:
        simulate(key, serves).connect()
    assert caught.value.missing == missing
    message = str(caught.value)
    assert message.startswith(f"the API key lacks the permission {', '.join(sorted(missing))}: ")
    assert "user icon > Account Settings > API Keys" in message


def test_the_key_of_a_user_who_is_not_an_administrator_is_reported(simulate: Simulate) -> None:
    with pytest.raises(PermissionMissingError, match="not an administrator") as caught:
        simulate("no admin").connect()
    assert caught.value.missing == frozenset()


def test_a_key_without_permissions_of_a_user_who_is_not_an_administrator(
    serve: Serve,
) -> None:
    def respond(method: str, path: str) -> Response:
        if path == "/api/api-keys/me":
            return json_response({"permissions": ["asset.upload"]})
        return (
            respond_normally(method, path)
            if path.startswith("/api/server")
            else json_response({"message": "Forbidden"}, 403)
        )

    with pytest.raises(PermissionMissingError, match="not an administrator"):
        serve(respond).connect()


def test_an_unknown_key_is_rejected(simulate: Simulate) -> None:
    with pytest.raises(KeyRejectedError, match=r"401 Invalid API key.*set API_KEY"):
        simulate("unknown").connect()


@pytest.mark.parametrize("status", [400, 403, 404])
def test_an_immich_that_does_not_tell_permissions_can_be_used(serve: Serve, status: int) -> None:
    immich = serve(respond_at("/api/api-keys/me", json_response({"message": "no"}, status)))
    assert immich.connect() == Connection("3.1.0", "queues API", None)


def test_permissions_that_immich_does_not_tell_are_named_after_a_refusal(serve: Serve) -> None:
    def respond(method: str, path: str) -> Response:
        if path == "/api/queues":
            return json_response({"message": "Missing required permission: queue.read"}, 403)
        if path == "/api/api-keys/me":
            return json_response({"message": "no"}, 404)
        return respond_normally(method, path)

    with pytest.raises(PermissionMissingError) as caught:
        serve(respond).connect()
    assert caught.value.missing == {"queue.read"}
    assert "grant queue.read and queue.update to the key" in str(caught.value)


@pytest.mark.parametrize(
    "response",
    [
        PAGE,
        json_response({"res": "pong"}),
        json_response("ok"),
        json_response({"message": "not found"}, 404),
        json_response({"message": "log in"}, 401),
        json_response({"message": "log in"}, 403),
        Response(404, "text/html", b"<h1>nginx</h1>"),
        Response(403, "text/plain", b"no"),
        Response(302, "text/html", b"", "https://login.example/"),
    ],
)
def test_a_server_without_a_version_is_not_immich(serve: Serve, response: Response) -> None:
    with pytest.raises(NotImmichError, match="set IMMICH_URL"):
        serve(respond_at("/api/server/version", response)).connect()


def test_an_immich_without_a_known_api_is_an_error(simulate: Simulate) -> None:
    with pytest.raises(UnexpectedError, match="has no API for queues that the daemon knows"):
        simulate("all", frozenset()).connect()


def test_the_jobs_api_is_used_if_the_queues_api_sends_invalid_responses(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    job = {"queueStatus": {"isPaused": False}, "jobCounts": queue("ocr")["statistics"]}

    def respond(method: str, path: str) -> Response:
        if path == "/api/queues":
            return json_response({"items": []})
        return (
            json_response({"ocr": job}) if path == "/api/jobs" else respond_normally(method, path)
        )

    assert serve(respond).connect().api == "jobs API"
    assert "GET /api/queues is invalid" in caplog.text


def test_the_first_error_is_raised_if_both_apis_send_invalid_responses(serve: Serve) -> None:
    with pytest.raises(UnexpectedError, match="GET /api/queues is invalid"):
        serve(respond_at("/api/queues", json_response([]))).connect()


# Fetching, pausing, resuming


@pytest.mark.parametrize("key", ["queues", "jobs"])
def test_pause_and_resume_return_the_queue_in_the_response(simulate: Simulate, key: str) -> None:
    immich = simulate(key)
    immich.connect()
    assert immich.pause("ocr").is_paused
    assert [name for name, queue in immich.fetch_queues().items() if queue.is_paused] == ["ocr"]
    assert not immich.resume("ocr").is_paused
    assert not any(queue.is_paused for queue in immich.fetch_queues().values())


@pytest.mark.parametrize(
    ("key", "serves", "api"),
    [
        ("all", QUEUES_ONLY | JOBS_ONLY, "queues API"),
        ("all", JOBS_ONLY, "jobs API"),
        ("jobs", QUEUES_ONLY | JOBS_ONLY, "jobs API"),
        ("read both, write jobs", QUEUES_ONLY | JOBS_ONLY, "jobs API"),
    ],
)
def test_connecting_first_is_optional(
    simulate: Simulate, key: str, serves: frozenset[str], api: str
) -> None:
    immich = simulate(key, serves)
    assert immich.api is None
    assert immich.pause("ocr").is_paused
    assert immich.api == api
    assert not immich.resume("ocr").is_paused


def test_a_refused_pause_has_immichs_message(simulate: Simulate) -> None:
    immich = simulate("all")
    with pytest.raises(RefusedError, match="The BackgroundTask queue cannot be paused"):
        immich.pause("backgroundTask")
    assert immich.api == "queues API"


def test_an_unknown_queue_is_refused(simulate: Simulate) -> None:
    with pytest.raises(RefusedError, match="PUT /api/queues/nosuchqueue: Validation failed"):
        simulate("all").pause("nosuchqueue")


def test_a_response_that_does_not_show_the_pause_is_an_error(serve: Serve) -> None:
    immich = serve(respond_normally)
    with pytest.raises(UnexpectedError, match="to pause ocr does not show it done"):
        immich.pause("ocr")
    assert immich.resume("ocr").name == "ocr"


def test_a_response_with_all_queues_does_not_confirm_a_pause(serve: Serve) -> None:
    immich = serve(respond_at("/api/queues/ocr", json_response([queue("ocr", paused=True)])))
    with pytest.raises(UnexpectedError, match="PUT /api/queues/ocr is invalid"):
        immich.pause("ocr")


STATUSES = [
    (json_response({"message": "Invalid API key"}, 401), KeyRejectedError, "401 Invalid API key"),
    (Response(401, "text/html", b"<h1>Log in</h1>"), NotImmichError, "status 401"),
    (json_response({"message": "Forbidden"}, 403), PermissionMissingError, "not an administrator"),
    (
        json_response({"message": "Missing required permission: queue.read"}, 403),
        PermissionMissingError,
        "lacks the permission queue.read: ",
    ),
    (Response(403, "text/html", b"<h1>Blocked</h1>"), NotImmichError, "status 403"),
    (Response(404, "text/html", b"<h1>nginx</h1>"), NotImmichError, "status 404"),
    (Response(404, "text/plain", b"404"), NotImmichError, "it sent 404 without a message"),
    (json_response({"message": "Cannot GET /api/queues"}, 404), UnexpectedError, "Cannot GET"),
    (
        json_response({"message": "Bad\x1b[31m\nrequest"}, 400),
        RefusedError,
        r"Bad\\x1b\[31m\\nrequest",
    ),
    (Response(400, "text/plain", b"plain HTTP to HTTPS port"), UnexpectedError, "with 400"),
    (Response(400, "text/html", b"<h1>400</h1>"), NotImmichError, "status 400"),
    (json_response({"message": "slow down"}, 429), UnexpectedError, "with 429 slow down"),
    (
        json_response({"message": "Internal server error"}, 500),
        UnexpectedError,
        "500 Internal server",
    ),
    (json_response({"message": "x" * 1000}, 500), UnexpectedError, "x{197}[.]{3}: if"),
    (Response(500, "text/html", b"<h1>500</h1>"), UnexpectedError, "with 500"),
    (Response(502, "text/html", b"<h1>502</h1>"), UnreachableError, "a proxy responds, but Immich"),
    (json_response({"message": "starting"}, 503), UnreachableError, "503 starting"),
    (Response(504, "text/plain", b""), UnreachableError, "behind it does not"),
    (PAGE, NotImmichError, "it sent an HTML page with status 200"),
    (Response(200, "application/json", b" <html>"), NotImmichError, "it sent an HTML page"),
    (Response(200, "application/json", b'[{"name": "oc'), UnexpectedError, "not complete JSON"),
    (Response(200, "application/json", b""), UnexpectedError, "not complete JSON"),
    (Response(204, "", b""), UnexpectedError, "not complete JSON"),
    (Response(304, "", b""), UnexpectedError, "with 304"),
]


@pytest.mark.parametrize(("response", "kind", "words"), STATUSES)
def test_each_response_raises_its_error(
    serve: Serve, response: Response, kind: type[ImmichError], words: str
) -> None:
    is_normal = [True]
    immich = serve(
        lambda method, path: (
            respond_normally(method, path) if is_normal[0] or path != "/api/queues" else response
        )
    )
    immich.connect()
    is_normal[0] = False
    with pytest.raises(kind, match=words) as caught:
        immich.fetch_queues()
    assert isinstance(caught.value, kind)
    is_normal[0] = True
    assert list(immich.fetch_queues()) == ["ocr"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://photos.example/api/queues/ocr", "https://photos.example"),
        ("https://photos.example/api/queues/ocr/?x=1", "https://photos.example"),
        ("https://login.example/start?to=immich", "https://login.example/start"),
        ("/login", "/login"),
        ("/api/queues/ocr", "/api/queues/ocr"),
        ("http://[", "http://["),
    ],
)
def test_a_redirected_pause_fails_and_names_the_address_to_set(
    serve: Serve, status: int, location: str, target: str
) -> None:
    requests: list[str] = []

    def respond(method: str, _path: str) -> Response:
        requests.append(method)
        if method == "PUT":
            return Response(status, "text/html", b"<p>moved</p>", location)
        return json_response([queue("ocr", paused=True)])

    with pytest.raises(NotImmichError) as caught:
        serve(respond).pause("ocr")
    message = str(caught.value)
    assert message.startswith(f"Immich redirects to {target}: set IMMICH_URL to {target}, ")
    assert requests == ["GET", "PUT"]


# Switching to the other API


class LosingQueuesApi:
    """Responds as an Immich that loses its queues API while it runs."""

    def __init__(self, response: Response, jobs: Response) -> None:
        self.is_lost = False
        self.response = response
        self.jobs = jobs

    def __call__(self, method: str, path: str) -> Response:
        if self.is_lost and path.startswith("/api/queues"):
            return self.response
        return self.jobs if path == "/api/jobs" else respond_normally(method, path)


JOBS_RESPONSE = json_response(
    {"ocr": {"queueStatus": {"isPaused": False}, "jobCounts": queue("")["statistics"]}}
)

API_LOST = [
    json_response({"message": "Cannot GET /api/queues"}, 404),
    json_response({"message": "Missing required permission: queue.read"}, 403),
    json_response({"message": "Forbidden"}, 403),
]


@pytest.mark.parametrize("response", API_LOST)
def test_the_other_api_is_used_after_one_warning_if_an_api_is_lost(
    serve: Serve, caplog: pytest.LogCaptureFixture, response: Response
) -> None:
    respond = LosingQueuesApi(response, JOBS_RESPONSE)
    immich = serve(respond)
    immich.connect()
    respond.is_lost = True
    for _ in range(3):
        assert list(immich.fetch_queues()) == ["ocr"]
    assert immich.api == "jobs API"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("Using Immich's jobs API because the other one fails: ")


@pytest.mark.parametrize(
    "jobs",
    [
        json_response({"message": "Missing required permission: job.read"}, 403),
        json_response({"message": "Cannot GET /api/jobs"}, 404),
        json_response({"message": "Internal server error"}, 500),
        json_response({}),
    ],
)
def test_the_first_error_is_raised_if_the_other_api_fails_too(serve: Serve, jobs: Response) -> None:
    respond = LosingQueuesApi(API_LOST[1], jobs)
    immich = serve(respond)
    immich.connect()
    respond.is_lost = True
    with pytest.raises(PermissionMissingError) as caught:
        immich.fetch_queues()
    assert caught.value.missing == {"queue.read"}
    assert immich.api == "queues API"
    respond.is_lost = False
    assert list(immich.fetch_queues()) == ["ocr"]


def test_an_api_lost_during_resume_all_is_logged_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    job = {"queueStatus": {"isPaused": False}, "jobCounts": queue("")["statistics"]}

    def respond(method: str, path: str) -> Response:
        if method == "PUT" and path.startswith("/api/queues"):
            return json_response({"message": f"Cannot {method} {path}"}, 404)
        return json_response(job) if method == "PUT" else respond_normally(method, path)

    immich = serve(respond)
    immich.connect()
    names = [f"queue{number}" for number in range(13)]
    assert immich.resume_all(names, within=LIMIT) == dict.fromkeys(names)
    assert immich.api == "jobs API"
    assert len(caplog.records) == 1


def test_ever_new_queue_names_are_rejected_and_known_ones_still_work(serve: Serve) -> None:
    others = [queue(f"queue{number}") for number in range(MAX_QUEUES - 1)]
    last = [queue("one-more")]
    immich = serve(lambda _method, _path: json_response([*others, *last]))
    assert len(immich.fetch_queues()) == MAX_QUEUES
    last[0] = queue("another")
    with pytest.raises(UnexpectedError, match=f"more than {MAX_QUEUES} different queues"):
        immich.fetch_queues()
    last.clear()
    assert len(immich.fetch_queues()) == MAX_QUEUES - 1


def test_a_temporary_failure_does_not_change_the_api(serve: Serve) -> None:
    respond = LosingQueuesApi(
        json_response({"message": "Internal server error"}, 500), JOBS_RESPONSE
    )
    immich = serve(respond)
    immich.connect()
    respond.is_lost = True
    with pytest.raises(UnexpectedError, match="500"):
        immich.fetch_queues()
    assert immich.api == "queues API"


def test_a_key_that_reads_over_one_api_and_writes_over_the_other_works(
    simulate: Simulate, caplog: pytest.LogCaptureFixture
) -> None:
    immich = simulate("read queues, write jobs")
    for _ in range(3):
        assert len(immich.fetch_queues()) == 19
        assert immich.pause("ocr").is_paused
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(" because")[0] for message in messages] == [
        "Using Immich's jobs API",
        "Using Immich's queues API",
    ]


# Scanning for missing assets


@pytest.fixture
def simulated() -> Iterator[SimulatedServer]:
    """Start a simulated Immich that knows all KEYS; its queue ocr is paused."""
    engine = Engine(seed=1)
    engine.pause("ocr")
    keys = {header_key(name): kind for name, kind in KEYS.items()}
    with SimulatedServer(engine, Api(engine, keys=keys)) as server:
        yield server


def client(server: SimulatedServer, key: str) -> ImmichClient:
    return ImmichClient(HttpTransport(server.url, header_key(key), read_timeout=LIMIT))


def started_scans(server: SimulatedServer) -> int:
    """Return how many scans were started in the queue ocr."""
    with server.present() as engine:
        return engine.queues["ocr"].ready


@pytest.mark.parametrize("key", ["all", "both", "jobs"])
def test_a_scan_is_started_whichever_api_is_in_use(simulated: SimulatedServer, key: str) -> None:
    with closing(client(simulated, key)) as immich:
        api = immich.connect().api
        found = immich.start("ocr")
        assert (found.name, found.is_paused, found.pending) == ("ocr", True, 1)
        assert immich.fetch_queues()["ocr"].backlog == 1
        assert immich.api == api


def test_a_scan_covers_missing_assets_only() -> None:
    """With ``force`` Immich processes every asset again, which takes days."""
    assert json.loads(START_BODY) == {"command": "start", "force": False}


def test_a_scan_of_a_busy_queue_fails_and_is_sent_once(
    simulated: SimulatedServer,
) -> None:
    with closing(client(simulated, "all")) as immich:
        with simulated.present() as engine:
            engine.add("library", lasting(3600))
        requests = []
        simulated.faults = lambda method, path: requests.append(f"{method} {path}")
        with pytest.raises(AlreadyRunningError, match="Job is already running"):
            immich.start("library")
        assert requests == ["PUT /api/jobs/library"]


def test_a_queue_without_scans_refuses_one(simulated: SimulatedServer) -> None:
    with closing(client(simulated, "all")) as immich:
        with pytest.raises(RefusedError, match="Invalid job name: search") as caught:
            immich.start("search")
        assert not isinstance(caught.value, AlreadyRunningError)


def test_a_scan_without_job_create_fails_and_the_api_stays(
    simulated: SimulatedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(client(simulated, "queues")) as immich:
        immich.connect()
        with pytest.raises(PermissionMissingError, match=r"permission job\.create") as caught:
            immich.start("ocr")
        assert caught.value.missing == {"job.create"}
        assert immich.api == "queues API"
        assert immich.pause("library").is_paused
    assert started_scans(simulated) == 0
    assert caplog.records == []


@pytest.mark.parametrize(
    ("fault", "times"), [(Fault.RESET, 0), (Fault.LOST_RESPONSE, 1), (Fault.TRUNCATED, 1)]
)
def test_a_scan_without_a_response_is_not_sent_again(
    simulated: SimulatedServer, fault: Fault, times: int
) -> None:
    """A pause is sent again if its kept-alive connection was closed; a scan is not."""
    with closing(client(simulated, "all")) as immich:
        immich.connect()
        requests = []

        def fail(method: str, path: str) -> Fault | None:
            requests.append(f"{method} {path}")
            return fault if len(requests) == 1 else None

        simulated.faults = fail
        with pytest.raises(ImmichError):
            immich.start("ocr")
        assert requests == ["PUT /api/jobs/ocr"]
        assert started_scans(simulated) == times
        assert len(immich.fetch_queues()) == 19


def test_a_scan_succeeds_after_the_kept_alive_connection_was_closed(
    simulated: SimulatedServer,
) -> None:
    with closing(client(simulated, "all")) as immich:
        immich.connect()
        simulated.faults = FaultQueue([Fault.LOST_RESPONSE])
        # This request is repeated over a new connection; the first one is closed.
        immich.fetch_queues()
        immich.start("ocr")
        assert started_scans(simulated) == 1


# Network faults


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.LOST_RESPONSE])
def test_a_request_is_repeated_if_its_kept_alive_connection_breaks(
    simulate: Simulate, fault: Fault
) -> None:
    faults = FaultQueue()
    immich = simulate("all", faults=faults)
    immich.connect()
    faults.left.extend([fault])
    assert immich.pause("ocr").is_paused
    faults.left.extend([fault])
    assert immich.fetch_queues()["ocr"].is_paused


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.SERVER_ERROR, UnexpectedError),
        (Fault.BAD_GATEWAY, UnreachableError),
        (Fault.HTML, NotImmichError),
        (Fault.TRUNCATED, UnexpectedError),
    ],
)
def test_requests_succeed_after_a_fault(
    simulate: Simulate, fault: Fault, kind: type[ImmichError]
) -> None:
    faults = FaultQueue()
    immich = simulate("all", faults=faults)
    immich.connect()
    faults.left.extend([fault, fault])
    for _ in range(2):
        with pytest.raises(kind):
            immich.fetch_queues()
    assert len(immich.fetch_queues()) == 19


def test_a_port_without_a_listener_is_unreachable() -> None:
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with closing(ImmichClient(HttpTransport(f"http://127.0.0.1:{port}", "key"))) as immich:
        for request in (immich.connect, immich.fetch_queues, lambda: immich.pause("ocr")):
            with pytest.raises(UnreachableError, match="refuses the connection: start Immich"):
                request()


# Resuming all queues


@pytest.mark.parametrize("key", ["queues", "jobs"])
def test_all_queues_are_resumed(simulate: Simulate, key: str) -> None:
    immich = simulate(key)
    names = [name for name in immich.fetch_queues() if name != "backgroundTask"]
    for name in names:
        immich.pause(name)
    assert immich.resume_all(names, within=LIMIT) == dict.fromkeys(names)
    assert not any(queue.is_paused for queue in immich.fetch_queues().values())


def test_resume_all_works_without_connecting_first(
    simulate: Simulate, caplog: pytest.LogCaptureFixture
) -> None:
    immich = simulate("jobs")
    assert immich.resume_all(["ocr", "sidecar"], within=LIMIT) == {"ocr": None, "sidecar": None}
    assert immich.api == "jobs API"
    assert caplog.records == []


def test_resume_all_without_names_sends_nothing(serve: Serve) -> None:
    requests: list[str] = []

    def respond(_method: str, path: str) -> None:
        requests.append(path)

    assert serve(respond).resume_all([], within=LIMIT) == {}
    assert requests == []


def test_all_queues_are_resumed_in_parallel(serve: Serve) -> None:
    names = [f"queue{number}" for number in range(13)]
    # No request gets a response before all have arrived.
    barrier = threading.Barrier(len(names), timeout=LIMIT)

    def respond(method: str, path: str) -> Response:
        barrier.wait()
        return respond_normally(method, path)

    assert serve(respond).resume_all(names, within=LIMIT) == dict.fromkeys(names)


def test_each_queue_has_its_own_result(serve: Serve) -> None:
    def respond(method: str, path: str) -> Response:
        responses = {
            "refused": json_response({"message": "no"}, 400),
            "failed": json_response({"message": "no"}, 500),
            "paused": json_response(queue("paused", paused=True)),
        }
        return responses.get(path.rpartition("/")[2]) or respond_normally(method, path)

    results = serve(respond).resume_all(
        iter(["open", "refused", "failed", "paused", "open"]), within=1.0
    )
    assert list(results) == ["open", "refused", "failed", "paused"]
    assert results["open"] is None
    assert isinstance(results["refused"], RefusedError)
    assert isinstance(results["failed"], UnexpectedError)
    assert isinstance(results["paused"], UnexpectedError)


def test_a_failed_resume_is_retried_within_the_time(serve: Serve) -> None:
    attempts: Counter[str] = Counter()

    def respond(method: str, path: str) -> Response:
        attempts[path] += 1
        if attempts[path] < 3:
            return json_response({"message": "not now"}, 500)
        return respond_normally(method, path)

    assert serve(respond).resume_all(["ocr", "sidecar"], within=LIMIT) == {
        "ocr": None,
        "sidecar": None,
    }
    assert attempts == {"/api/queues/ocr": 3, "/api/queues/sidecar": 3}


def test_a_deadline_is_kept_and_the_unconfirmed_queues_are_named(serve: Serve) -> None:
    attempts: Counter[str] = Counter()

    def respond(method: str, path: str) -> Response | None:
        attempts[path] += 1
        return None if path.endswith("slow") else respond_normally(method, path)

    before = time.monotonic()
    results = serve(respond).resume_all(["quick", "slow"], within=5.0)
    assert time.monotonic() - before < LIMIT / 2
    assert isinstance(results["slow"], UnreachableError)
    assert re.search(r" within \d(\.\d+)? s\b", str(results["slow"]))
    assert results["quick"] is None
    assert attempts["/api/queues/slow"] == 1


def test_without_time_no_queue_counts_as_resumed(serve: Serve) -> None:
    results = serve(respond_normally).resume_all(["ocr", "sidecar"], within=0.0)
    assert all(isinstance(error, UnreachableError) for error in results.values())
    assert list(results) == ["ocr", "sidecar"]


def test_a_hanging_server_does_not_keep_the_process_alive(serve: Serve) -> None:
    hanging = threading.Event()

    def respond(_method: str, _path: str) -> None:
        hanging.set()

    serve_url = url_of(serve(respond))
    program = (
        "import sys\n"
        "from immich_job_daemon.immich.client import ImmichClient\n"
        "from immich_job_daemon.immich.transport import HttpTransport, Transport\n"
        "class Patient(HttpTransport):\n"
        "    def send(self, method, path, body=None, *, timeout=None):\n"
        "        return super().send(method, path, body, timeout=3600)\n"
        "    def new_connection(self):\n"
        "        return Patient(self._url, self._key)\n"
        "results = ImmichClient(Patient(sys.argv[1], 'key')).resume_all(['ocr'], within=0.5)\n"
        "print(type(results['ocr']).__name__)\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program, serve_url],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert completed.stdout == "UnreachableError\n"
    assert hanging.is_set()


def url_of(immich: ImmichClient) -> str:
    return repr(immich).split("'")[1]


# Secrets


def test_the_key_is_never_shown(simulate: Simulate, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    immich = simulate("s3cret-key")
    with pytest.raises(KeyRejectedError) as caught:
        immich.connect()
    assert "s3cret-key" not in f"{caught.value!r} {immich!r} {vars(caught.value)}" + caplog.text
