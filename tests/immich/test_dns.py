from __future__ import annotations

import socket
import threading
from contextlib import closing

import pytest

from immich_job_daemon.base.errors import UnreachableError
from immich_job_daemon.immich.transport import HttpTransport, resolve


@pytest.mark.parametrize("address", ["192.168.1.5", "::1", "fe80::1%lo"])
def test_an_ip_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert resolve(address, within=0.0) == [address]


def test_a_host_name_is_looked_up_by_the_system() -> None:
    assert "127.0.0.1" in resolve("localhost", within=60.0)


def test_an_invalid_host_name_is_an_error() -> None:
    with pytest.raises(UnicodeError):
        resolve("a" * 64 + ".example", within=60.0)


def test_a_silent_name_server_times_out_with_a_clear_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()

    def hang(*_: object) -> list[object]:
        over.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with closing(HttpTransport("http://immich.home", "a-key-of-tests")) as transport:
        with pytest.raises(UnreachableError) as caught:
            transport.send("GET", "/", timeout=0.2)
        over.set()
    assert str(caught.value).startswith(
        "no name server could look up the host name in http://immich.home: check whether the name "
    )


def test_the_second_address_is_tried_if_the_first_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    getaddrinfo = socket.getaddrinfo

    def resolve_to_two(name: str, *rest: int) -> object:
        if name != "immich.home":
            return getaddrinfo(name, *rest)
        return [(0, 0, 0, "", (address, 0)) for address in ("127.0.0.9", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve_to_two)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def respond() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")

        thread = threading.Thread(target=respond)
        thread.start()
        with closing(HttpTransport(f"http://immich.home:{port}", "a-key-of-tests")) as transport:
            assert transport.send("GET", "/").body == b"[]"
        thread.join()
