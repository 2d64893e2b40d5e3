"""The HTTP API of the simulated Immich without a socket: a request in, a response out.

Paths, bodies, permissions, messages and the order of the checks were recorded from Immich 3.1.0.
It rejects invalid JSON first, then an unknown path, the key, the queue's name and the body.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, NamedTuple

from immich_job_daemon.immich.transport import Response
from simulator.immich import bodies
from simulator.immich.engine import Engine
from simulator.immich.pipeline import QUEUE_ALL, REINDEX
from simulator.immich.simulated_queue import SimulatedQueue

UNPAUSABLE: Final = "backgroundTask"
"""The queue that the queues API refuses to pause. The jobs API pauses it."""

_JSON: Final = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Key:
    """The permissions of an API key. Observers of the engine receive ``name`` as its client."""

    permissions: frozenset[str] = frozenset({"all"})
    is_admin: bool = True
    name: str = "api key"

    def has(self, permission: str) -> bool:
        """Return whether the key has the permission or all of them."""
        return permission in self.permissions or "all" in self.permissions


class RejectedRequestError(Exception):
    """Immich rejects the request with this status and body."""

    def __init__(
        self, status: HTTPStatus, message: str, errors: list[object] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = (
            {"message": message} if errors is None else {"message": message, "errors": errors}
        )


@dataclass(frozen=True, slots=True)
class Request:
    """A request with a valid key. ``name`` is the queue, ``body`` is UNDEFINED if none was sent."""

    name: str = ""
    body: object = bodies.UNDEFINED
    key: Key = field(default_factory=Key)


class Route(NamedTuple):
    """The action of a path and the permission it requires.

    ``permission`` is None where no key is needed, and empty where any key will do.
    """

    action: Callable[[Request], str]
    permission: str | None = None
    is_for_admins: bool = False


class Api:
    """Immich's queues API, its jobs API, and the server paths that clients use.

    Args:
        engine: the queues.
        keys: the API keys by the secret that clients send.
        version: version of Immich: major, minor, patch.
        serves: "queues" and "jobs", the APIs to serve. Immich before 2.4 has the jobs API only.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        keys: Mapping[str, Key],
        version: tuple[int, int, int] = (3, 1, 0),
        serves: frozenset[str] = frozenset({"queues", "jobs"}),
    ) -> None:
        self.engine = engine
        self.keys = dict(keys)
        self.version = version
        self._fixed = self._fixed_routes(serves)
        self._named = self._named_routes(serves)

    def __repr__(self) -> str:
        return f"<Api of Immich {'.'.join(map(str, self.version))}, {len(self.keys)} keys>"

    def respond(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        """Process a request at the engine's current time and return the response.

        Args:
            method: any HTTP method; the response to HEAD is that to GET without its body.
            path: path with its leading slash; a query and a trailing slash are ignored.
            headers: headers by lower-case name; ``x-api-key`` and ``content-type`` are used.
            body: body as sent, or None.
        """
        try:
            status, text = HTTPStatus.OK, self._process(method, path, headers, body)
        except RejectedRequestError as rejection:
            status, text = rejection.status, json.dumps(rejection.body, separators=(",", ":"))
        return Response(int(status), _JSON, b"" if method == "HEAD" else text.encode())

    def _process(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> str:
        document = bodies.UNDEFINED
        if body and headers.get("content-type", "").startswith("application/json"):
            try:
                document = bodies.parse(body)
            except ValueError as error:
                raise RejectedRequestError(HTTPStatus.BAD_REQUEST, str(error)) from None
        route, name = self._match("GET" if method == "HEAD" else method, path)
        if route is None:
            raise RejectedRequestError(HTTPStatus.NOT_FOUND, f"Cannot {method} {path}")
        key = Key()
        if route.permission is not None:
            key = self._authorize(route, headers.get("x-api-key"))
        return route.action(Request(name, document, key))

    def _match(self, method: str, path: str) -> tuple[Route | None, str]:
        """Return the route of a path, and the queue name in it."""
        parts = path.partition("?")[0].rstrip("/")
        if (fixed := self._fixed.get((method, parts))) is not None:
            return fixed, ""
        head, _, rest = parts.removeprefix("/api/").partition("/")
        name, _, tail = rest.partition("/")
        return (self._named.get((method, head, tail)) if name else None), name

    def _authorize(self, route: Route, secret: str | None) -> Key:
        """Return the key that was sent, if it has the permission for the route."""
        if not secret:
            raise RejectedRequestError(HTTPStatus.UNAUTHORIZED, "Authentication required")
        key = self.keys.get(secret)
        if key is None:
            raise RejectedRequestError(HTTPStatus.UNAUTHORIZED, "Invalid API key")
        if route.is_for_admins and not key.is_admin:
            raise RejectedRequestError(HTTPStatus.FORBIDDEN, "Forbidden")
        if route.permission and not key.has(route.permission):
            message = f"Missing required permission: {route.permission}"
            raise RejectedRequestError(HTTPStatus.FORBIDDEN, message)
        return key

    def _fixed_routes(self, serves: frozenset[str]) -> dict[tuple[str, str], Route]:
        routes = {
            ("GET", "/api/server/ping"): Route(lambda _: bodies.PING),
            ("GET", "/api/server/version"): Route(lambda _: bodies.version(self.version)),
            ("GET", "/api/server/config"): Route(lambda _: bodies.CONFIG),
            ("GET", "/api/server/about"): Route(
                lambda _: bodies.about(self.version), "server.about"
            ),
            ("GET", "/api/api-keys/me"): Route(self._read_key, ""),
        }
        if "queues" in serves:
            routes["GET", "/api/queues"] = _for_admins(self._read_queues, "queue.read")
        if "jobs" in serves:
            routes["GET", "/api/jobs"] = _for_admins(self._read_all_jobs, "job.read")
        return routes

    def _named_routes(self, serves: frozenset[str]) -> dict[tuple[str, str, str], Route]:
        routes = {}
        if "queues" in serves:
            routes["GET", "queues", ""] = _for_admins(self._read_queue, "queue.read")
            routes["PUT", "queues", ""] = _for_admins(self._update_queue, "queue.update")
            routes["GET", "queues", "jobs"] = _for_admins(self._read_jobs, "queueJob.read")
        if "jobs" in serves:
            routes["PUT", "jobs", ""] = _for_admins(self._command, "job.create")
        return routes

    def _read_key(self, request: Request) -> str:
        return bodies.api_key(request.key.name, request.key.permissions)

    def _read_queues(self, _: Request) -> str:
        return bodies.all_queues(self.engine.queues.values())

    def _read_all_jobs(self, _: Request) -> str:
        return bodies.all_jobs(self.engine.queues.values())

    def _read_queue(self, request: Request) -> str:
        return bodies.queue(self._queue(request))

    def _read_jobs(self, request: Request) -> str:
        """Return no jobs: the engine simulates their number, not the jobs that wait."""
        self._queue(request)
        return "[]"

    def _update_queue(self, request: Request) -> str:
        queue = self._queue(request)
        document = _object(request, {"isPaused": bodies.is_optional_boolean})
        wanted = document.get("isPaused")
        if wanted and queue.name == UNPAUSABLE:
            message = "The BackgroundTask queue cannot be paused"
            raise RejectedRequestError(HTTPStatus.BAD_REQUEST, message)
        if wanted:
            self.engine.pause(queue.name, by=request.key.name)
        elif wanted is False:
            self.engine.resume(queue.name, by=request.key.name)
        return bodies.queue(queue)

    def _command(self, request: Request) -> str:
        queue = self._queue(request)
        checks = {"command": bodies.is_command, "force": bodies.is_optional_boolean}
        document = _object(request, checks)
        by = request.key.name
        match document["command"]:
            case "pause":
                self.engine.pause(queue.name, by=by)
            case "resume":
                self.engine.resume(queue.name, by=by)
            case "empty":
                self.engine.empty(queue.name)
            case "clear-failed":
                self.engine.clear_failed(queue.name)
            case _:
                self._run_on_assets(queue, is_on_all=document.get("force") is True)
        return bodies.job(queue)

    def _run_on_assets(self, queue: SimulatedQueue, *, is_on_all: bool) -> None:
        """Start a run on all assets, or on those that lack the queue's results, which are none."""
        if queue.active:
            raise RejectedRequestError(HTTPStatus.BAD_REQUEST, "Job is already running")
        if queue.name not in REINDEX:
            raise RejectedRequestError(HTTPStatus.BAD_REQUEST, f"Invalid job name: {queue.name}")
        self.engine.add(queue.name, QUEUE_ALL)
        if is_on_all and self.engine.assets:
            self.engine.reindex(queue.name, len(self.engine.assets))

    def _queue(self, request: Request) -> SimulatedQueue:
        """Return the queue named in the path."""
        queue = self.engine.queues.get(request.name)
        if queue is None:
            error = bodies.invalid_option([*self.engine.queues], "name")
            raise RejectedRequestError(HTTPStatus.BAD_REQUEST, "Validation failed", [error])
        return queue


def _for_admins(action: Callable[[Request], str], permission: str) -> Route:
    return Route(action, permission, is_for_admins=True)


def _object(request: Request, checks: Mapping[str, bodies.Check]) -> dict[str, object]:
    """Return a request's body, an object whose fields pass the checks; others are ignored."""
    document = request.body
    if isinstance(document, dict):
        found = [
            check(document.get(name, bodies.UNDEFINED), name) for name, check in checks.items()
        ]
        errors: list[object] = [error for error in found if error is not None]
    else:
        errors = [bodies.invalid_type("object", document)]
    if errors or not isinstance(document, dict):
        raise RejectedRequestError(HTTPStatus.BAD_REQUEST, "Validation failed", errors)
    return document
