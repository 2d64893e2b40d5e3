"""MQTT_URL: what is understood, what is refused and why, and that the password is never seen."""

import dataclasses

import pytest
import voluptuous as vol

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.config.broker import broker_or_nothing, passwords_in
from immich_job_daemon.config.hiding import SECRETS
from immich_job_daemon.config.schema import SETTINGS, SettingsError, read_settings
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
def test_an_address_says_where_the_broker_is_and_who_we_are_there(url: str, broker: Broker) -> None:
    assert broker_or_nothing(url) == broker


@pytest.mark.parametrize("nothing", ["", " ", "\n"])
def test_nothing_is_no_broker(nothing: str) -> None:
    assert broker_or_nothing(nothing) is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://broker", "is neither mqtt nor mqtts"),
        ("ws://broker:9001", "is neither mqtt nor mqtts"),
        ("mqtt://", "has no host"),
        ("mqtt://broker:0", "has a wrong port"),
        ("mqtt://broker:", "has a wrong port"),
        ("mqtt://broker:65536", "has a wrong port or is not an address"),
        ("mqtt://broker:http", "has a wrong port or is not an address"),
        ("mqtt://bro ker", "holds a space, a backslash or a character that cannot be seen"),
        ("mqtt://bro\nker", "holds a space, a backslash or a character that cannot be seen"),
        ("mqtt://bro*ker", "has a host that no machine is called"),
        ("mqtt://:secret@broker", "has a password without a user"),
        ("mqtt://broker/home", "has something after the host and its port"),
        ("mqtt://ha:pa/ss@broker", "has a wrong port or is not an address"),
        ("mqtt://broker?x=1", "has something after the host and its port"),
        ("mqtt://" + "b" * 3000, "is too long"),
        (1883, "is not a text"),
        (["mqtt://broker"], "is not a text"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(url: object, why: str) -> None:
    with pytest.raises(vol.Invalid, match=why):
        broker_or_nothing(url)


def test_a_broker_is_named_without_the_user() -> None:
    assert str(Broker("broker", 1883, "ha", Secret(PASSWORD))) == "broker:1883"
    assert str(Broker("fe80::1", 1883)) == "[fe80::1]:1883"


def test_nothing_shows_the_password() -> None:
    settings, _ = read_settings({}, {"API_KEY": "x", "MQTT_URL": f"mqtt://ha:{QUOTED}@broker"})
    for text in (repr(settings), repr(dataclasses.asdict(settings)), f"{settings.mqtt_url}"):
        assert PASSWORD not in text
        assert QUOTED not in text
    assert PASSWORD in settings.secrets


def test_a_password_that_may_be_any_word_is_not_taken_out_of_every_line() -> None:
    settings, _ = read_settings({}, {"API_KEY": "x", "MQTT_URL": "mqtt://ha:queues@broker"})
    assert settings.secrets == ["x", ""]


def test_a_wrong_address_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({}, {"API_KEY": "x", "MQTT_URL": f"http://ha:{QUOTED}@broker"})
    (line,) = caught.value.problems
    assert line == (
        "MQTT_URL: is neither mqtt nor mqtts, got a hidden value, "
        "expected an address such as mqtt://user:password@192.168.1.5:1883, or nothing"
    )


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in SECRETS])
def test_the_password_in_the_place_of_another_value_is_not_shown(name: str) -> None:
    given = {"API_KEY": "x1", "MQTT_URL": f"mqtt://ha:{QUOTED}@broker", name: [f"? {PASSWORD}"]}
    with pytest.raises(SettingsError) as caught:
        read_settings({}, given)
    (line,) = caught.value.problems
    assert line == (
        f"{name}: holds the password of MQTT_URL, got a hidden value, "
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
def test_the_password_is_found_in_a_wrong_address_too(text: str, passwords: set[str]) -> None:
    assert set(passwords_in(text)) == passwords
