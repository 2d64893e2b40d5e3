"""One application with two faces."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
from werkzeug.test import Client

from immich_job_daemon.web.application import FACE, Face, seen_as, with_faces


def saying(text: str) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        assert environ["REQUEST_METHOD"] == "GET"
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]

    return answer


BOTH = with_faces({Face.MACHINES: saying("numbers"), Face.PEOPLE: saying("a page")})


@pytest.mark.parametrize(("face", "said"), [(Face.MACHINES, "numbers"), (Face.PEOPLE, "a page")])
def test_the_listener_decides_which_face_answers(face: Face, said: str) -> None:
    assert Client(seen_as(face, BOTH)).get("/").text == said


@pytest.mark.parametrize("name", [FACE, "Immich-Job-Daemon.Face", "immich_job_daemon.face"])
def test_no_header_of_a_client_does(name: str) -> None:
    client = Client(seen_as(Face.MACHINES, BOTH))
    assert client.get("/", headers={name: "people"}).text == "numbers"


def test_without_a_listener_there_is_no_face() -> None:
    with pytest.raises(KeyError, match=FACE):
        Client(BOTH).get("/")
