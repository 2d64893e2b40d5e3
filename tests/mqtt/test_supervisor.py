"""What the Supervisor says of a broker, over real HTTP."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Final

import pytest

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.model.settings import Broker
from immich_job_daemon.mqtt import supervisor
from immich_job_daemon.mqtt.supervisor import NoBrokerError, ask
from simulator.immich.ports import free_port
from tests.mqtt.fake_supervisor import TOKEN, standing_in

SERVICE: Final[dict[str, Any]] = {
    "addon": "core_mosquitto",
    "host": "core-mosquitto",
    "port": 1883,
    "ssl": False,
    "protocol": "3.1.1",
    "username": "addons",
    "password": "of-the-service",
}


def told(**changes: object) -> bytes:
    return json.dumps({"result": "ok", "data": {**SERVICE, **changes}}).encode()


def test_the_broker_is_the_one_that_the_supervisor_knows() -> None:
    with standing_in(200, told()) as address:
        found = ask(TOKEN, address)
    assert found == Broker("core-mosquitto", 1883, "addons", Secret("of-the-service"))


def test_a_service_without_users_or_with_tls_is_understood() -> None:
    with standing_in(200, told(username=None, password=None, port="8883", ssl=True)) as address:
        assert ask(TOKEN, address) == Broker("core-mosquitto", 8883, is_encrypted=True)


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (
            400,
            b'{"result": "error", "message": "Service not enabled"}',
            "the Supervisor says 400: Service not enabled",
        ),
        (403, b"403: Forbidden", "the Supervisor says 403"),
        (500, b"[]", "the Supervisor says 500"),
        (302, b"", "the Supervisor says 302"),
        (200, b"<html>", "the Supervisor's answer makes no sense"),
        (200, b"[]", "the Supervisor's answer makes no sense"),
        (200, b'{"data": {}}', "the Supervisor's answer makes no sense"),
        (200, told(host=""), "the Supervisor's answer makes no sense"),
        (200, told(port=0), "the Supervisor's answer makes no sense"),
        (200, told(password=5), "the Supervisor's answer makes no sense"),
        (200, b"\xff" * 50, "the Supervisor's answer makes no sense"),
    ],
)
def test_no_broker_is_told_with_the_reason(status: int, body: bytes, why: str) -> None:
    with standing_in(status, body) as address, pytest.raises(NoBrokerError) as caught:
        ask(TOKEN, address)
    assert str(caught.value) == why


def test_a_wrong_token_is_no_broker_and_is_not_shown() -> None:
    with standing_in(200, told()) as address, pytest.raises(NoBrokerError) as caught:
        ask("another-token", address)
    assert str(caught.value) == "the Supervisor says 401"


@pytest.mark.parametrize("token", ["two\nlines", "\u20ac"])
def test_a_token_that_no_header_can_hold_is_no_broker_and_is_not_shown(token: str) -> None:
    with standing_in(200, told()) as address, pytest.raises(NoBrokerError) as caught:
        ask(token, address)
    assert str(caught.value) == "the Supervisor does not answer"


def test_where_no_supervisor_is_there_is_no_broker() -> None:
    with pytest.raises(NoBrokerError, match="does not answer"):
        ask(TOKEN, f"http://127.0.0.1:{free_port()}")


@contextmanager
def hanging() -> Iterator[str]:
    """Stand in for a Supervisor that takes a request and never answers."""
    ended = Event()

    class Silent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ended.wait()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_one_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "WITHIN", (5.0, 0.1))
    with hanging() as address, pytest.raises(NoBrokerError, match="does not answer"):
        ask(TOKEN, address)


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with standing_in(200, told()) as address:
        assert ask(TOKEN, address).host == "core-mosquitto"
