"""One WSGI application with two faces: through which listener a request came decides which.

A listener writes the face into the request's environment, under a name that no header of a
client can have.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

FACE: Final = "immich_job_daemon.face"
"""The key in a request's environment that says which face answers it."""


class Face(StrEnum):
    """Whom a listener is for."""

    MACHINES = "machines"
    PEOPLE = "people"


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
