"""The HTTP face of the simulated Immich: a request in, an answer out, no socket.

Paths, bodies, permissions, messages and the order of the checks are those recorded from Immich
3.1.0: a body that is no JSON first, then an unknown path, the key, the queue's name, the body.
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
"""The queue that the queues API refuses to pause; the jobs API does pause it."""

_JSON: Final = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Key:
    """What an API key may do. ``name`` is told to the engine's observers as who did it."""

    permissions: frozenset[str] = frozenset({"all"})
    is_admin: bool = True
    name: str = "api key"

    def may(self, permission: str) -> bool:
        """Return whether the key has a permission, or all of them."""
        return permission in self.permissions or "all" in self.permissions


class Refusal(Exception):  # noqa: N818 - an answer that ends a request early, not a failure
    """Immich refuses the request with this status and body."""

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
    """A request whose key was accepted. ``body`` is ``bodies.UNDEFINED`` where none was sent."""

    name: str = ""
    body: object = bodies.UNDEFINED
    key: Key = field(default_factory=Key)


class Route(NamedTuple):
    """What stands behind a path: the permission it asks for ("" is any key) and what it does."""

    action: Callable[[Request], str]
    permission: str | None = None
    is_for_admins: bool = False


class Api:
    """Both of Immich's APIs for queues, and what a client asks besides.

    Args:
        engine: the queues behind it.
        keys: the API keys by the text that is sent.
        version: of Immich; the last figure of three.
        serves: "queues" and "jobs": an Immich before 2.4 serves the jobs API only.
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

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        """Carry out a request at this moment of the engine's clock and return the answer.

        Args:
            method: any HTTP method; HEAD is answered as GET, without a body.
            path: with its leading slash; a query and a trailing slash do not matter.
            headers: by lower-case name; ``x-api-key`` and ``content-type`` are looked at.
            body: as sent, or None.
        """
        try:
            status, text = HTTPStatus.OK, self._carry_out(method, path, headers, body)
        except Refusal as refusal:
            status, text = refusal.status, json.dumps(refusal.body, separators=(",", ":"))
        return Response(int(status), _JSON, b"" if method == "HEAD" else text.encode())

    def _carry_out(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> str:
        document = bodies.UNDEFINED
        if body and headers.get("content-type", "").startswith("application/json"):
            try:
                document = bodies.parse(body)
            except ValueError as error:
                raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
        route, name = self._find("GET" if method == "HEAD" else method, path)
        if route is None:
            raise Refusal(HTTPStatus.NOT_FOUND, f"Cannot {method} {path}")
        key = Key()
        if route.permission is not None:
            key = self._admit(route, headers.get("x-api-key"))
        return route.action(Request(name, document, key))

    def _find(self, method: str, path: str) -> tuple[Route | None, str]:
        """Return the route of a path and the queue's name in it."""
        parts = path.partition("?")[0].rstrip("/")
        if (fixed := self._fixed.get((method, parts))) is not None:
            return fixed, ""
        head, _, rest = parts.removeprefix("/api/").partition("/")
        name, _, tail = rest.partition("/")
        return (self._named.get((method, head, tail)) if name else None), name

    def _admit(self, route: Route, secret: str | None) -> Key:
        """Return the key that was sent, if it may do this."""
        if not secret:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "Authentication required")
        key = self.keys.get(secret)
        if key is None:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "Invalid API key")
        if route.is_for_admins and not key.is_admin:
            raise Refusal(HTTPStatus.FORBIDDEN, "Forbidden")
        if route.permission and not key.may(route.permission):
            message = f"Missing required permission: {route.permission}"
            raise Refusal(HTTPStatus.FORBIDDEN, message)
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
        """Answer with no jobs: which ones wait is not simulated, only how many."""
        self._queue(request)
        return "[]"

    def _update_queue(self, request: Request) -> str:
        queue = self._queue(request)
        document = _object(request, {"isPaused": bodies.is_optional_boolean})
        wanted = document.get("isPaused")
        if wanted and queue.name == UNPAUSABLE:
            message = "The BackgroundTask queue cannot be paused"
            raise Refusal(HTTPStatus.BAD_REQUEST, message)
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
        """Start a run on all assets, or on those that lack what the queue makes: none."""
        if queue.active:
            raise Refusal(HTTPStatus.BAD_REQUEST, "Job is already running")
        if queue.name not in REINDEX:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"Invalid job name: {queue.name}")
        self.engine.add(queue.name, QUEUE_ALL)
        if is_on_all and self.engine.assets:
            self.engine.reindex(queue.name, len(self.engine.assets))

    def _queue(self, request: Request) -> SimulatedQueue:
        """Return the queue that the path names."""
        queue = self.engine.queues.get(request.name)
        if queue is None:
            error = bodies.invalid_option([*self.engine.queues], "name")
            raise Refusal(HTTPStatus.BAD_REQUEST, "Validation failed", [error])
        return queue


def _for_admins(action: Callable[[Request], str], permission: str) -> Route:
    return Route(action, permission, is_for_admins=True)


def _object(request: Request, checks: Mapping[str, bodies.Check]) -> dict[str, object]:
    """Return the request's body, an object whose fields pass their checks; others are ignored."""
    document = request.body
    if isinstance(document, dict):
        found = [
            check(document.get(name, bodies.UNDEFINED), name) for name, check in checks.items()
        ]
        errors: list[object] = [error for error in found if error is not None]
    else:
        errors = [bodies.invalid_type("object", document)]
    if errors or not isinstance(document, dict):
        raise Refusal(HTTPStatus.BAD_REQUEST, "Validation failed", errors)
    return document
