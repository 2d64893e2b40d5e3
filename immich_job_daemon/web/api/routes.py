"""The face for machines: totals, queues, metrics, health. It only reads, and asks nobody's name."""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from immich_job_daemon import __version__
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.web.api import json
from immich_job_daemon.web.api.metrics import exposition

UNKNOWN: Final = "Immich has not answered yet"
"""What is said while nothing is known and nothing else is known to be wrong."""

SAID: Final[dict[int, str]] = {
    HTTPStatus.NOT_FOUND: "there is nothing here: ask for /, /queues, /metrics or /health",
    HTTPStatus.METHOD_NOT_ALLOWED: "here is nothing but to GET",
}

log = logging.getLogger(__name__)


def create_machines(hub: StatusHub, clock: Callable[[], float] = time.monotonic) -> Flask:
    """Return the application that answers from what the board shows.

    Args:
        hub: where the loop leaves its pictures.
        clock: the daemon's, of which the picture's times are.
    """
    face = Flask(__name__, static_folder=None)
    face.json.sort_keys = False  # type: ignore[attr-defined] # of the default provider
    # A path is known or not: nothing is redirected.
    face.url_map.merge_slashes = False
    metrics = exposition(hub, clock)

    @face.get("/")
    def totals() -> Response:
        found = json.totals(hub.status, clock())
        return _unknown(hub) if found is None else jsonify(found)

    @face.get("/queues")
    def queues() -> Response:
        status = hub.status
        return _unknown(hub) if status.updated is None else jsonify(json.queues(status, clock()))

    @face.get("/metrics")
    def metrics_of_now() -> BaseResponse:
        # prometheus_client knows no HEAD; what is too much for one is left out on the way.
        environ = {**request.environ, "REQUEST_METHOD": "GET"}
        return BaseResponse.from_app(metrics, environ, buffered=True)

    @face.get("/health")
    def health() -> Response:
        late = clock() - hub.status.due
        if late <= 0:
            return jsonify(status="ok", version=__version__)
        return _error(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"the daemon's loop hangs: it should have ended a round {late:.0f} s ago. Restart the "
            "daemon; if it happens again, its log tells more with LOG_LEVEL=debug",
        )

    face.register_error_handler(HTTPException, _refused)
    face.register_error_handler(Exception, _failed)
    face.after_request(_with_headers)
    return face


def _unknown(hub: StatusHub) -> Response:
    problem = hub.status.problem
    return _error(HTTPStatus.SERVICE_UNAVAILABLE, problem.text if problem else UNKNOWN)


def _refused(error: HTTPException) -> Response:
    """Say in JSON what a client did wrong, and keep what else there is to say: what is allowed."""
    status = error.code or HTTPStatus.BAD_REQUEST
    answer = _error(status, SAID.get(status, error.description or error.name))
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            answer.headers[name] = value
    return answer


def _failed(error: Exception) -> Response:
    log.error("%s %s cannot be answered: %r", request.method, request.path, error, exc_info=error)
    return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "the daemon's own mistake: see its log")


def _error(status: int, text: str) -> Response:
    answer = jsonify(error=text)
    answer.status_code = status
    return answer


def _with_headers(answer: Response) -> Response:
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer
