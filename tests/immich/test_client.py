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
from immich_job_daemon.immich.apis import START
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
    """Start servers that answer as a function of method and path says; None never answers."""
    with ExitStack() as stack:
        over = threading.Event()

        def start(respond: Respond) -> ImmichClient:
            class Connected(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"
                disable_nagle_algorithm = True

                def do_GET(self) -> None:
                    self.rfile.read(int(self.headers.get("content-length", 0)))
                    answer = respond(self.command, self.path)
                    if answer is None:
                        self.close_connection = True
                        over.wait(LIMIT)
                        return
                    self.send_response(answer.status)
                    self.send_header("content-type", answer.content_type)
                    self.send_header("content-length", str(len(answer.body)))
                    if answer.location is not None:
                        self.send_header("location", answer.location)
                    self.end_headers()
                    self.wfile.write(answer.body)

                def do_PUT(self) -> None:
                    self.do_GET()

                def log_message(self, *_args: object) -> None:
                    pass

            class Server(ThreadingTCPServer):
                daemon_threads = True
                request_queue_size = 64

            server = stack.enter_context(Server(("127.0.0.1", 0), Connected))
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
    """Start simulated servers; make an Immich that has one of KEYS."""
    with ExitStack() as stack:

        def start(
            key: str,
            serves: frozenset[str] = QUEUES_ONLY | JOBS_ONLY,
            faults: FaultQueue | None = None,
        ) -> ImmichClient:
            engine = Engine(seed=1)
            keys = {in_header(name): kind for name, kind in KEYS.items()}
            api = Api(engine, keys=keys, serves=serves)
            server = stack.enter_context(SimulatedServer(engine, api, faults=faults))
            transport = HttpTransport(server.url, in_header(key), read_timeout=LIMIT)
            return stack.enter_context(closing(ImmichClient(transport)))

        yield start


def in_header(name: str) -> str:
    """Return the key of that name: unlike what it may do, it stands in no answer."""
    return f"the-key-{name}".replace(" ", "-")


def answer(body: object, status: int = 200) -> Response:
    return Response(status, "application/json; charset=utf-8", json.dumps(body).encode())


def queue(name: str, *, paused: bool = False) -> dict[str, object]:
    counts = dict.fromkeys(("active", "completed", "failed", "delayed", "waiting", "paused"), 0)
    return {"name": name, "isPaused": paused, "statistics": counts}


def healthy(method: str, path: str) -> Response:
    """Answer as an Immich with one queue that is always open."""
    if method == "PUT":
        return answer(queue(path.rpartition("/")[2]))
    answers: dict[str, object] = {
        "/api/server/version": {"major": 3, "minor": 1, "patch": 0, "prerelease": None},
        "/api/api-keys/me": {"id": "1", "name": "mine", "permissions": ["all"]},
        "/api/queues": [queue("ocr")],
    }
    if path in answers:
        return answer(answers[path])
    return answer({"message": f"Cannot {method} {path}"}, 404)


def instead(path: str, other: Response) -> Respond:
    """Answer as a healthy Immich, but at one path."""
    return lambda method, asked: other if asked == path else healthy(method, asked)


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
def test_the_api_is_the_first_that_the_key_can_use(simulate: Simulate, key: str, api: str) -> None:
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
def test_a_key_that_can_use_no_api_is_told_exactly_what_it_lacks_for_the_best_one(
    simulate: Simulate, key: str, serves: frozenset[str], missing: set[str]
) -> None:
    with pytest.raises(PermissionMissingError) as caught:
        simulate(key, serves).connect()
    assert caught.value.missing == missing
    said = str(caught.value)
    assert said.startswith(f"the API key lacks the permission {', '.join(sorted(missing))}: ")
    assert "user icon > Account Settings > API Keys" in said


def test_the_key_of_someone_who_is_no_administrator_is_told_so(simulate: Simulate) -> None:
    with pytest.raises(PermissionMissingError, match="no administrator") as caught:
        simulate("no admin").connect()
    assert caught.value.missing == frozenset()


def test_a_key_without_permissions_of_someone_who_is_no_administrator(
    serve: Serve,
) -> None:
    def respond(method: str, path: str) -> Response:
        if path == "/api/api-keys/me":
            return answer({"permissions": ["asset.upload"]})
        return (
            healthy(method, path)
            if path.startswith("/api/server")
            else answer({"message": "Forbidden"}, 403)
        )

    with pytest.raises(PermissionMissingError, match="no administrator"):
        serve(respond).connect()


def test_a_key_that_immich_does_not_know_is_rejected(simulate: Simulate) -> None:
    with pytest.raises(KeyRejectedError, match=r"401 Invalid API key.*set API_KEY"):
        simulate("unknown").connect()


@pytest.mark.parametrize("status", [400, 403, 404])
def test_an_immich_that_does_not_tell_permissions_is_tried(serve: Serve, status: int) -> None:
    immich = serve(instead("/api/api-keys/me", answer({"message": "no"}, status)))
    assert immich.connect() == Connection("3.1.0", "queues API", None)


def test_what_is_not_told_is_named_from_the_refusal(serve: Serve) -> None:
    def respond(method: str, path: str) -> Response:
        if path == "/api/queues":
            return answer({"message": "Missing required permission: queue.read"}, 403)
        if path == "/api/api-keys/me":
            return answer({"message": "no"}, 404)
        return healthy(method, path)

    with pytest.raises(PermissionMissingError) as caught:
        serve(respond).connect()
    assert caught.value.missing == {"queue.read"}
    assert "give the key queue.read and queue.update" in str(caught.value)


@pytest.mark.parametrize(
    "other",
    [
        PAGE,
        answer({"res": "pong"}),
        answer("ok"),
        answer({"message": "not found"}, 404),
        answer({"message": "log in"}, 401),
        answer({"message": "log in"}, 403),
        Response(404, "text/html", b"<h1>nginx</h1>"),
        Response(403, "text/plain", b"no"),
        Response(302, "text/html", b"", "https://login.example/"),
    ],
)
def test_a_server_that_tells_no_version_is_not_immich(serve: Serve, other: Response) -> None:
    with pytest.raises(NotImmichError, match="set IMMICH_URL"):
        serve(instead("/api/server/version", other)).connect()


def test_an_immich_without_any_api_for_queues_is_unexpected(simulate: Simulate) -> None:
    with pytest.raises(UnexpectedError, match="neither of the two APIs"):
        simulate("all", frozenset()).connect()


def test_a_queues_api_that_makes_no_sense_gives_way_to_the_jobs_api(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    job = {"queueStatus": {"isPaused": False}, "jobCounts": queue("ocr")["statistics"]}

    def respond(method: str, path: str) -> Response:
        if path == "/api/queues":
            return answer({"items": []})
        return answer({"ocr": job}) if path == "/api/jobs" else healthy(method, path)

    assert serve(respond).connect().api == "jobs API"
    assert "GET /api/queues makes no sense" in caplog.text


def test_the_first_complaint_counts_when_both_apis_make_no_sense(serve: Serve) -> None:
    with pytest.raises(UnexpectedError, match="GET /api/queues makes no sense"):
        serve(instead("/api/queues", answer([]))).connect()


# Looking, pausing, resuming


@pytest.mark.parametrize("key", ["queues", "jobs"])
def test_pause_and_resume_return_what_immich_shows(simulate: Simulate, key: str) -> None:
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
def test_it_works_without_connecting_first(
    simulate: Simulate, key: str, serves: frozenset[str], api: str
) -> None:
    immich = simulate(key, serves)
    assert immich.api is None
    assert immich.pause("ocr").is_paused
    assert immich.api == api
    assert not immich.resume("ocr").is_paused


def test_a_queue_that_cannot_be_paused_is_refused_with_immichs_words(simulate: Simulate) -> None:
    immich = simulate("all")
    with pytest.raises(RefusedError, match="The BackgroundTask queue cannot be paused"):
        immich.pause("backgroundTask")
    assert immich.api == "queues API"


def test_an_unknown_queue_is_refused(simulate: Simulate) -> None:
    with pytest.raises(RefusedError, match="PUT /api/queues/nosuchqueue: Validation failed"):
        simulate("all").pause("nosuchqueue")


def test_an_answer_that_does_not_show_the_pause_is_unexpected(serve: Serve) -> None:
    immich = serve(healthy)
    with pytest.raises(UnexpectedError, match="pause ocr but does not show it done"):
        immich.pause("ocr")
    assert immich.resume("ocr").name == "ocr"


def test_an_answer_about_all_queues_does_not_pass_for_one(serve: Serve) -> None:
    immich = serve(instead("/api/queues/ocr", answer([queue("ocr", paused=True)])))
    with pytest.raises(UnexpectedError, match="PUT /api/queues/ocr makes no sense"):
        immich.pause("ocr")


STATUSES = [
    (answer({"message": "Invalid API key"}, 401), KeyRejectedError, "401 Invalid API key"),
    (Response(401, "text/html", b"<h1>Log in</h1>"), NotImmichError, "status 401"),
    (answer({"message": "Forbidden"}, 403), PermissionMissingError, "no administrator"),
    (
        answer({"message": "Missing required permission: queue.read"}, 403),
        PermissionMissingError,
        "lacks the permission queue.read: ",
    ),
    (Response(403, "text/html", b"<h1>Blocked</h1>"), NotImmichError, "status 403"),
    (Response(404, "text/html", b"<h1>nginx</h1>"), NotImmichError, "status 404"),
    (Response(404, "text/plain", b"404"), NotImmichError, "404 is all it says"),
    (answer({"message": "Cannot GET /api/queues"}, 404), UnexpectedError, "Cannot GET"),
    (answer({"message": "Bad\x1b[31m\nrequest"}, 400), RefusedError, r"Bad \[31m request"),
    (Response(400, "text/plain", b"plain HTTP to HTTPS port"), UnexpectedError, "with 400"),
    (Response(400, "text/html", b"<h1>400</h1>"), NotImmichError, "status 400"),
    (answer({"message": "slow down"}, 429), UnexpectedError, "with 429 slow down"),
    (answer({"message": "Internal server error"}, 500), UnexpectedError, "500 Internal server"),
    (answer({"message": "x" * 1000}, 500), UnexpectedError, "x{197}[.]{3}: if"),
    (Response(500, "text/html", b"<h1>500</h1>"), UnexpectedError, "with 500"),
    (Response(502, "text/html", b"<h1>502</h1>"), UnreachableError, "a proxy answers, Immich"),
    (answer({"message": "starting"}, 503), UnreachableError, "503 starting"),
    (Response(504, "text/plain", b""), UnreachableError, "behind it does not"),
    (PAGE, NotImmichError, "it sends a page, with status 200"),
    (Response(200, "application/json", b" <html>"), NotImmichError, "it sends a page"),
    (Response(200, "application/json", b'[{"name": "oc'), UnexpectedError, "no complete JSON"),
    (Response(200, "application/json", b""), UnexpectedError, "no complete JSON"),
    (Response(204, "", b""), UnexpectedError, "no complete JSON"),
    (Response(304, "", b""), UnexpectedError, "with 304"),
]


@pytest.mark.parametrize(("other", "kind", "words"), STATUSES)
def test_what_each_answer_means(
    serve: Serve, other: Response, kind: type[ImmichError], words: str
) -> None:
    is_well = [True]
    immich = serve(
        lambda method, path: healthy(method, path) if is_well[0] or path != "/api/queues" else other
    )
    immich.connect()
    is_well[0] = False
    with pytest.raises(kind, match=words) as caught:
        immich.fetch_queues()
    assert isinstance(caught.value, kind)
    is_well[0] = True
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
def test_a_redirected_pause_failed_and_the_address_to_set_is_told(
    serve: Serve, status: int, location: str, target: str
) -> None:
    asked: list[str] = []

    def respond(method: str, _path: str) -> Response:
        asked.append(method)
        if method == "PUT":
            return Response(status, "text/html", b"<p>moved</p>", location)
        return answer([queue("ocr", paused=True)])

    with pytest.raises(NotImmichError) as caught:
        serve(respond).pause("ocr")
    said = str(caught.value)
    assert said.startswith(f"Immich redirects to {target}: set IMMICH_URL to {target}, ")
    assert asked == ["GET", "PUT"]


# Losing an API


class Losing:
    """An Immich whose queues API ends at some time, with an answer of choice."""

    def __init__(self, ending: Response, jobs: Response) -> None:
        self.is_lost = False
        self.ending = ending
        self.jobs = jobs

    def __call__(self, method: str, path: str) -> Response:
        if self.is_lost and path.startswith("/api/queues"):
            return self.ending
        return self.jobs if path == "/api/jobs" else healthy(method, path)


SOUND = answer({"ocr": {"queueStatus": {"isPaused": False}, "jobCounts": queue("")["statistics"]}})

ENDINGS = [
    answer({"message": "Cannot GET /api/queues"}, 404),
    answer({"message": "Missing required permission: queue.read"}, 403),
    answer({"message": "Forbidden"}, 403),
]


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_api_lost_at_run_time_gives_way_to_the_other_with_one_warning(
    serve: Serve, caplog: pytest.LogCaptureFixture, ending: Response
) -> None:
    respond = Losing(ending, SOUND)
    immich = serve(respond)
    immich.connect()
    respond.is_lost = True
    for _ in range(3):
        assert list(immich.fetch_queues()) == ["ocr"]
    assert immich.api == "jobs API"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("Using Immich's jobs API, the other one fails: ")


@pytest.mark.parametrize(
    "jobs",
    [
        answer({"message": "Missing required permission: job.read"}, 403),
        answer({"message": "Cannot GET /api/jobs"}, 404),
        answer({"message": "Internal server error"}, 500),
        answer({}),
    ],
)
def test_the_first_failure_is_told_when_the_other_api_fails_too(
    serve: Serve, jobs: Response
) -> None:
    respond = Losing(ENDINGS[1], jobs)
    immich = serve(respond)
    immich.connect()
    respond.is_lost = True
    with pytest.raises(PermissionMissingError) as caught:
        immich.fetch_queues()
    assert caught.value.missing == {"queue.read"}
    assert immich.api == "queues API"
    respond.is_lost = False
    assert list(immich.fetch_queues()) == ["ocr"]


def test_an_api_lost_while_all_are_resumed_is_told_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    job = {"queueStatus": {"isPaused": False}, "jobCounts": queue("")["statistics"]}

    def respond(method: str, path: str) -> Response:
        if method == "PUT" and path.startswith("/api/queues"):
            return answer({"message": f"Cannot {method} {path}"}, 404)
        return answer(job) if method == "PUT" else healthy(method, path)

    immich = serve(respond)
    immich.connect()
    names = [f"queue{number}" for number in range(13)]
    assert immich.resume_all(names, within=LIMIT) == dict.fromkeys(names)
    assert immich.api == "jobs API"
    assert len(caplog.records) == 1


def test_names_without_an_end_are_refused_and_the_known_ones_go_on(serve: Serve) -> None:
    known = [queue(f"queue{number}") for number in range(MAX_QUEUES - 1)]
    more = [queue("one more")]
    immich = serve(lambda _method, _path: answer([*known, *more]))
    assert len(immich.fetch_queues()) == MAX_QUEUES
    more[0] = queue("another")
    with pytest.raises(UnexpectedError, match=f"more than {MAX_QUEUES} different queues"):
        immich.fetch_queues()
    more.clear()
    assert len(immich.fetch_queues()) == MAX_QUEUES - 1


def test_a_failure_that_may_pass_does_not_change_the_api(serve: Serve) -> None:
    respond = Losing(answer({"message": "Internal server error"}, 500), SOUND)
    immich = serve(respond)
    immich.connect()
    respond.is_lost = True
    with pytest.raises(UnexpectedError, match="500"):
        immich.fetch_queues()
    assert immich.api == "queues API"


def test_a_key_that_reads_in_one_api_and_writes_in_the_other_works_with_one_warning_each(
    simulate: Simulate, caplog: pytest.LogCaptureFixture
) -> None:
    immich = simulate("read queues, write jobs")
    for _ in range(3):
        assert len(immich.fetch_queues()) == 19
        assert immich.pause("ocr").is_paused
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(",")[0] for message in messages] == [
        "Using Immich's jobs API",
        "Using Immich's queues API",
    ]


# Starting a run on what is missing


@pytest.fixture
def simulated() -> Iterator[SimulatedServer]:
    """Start a simulated Immich that knows every one of KEYS; in its queue ocr nothing starts."""
    engine = Engine(seed=1)
    engine.pause("ocr")
    keys = {in_header(name): kind for name, kind in KEYS.items()}
    with SimulatedServer(engine, Api(engine, keys=keys)) as server:
        yield server


def client(server: SimulatedServer, key: str) -> ImmichClient:
    return ImmichClient(HttpTransport(server.url, in_header(key), read_timeout=LIMIT))


def begun(server: SimulatedServer) -> int:
    """Return how often the queue ocr was told to look for what is missing."""
    with server.present() as engine:
        return engine.queues["ocr"].ready


@pytest.mark.parametrize("key", ["all", "both", "jobs"])
def test_a_queue_is_told_to_look_for_what_is_missing_whichever_api_is_in_use(
    simulated: SimulatedServer, key: str
) -> None:
    with closing(client(simulated, key)) as immich:
        api = immich.connect().api
        found = immich.start("ocr")
        assert (found.name, found.is_paused, found.pending) == ("ocr", True, 1)
        assert immich.fetch_queues()["ocr"].backlog == 1
        assert immich.api == api


def test_only_what_is_missing_is_asked_for() -> None:
    """With ``force`` Immich does everything anew, which takes days."""
    assert json.loads(START) == {"command": "start", "force": False}


def test_a_queue_in_which_something_runs_says_so_and_is_not_told_twice(
    simulated: SimulatedServer,
) -> None:
    with closing(client(simulated, "all")) as immich:
        with simulated.present() as engine:
            engine.add("library", lasting(3600))
        asked = []
        simulated.faults = lambda method, path: asked.append(f"{method} {path}")
        with pytest.raises(AlreadyRunningError, match="Job is already running"):
            immich.start("library")
        assert asked == ["PUT /api/jobs/library"]


def test_a_queue_that_knows_no_such_run_refuses_it(simulated: SimulatedServer) -> None:
    with closing(client(simulated, "all")) as immich:
        with pytest.raises(RefusedError, match="Invalid job name: search") as caught:
            immich.start("search")
        assert not isinstance(caught.value, AlreadyRunningError)


def test_without_job_create_it_is_named_and_the_api_in_use_stays(
    simulated: SimulatedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(client(simulated, "queues")) as immich:
        immich.connect()
        with pytest.raises(PermissionMissingError, match=r"permission job\.create") as caught:
            immich.start("ocr")
        assert caught.value.missing == {"job.create"}
        assert immich.api == "queues API"
        assert immich.pause("library").is_paused
    assert begun(simulated) == 0
    assert caplog.records == []


@pytest.mark.parametrize(
    ("fault", "times"), [(Fault.RESET, 0), (Fault.LOST_RESPONSE, 1), (Fault.TRUNCATED, 1)]
)
def test_what_was_asked_for_without_an_answer_is_never_asked_for_again(
    simulated: SimulatedServer, fault: Fault, times: int
) -> None:
    """A pause is sent anew over a new connection when a kept one was closed; this is not."""
    with closing(client(simulated, "all")) as immich:
        immich.connect()
        asked = []

        def fail(method: str, path: str) -> Fault | None:
            asked.append(f"{method} {path}")
            return fault if len(asked) == 1 else None

        simulated.faults = fail
        with pytest.raises(ImmichError):
            immich.start("ocr")
        assert asked == ["PUT /api/jobs/ocr"]
        assert begun(simulated) == times
        assert len(immich.fetch_queues()) == 19


def test_a_kept_connection_that_was_closed_meanwhile_does_not_make_it_fail(
    simulated: SimulatedServer,
) -> None:
    with closing(client(simulated, "all")) as immich:
        immich.connect()
        simulated.faults = FaultQueue([Fault.LOST_RESPONSE])
        # The look is made good over a new connection; the first one is dead from now on.
        immich.fetch_queues()
        immich.start("ocr")
        assert begun(simulated) == 1


# Faults of the network


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.LOST_RESPONSE])
def test_a_kept_connection_that_breaks_once_is_no_failure(simulate: Simulate, fault: Fault) -> None:
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
def test_it_goes_on_after_a_fault(
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


def test_nobody_there_is_unreachable() -> None:
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with closing(ImmichClient(HttpTransport(f"http://127.0.0.1:{port}", "key"))) as immich:
        for request in (immich.connect, immich.fetch_queues, lambda: immich.pause("ocr")):
            with pytest.raises(UnreachableError, match="refuses the connection: start Immich"):
                request()


# Resuming all


@pytest.mark.parametrize("key", ["queues", "jobs"])
def test_all_queues_are_resumed(simulate: Simulate, key: str) -> None:
    immich = simulate(key)
    names = [name for name in immich.fetch_queues() if name != "backgroundTask"]
    for name in names:
        immich.pause(name)
    assert immich.resume_all(names, within=LIMIT) == dict.fromkeys(names)
    assert not any(queue.is_paused for queue in immich.fetch_queues().values())


def test_all_queues_are_resumed_without_connecting_first(
    simulate: Simulate, caplog: pytest.LogCaptureFixture
) -> None:
    immich = simulate("jobs")
    assert immich.resume_all(["ocr", "sidecar"], within=LIMIT) == {"ocr": None, "sidecar": None}
    assert immich.api == "jobs API"
    assert caplog.records == []


def test_nothing_to_resume_asks_nothing(serve: Serve) -> None:
    asked: list[str] = []

    def respond(_method: str, path: str) -> None:
        asked.append(path)

    assert serve(respond).resume_all([], within=LIMIT) == {}
    assert asked == []


def test_all_are_resumed_at_the_same_time(serve: Serve) -> None:
    names = [f"queue{number}" for number in range(13)]
    # Nobody is answered before everybody has asked.
    everybody = threading.Barrier(len(names), timeout=LIMIT)

    def respond(method: str, path: str) -> Response:
        everybody.wait()
        return healthy(method, path)

    assert serve(respond).resume_all(names, within=LIMIT) == dict.fromkeys(names)


def test_each_queue_has_its_own_outcome(serve: Serve) -> None:
    def respond(method: str, path: str) -> Response:
        others = {
            "refused": answer({"message": "no"}, 400),
            "failed": answer({"message": "no"}, 500),
            "paused": answer(queue("paused", paused=True)),
        }
        return others.get(path.rpartition("/")[2]) or healthy(method, path)

    results = serve(respond).resume_all(
        iter(["open", "refused", "failed", "paused", "open"]), within=1.0
    )
    assert list(results) == ["open", "refused", "failed", "paused"]
    assert results["open"] is None
    assert isinstance(results["refused"], RefusedError)
    assert isinstance(results["failed"], UnexpectedError)
    assert isinstance(results["paused"], UnexpectedError)


def test_what_fails_at_first_is_tried_again_within_the_time(serve: Serve) -> None:
    counted: Counter[str] = Counter()

    def respond(method: str, path: str) -> Response:
        counted[path] += 1
        if counted[path] < 3:
            return answer({"message": "not now"}, 500)
        return healthy(method, path)

    assert serve(respond).resume_all(["ocr", "sidecar"], within=LIMIT) == {
        "ocr": None,
        "sidecar": None,
    }
    assert counted == {"/api/queues/ocr": 3, "/api/queues/sidecar": 3}


def test_a_deadline_is_kept_and_the_missing_are_named(serve: Serve) -> None:
    counted: Counter[str] = Counter()

    def respond(method: str, path: str) -> Response | None:
        counted[path] += 1
        return None if path.endswith("slow") else healthy(method, path)

    before = time.monotonic()
    results = serve(respond).resume_all(["quick", "slow"], within=5.0)
    assert time.monotonic() - before < LIMIT / 2
    assert isinstance(results["slow"], UnreachableError)
    assert re.search(r" within \d(\.\d+)? s\b", str(results["slow"]))
    assert results["quick"] is None
    assert counted["/api/queues/slow"] == 1


def test_without_any_time_nothing_is_claimed(serve: Serve) -> None:
    results = serve(healthy).resume_all(["ocr", "sidecar"], within=0.0)
    assert all(isinstance(error, UnreachableError) for error in results.values())
    assert list(results) == ["ocr", "sidecar"]


def test_a_server_that_hangs_does_not_keep_the_process_alive(serve: Serve) -> None:
    hanging = threading.Event()

    def respond(_method: str, _path: str) -> None:
        hanging.set()

    serve_url = url_of(serve(respond))
    program = (
        "import sys\n"
        "from immich_job_daemon.immich.client import Immich\n"
        "from immich_job_daemon.immich.transport import HttpTransport, Transport\n"
        "class Patient(HttpTransport):\n"
        "    def send(self, method, path, body=None, *, timeout=None):\n"
        "        return super().send(method, path, body, timeout=3600)\n"
        "    def another(self):\n"
        "        return Patient(self._url, self._key)\n"
        "results = Immich(Patient(sys.argv[1], 'key')).resume_all(['ocr'], within=0.5)\n"
        "print(type(results['ocr']).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, serve_url],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "UnreachableError\n"
    assert hanging.is_set()


def url_of(immich: ImmichClient) -> str:
    return repr(immich).split("'")[1]


# Secrets


def test_nothing_shows_the_key(simulate: Simulate, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    immich = simulate("s3cret-key")
    with pytest.raises(KeyRejectedError) as caught:
        immich.connect()
    assert "s3cret-key" not in f"{caught.value!r} {immich!r} {vars(caught.value)}" + caplog.text
