"""The listeners: ports at which waitress, in threads of its own, serves the application.

A port that cannot be had is told of, and the daemon runs on without it. What the libraries log
goes into the daemon's own log, in its look.
"""

import errno
import logging
import resource
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any, Final, NamedTuple
from wsgiref.types import WSGIApplication

from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server

from immich_job_daemon.web.application import Face, seen_as
from immich_job_daemon.web.hardening import Connection

log = logging.getLogger(__name__)


class _About(NamedTuple):
    setting: str
    what: str


ABOUT: Final = {
    Face.MACHINES: _About("STATUS_PORT", "Totals, metrics and health"),
    Face.PEOPLE: _About("UI_PORT", "The page"),
}
"""What is at each listener's port, and the setting for it."""

THREADS: Final = 4
MOST_CONNECTIONS: Final = 100
LARGEST_HEAD: Final = 32 * 1024
LARGEST_BODY: Final = 64 * 1024
LONGEST_SILENCE: Final = 30
"""What all clients of a listener together may cost: threads, connections, bytes of a request's
headers and of its body, and the seconds after which an idle connection is closed."""
LARGEST_SHARE: Final = 4
"""One of so many files that the process may open are for a listener's connections, at most."""

_LONGEST_LINE: Final = 300
_LIBRARIES: Final = ("waitress", "werkzeug")


class PortError(Exception):
    """A port cannot be had; says why, and what to do."""


class Listener:
    """One face at one port of all of this machine's addresses, from now until it is closed.

    Args:
        face: whom it is for.
        port: where; 0 takes a free one.
        application: what answers, with all its faces.

    Raises:
        PortError: the port is taken, or forbidden.
    """

    def __init__(self, face: Face, port: int, application: WSGIApplication) -> None:
        self.face = face
        sockets = _sockets(face, port)
        self.port: int = sockets[0].getsockname()[1]
        self._ending = Event()
        self._map: dict[int, Any] = {}
        server = create_server(
            seen_as(face, application),
            map=self._map,
            sockets=sockets,
            threads=THREADS,
            ident=None,
            log_socket_errors=False,
            asyncore_use_poll=True,
            connection_limit=_most_connections(),
            backlog=MOST_CONNECTIONS,
            max_request_header_size=LARGEST_HEAD,
            max_request_body_size=LARGEST_BODY,
            channel_timeout=LONGEST_SILENCE,
            cleanup_interval=LONGEST_SILENCE // 6,
        )
        self._dispatcher = server.task_dispatcher
        self._doors = [one for one in self._map.values() if isinstance(one, BaseWSGIServer)]
        for door in self._doors:
            door.channel_class = Connection
        self._thread = Thread(target=self._serve, name=f"{face} at {self.port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer no more, cut every connection and free the port."""
        if not self._ending.is_set():
            self._ending.set()
            self._doors[0].pull_trigger()
            self._thread.join()
            self._dispatcher.shutdown(timeout=1)
            wasyncore.close_all(self._map, ignore_all=True)

    def _serve(self) -> None:
        while not self._ending.is_set():
            wasyncore.loop(timeout=1.0, use_poll=True, map=self._map, count=1)


@contextmanager
def listening(application: WSGIApplication, ports: Mapping[Face, int]) -> Iterator[list[Listener]]:
    """Serve the application at these ports, of which 0 is none, as long as the context lasts.

    A port that cannot be had is an error in the log and else nothing.
    """
    route_logs()
    listeners = []
    for face, port in ports.items():
        if not port:
            continue
        try:
            listeners.append(Listener(face, port, application))
        except PortError as error:
            log.error("%s. The daemon runs on without it.", error)
        else:
            log.info("%s: at port %d.", ABOUT[face].what, port)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


def route_logs() -> None:
    """Let what the libraries log appear in the daemon's log only, and in its look.

    Only their errors are worth a line; what a client does wrong is none.
    """
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers = [_Forwarding()]
        library.propagate = False


class _Forwarding(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelno if record.levelno >= logging.ERROR else logging.DEBUG
        text = f"{record.name}: {record.getMessage()}"[:_LONGEST_LINE]
        log.log(level, "%s", text, exc_info=record.exc_info)


def _most_connections() -> int:
    """Return how many connections a listener takes: some files are left for the daemon's work."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, files // LARGEST_SHARE)


def _sockets(face: Face, port: int) -> list[socket.socket]:
    """Return sockets at the port of every address, of IPv6 only where this machine has it."""
    try:
        every = [socket.create_server(("", port))]
    except OSError as error:
        raise PortError(_reason(face, port, error)) from error
    with suppress(OSError):
        of_both = every[0].getsockname()[1]
        every.append(socket.create_server(("::", of_both), family=socket.AF_INET6))
    return every


def _reason(face: Face, port: int, error: OSError) -> str:
    setting, what = ABOUT[face]
    if error.errno == errno.EADDRINUSE:
        wrong = "is taken by another program: set it to a free one"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        wrong = "is forbidden to the daemon's user: set it to one from 1024 on"
    else:
        wrong = f"cannot be opened ({error.strerror or error}): set it to another"
    return f"{what}: the port {port} of {setting} {wrong}, or to 0 for none"
