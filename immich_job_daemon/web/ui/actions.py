"""Accepts the changes that users make with the page's controls, and the sign-in.

A change is checked against the latest status and submitted to the hub. The response says what will
happen before it has happened, as far as the same status tells; the loop carries the change out. The
undo in the response is the one that the loop will publish: the same function makes both.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from flask import Response, jsonify, make_response, render_template, request

from immich_job_daemon.model.controls import Change, ChangeError, as_json, read_change
from immich_job_daemon.model.settings import Settings
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.ui import feedback
from immich_job_daemon.web.ui.auth import Access, AccessControl, TooManyAttempts
from immich_job_daemon.web.ui.i18n import Texts, request_texts

MAX_BODY_SIZE: Final = 4096
"""Bytes of a request body; the largest valid change has a tenth of that."""

CHALLENGE: Final = 'Basic realm="Immich Job Daemon", charset="UTF-8"'


class RequestRejected(Exception):  # noqa: N818 - a response that ends the request, not a failure
    """Ends a request with an error response; ``more`` are further fields of its JSON body."""

    def __init__(self, status: HTTPStatus, text: str, **more: str) -> None:
        super().__init__(text)
        self.response = jsonify(error=text, **more)
        self.response.status_code = status


@dataclass(frozen=True, slots=True)
class Actions:
    """The views behind the page's controls; ``link`` returns the URL of one of the page's paths."""

    hub: StatusHub
    settings: Settings
    access_control: AccessControl
    link: Callable[[str], str]

    def change(self) -> Response:
        """Submit a change; respond with what it will do and with the change that undoes it."""
        texts = request_texts(request)
        if not self.access_control.is_from_page(request):
            raise RequestRejected(HTTPStatus.FORBIDDEN, texts("error.foreign"))
        self._require_access(texts)
        status = self.hub.status
        change = _requested_change(status, texts)
        if (error := feedback.rejection_text(change, status, texts)) is not None:
            raise RequestRejected(HTTPStatus.CONFLICT, error)
        message = feedback.announcement(change, status, texts, self.settings.max_concurrent_jobs)
        undo = feedback.undo_of(change, status)
        if not self.hub.submit(change):
            raise RequestRejected(HTTPStatus.SERVICE_UNAVAILABLE, texts("error.full"))
        response = jsonify(message=message, undo=as_json(undo))
        response.status_code = HTTPStatus.ACCEPTED
        return response

    def sign_in(self) -> Response:
        """Have the browser ask for the password, then redirect to the page."""
        texts = request_texts(request)
        try:
            self._require_access(texts)
        except RequestRejected as rejected:
            response = rejected.response
            if response.status_code != HTTPStatus.FORBIDDEN:
                page = render_template("sign_in.html", t=texts, message=rejected, link=self.link)
                response.set_data(page)
                response.mimetype = "text/html"
                return response
        response = make_response("", HTTPStatus.SEE_OTHER)
        response.headers["Location"] = self.link("")
        return response

    def _require_access(self, texts: Texts) -> None:
        """Check that the client may make changes.

        Raises:
            RequestRejected: it may not.
        """
        try:
            access = self.access_control.access(request)
        except TooManyAttempts as attempts:
            seconds = math.ceil(attempts.seconds)
            text = texts.plural("error.too_many_attempts", seconds)
            rejected = RequestRejected(HTTPStatus.TOO_MANY_REQUESTS, text)
            rejected.response.headers["Retry-After"] = str(seconds)
            raise rejected from None
        if access is Access.VIEW_ONLY:
            raise RequestRejected(HTTPStatus.FORBIDDEN, texts("error.view_only"))
        if access is Access.SIGN_IN:
            rejected = RequestRejected(HTTPStatus.UNAUTHORIZED, texts("error.password"))
            rejected.response.headers["WWW-Authenticate"] = CHALLENGE
            raise rejected


def _requested_change(status: Status, texts: Texts) -> Change:
    """Return the change in the request's body.

    Raises:
        RequestRejected: the body is not a change, or there is nothing to undo.
    """
    try:
        body = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError):
        raise RequestRejected(HTTPStatus.BAD_REQUEST, texts("error.body")) from None
    if body == {"undo": True}:
        if status.undo is None:
            raise RequestRejected(HTTPStatus.CONFLICT, texts("error.undo"))
        return status.undo
    try:
        return read_change(body)
    except ChangeError as error:
        raise RequestRejected(
            HTTPStatus.BAD_REQUEST, texts("error.body"), details=str(error)
        ) from None
