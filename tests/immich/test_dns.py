from __future__ import annotations

import socket
import threading
from contextlib import closing

import pytest

from immich_job_daemon.base.errors import UnreachableError
from immich_job_daemon.immich.transport import HttpTransport, addresses


@pytest.mark.parametrize("address", ["192.168.1.5", "::1", "fe80::1%lo"])
def test_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert addresses(address, within=0.0) == [address]


def test_a_name_has_the_addresses_that_the_system_tells() -> None:
    assert "127.0.0.1" in addresses("localhost", within=60.0)


def test_what_no_host_can_be_called_is_an_error() -> None:
    with pytest.raises(UnicodeError):
        addresses("a" * 64 + ".example", within=60.0)


def test_a_silent_name_server_is_left_in_time_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def silent(*_: object) -> list[object]:
        over.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    with closing(HttpTransport("http://immich.home", "a-key-of-tests")) as transport:
        with pytest.raises(UnreachableError) as caught:
            transport.send("GET", "/", timeout=0.2)
        over.set()
    assert str(caught.value).startswith(
        "no name server tells where the host in http://immich.home is: see whether the router"
    )


def test_the_next_address_is_taken_where_the_first_does_not_accept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = socket.getaddrinfo

    def two(name: str, *others: int) -> object:
        if name != "immich.home":
            return found(name, *others)
        return [(0, 0, 0, "", (address, 0)) for address in ("127.0.0.9", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")

        thread = threading.Thread(target=answer)
        thread.start()
        with closing(HttpTransport(f"http://immich.home:{port}", "a-key-of-tests")) as transport:
            assert transport.send("GET", "/").body == b"[]"
        thread.join()
