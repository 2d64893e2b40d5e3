"""The Flask application for people: which path answers with what, and with which headers.

It reads the latest picture and leaves wishes for the loop; it never waits for it.
"""

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from flask import Flask, Response, abort, make_response, render_template, request
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

from immich_job_daemon import __version__
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.web.ui.actions import LARGEST_BODY, Desk, Refusal, Wanted
from immich_job_daemon.web.ui.assets import read_files
from immich_job_daemon.web.ui.auth import GATEWAY, OWN_HEADER, Door, Patience, Right
from immich_job_daemon.web.ui.i18n import Words, best
from immich_job_daemon.web.ui.view import view

__all__ = ["Wanted", "create_people"]

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors "
)
_A_YEAR: Final = "public, max-age=31536000, immutable"

log = logging.getLogger(__name__)


def create_people(
    hub: StatusHub,
    settings: Wanted,
    *,
    behind_ingress: bool,
    gateway: str = GATEWAY,
    clock: Callable[[], float] = time.monotonic,
) -> Flask:
    """Return the application.

    Args:
        hub: where the loop leaves its pictures and finds what is wished for.
        settings: what the user wants.
        behind_ingress: whether this is the add-on, with Home Assistant in front.
        gateway: the only address that is answered then.
        clock: the daemon's, of which the pictures' times are.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.url_map.merge_slashes = False
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    door = Door(settings.ui_password, clock, behind_ingress=behind_ingress, gateway=gateway)
    page = Page(hub, settings, door, clock)
    desk = Desk(hub, settings, door, page.link)

    @app.before_request
    def admit() -> Response | None:
        return None if door.admits(request) else _text(HTTPStatus.FORBIDDEN, "page.foreign")

    app.get("/")(page.whole)
    app.get("/now")(page.now)
    app.post("/ask")(desk.ask)
    app.get("/sign-in")(desk.sign_in)
    app.get("/static/<version>/<name>")(page.file)
    app.register_error_handler(Refusal, lambda refusal: refusal.answer)
    app.register_error_handler(HTTPException, _refused)
    app.register_error_handler(Exception, _failed)
    frames = "'self'" if behind_ingress else "'none'"

    @app.after_request
    def with_headers(answer: Response) -> Response:
        answer.headers["Content-Security-Policy"] = _POLICY + frames
        answer.headers["X-Frame-Options"] = "SAMEORIGIN" if behind_ingress else "DENY"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        # With none at all browsers would call the origin of the page's own requests "null".
        answer.headers["Referrer-Policy"] = "same-origin"
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    for template in ("page.html", "now.html", "sign_in.html"):
        # Read and compiled now, so that the first one who looks does not wait for it.
        app.jinja_env.get_template(template)
    return app


class Page:
    """Answers the requests that were let in.

    Args:
        hub: where the loop is met.
        settings: what the user wants.
        door: who may do what.
        clock: the daemon's.
    """

    def __init__(
        self, hub: StatusHub, settings: Wanted, door: Door, clock: Callable[[], float]
    ) -> None:
        self._hub = hub
        self._settings = settings
        self._door = door
        self._clock = clock
        self._files = read_files()

    def whole(self) -> str:
        """Answer with the page."""
        return self._render("page.html", best(request))

    def now(self) -> Response:
        """Answer with the part of the page that changes, if it did since the reader's last one."""
        words = best(request)
        answer = make_response(self._render("now.html", words))
        answer.headers["Vary"] = "Accept-Language"
        answer.add_etag()
        answer.make_conditional(request)
        return answer

    def file(self, version: str, name: str) -> Response:
        """Answer with a file of that version."""
        file = self._files.get(name)
        if file is None or file.path != f"static/{version}/{name}":
            abort(HTTPStatus.NOT_FOUND)
        answer = Response(file.content, content_type=f"{file.type}; charset=utf-8")
        answer.headers["Cache-Control"] = _A_YEAR
        return answer

    def _render(self, template: str, words: Words) -> str:
        text = render_template(
            template,
            t=words,
            v=view(self._hub.status, words, self._settings.max_concurrent_jobs, self._clock()),
            right=self._right().value,
            link=self.link,
            iso=_iso,
            files=self._files,
            version=__version__,
            own_header=OWN_HEADER,
        )
        # The templates' indentation is for who reads them.
        return re.sub(r"\n\s*", "\n", text)

    def _right(self) -> Right:
        try:
            return self._door.right(request)
        except Patience:
            return Right.SIGN_IN

    def link(self, path: str) -> str:
        """Return the address of a path of the page, in the language that was asked for."""
        base = self._door.base(request.headers)
        asked = request.args.get("lang")
        if asked == best(request).language and not path.startswith("static/"):
            path = f"{path or ('' if base else './')}?lang={asked}"
        return f"{base}/{path}" if base else path or "./"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _text(status: HTTPStatus, key: str) -> Response:
    return Response(f"{best(request)(key)}\n", status, content_type="text/plain; charset=utf-8")


def _refused(error: HTTPException) -> Response:
    """Say in one line what a client did wrong; keep what else there is to say: what is allowed."""
    answer = Response(
        f"{error.description or error.name}\n",
        error.code or HTTPStatus.BAD_REQUEST,
        content_type="text/plain; charset=utf-8",
    )
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            answer.headers[name] = value
    return answer


def _failed(error: Exception) -> Response:
    log.error("%s %s cannot be answered: %r", request.method, request.path, error, exc_info=error)
    return Response(
        "The daemon's own mistake: see its log.\n",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        content_type="text/plain; charset=utf-8",
    )
