"""The API's routes: totals, queues, metrics, health. Read-only and without authentication."""

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
from immich_job_daemon.web.api.metrics import create_metrics_app

NO_DATA: Final = "no data from Immich yet"
"""The error before the first poll, unless the status has a problem that says more."""

_ERRORS: Final[dict[int, str]] = {
    HTTPStatus.NOT_FOUND: "not found: the paths are /, /queues, /metrics and /health",
    HTTPStatus.METHOD_NOT_ALLOWED: "method not allowed: use GET",
}

log = logging.getLogger(__name__)


def create_api(hub: StatusHub, clock: Callable[[], float] = time.monotonic) -> Flask:
    """Return the Flask application of the API; ``clock`` is the daemon's clock."""
    api = Flask(__name__, static_folder=None)
    api.json.sort_keys = False  # type: ignore[attr-defined] # of the default provider
    # An unknown path gets 404, never a redirect.
    api.url_map.merge_slashes = False
    metrics_app = create_metrics_app(hub, clock)

    @api.get("/")
    def totals() -> Response:
        body = json.totals(hub.status, clock())
        return _no_data(hub) if body is None else jsonify(body)

    @api.get("/queues")
    def queues() -> Response:
        status = hub.status
        return _no_data(hub) if status.polled_at is None else jsonify(json.queues(status, clock()))

    @api.get("/metrics")
    def metrics() -> BaseResponse:
        # prometheus_client does not support HEAD; the WSGI server drops the body.
        environ = {**request.environ, "REQUEST_METHOD": "GET"}
        return BaseResponse.from_app(metrics_app, environ, buffered=True)

    @api.get("/health")
    def health() -> Response:
        late = clock() - hub.status.next_due
        if late <= 0:
            return jsonify(status="ok", version=__version__)
        return _error(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"the daemon is stuck: its last round should have ended {late:.0f} s ago. Restart it; "
            "if this happens again, set LOG_LEVEL=debug and look at its log",
        )

    api.register_error_handler(HTTPException, _http_error)
    api.register_error_handler(Exception, _internal_error)
    api.after_request(_add_headers)
    return api


def _no_data(hub: StatusHub) -> Response:
    problem = hub.status.problem
    return _error(HTTPStatus.SERVICE_UNAVAILABLE, problem.text if problem else NO_DATA)


def _http_error(error: HTTPException) -> Response:
    """Return an HTTP error as JSON, with the headers that belong to it, such as Allow."""
    status = error.code or HTTPStatus.BAD_REQUEST
    response = _error(status, _ERRORS.get(status, error.description or error.name))
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _internal_error(error: Exception) -> Response:
    log.error(
        "Internal error while serving %s %s: %r",
        request.method,
        request.path,
        error,
        exc_info=error,
    )
    return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error: see the daemon's log")


def _error(status: int, text: str) -> Response:
    response = jsonify(error=text)
    response.status_code = status
    return response


def _add_headers(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
