"""Ask a fake Supervisor for the broker, over real HTTP."""

import json
from typing import Any, Final

import pytest

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.model.settings import Broker
from immich_job_daemon.mqtt import supervisor
from immich_job_daemon.mqtt.supervisor import NoBrokerError, find_broker
from simulator.immich.ports import free_port
from tests.mqtt.fake_supervisor import TOKEN, fake_supervisor, hanging_supervisor

SERVICE: Final[dict[str, Any]] = {
    "addon": "core_mosquitto",
    "host": "core-mosquitto",
    "port": 1883,
    "ssl": False,
    "protocol": "3.1.1",
    "username": "addons",
    "password": "password-of-the-service",
}


def service_response(**changes: object) -> bytes:
    return json.dumps({"result": "ok", "data": {**SERVICE, **changes}}).encode()


def test_the_supervisor_names_the_broker() -> None:
    with fake_supervisor(200, service_response()) as url:
        broker = find_broker(TOKEN, url)
    assert broker == Broker("core-mosquitto", 1883, "addons", Secret("password-of-the-service"))


def test_a_service_without_credentials_and_with_tls_is_supported() -> None:
    with fake_supervisor(
        200, service_response(username=None, password=None, port="8883", ssl=True)
    ) as url:
        assert find_broker(TOKEN, url) == Broker("core-mosquitto", 8883, is_encrypted=True)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            400,
            b'{"result": "error", "message": "Service not enabled"}',
            "the Supervisor responded with 400: Service not enabled",
        ),
        (403, b"403: Forbidden", "the Supervisor responded with 403"),
        (500, b"[]", "the Supervisor responded with 500"),
        (302, b"", "the Supervisor responded with 302"),
        (200, b"<html>", "the Supervisor sent an invalid response"),
        (200, b"[]", "the Supervisor sent an invalid response"),
        (200, b'{"data": {}}', "the Supervisor sent an invalid response"),
        (200, service_response(host=""), "the Supervisor sent an invalid response"),
        (200, service_response(port=0), "the Supervisor sent an invalid response"),
        (200, service_response(password=5), "the Supervisor sent an invalid response"),
        (200, b"\xff" * 50, "the Supervisor sent an invalid response"),
    ],
)
def test_an_unusable_response_raises_an_error_with_the_reason(
    status: int, body: bytes, message: str
) -> None:
    with fake_supervisor(status, body) as url, pytest.raises(NoBrokerError) as caught:
        find_broker(TOKEN, url)
    assert str(caught.value) == message


def test_a_wrong_token_is_not_in_the_error() -> None:
    with fake_supervisor(200, service_response()) as url, pytest.raises(NoBrokerError) as caught:
        find_broker("another-token", url)
    assert str(caught.value) == "the Supervisor responded with 401"


@pytest.mark.parametrize("token", ["two\nlines", "\u20ac"])
def test_a_token_that_is_invalid_in_a_header_is_not_in_the_error(token: str) -> None:
    with fake_supervisor(200, service_response()) as url, pytest.raises(NoBrokerError) as caught:
        find_broker(token, url)
    assert str(caught.value) == "the Supervisor did not respond"


def test_an_unreachable_supervisor_raises_an_error() -> None:
    with pytest.raises(NoBrokerError, match="did not respond"):
        find_broker(TOKEN, f"http://127.0.0.1:{free_port()}")


def test_a_hanging_supervisor_causes_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "TIMEOUT", (5.0, 0.1))
    with hanging_supervisor() as url, pytest.raises(NoBrokerError, match="did not respond"):
        find_broker(TOKEN, url)


def test_proxies_from_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with fake_supervisor(200, service_response()) as url:
        assert find_broker(TOKEN, url).host == "core-mosquitto"
