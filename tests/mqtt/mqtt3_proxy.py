"""Makes an old broker of a new one: lets nobody through who speaks MQTT 5."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

NEW: Final = 5
UNKNOWN_VERSION: Final = b"\x20\x02\x00\x01"
"""How a broker of old says that it does not know the version of MQTT."""


@contextmanager
def knowing_no_mqtt_5(port: int, *, politely: bool = True) -> Iterator[int]:
    """Give the port of the old broker.

    Args:
        port: the new one's.
        politely: whether a client is told why it is not let in.
    """

    def listen() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                work = (connection, port, politely)
                threading.Thread(target=_serve, args=work, daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=listen)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(connection: socket.socket, port: int, politely: bool) -> None:  # noqa: FBT001 - a thread's argument
    with connection:
        greeting = connection.recv(65536)
        if greeting[greeting.index(b"MQTT") + 4] == NEW:
            if politely:
                connection.sendall(UNKNOWN_VERSION)
            return
        with socket.create_connection(("127.0.0.1", port)) as behind:
            behind.sendall(greeting)
            threading.Thread(target=_pass_on, args=(behind, connection), daemon=True).start()
            _pass_on(connection, behind)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
