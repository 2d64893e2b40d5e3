"""A TCP proxy that makes a broker look older: it rejects clients that speak MQTT 5."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

MQTT_5: Final = 5
UNSUPPORTED_VERSION: Final = b"\x20\x02\x00\x01"
"""The CONNACK with which an MQTT 3.1.1 broker rejects the protocol version."""


@contextmanager
def mqtt3_proxy(broker_port: int, *, sends_connack: bool = True) -> Iterator[int]:
    """Yield the port of the proxy.

    Args:
        broker_port: the port of the real broker.
        sends_connack: whether a client that is rejected gets a CONNACK with the reason.
    """

    def listen() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                args = (connection, broker_port, sends_connack)
                threading.Thread(target=_serve, args=args, daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=listen)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(client: socket.socket, broker_port: int, sends_connack: bool) -> None:  # noqa: FBT001 - a thread's argument
    # The broker may have ended, or the client left: then the connection just closes.
    with client, suppress(OSError):
        if not (connect := client.recv(65536)):
            return
        if connect[connect.index(b"MQTT") + 4] == MQTT_5:
            if sends_connack:
                client.sendall(UNSUPPORTED_VERSION)
            return
        with socket.create_connection(("127.0.0.1", broker_port)) as broker:
            broker.sendall(connect)
            threading.Thread(target=_forward, args=(broker, client), daemon=True).start()
            _forward(client, broker)


def _forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
