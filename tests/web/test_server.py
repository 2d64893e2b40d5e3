"""The listeners: which port serves what, ports that cannot be opened, and the log."""

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
from werkzeug.test import Client

from immich_job_daemon.base.logging import configure_logging
from immich_job_daemon.web.server import (
    APP_KEY,
    App,
    Listener,
    PortError,
    create_dispatcher,
    listen,
    mark_requests,
    route_logs,
)
from simulator.immich.ports import free_port

KEY: Final = "a-secret-key-of-tests"


def respond_with(text: str) -> WSGIApplication:
    def respond(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        assert environ["wsgi.url_scheme"] == "http"
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "7")])
        return [text.encode()]

    return respond


BOTH: Final = create_dispatcher({App.API: respond_with("numbers"), App.UI: respond_with("a page!")})


@pytest.fixture
def log_stream() -> Iterator[io.StringIO]:
    """Return the stream that the daemon logs to, with LOG_LEVEL=info."""
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


# Which application serves a request


@pytest.mark.parametrize(("app", "text"), [(App.API, "numbers"), (App.UI, "a page!")])
def test_the_listener_decides_which_application_serves_a_request(app: App, text: str) -> None:
    assert Client(mark_requests(app, BOTH)).get("/").text == text


@pytest.mark.parametrize("name", [APP_KEY, "Immich-Job-Daemon.App", "immich_job_daemon.app"])
def test_a_header_cannot_decide_which_application_serves_a_request(name: str) -> None:
    client = Client(mark_requests(App.API, BOTH))
    assert client.get("/", headers={name: "ui"}).text == "numbers"


def test_a_request_without_a_listener_is_not_served() -> None:
    with pytest.raises(KeyError, match=APP_KEY):
        Client(BOTH).get("/")


# Ports


def test_each_application_has_its_own_port(log_stream: io.StringIO) -> None:
    ports = {App.API: free_port(), App.UI: free_port()}
    with listen(BOTH, ports):
        assert text_at(ports[App.API]) == "numbers"
        assert text_at(ports[App.UI]) == "a page!"
    assert [line[11:] for line in log_stream.getvalue().splitlines()] == [
        f"INFO: Serving the status API on port {ports[App.API]}.",
        f"INFO: Serving the page on port {ports[App.UI]}.",
    ]


def test_closing_frees_the_ports_and_ends_all_threads() -> None:
    before = threading.active_count()
    port = free_port()
    for _ in range(3):
        with listen(BOTH, {App.API: port}) as listeners:
            assert text_at(port) == "numbers"
    listeners[0].close()
    with pytest.raises(requests.ConnectionError):
        text_at(port)
    assert threading.active_count() == before


def test_closing_does_not_wait_for_connected_clients() -> None:
    port = free_port()
    with (
        listen(BOTH, {App.API: port}),
        socket.create_connection(("127.0.0.1", port), timeout=90) as idle,
    ):
        idle.sendall(b"GET / HT")
    assert idle.fileno() == -1


def test_port_0_opens_no_listener(log_stream: io.StringIO) -> None:
    with listen(BOTH, {App.API: 0, App.UI: 0}) as listeners:
        assert listeners == []
    assert log_stream.getvalue() == ""


def test_a_listener_accepts_ipv4_and_ipv6() -> None:
    has_ipv6 = socket.has_ipv6 and Path("/proc/net/if_inet6").exists()
    listener = Listener(App.API, 0, BOTH)
    try:
        assert text_at(listener.port) == "numbers"
        assert text_at(listener.port, "localhost") == "numbers"
        if has_ipv6:
            assert text_at(listener.port, "[::1]") == "numbers"
    finally:
        listener.close()


def test_without_ipv6_a_listener_accepts_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.create_server

    def create_server(address: tuple[str, int], *, family: int = socket.AF_INET) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return real(address, family=family)

    monkeypatch.setattr(socket, "create_server", create_server)
    listener = Listener(App.API, 0, BOTH)
    try:
        assert text_at(listener.port) == "numbers"
    finally:
        listener.close()


# Ports that cannot be opened


def test_a_port_in_use_is_logged_and_the_other_port_is_opened(log_stream: io.StringIO) -> None:
    with socket.create_server(("", 0)) as other_program:
        ports = {App.API: other_program.getsockname()[1], App.UI: free_port()}
        with listen(BOTH, ports) as listeners:
            assert [listener.app for listener in listeners] == [App.UI]
            assert text_at(ports[App.UI]) == "a page!"
    error, _ = log_stream.getvalue().splitlines()
    assert error[11:] == (
        f"ERROR: Cannot open port {ports[App.API]} for the status API: another program uses it. "
        "Set STATUS_PORT to a free port, or to 0 to turn the status API off. The daemon runs "
        "without it."
    )


@pytest.mark.parametrize(
    ("number", "reason", "remedy"),
    [
        (errno.EACCES, "the daemon's user is not allowed to", "a port from 1024 on"),
        (errno.EPERM, "the daemon's user is not allowed to", "a port from 1024 on"),
        (errno.EADDRINUSE, "another program uses it", "a free port"),
        (errno.EMFILE, "Too many open files", "another port"),
    ],
)
def test_the_advice_depends_on_why_a_port_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, number: int, reason: str, remedy: str
) -> None:
    def create_server(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "create_server", create_server)
    with pytest.raises(PortError) as caught:
        Listener(App.UI, 80, BOTH)
    assert str(caught.value) == (
        f"Cannot open port 80 for the page: {reason}. Set UI_PORT to {remedy}, or to 0 to turn the "
        "page off"
    )


# Logs of the libraries


def test_logs_of_the_libraries_have_the_daemons_format_and_contain_no_key(
    log_stream: io.StringIO,
) -> None:
    logging.getLogger("waitress").error("it broke with %s\nFATAL: all is lost", KEY)
    logging.getLogger("waitress.queue").warning("Task queue depth is 7")
    logging.getLogger("werkzeug").info("anything")
    (line,) = log_stream.getvalue().splitlines()
    assert re.fullmatch(
        r"\[..:..:..\] ERROR: waitress: it broke with \(hidden\)\\nFATAL: all is lost", line
    )


def test_a_broken_application_responds_with_500_and_logs_one_line(
    log_stream: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(_: WSGIEnvironment, __: StartResponse) -> Iterable[bytes]:
        raise LookupError(KEY)

    listener = Listener(App.API, 0, broken)
    try:
        response = requests.get(f"http://127.0.0.1:{listener.port}/a{'b' * 999}", timeout=90)
    finally:
        listener.close()
    assert (response.status_code, response.headers["Content-Type"]) == (500, "application/json")
    assert response.json()["error"].startswith("Internal Server Error: ")
    assert "Traceback" not in response.text
    (line,) = log_stream.getvalue().splitlines()
    assert line[11:].startswith("ERROR: waitress: Exception while serving /abbb")
    assert len(line) < 400
    assert capfd.readouterr() == ("", "")


def test_the_traceback_of_a_broken_application_is_in_the_debug_log(log_stream: io.StringIO) -> None:
    configure_logging("debug", log_stream, secrets=(KEY,))

    def broken(_: WSGIEnvironment, __: StartResponse) -> Iterable[bytes]:
        raise LookupError(f"with {KEY}")

    listener = Listener(App.API, 0, broken)
    try:
        assert requests.get(f"http://127.0.0.1:{listener.port}/", timeout=90).status_code == 500
    finally:
        listener.close()
    assert "    LookupError: with (hidden)" in log_stream.getvalue().splitlines()
