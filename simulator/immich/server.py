"""The simulated Immich over real HTTP, in real time."""

import gzip
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Event, Lock, Thread
from time import monotonic
from typing import Final, Self

from immich_job_daemon.immich.transport import Response
from simulator.immich.api import Api
from simulator.immich.engine import Engine
from simulator.immich.faults import FAULT_RESPONSES, LATE_DELAY, Fault, FaultSource, truncated

KEEP_ALIVE: Final = 5.0
"""Seconds after which an idle connection is closed (seen on Immich 3.1.0)."""

COMPRESSED_FROM: Final = 1024
"""Smallest body in bytes that is compressed for a client that accepts gzip (source of Express)."""

_LONGEST_LINE: Final = 65536
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class SimulatedServer:
    """Serves a simulated Immich over HTTP in real time; a context manager.

    The engine's clock follows the real one: it is advanced before each request, not by a thread.

    Args:
        engine: the engine; while the server runs, use it inside ``present()`` only.
        api: processes the requests.
        speed: seconds of engine time per real second.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        faults: chooses the fault of each request.
        latency: real seconds to add to each request.
        keep_alive: real seconds after which an idle connection is closed.
    """

    def __init__(  # noqa: PLR0913 - each is a property of the server
        self,
        engine: Engine,
        api: Api,
        *,
        speed: float = 1.0,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: FaultSource | None = None,
        latency: float = 0.0,
        keep_alive: float = KEEP_ALIVE,
    ) -> None:
        self.faults = faults
        self.latency = latency
        self.keep_alive = keep_alive
        self.errors: list[BaseException] = []
        self.stopping = Event()
        self._api = api
        self._engine = engine
        self._speed = speed
        self._address = (host, port)
        self._lock = Lock()
        self._started = 0.0
        self._started_at = 0.0
        self._listener: _Listener | None = None
        self._thread: Thread | None = None

    @property
    def url(self) -> str:
        """The URL of the server; valid once it is started."""
        host, port = self._address
        return f"http://{host}:{port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start listening."""
        self.stopping.clear()
        self._started, self._started_at = monotonic(), self._engine.now
        self._listener = _Listener(self._address, self)
        self._address = self._listener.socket.getsockname()[:2]
        self._thread = Thread(target=self._listen, args=(self._listener,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close all connections and the port at once.

        Raises:
            RuntimeError: the simulation failed during a request. A test must not mistake that for
                an error of the client.
        """
        listener, thread = self._listener, self._thread
        if listener is None or thread is None:
            return
        self._listener = self._thread = None
        self.stopping.set()
        with suppress(OSError):
            # The thread waits for a connection; this one ends its wait.
            socket.create_connection(self._address, timeout=1.0).close()
        thread.join()
        listener.hang_up()
        listener.server_close()
        if self.errors:
            raise RuntimeError("the simulated Immich failed during a request") from self.errors[0]

    @contextmanager
    def present(self) -> Iterator[Engine]:
        """Advance the engine to the present and yield it; requests wait until the block ends."""
        with self._lock:
            self._engine.advance(self._started_at + (monotonic() - self._started) * self._speed)
            yield self._engine

    def process(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> Response | None:
        """Return the response to a request at the present time, or None if Immich is down."""
        with self.present() as engine:
            return self._api.respond(method, path, headers, body) if engine.is_up else None

    def process_late(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> None:
        """Process a request some real seconds from now, after its client has given up."""

        def run() -> None:
            if self._engine.is_up:
                self._api.respond(method, path, headers, body)

        with self.present() as engine:
            engine.at(engine.now + LATE_DELAY * self._speed, run)

    def _listen(self, listener: "_Listener") -> None:
        while not self.stopping.is_set():
            listener.handle_request()


class _Listener(ThreadingTCPServer):
    """Accepts connections.

    This is not http.server's own class, because that one does a DNS lookup when it starts.
    """

    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], simulated: SimulatedServer) -> None:
        self.simulated = simulated
        self._connections: set[socket.socket] = set()
        self._connections_lock = Lock()
        super().__init__(address, _Connection)

    def hang_up(self) -> None:
        """Shut down every connection; its reader sees the end of the stream."""
        with self._connections_lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection and remember it for ``hang_up``."""
        connection, address = super().get_request()
        with self._connections_lock:
            self._connections.add(connection)
        return connection, address

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002
        """Refuse the connection while Immich is down."""
        with self.simulated.present() as engine:
            is_up = engine.is_up
        if not is_up and isinstance(request, socket.socket):
            _reset_on_close(request)
        return is_up and not self.simulated.stopping.is_set()

    def shutdown_request(self, request: object) -> None:
        """Close a connection without the regular shutdown, which would prevent a reset."""
        if isinstance(request, socket.socket):
            with self._connections_lock:
                self._connections.discard(request)
                request.close()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Keep an error for ``SimulatedServer.close``, unless a client has disconnected."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.simulated.errors.append(error)


class _Connection(BaseHTTPRequestHandler):
    """One connection, which carries any number of requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        """Set the keep-alive timeout."""
        super().setup()
        self.connection.settimeout(self.server.simulated.keep_alive)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Do not log requests."""

    def handle_one_request(self) -> None:
        """Read one request with any method and respond to it."""
        self.close_connection = True
        with suppress(ConnectionError, TimeoutError):
            self.raw_requestline = self.rfile.readline(_LONGEST_LINE)
            if self.raw_requestline and self.parse_request():
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                self._respond(body or None)

    def _respond(self, body: bytes | None) -> None:
        simulated = self.server.simulated
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = (self.command, self.path, headers, body)
        with simulated.present():
            fault = simulated.faults(self.command, self.path) if simulated.faults else None
        simulated.stopping.wait(simulated.latency / 2)
        if fault in {Fault.HANG, Fault.LATE}:
            self._wait_for_close()
            if fault is Fault.LATE:
                simulated.process_late(*request)
        elif fault in {Fault.REFUSED, Fault.RESET}:
            self._reset()
        else:
            response = FAULT_RESPONSES.get(fault) if fault else None
            response = response or simulated.process(*request)
            simulated.stopping.wait(simulated.latency / 2)
            if response is None or fault is Fault.LOST_RESPONSE:
                self._reset()
            else:
                self._write(truncated(response) if fault is Fault.TRUNCATED else response)

    def _write(self, response: Response) -> None:
        """Send a response in one write."""
        body = b"" if self.command == "HEAD" else response.body
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
        lines.append(f"content-type: {response.content_type}")
        if len(body) >= COMPRESSED_FROM and "gzip" in self.headers.get("accept-encoding", ""):
            body = gzip.compress(body, compresslevel=1, mtime=0)
            lines += ["content-encoding: gzip", "vary: Accept-Encoding"]
        if self.command != "HEAD":
            lines.append(f"content-length: {len(body)}")
        if self.close_connection:
            lines.append("connection: close")
        else:
            timeout = self.server.simulated.keep_alive
            lines += ["connection: keep-alive", f"keep-alive: timeout={timeout:.0f}"]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def _wait_for_close(self) -> None:
        """Wait until the client or the server closes the connection."""
        self.close_connection = True
        self.connection.settimeout(None)
        with suppress(ConnectionError):
            while self.connection.recv(_LONGEST_LINE):
                pass

    def _reset(self) -> None:
        """Reset the connection instead of closing it."""
        self.close_connection = True
        _reset_on_close(self.connection)


def _reset_on_close(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
