"""The listeners: which ports they take, what they do without one, and what stands in the log."""

import errno
import io
import logging
import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
import requests

from immich_job_daemon.base.logging import configure_logging
from immich_job_daemon.web.application import Face, with_faces
from immich_job_daemon.web.server import Listener, PortError, listening, route_logs
from simulator.immich.ports import free_port

KEY: Final = "a-secret-key-of-tests"


def saying(text: str) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        assert environ["wsgi.url_scheme"] == "http"
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "7")])
        return [text.encode()]

    return answer


BOTH: Final = with_faces({Face.MACHINES: saying("numbers"), Face.PEOPLE: saying("a page!")})


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Give what the daemon writes, as it does with LOG_LEVEL=info."""
    stream = io.StringIO()
    configure_logging("info", stream, secrets=(KEY,))
    route_logs()
    yield stream
    for name in ("immich_job_daemon", "waitress", "werkzeug"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def text_at(port: int, host: str = "127.0.0.1") -> str:
    return requests.get(f"http://{host}:{port}/", timeout=90).text


def test_each_face_is_at_its_port(written: io.StringIO) -> None:
    ports = {Face.MACHINES: free_port(), Face.PEOPLE: free_port()}
    with listening(BOTH, ports):
        assert text_at(ports[Face.MACHINES]) == "numbers"
        assert text_at(ports[Face.PEOPLE]) == "a page!"
    assert [line[11:] for line in written.getvalue().splitlines()] == [
        f"INFO: Totals, metrics and health: at port {ports[Face.MACHINES]}.",
        f"INFO: The page: at port {ports[Face.PEOPLE]}.",
    ]


def test_afterwards_the_ports_are_free_and_no_thread_is_left() -> None:
    before = threading.active_count()
    port = free_port()
    for _ in range(3):
        with listening(BOTH, {Face.MACHINES: port}) as opened:
            assert text_at(port) == "numbers"
    opened[0].close()
    with pytest.raises(requests.ConnectionError):
        text_at(port)
    assert threading.active_count() == before


def test_an_end_does_not_wait_for_whoever_is_still_connected() -> None:
    port = free_port()
    with (
        listening(BOTH, {Face.MACHINES: port}),
        socket.create_connection(("127.0.0.1", port), timeout=90) as idle,
    ):
        idle.sendall(b"GET / HT")
    assert idle.fileno() == -1


def test_port_0_is_none(written: io.StringIO) -> None:
    with listening(BOTH, {Face.MACHINES: 0, Face.PEOPLE: 0}) as opened:
        assert opened == []
    assert written.getvalue() == ""


def test_both_families_of_addresses_are_listened_at() -> None:
    with_ipv6 = socket.has_ipv6 and Path("/proc/net/if_inet6").exists()
    listener = Listener(Face.MACHINES, 0, BOTH)
    try:
        assert text_at(listener.port) == "numbers"
        assert text_at(listener.port, "localhost") == "numbers"
        if with_ipv6:
            assert text_at(listener.port, "[::1]") == "numbers"
    finally:
        listener.close()


def test_without_ipv6_there_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.create_server

    def create_server(address: tuple[str, int], *, family: int = socket.AF_INET) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return real(address, family=family)

    monkeypatch.setattr(socket, "create_server", create_server)
    listener = Listener(Face.MACHINES, 0, BOTH)
    try:
        assert text_at(listener.port) == "numbers"
    finally:
        listener.close()


# A port that cannot be had


def test_a_port_that_is_taken_is_told_and_the_other_is_opened(written: io.StringIO) -> None:
    with socket.create_server(("", 0)) as taken:
        ports = {Face.MACHINES: taken.getsockname()[1], Face.PEOPLE: free_port()}
        with listening(BOTH, ports) as opened:
            assert [one.face for one in opened] == [Face.PEOPLE]
            assert text_at(ports[Face.PEOPLE]) == "a page!"
    error, _ = written.getvalue().splitlines()
    assert error[11:] == (
        f"ERROR: Totals, metrics and health: the port {ports[Face.MACHINES]} of STATUS_PORT is "
        "taken by another program: set it to a free one, or to 0 for none. The daemon runs on "
        "without it."
    )


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, "is forbidden to the daemon's user: set it to one from 1024 on"),
        (errno.EPERM, "is forbidden to the daemon's user: set it to one from 1024 on"),
        (errno.EADDRINUSE, "is taken by another program: set it to a free one"),
        (errno.EMFILE, "cannot be opened (Too many open files): set it to another"),
    ],
)
def test_what_to_do_depends_on_why_it_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, number: int, told: str
) -> None:
    def create_server(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "create_server", create_server)
    with pytest.raises(PortError) as caught:
        Listener(Face.PEOPLE, 80, BOTH)
    assert str(caught.value) == f"The page: the port 80 of UI_PORT {told}, or to 0 for none"


# What the libraries log


def test_what_the_libraries_log_reads_as_the_daemons_own_and_holds_no_key(
    written: io.StringIO,
) -> None:
    logging.getLogger("waitress").error("it broke with %s\nFATAL: all is lost", KEY)
    logging.getLogger("waitress.queue").warning("Task queue depth is 7")
    logging.getLogger("werkzeug").info("anything")
    (line,) = written.getvalue().splitlines()
    assert re.fullmatch(
        r"\[..:..:..\] ERROR: waitress: it broke with \(hidden\)\\nFATAL: all is lost", line
    )


def test_a_broken_application_is_answered_and_told_in_a_line(
    written: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(_: WSGIEnvironment, __: StartResponse) -> Iterable[bytes]:
        raise LookupError(KEY)

    listener = Listener(Face.MACHINES, 0, broken)
    try:
        answer = requests.get(f"http://127.0.0.1:{listener.port}/a{'b' * 999}", timeout=90)
    finally:
        listener.close()
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/json")
    assert answer.json()["error"].startswith("Internal Server Error: ")
    assert "Traceback" not in answer.text
    (line,) = written.getvalue().splitlines()
    assert line[11:].startswith("ERROR: waitress: Exception while serving /abbb")
    assert len(line) < 400
    assert capfd.readouterr() == ("", "")


def test_the_traceback_of_one_is_in_the_log_of_whoever_debugs(written: io.StringIO) -> None:
    configure_logging("debug", written, secrets=(KEY,))

    def broken(_: WSGIEnvironment, __: StartResponse) -> Iterable[bytes]:
        raise LookupError(f"with {KEY}")

    listener = Listener(Face.MACHINES, 0, broken)
    try:
        assert requests.get(f"http://127.0.0.1:{listener.port}/", timeout=90).status_code == 500
    finally:
        listener.close()
    assert "    LookupError: with (hidden)" in written.getvalue().splitlines()
