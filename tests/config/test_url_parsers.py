"""MQTT_URL: valid and invalid addresses, and that no output shows the password."""

import dataclasses

import pytest
import voluptuous as vol

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.config.schema import SETTINGS, SettingsError, read_settings
from immich_job_daemon.config.secret_scanner import SECRETS
from immich_job_daemon.config.url_parsers import find_passwords, optional_broker
from immich_job_daemon.model.settings import Broker

PASSWORD = "p@ss/word"
QUOTED = "p%40ss%2Fword"


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("mqtt://192.168.1.5", Broker("192.168.1.5", 1883)),
        ("192.168.1.5", Broker("192.168.1.5", 1883)),
        ("core-mosquitto:1884", Broker("core-mosquitto", 1884)),
        ("MQTT://Broker.Local/", Broker("broker.local", 1883)),
        ("mqtts://broker", Broker("broker", 8883, is_encrypted=True)),
        ("mqtts://u:p@broker:1", Broker("broker", 1, "u", Secret("p"), is_encrypted=True)),
        (f"mqtt://ha:{QUOTED}@broker", Broker("broker", 1883, "ha", Secret(PASSWORD))),
        ("mqtt://ha:a@b@broker", Broker("broker", 1883, "ha", Secret("a@b"))),
        ("mqtt://ha@broker", Broker("broker", 1883, "ha")),
        ("mqtt://[fe80::1]:1883", Broker("fe80::1", 1883)),
        (" mqtt://broker\n", Broker("broker", 1883)),
    ],
)
def test_an_address_has_a_host_a_port_and_credentials(url: str, broker: Broker) -> None:
    assert optional_broker(url) == broker


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_address_means_no_broker(empty: str) -> None:
    assert optional_broker(empty) is None


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://broker", "is not an mqtt or mqtts address"),
        ("ws://broker:9001", "is not an mqtt or mqtts address"),
        ("mqtt://", "has no host"),
        ("mqtt://broker:0", "has an invalid port"),
        ("mqtt://broker:", "has an invalid port"),
        ("mqtt://broker:65536", "is not an address or has an invalid port"),
        ("mqtt://broker:http", "is not an address or has an invalid port"),
        ("mqtt://bro ker", "contains a space, a backslash or an invisible character"),
        ("mqtt://bro\nker", "contains a space, a backslash or an invisible character"),
        ("mqtt://bro*ker", "has an invalid host name"),
        ("mqtt://bro..ker", "has an invalid host name"),
        ("mqtt://:secret@broker", "has a password but no username"),
        ("mqtt://broker/home", "has text after the host and port"),
        ("mqtt://ha:pa/ss@broker", "is not an address or has an invalid port"),
        ("mqtt://broker?x=1", "has text after the host and port"),
        ("mqtt://" + "b" * 3000, "is too long"),
        (1883, "is not text"),
        (["mqtt://broker"], "is not text"),
    ],
)
def test_an_invalid_address_is_rejected_with_the_reason(url: object, problem: str) -> None:
    with pytest.raises(vol.Invalid, match=problem):
        optional_broker(url)


def test_a_broker_is_shown_without_its_credentials() -> None:
    assert str(Broker("broker", 1883, "ha", Secret(PASSWORD))) == "broker:1883"
    assert str(Broker("fe80::1", 1883)) == "[fe80::1]:1883"


def test_settings_do_not_show_the_password_of_the_broker() -> None:
    settings, _ = read_settings({}, {"API_KEY": "x", "MQTT_URL": f"mqtt://ha:{QUOTED}@broker"})
    for text in (repr(settings), repr(dataclasses.asdict(settings)), f"{settings.mqtt_url}"):
        assert PASSWORD not in text
        assert QUOTED not in text
    assert PASSWORD in settings.secrets


def test_a_short_password_is_not_redacted_because_it_may_be_any_word() -> None:
    settings, _ = read_settings({}, {"API_KEY": "x", "MQTT_URL": "mqtt://ha:queues@broker"})
    assert settings.secrets == ["x", ""]


def test_an_invalid_address_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({}, {"API_KEY": "x", "MQTT_URL": f"http://ha:{QUOTED}@broker"})
    (line,) = caught.value.problems
    assert line == (
        "MQTT_URL: is not an mqtt or mqtts address, got a hidden value, "
        "expected an address such as mqtt://user:password@192.168.1.5:1883, or empty"
    )


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in SECRETS])
def test_a_password_entered_for_another_setting_is_not_shown(name: str) -> None:
    options = {"API_KEY": "x1", "MQTT_URL": f"mqtt://ha:{QUOTED}@broker", name: [f"? {PASSWORD}"]}
    with pytest.raises(SettingsError) as caught:
        read_settings({}, options)
    (line,) = caught.value.problems
    assert line == (
        f"{name}: contains the password from MQTT_URL, got a hidden value, "
        f"expected {SETTINGS[name].expected}"
    )


@pytest.mark.parametrize(
    ("text", "passwords"),
    [
        (f"mqtt://ha:{QUOTED}@broker", {QUOTED, PASSWORD}),
        ("mqtt://ha:a/b#c@broker", {"a/b#c"}),
        ("ha:secret@broker", {"secret"}),
        ("mqtt://broker", set()),
        ("mqtt://ha@broker", set()),
    ],
)
def test_a_password_is_found_in_an_invalid_address_too(text: str, passwords: set[str]) -> None:
    assert set(find_passwords(text)) == passwords
