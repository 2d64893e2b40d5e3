"""One WSGI application with two faces: through which listener a request came decides which.

A listener writes the face into the request's environment, under a name that no header of a
client can have.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from immich_job_daemon.model.settings import Settings
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.web.api.routes import create_machines
from immich_job_daemon.web.ui.app import create_ui

FACE: Final = "immich_job_daemon.face"
"""The key in a request's environment that says which face answers it."""


class Face(StrEnum):
    """Whom a listener is for."""

    MACHINES = "machines"
    PEOPLE = "people"


def application(
    hub: StatusHub,
    settings: Settings,
    *,
    behind_ingress: bool,
    clock: Callable[[], float] = time.monotonic,
) -> WSGIApplication:
    """Return the application with both faces.

    Args:
        hub: where the loop leaves its pictures and finds what is wished for.
        settings: what the user wants.
        behind_ingress: whether this is the add-on, with Home Assistant in front of the page.
        clock: the daemon's, of which the pictures' times are.
    """
    people = create_ui(hub, settings, behind_ingress=behind_ingress, clock=clock)
    return with_faces({Face.MACHINES: create_machines(hub, clock), Face.PEOPLE: people})


def with_faces(faces: Mapping[Face, WSGIApplication]) -> WSGIApplication:
    """Return the application that lets each request be answered by the face it came to."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return faces[Face(environ[FACE])](environ, start_response)

    return answer


def seen_as(face: Face, application: WSGIApplication) -> WSGIApplication:
    """Return the application as a listener of that face serves it."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return application({**environ, FACE: str(face)}, start_response)

    return answer
