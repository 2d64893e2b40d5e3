"""Serves the API and the page over HTTP, each on a port of its own, with waitress.

Both are parts of one WSGI application. Each listener writes into the environment of a request
which part the request is for, under a key that no client can set: WSGI prefixes the names of all
headers with ``HTTP_``.

The threads of waitress read one immutable status and never wait for the loop. If a port cannot be
opened, the daemon logs an error and runs without it.
"""

import errno
import logging
import resource
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from threading import Event, Thread
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server

from immich_job_daemon.model.settings import Settings
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.web.api.routes import create_api
from immich_job_daemon.web.hardening import Connection
from immich_job_daemon.web.ui.app import create_ui

THREADS: Final = 4
MAX_CONNECTIONS: Final = 100
MAX_HEADER_BYTES: Final = 32 * 1024
MAX_BODY_BYTES: Final = 64 * 1024
IDLE_TIMEOUT: Final = 30
"""Limits for all clients of a listener together; an idle connection is closed after IDLE_TIMEOUT
seconds."""

FILES_PER_CONNECTION: Final = 4
"""Files that the process must be allowed to open for each connection of a listener. The daemon
needs some of them for its own work."""

APP_KEY: Final = "immich_job_daemon.app"
"""The key in the environment of a request that holds the ``App`` for it."""

_MAX_LINE_LENGTH: Final = 300

log = logging.getLogger(__name__)


class App(StrEnum):
    """The applications; each has a listener."""

    API = "api"
    UI = "ui"


_DESCRIPTIONS: Final = {
    App.API: ("STATUS_PORT", "status API"),
    App.UI: ("UI_PORT", "page"),
}
"""The setting of each application's port, and what the log calls the application."""


class PortError(Exception):
    """A port cannot be opened. The message says why, and what to do."""


@contextmanager
def serve(hub: StatusHub, settings: Settings, *, behind_ingress: bool) -> Iterator[None]:
    """Serve the API and the page while the context lasts.

    ``behind_ingress`` says whether Home Assistant's ingress is in front of the page.
    """
    page = create_ui(hub, settings, behind_ingress=behind_ingress)
    ports = {App.API: settings.status_port, App.UI: settings.ui_port}
    with listen(create_dispatcher({App.API: create_api(hub), App.UI: page}), ports):
        yield


def create_dispatcher(apps: Mapping[App, WSGIApplication]) -> WSGIApplication:
    """Return an application that passes each request to the one that its listener named."""

    def dispatch(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return apps[App(environ[APP_KEY])](environ, start_response)

    return dispatch


def mark_requests(app: App, application: WSGIApplication) -> WSGIApplication:
    """Return the application with every request marked as one for ``app``."""

    def call_marked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return application({**environ, APP_KEY: str(app)}, start_response)

    return call_marked


@contextmanager
def listen(application: WSGIApplication, ports: Mapping[App, int]) -> Iterator[list["Listener"]]:
    """Listen on these ports while the context lasts; port 0 opens no listener.

    A port that cannot be opened is logged as an error.
    """
    route_logs()
    listeners = []
    for app, port in ports.items():
        if not port:
            continue
        try:
            listeners.append(Listener(app, port, application))
        except PortError as error:
            log.error("%s. The daemon runs without it.", error)
        else:
            _, title = _DESCRIPTIONS[app]
            log.info("Serving the %s on port %d.", title, port)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


class Listener:
    """Serves one application on a port of all addresses of this machine until it is closed.

    Args:
        port: 0 picks a free one.
        application: what ``create_dispatcher`` returned.

    Raises:
        PortError: the port is in use, or not permitted.
    """

    def __init__(self, app: App, port: int, application: WSGIApplication) -> None:
        self.app = app
        sockets = _open_sockets(app, port)
        self.port: int = sockets[0].getsockname()[1]
        self._is_closing = Event()
        self._map: dict[int, Any] = {}
        server = create_server(
            mark_requests(app, application),
            map=self._map,
            sockets=sockets,
            threads=THREADS,
            ident=None,
            log_socket_errors=False,
            asyncore_use_poll=True,
            connection_limit=_connection_limit(),
            backlog=MAX_CONNECTIONS,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=MAX_BODY_BYTES,
            channel_timeout=IDLE_TIMEOUT,
            cleanup_interval=IDLE_TIMEOUT // 6,
        )
        self._dispatcher = server.task_dispatcher
        # With an IPv4 and an IPv6 socket, waitress makes a server for each of them.
        self._servers = [one for one in self._map.values() if isinstance(one, BaseWSGIServer)]
        for one in self._servers:
            one.channel_class = Connection
        self._thread = Thread(target=self._run, name=f"{app} at {self.port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving, close every connection and free the port."""
        if not self._is_closing.is_set():
            self._is_closing.set()
            self._servers[0].pull_trigger()
            self._thread.join()
            self._dispatcher.shutdown(timeout=1)
            wasyncore.close_all(self._map, ignore_all=True)

    def _run(self) -> None:
        while not self._is_closing.is_set():
            wasyncore.loop(timeout=1.0, use_poll=True, map=self._map, count=1)


def route_logs() -> None:
    """Send the records of the HTTP libraries to the daemon's log, in its format.

    Their errors stay errors. The rest is about clients that did something wrong, and is only for
    debugging.
    """
    for name in ("waitress", "werkzeug"):
        library = logging.getLogger(name)
        library.handlers = [_ForwardingHandler()]
        library.propagate = False


class _ForwardingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelno if record.levelno >= logging.ERROR else logging.DEBUG
        text = f"{record.name}: {record.getMessage()}"[:_MAX_LINE_LENGTH]
        log.log(level, "%s", text, exc_info=record.exc_info)


def _connection_limit() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, files // FILES_PER_CONNECTION)


def _open_sockets(app: App, port: int) -> list[socket.socket]:
    """Return a socket for IPv4, and one for IPv6 if this machine supports it."""
    try:
        sockets = [socket.create_server(("", port))]
    except OSError as error:
        raise PortError(_describe_failure(app, port, error)) from error
    with suppress(OSError):
        same_port = sockets[0].getsockname()[1]
        sockets.append(socket.create_server(("::", same_port), family=socket.AF_INET6))
    return sockets


def _describe_failure(app: App, port: int, error: OSError) -> str:
    setting, title = _DESCRIPTIONS[app]
    if error.errno == errno.EADDRINUSE:
        reason, remedy = "another program uses it", "a free port"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        reason, remedy = "the daemon's user is not allowed to", "a port from 1024 on"
    else:
        reason, remedy = error.strerror or str(error), "another port"
    return (
        f"Cannot open port {port} for the {title}: {reason}. Set {setting} to {remedy}, or to 0 to "
        f"turn the {title} off"
    )
