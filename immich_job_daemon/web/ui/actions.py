"""Where wishes are left: who may do it, what is asked for, and what the answer says.

Nothing is carried out here. The loop takes the wish from the board, and a reader sees it done.
"""

import json
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Protocol

from flask import Response, jsonify, make_response, render_template, request

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.model.controls import Change, ChangeError, as_json, read_change
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.ui import feedback
from immich_job_daemon.web.ui.auth import Door, Patience, Right
from immich_job_daemon.web.ui.i18n import Words, best

LARGEST_BODY: Final = 4096
"""Bytes of a change at most; the longest that makes sense has a tenth of that."""

CHALLENGE: Final = 'Basic realm="Immich Job Daemon", charset="UTF-8"'


class Wanted(Protocol):
    """The settings that the page needs."""

    @property
    def max_concurrent_jobs(self) -> int:
        """How many queues may run at once unless a person says otherwise."""
        ...

    @property
    def ui_password(self) -> Secret:
        """What changing something takes outside of the add-on; empty: it cannot be done."""
        ...


class Refusal(Exception):  # noqa: N818 - an answer that ends a request early, not a failure
    """The request is refused with this answer."""

    def __init__(self, status: HTTPStatus, text: str, **more: str) -> None:
        super().__init__(text)
        self.answer = jsonify(error=text, **more)
        self.answer.status_code = status


class Desk:
    """Answers those who want something changed.

    Args:
        hub: where the wishes go.
        settings: what the user wants.
        door: who may do what.
        link: returns the address of a path of the page.
    """

    def __init__(
        self, hub: StatusHub, settings: Wanted, door: Door, link: Callable[[str], str]
    ) -> None:
        self._hub = hub
        self._settings = settings
        self._door = door
        self._link = link

    def ask(self) -> Response:
        """Leave a wish for the loop, and answer with what will happen and what would undo it."""
        words = best(request)
        if not self._door.is_own(request):
            raise Refusal(HTTPStatus.FORBIDDEN, words("error.foreign"))
        self._admit(words)
        status = self._hub.status
        change = _read(status, words)
        if (why := feedback.refusal(change, status, words)) is not None:
            raise Refusal(HTTPStatus.CONFLICT, why)
        says = feedback.promise(change, status, words, self._settings.max_concurrent_jobs)
        undo = feedback.undo_of(change, status)
        if not self._hub.submit(change):
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, words("error.full"))
        answer = jsonify(says=says, undo=as_json(undo))
        answer.status_code = HTTPStatus.ACCEPTED
        return answer

    def sign_in(self) -> Response:
        """Make the browser ask for the password, and go back to the page with it."""
        words = best(request)
        try:
            self._admit(words)
        except Refusal as refusal:
            refused = refusal.answer
            if refused.status_code != HTTPStatus.FORBIDDEN:
                page = render_template("sign_in.html", t=words, said=refusal, link=self._link)
                refused.set_data(page)
                refused.mimetype = "text/html"
                return refused
        answer = make_response("", HTTPStatus.SEE_OTHER)
        answer.headers["Location"] = self._link("")
        return answer

    def _admit(self, words: Words) -> None:
        """Let those go on who may change something.

        Raises:
            Refusal: this one may not.
        """
        try:
            right = self._door.right(request)
        except Patience as waiting:
            seconds = math.ceil(waiting.seconds)
            text = words.many("error.patience", seconds)
            refusal = Refusal(HTTPStatus.TOO_MANY_REQUESTS, text)
            refusal.answer.headers["Retry-After"] = str(seconds)
            raise refusal from None
        if right is Right.NOTHING:
            raise Refusal(HTTPStatus.FORBIDDEN, words("error.closed"))
        if right is Right.SIGN_IN:
            refusal = Refusal(HTTPStatus.UNAUTHORIZED, words("error.password"))
            refusal.answer.headers["WWW-Authenticate"] = CHALLENGE
            raise refusal


def _read(status: Status, words: Words) -> Change:
    """Return what the request asks for.

    Raises:
        Refusal: that is nothing that there is.
    """
    try:
        found = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError):
        raise Refusal(HTTPStatus.BAD_REQUEST, words("error.body")) from None
    if found == {"undo": True}:
        if status.undo is None:
            raise Refusal(HTTPStatus.CONFLICT, words("error.undo"))
        return status.undo
    try:
        return read_change(found)
    except ChangeError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, words("error.body"), details=str(error)) from None
