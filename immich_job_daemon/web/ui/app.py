"""The Flask application of the page: its routes, headers and error handlers.

It reads the latest status and submits changes to the hub; it never waits for the loop.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Final

from flask import Flask, Response, abort, make_response, render_template, request
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

from immich_job_daemon import __version__
from immich_job_daemon.model.settings import Settings
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.web.ui.actions import MAX_BODY_SIZE, Actions, RequestRejected
from immich_job_daemon.web.ui.assets import Asset, load_assets
from immich_job_daemon.web.ui.auth import (
    CSRF_HEADER,
    GATEWAY,
    Access,
    AccessControl,
    TooManyAttempts,
)
from immich_job_daemon.web.ui.i18n import Texts, request_texts
from immich_job_daemon.web.ui.view import view

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors "
)

log = logging.getLogger(__name__)


def create_ui(
    hub: StatusHub,
    settings: Settings,
    *,
    behind_ingress: bool,
    gateway: str = GATEWAY,
    clock: Callable[[], float] = time.monotonic,
) -> Flask:
    """Return the application.

    As an add-on the daemon runs behind Home Assistant's ingress, and answers only the ``gateway``.
    The times of the status are in seconds of ``clock``.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_SIZE
    app.url_map.merge_slashes = False
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    access_control = AccessControl(
        settings.ui_password, clock, behind_ingress=behind_ingress, gateway=gateway
    )
    page = Page(hub, settings, access_control, clock)
    actions = Actions(hub, settings, access_control, page.link)

    @app.before_request
    def reject_foreign_clients() -> Response | None:
        if access_control.admits(request):
            return None
        return _plain_text(HTTPStatus.FORBIDDEN, request_texts(request)("page.ingress_only"))

    app.get("/")(page.whole)
    app.get("/now")(page.live_part)
    app.post("/ask")(actions.change)
    app.get("/sign-in")(actions.sign_in)
    app.get("/static/<version>/<name>")(page.asset)
    app.register_error_handler(RequestRejected, lambda rejected: rejected.response)
    app.register_error_handler(HTTPException, _client_error)
    app.register_error_handler(Exception, _internal_error)
    app.after_request(partial(_add_headers, behind_ingress=behind_ingress))
    for template in ("page.html", "now.html", "sign_in.html"):
        # Compiled now, so that the first request does not wait for it.
        app.jinja_env.get_template(template)
    return app


@dataclass(frozen=True, slots=True)
class Page:
    """The views that return the page and its parts.

    The page is rendered on the server, and its script polls ``/now`` every two seconds: an open
    connection for events would take a thread per reader and not survive every proxy. While nothing
    has changed the response is a 304. Without JavaScript the page can still be read.
    """

    hub: StatusHub
    settings: Settings
    access_control: AccessControl
    clock: Callable[[], float]
    assets: Mapping[str, Asset] = field(default_factory=load_assets)

    def whole(self) -> str:
        """Return the whole page."""
        return self._render("page.html", request_texts(request))

    def live_part(self) -> Response:
        """Return the part of the page that changes, or 304 if the reader's copy is current."""
        response = make_response(self._render("now.html", request_texts(request)))
        response.headers["Vary"] = "Accept-Language"
        response.add_etag()
        response.make_conditional(request)
        return response

    def asset(self, version: str, name: str) -> Response:
        """Return a static file."""
        asset = self.assets.get(name)
        if asset is None or asset.path != f"static/{version}/{name}":
            abort(HTTPStatus.NOT_FOUND)
        response = Response(asset.content, content_type=f"{asset.media_type}; charset=utf-8")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    def _render(self, template: str, texts: Texts) -> str:
        html = render_template(
            template,
            t=texts,
            v=view(self.hub.status, texts, self.settings.max_concurrent_jobs, self.clock()),
            access=self._access().value,
            link=self.link,
            iso=_iso,
            assets=self.assets,
            version=__version__,
            csrf_header=CSRF_HEADER,
        )
        # Indentation makes the templates readable; browsers do not need it.
        return re.sub(r"\n\s*", "\n", html)

    def _access(self) -> Access:
        try:
            return self.access_control.access(request)
        except TooManyAttempts:
            return Access.SIGN_IN

    def link(self, path: str) -> str:
        """Return the URL of one of the page's paths; it keeps the language of the request."""
        base = self.access_control.base_path(request.headers)
        language = request.args.get("lang")
        if language == request_texts(request).language and not path.startswith("static/"):
            path = f"{path or ('' if base else './')}?lang={language}"
        return f"{base}/{path}" if base else path or "./"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _add_headers(response: Response, *, behind_ingress: bool) -> Response:
    ancestors = "'self'" if behind_ingress else "'none'"
    response.headers["Content-Security-Policy"] = _POLICY + ancestors
    response.headers["X-Frame-Options"] = "SAMEORIGIN" if behind_ingress else "DENY"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    # With "no-referrer" browsers would send "Origin: null" with the page's own changes.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _plain_text(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, content_type="text/plain; charset=utf-8")


def _client_error(error: HTTPException) -> Response:
    """Respond with the error as one line; keep its other headers, such as Allow."""
    response = _plain_text(error.code or HTTPStatus.BAD_REQUEST, error.description or error.name)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _internal_error(error: Exception) -> Response:
    log.error("%s %s failed: %r", request.method, request.path, error, exc_info=error)
    return _plain_text(
        HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error. See the daemon's log for details."
    )
