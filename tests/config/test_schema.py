"""The settings: their sources, valid and invalid values, and the messages about them."""

import dataclasses
import io
import json
import math
import re
import traceback
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.config.schema import (
    SCHEMA,
    SETTINGS,
    SettingsError,
    read_options,
    read_settings,
)
from immich_job_daemon.config.secret_scanner import SECRETS
from immich_job_daemon.model.queue import PRIORITY, PROTECTED
from immich_job_daemon.model.settings import Broker, OnExit, Scan, Settings
from immich_job_daemon.model.windows import Window

KEY: Final = "Xk3+/yZ9qW7vLmN2pR5tB8sD"
PASSWORD: Final = "schöner hören"
NUMBERS: Final = [
    "MAX_CONCURRENT_JOBS",
    "UNRESTRICTED_BELOW",
    "POLL_INTERVAL",
    "YIELD_AFTER",
    "MAX_WAIT",
    "PAUSE_ABOVE_LOAD",
    "STATUS_PORT",
    "UI_PORT",
]


def read(**options: object) -> Settings:
    return read_settings({}, {"API_KEY": KEY, **options})[0]


def warnings(**options: object) -> list[str]:
    return read_settings({}, {"API_KEY": KEY, **options})[1]


def problems(**options: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(**options)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    return caught.value.problems


def problem(**options: object) -> str:
    (line,) = problems(**options)
    return line


# Sources


def test_every_setting_but_the_key_has_a_default() -> None:
    assert read() == Settings(
        immich_url="",
        api_key=Secret(KEY),
        max_concurrent_jobs=1,
        poll_interval=10.0,
        queue_priority=PRIORITY,
        protected_queues=frozenset(PROTECTED),
        unrestricted_below=0,
        schedule=(),
        exclusive=(),
        yield_after=None,
        max_wait=None,
        pause_above_load=None,
        scan=None,
        dry_run=False,
        on_exit=OnExit.RELEASE,
        log_level="info",
        status_port=8085,
        ui_port=8099,
        ui_password=Secret(""),
        mqtt_url=None,
        data_dir=Path("/data"),
    )


def test_every_setting_is_read_from_the_environment() -> None:
    environment = {
        "IMMICH_URL": "http://photos:1",
        "API_KEY": KEY,
        "MAX_CONCURRENT_JOBS": "2",
        "POLL_INTERVAL": "1 minute",
        "QUEUE_PRIORITY": "ocr,library",
        "PROTECTED_QUEUES": "editor",
        "UNRESTRICTED_BELOW": "50",
        "SCHEDULE": "videoConversion,ocr=22:00-06:00 mon-fri; all=00:00-12:30",
        "EXCLUSIVE": "smartSearch,ocr;library,sidecar",
        "YIELD_AFTER": "5m",
        "MAX_WAIT": "12 hours",
        "PAUSE_ABOVE_LOAD": "1.5",
        "SCAN": "03:00 sun",
        "DRY_RUN": "true",
        "ON_EXIT": "keep",
        "LOG_LEVEL": "debug",
        "STATUS_PORT": "80",
        "UI_PORT": "0",
        "UI_PASSWORD": PASSWORD,
        "MQTT_URL": "mqtt://ha:p%40ss-word@broker:1884",
        "DATA_DIR": "state",
    }
    expected = Settings(
        immich_url="http://photos:1",
        api_key=Secret(KEY),
        max_concurrent_jobs=2,
        poll_interval=60.0,
        queue_priority=("ocr", "library"),
        protected_queues=frozenset({"editor"}),
        unrestricted_below=50,
        schedule=(
            Window(frozenset({"videoConversion", "ocr"}), time(22), time(6), frozenset(range(5))),
            Window(None, time(0), time(12, 30)),
        ),
        exclusive=(frozenset({"smartSearch", "ocr"}), frozenset({"library", "sidecar"})),
        yield_after=300.0,
        max_wait=43200.0,
        pause_above_load=1.5,
        scan=Scan(Window(None, time(3), time(4), frozenset({6}))),
        dry_run=True,
        on_exit=OnExit.KEEP,
        log_level="debug",
        status_port=80,
        ui_port=0,
        ui_password=Secret(PASSWORD),
        mqtt_url=Broker("broker", 1884, "ha", Secret("p@ss-word")),
        data_dir=Path("state"),
    )
    assert environment.keys() == SETTINGS.keys()
    assert read_settings(environment, None) == (expected, [])
    assert read_settings({}, environment) == (expected, [])


def test_options_override_the_environment_one_by_one() -> None:
    environment = {"API_KEY": "other", "MAX_CONCURRENT_JOBS": "3", "UNRESTRICTED_BELOW": "7"}
    settings, _ = read_settings(environment, {"API_KEY": KEY, "MAX_CONCURRENT_JOBS": 2})
    assert settings.api_key.reveal() == KEY
    assert settings.max_concurrent_jobs == 2
    assert settings.unrestricted_below == 7


def test_an_invalid_variable_is_ignored_where_an_option_overrides_it() -> None:
    settings, _ = read_settings({"ON_EXIT": "maybe"}, {"API_KEY": KEY, "ON_EXIT": "keep"})
    assert settings.on_exit is OnExit.KEEP


@pytest.mark.parametrize("unset", [None, "", "  ", "\n", "null", " null "])
@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "API_KEY"])
def test_an_unset_option_has_its_default(name: str, unset: object) -> None:
    assert read(**{name: unset}) == read()


@pytest.mark.parametrize("unset", ["", "  ", "null"])
def test_an_unset_variable_has_its_default(unset: str) -> None:
    environment = {**dict.fromkeys(SETTINGS, unset), "API_KEY": KEY}
    assert read_settings(environment, None) == (read(), [])


@pytest.mark.parametrize("unset", [None, "", "null"])
def test_an_unset_option_does_not_override_the_environment(unset: object) -> None:
    environment = {"API_KEY": KEY, "POLL_INTERVAL": "5", "QUEUE_PRIORITY": "ocr"}
    settings, _ = read_settings(environment, dict.fromkeys(SETTINGS, unset))
    assert (settings.api_key.reveal(), settings.poll_interval) == (KEY, 5.0)
    assert settings.queue_priority == ("ocr",)


def test_an_empty_list_does_not_override_the_environment() -> None:
    environment = {"API_KEY": KEY, "QUEUE_PRIORITY": "ocr"}
    assert read_settings(environment, {"QUEUE_PRIORITY": []})[0].queue_priority == ("ocr",)


def test_an_unknown_option_is_ignored_with_a_warning() -> None:
    settings, lines = read_settings({}, {"API_KEY": KEY, "OPTION_X": 1, "api_key": "z"})
    assert settings == read()
    assert lines == [
        "OPTION_X: unknown setting, ignored",
        "api_key: unknown setting, ignored",
    ]


def test_an_unknown_option_cannot_forge_a_line_or_show_the_key() -> None:
    lines = warnings(**{"a\nFATAL: b": 1, f"x{KEY}": 2, "n" * 500: 3})
    assert lines[0] == r"'a\nFATAL: b': unknown setting, ignored"
    assert lines[1] == "a hidden name: unknown setting, ignored"
    assert len(lines[2]) < 120


def test_an_unknown_variable_is_ignored_without_a_warning() -> None:
    assert read_settings({"API_KEY": KEY, "PATH": "/bin", "API_KEYS": ""}, {})[1] == []


# Error messages


def test_all_invalid_values_are_reported_at_once_in_the_order_of_the_schema() -> None:
    assert problems(
        DATA_DIR="a\0b",
        UI_PASSWORD="short",
        UI_PORT="65536",
        STATUS_PORT="-1",
        LOG_LEVEL="loud",
        ON_EXIT="maybe",
        UNRESTRICTED_BELOW="-1",
        PROTECTED_QUEUES="a b",
        QUEUE_PRIORITY=["ocr", "ocr"],
        POLL_INTERVAL="10 parsecs",
        MAX_CONCURRENT_JOBS="0",
        API_KEY="",
        IMMICH_URL="ftp://photos",
    ) == [
        f"{wrong}, expected {SETTINGS[wrong.partition(':')[0]].expected}"
        for wrong in (
            "IMMICH_URL: is not an http or https address, got 'ftp://photos'",
            "API_KEY: is required, got nothing",
            "MAX_CONCURRENT_JOBS: is too small, got '0'",
            "POLL_INTERVAL: is not a duration, got '10 parsecs'",
            "QUEUE_PRIORITY: contains a name more than once, got 'ocr'",
            "PROTECTED_QUEUES: contains an invalid queue name, got 'a b'",
            "UNRESTRICTED_BELOW: is too small, got '-1'",
            "ON_EXIT: is neither release nor keep, got 'maybe'",
            "LOG_LEVEL: is not a log level, got 'loud'",
            "STATUS_PORT: is not a port, got '-1'",
            "UI_PORT: is not a port, got '65536'",
            "UI_PASSWORD: is too short, got a hidden value",
            r"DATA_DIR: contains a NUL character, got 'a\x00b'",
        )
    ]


def test_an_error_says_what_is_wrong_and_what_is_expected() -> None:
    assert problem(UNRESTRICTED_BELOW="many") == (
        "UNRESTRICTED_BELOW: is not a whole number, got 'many', expected a whole number, at least 0"
    )


def test_a_value_is_shown_in_at_most_60_characters() -> None:
    line = problem(LOG_LEVEL="x" * 5000)
    assert f"got '{'x' * 56}..., expected" in line


@pytest.mark.parametrize(
    "hostile", ["a\nFATAL: b", "a\x1b[2Jb", "a\u202eb", "a\u2028b", "a\udc80b"]
)
def test_a_value_cannot_forge_a_line(hostile: str) -> None:
    for name in set(SETTINGS) - {"API_KEY", "DATA_DIR"}:
        assert problem(**{name: hostile}).isprintable()


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "API_KEY"])
@pytest.mark.parametrize("wrong", [True, False, {"a": 1}, [[1]], {}])
def test_a_value_of_a_type_that_no_setting_has_is_rejected(name: str, wrong: object) -> None:
    if name == "DRY_RUN" and isinstance(wrong, bool):
        assert read(DRY_RUN=wrong).dry_run is wrong
        return
    assert problem(**{name: wrong}).startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["IMMICH_URL", "ON_EXIT", "LOG_LEVEL", "DATA_DIR"])
@pytest.mark.parametrize("wrong", [1, 2.5, [], ["/data"]])
def test_a_value_other_than_text_is_rejected_where_text_is_needed(name: str, wrong: object) -> None:
    assert f"{name}: is not text, got {wrong!r}, " in problem(**{name: wrong})


def test_a_value_too_deep_or_too_long_to_show_is_rejected() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert "got a value too large to show" in problem(MAX_CONCURRENT_JOBS=deep)
    assert "got a value too large to show" in problem(LOG_LEVEL=10**5000)


# IMMICH_URL


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        ("http://immich:2283", "http://immich:2283"),
        ("http://immich:2283/", "http://immich:2283"),
        ("http://immich:2283//", "http://immich:2283"),
        ("http://immich:2283/api", "http://immich:2283"),
        ("http://immich:2283/api/", "http://immich:2283"),
        ("  http://immich:2283 \n", "http://immich:2283"),
        ("HTTPS://immich", "https://immich"),
        ("192.168.1.5:2283", "http://192.168.1.5:2283"),
        ("192.168.1.5:2283/api", "http://192.168.1.5:2283"),
        ("immich", "http://immich"),
        ("http://api", "http://api"),
        ("https://home.example/photos", "https://home.example/photos"),
        ("https://home.example/photos/api/", "https://home.example/photos"),
        ("https://home.example/apiary", "https://home.example/apiary"),
        ("http://[::1]:2283/", "http://[::1]:2283"),
        ("https://müller.example", "https://müller.example"),
        ("http://db21ed7f-immich:8080", "http://db21ed7f-immich:8080"),
        ("http://my_host:65535", "http://my_host:65535"),
    ],
)
def test_an_address_is_normalised(raw: str, parsed: str) -> None:
    assert read(IMMICH_URL=raw).immich_url == parsed
    assert read(IMMICH_URL=parsed).immich_url == parsed


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("ftp://immich", "is not an http or https address"),
        ("http://", "has no host"),
        ("http:///photos", "has no host"),
        ("http://:2283", "has no host"),
        ("/api", "has no host"),
        ("http://immich:0", "has an invalid port"),
        ("http://immich:65536", "has an invalid port"),
        ("http://immich:port", "has an invalid port"),
        ("http://immich:", "has an invalid port"),
        ("http:/immich", "has an invalid port"),
        ("http://immich?a=1", "contains ? or #"),
        ("http://immich/?", "contains ? or #"),
        ("http://immich#top", "contains ? or #"),
        ("http://im mich", "contains a space"),
        ("http://immich/a\tb", "contains a space"),
        ("http://immich/\x00", "contains a space"),
        ("http://immich\\photos", "contains a space, a backslash"),
        ("http://[::1", "is not an address"),
        ("http://[::1]x:80", "a"),
        ("http://im*mich", "has an invalid host name"),
        ("http://a..b", "has an invalid host name"),
        (f"http://{'a' * 64}.example", "has an invalid host name"),
        (f"http://{'a/' * 2000}", "is too long"),
    ],
)
def test_an_invalid_address_is_rejected(wrong: str, message: str) -> None:
    line = problem(IMMICH_URL=wrong)
    assert line.startswith("IMMICH_URL: ")
    assert message in line


@pytest.mark.parametrize(
    "wrong",
    [
        "http://user:hunter2@immich",
        "user:hunter2@immich",
        "http://u:hunter2 @immich",
        "ftp://hunter2@h",
    ],
)
def test_a_password_in_the_address_is_rejected_and_not_shown(wrong: str) -> None:
    line = problem(IMMICH_URL=wrong)
    assert "got a hidden value" in line
    assert "hunter2" not in line


def test_a_username_in_the_address_is_rejected_with_the_reason() -> None:
    assert "contains a username or password, which Immich does not accept" in problem(
        IMMICH_URL="http://user@immich"
    )


# API_KEY


@pytest.mark.parametrize("padding", ["", " ", "\n", "\t \r\n"])
def test_whitespace_around_the_key_is_ignored(padding: str) -> None:
    assert read(API_KEY=f"{padding}{KEY}{padding}").api_key.reveal() == KEY


@pytest.mark.parametrize("unset", [None, "", " ", "null"])
def test_a_key_is_required_and_the_message_says_where_to_create_one(unset: object) -> None:
    assert problem(API_KEY=unset) == (
        "API_KEY: is required, got nothing, "
        "expected a key from Immich > Account Settings > API Keys"
    )


@pytest.mark.parametrize(
    "wrong", [f"{KEY}\n{KEY}", f"{KEY}\x00{KEY}", f"a\x7f{KEY}", f"{KEY}€", f"{KEY}\x85a"]
)
def test_a_key_that_no_header_can_contain_is_rejected_without_showing_it(wrong: str) -> None:
    assert problem(API_KEY=wrong) == (
        "API_KEY: contains a space, a line break or another character that no key has, "
        "got a hidden value, expected a key from Immich > Account Settings > API Keys"
    )


@pytest.mark.parametrize("wrong", [12345678, 1.5, True, [KEY], {KEY: KEY}])
def test_a_key_of_a_wrong_type_is_rejected_without_showing_it(wrong: object) -> None:
    assert problem(API_KEY=wrong).startswith("API_KEY: is not text, got a hidden value, ")


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in SECRETS])
@pytest.mark.parametrize(
    "misplaced", [KEY, [f"? {KEY}"], {"a": [KEY]}, f"? {KEY} ?", "? Xk3%2B%2FyZ9qW7vLmN2pR5tB8sD"]
)
def test_a_key_entered_for_another_setting_is_not_shown(name: str, misplaced: object) -> None:
    try:
        lines = warnings(**{name: misplaced})
    except SettingsError as error:
        lines = error.problems
        assert lines == [
            f"{name}: contains the API key, got a hidden value, expected {SETTINGS[name].expected}"
        ]
    assert KEY not in "".join(lines)


def test_an_overridden_key_of_the_environment_is_not_shown_either() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"API_KEY": KEY}, {"API_KEY": "other", "ON_EXIT": KEY})
    assert caught.value.problems == [
        "ON_EXIT: contains the API key, got a hidden value, expected release or keep"
    ]


def test_settings_do_not_show_the_key() -> None:
    settings = read()
    assert KEY not in repr(settings)
    assert KEY not in f"{settings} {settings.api_key} {settings.api_key!r}"
    assert KEY not in repr(dataclasses.asdict(settings))
    assert {settings.api_key: 1}[Secret(KEY)] == 1


# UI_PASSWORD


@pytest.mark.parametrize("password", ["12345678", PASSWORD, "a:b c#d@e?", "пароль для страницы"])
def test_a_password_may_contain_any_visible_characters(password: str) -> None:
    assert read(UI_PASSWORD=f" {password}\n").ui_password.reveal() == password


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("1234567", "is too short"),
        ("  1234567  ", "is too short"),
        (f"{PASSWORD}\n{PASSWORD}", "contains a line break or another invisible character"),
        (f"{PASSWORD}\0", "contains a line break or another invisible character"),
        (12345678, "is not text"),
        ([PASSWORD], "is not text"),
        ({"a": KEY}, "is not text"),
    ],
)
def test_an_invalid_password_is_rejected_without_showing_it(wrong: object, message: str) -> None:
    assert problem(UI_PASSWORD=wrong) == (
        f"UI_PASSWORD: {message}, got a hidden value, "
        "expected at least 8 characters, or empty for a view-only page"
    )


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in SECRETS])
def test_a_password_entered_for_another_setting_is_not_shown(name: str) -> None:
    for source in ({"UI_PASSWORD": PASSWORD}, {}):
        given: dict[str, object] = {"API_KEY": KEY, name: [f"? {PASSWORD}"]}
        with pytest.raises(SettingsError) as caught:
            read_settings(source, given if source else {**given, "UI_PASSWORD": PASSWORD})
        (line,) = caught.value.problems
        assert line == (
            f"{name}: contains the password for the page, got a hidden value, "
            f"expected {SETTINGS[name].expected}"
        )


def test_a_text_too_short_for_a_password_does_not_hide_other_values() -> None:
    assert "got 'maybe'" in problems(UI_PASSWORD="may", ON_EXIT="maybe")[0]


def test_settings_do_not_show_the_password() -> None:
    settings = read(UI_PASSWORD=PASSWORD)
    assert PASSWORD not in repr(settings)
    assert PASSWORD not in repr(dataclasses.asdict(settings))


# Ports


@pytest.mark.parametrize(("raw", "port"), [("0", 0), (1, 1), ("8080", 8080), (65535, 65535)])
def test_a_port_is_a_number_up_to_65535_or_0_for_none(raw: object, port: int) -> None:
    settings = read(STATUS_PORT=raw, UI_PORT=0)
    assert (settings.status_port, settings.ui_port) == (port, 0)


@pytest.mark.parametrize("wrong", [-1, 65536, 10**400, "http"])
def test_an_invalid_port_is_rejected(wrong: object) -> None:
    assert problem(UI_PORT=wrong).startswith("UI_PORT: is not a ")


def test_both_ports_must_differ_unless_they_are_0() -> None:
    assert problem(STATUS_PORT=80, UI_PORT=80).startswith(
        "UI_PORT: is the same port as STATUS_PORT, got 80, expected "
    )
    assert problem(STATUS_PORT=8099).startswith(
        "STATUS_PORT: is the same port as UI_PORT, got 8099, expected "
    )
    assert read(STATUS_PORT=0, UI_PORT=0).ui_port == 0


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().max_concurrent_jobs = 2  # type: ignore[misc]


# Numbers


@pytest.mark.parametrize("value", ["2", " 2 ", "\t2\n", "+2", "02", "2.0", 2, 2.0])
def test_a_whole_number_may_be_text_or_a_float(value: object) -> None:
    settings = read(MAX_CONCURRENT_JOBS=value, UNRESTRICTED_BELOW=value)
    assert (settings.max_concurrent_jobs, settings.unrestricted_below) == (2, 2)
    assert type(settings.max_concurrent_jobs) is int


@pytest.mark.parametrize(
    "wrong",
    ["two", "2.5", 2.5, "1e3", "0x2", "1_000", "٢", "2 3", "true", math.nan, math.inf, "9" * 5000],
)
def test_a_value_other_than_a_whole_number_is_rejected(wrong: object) -> None:
    for name in ("MAX_CONCURRENT_JOBS", "UNRESTRICTED_BELOW"):
        assert problem(**{name: wrong}).startswith(f"{name}: is not a whole number, got ")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("wrong", [True, False, "true", "false"])
def test_true_and_false_are_not_numbers(name: str, wrong: object) -> None:
    assert f", got {wrong!r}, " in problem(**{name: wrong})


@pytest.mark.parametrize("wrong", [0, -1, "0", "-1", -1.0])
def test_max_concurrent_jobs_is_at_least_1(wrong: object) -> None:
    assert problem(MAX_CONCURRENT_JOBS=wrong).startswith("MAX_CONCURRENT_JOBS: is too small, got ")


@pytest.mark.parametrize("none", [0, "0", 0.0, "-0"])
def test_unrestricted_below_may_be_0(none: object) -> None:
    assert read(UNRESTRICTED_BELOW=none).unrestricted_below == 0


# POLL_INTERVAL


@pytest.mark.parametrize(
    ("raw", "interval"),
    [
        (10, 10),
        (2.5, 2.5),
        ("10", 10),
        (" 2.5 ", 2.5),
        ("10s", 10),
        ("10 s", 10),
        ("10  seconds", 10),
        ("1 minute", 60),
        ("1m30s", 90),
        ("1 minute, 30 seconds", 90),
        ("1 Minute 30 Seconds", 90),
        ("1500 ms", 1.5),
        ("1", 1),
        ("1 hour", 3600),
        (3600, 3600),
    ],
)
def test_a_poll_interval_is_seconds_or_a_duration(raw: object, interval: float) -> None:
    assert read(POLL_INTERVAL=raw).poll_interval == interval
    assert type(read(POLL_INTERVAL=raw).poll_interval) is float


@pytest.mark.parametrize("wrong", [0, 0.99, "0", "500ms", "0s", -5, "-5", -math.inf, -(10**400)])
def test_a_poll_interval_is_at_least_a_second(wrong: object) -> None:
    assert problem(POLL_INTERVAL=wrong).startswith("POLL_INTERVAL: is too short, got ")


@pytest.mark.parametrize(
    "wrong", [3600.1, "3601", "2 hours", "1 year", math.inf, 10**400, "9" * 60]
)
def test_a_poll_interval_is_at_most_an_hour(wrong: object) -> None:
    assert problem(POLL_INTERVAL=wrong).startswith("POLL_INTERVAL: is too long, got ")


@pytest.mark.parametrize(
    "wrong",
    [
        "-5s",
        "+5s",
        "5s -3s",
        "1,5s",
        "10;20",
        "14:00",
        "10 parsecs",
        "s",
        "soon",
        "10s,",
        "nan",
        "inf",
        "1e1",
        "٣ s",
        "9" * 50 + " years",
        "1s" * 10_000,
        math.nan,
        [10],
    ],
)
def test_an_invalid_poll_interval_is_rejected(wrong: object) -> None:
    line = problem(POLL_INTERVAL=wrong)
    assert re.match("POLL_INTERVAL: is (neither|not) a ", line), line


# QUEUE_PRIORITY and PROTECTED_QUEUES


@pytest.mark.parametrize(
    "raw",
    [
        "ocr,library",
        " ocr , library ",
        "ocr,,library,",
        "ocr\nlibrary\n",
        ["ocr", "library"],
        [" ocr", "", None, "library"],
    ],
)
def test_queue_names_are_a_text_or_a_list(raw: object) -> None:
    settings = read(QUEUE_PRIORITY=raw, PROTECTED_QUEUES=raw)
    assert settings.queue_priority == ("ocr", "library")
    assert settings.protected_queues == {"ocr", "library"}


@pytest.mark.parametrize("empty", [[], "", ",", " , ,", [""], [None, " "]])
def test_an_empty_list_of_queues_means_the_default(empty: object) -> None:
    assert read(QUEUE_PRIORITY=empty, PROTECTED_QUEUES=empty) == read()


@pytest.mark.parametrize("none", ["none", " None ", ["none"]])
def test_none_protects_no_queue(none: object) -> None:
    assert read(PROTECTED_QUEUES=none).protected_queues == frozenset()


def test_none_together_with_a_queue_is_rejected() -> None:
    assert "contains 'none' together with" in problem(PROTECTED_QUEUES="none,editor")


@pytest.mark.parametrize("name", ["QUEUE_PRIORITY", "PROTECTED_QUEUES"])
@pytest.mark.parametrize(
    "wrong", ["a b", "a/b", "a;b", "../x", "ä", "a" * 65, [1], [True], [["ocr"]], ["ocr,library"]]
)
def test_an_invalid_queue_name_is_rejected(name: str, wrong: object) -> None:
    assert problem(**{name: wrong}).startswith(f"{name}: contains an invalid queue name, got ")


@pytest.mark.parametrize("name", ["QUEUE_PRIORITY", "PROTECTED_QUEUES"])
def test_only_the_invalid_names_of_a_list_are_shown(name: str) -> None:
    assert "got ['a b', 3], expected" in problem(**{name: ["ocr", "a b", "library", 3]})


def test_long_and_unknown_queue_names_are_valid() -> None:
    names = ("a" * 64, "tomorrow_1.x-y")
    assert read(QUEUE_PRIORITY=list(names)).queue_priority == names


@pytest.mark.parametrize("name", ["QUEUE_PRIORITY", "PROTECTED_QUEUES"])
@pytest.mark.parametrize("wrong", ["ocr, library,ocr", ["ocr", "library", " ocr"]])
def test_a_duplicate_queue_name_is_rejected(name: str, wrong: object) -> None:
    assert problem(**{name: wrong}).startswith(
        f"{name}: contains a name more than once, got 'ocr', "
    )


def test_a_queue_in_both_lists_causes_a_warning() -> None:
    lines = warnings(QUEUE_PRIORITY="ocr,library", PROTECTED_QUEUES="library,editor")
    assert lines == ["QUEUE_PRIORITY: library is ignored, because it is also in PROTECTED_QUEUES"]


def test_a_priority_for_a_queue_protected_by_default_causes_a_warning() -> None:
    assert len(warnings(QUEUE_PRIORITY="search,ocr")) == 1


def test_protecting_a_queue_of_the_default_priority_causes_no_warning() -> None:
    assert warnings(PROTECTED_QUEUES="sidecar") == []


# YIELD_AFTER, MAX_WAIT, PAUSE_ABOVE_LOAD and DRY_RUN


@pytest.mark.parametrize(
    ("raw", "seconds"), [("5m", 300.0), (90, 90.0), ("1 day", 86400.0), ("2 hours", 7200.0)]
)
def test_yield_after_and_max_wait_are_durations(raw: object, seconds: float) -> None:
    settings = read(YIELD_AFTER=raw, MAX_WAIT=raw)
    assert (settings.yield_after, settings.max_wait) == (seconds, seconds)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("YIELD_AFTER", 0, "is too short"),
        ("YIELD_AFTER", "500ms", "is too short"),
        ("YIELD_AFTER", -5, "is too short"),
        ("YIELD_AFTER", "soon", "is neither a number of seconds nor a duration"),
        ("MAX_WAIT", 59, "is too short"),
        ("MAX_WAIT", "0", "is too short"),
        ("MAX_WAIT", "10 parsecs", "is not a duration"),
        ("PAUSE_ABOVE_LOAD", 0, "is too small"),
        ("PAUSE_ABOVE_LOAD", "0.09", "is too small"),
        ("PAUSE_ABOVE_LOAD", -1.5, "is too small"),
        ("PAUSE_ABOVE_LOAD", math.nan, "is too small"),
        ("PAUSE_ABOVE_LOAD", "high", "is not a number"),
        ("PAUSE_ABOVE_LOAD", "150 %", "is not a number"),
        ("PAUSE_ABOVE_LOAD", "1" * 65, "is not a number"),
        ("PAUSE_ABOVE_LOAD", [1.5], "is not a number"),
        ("DRY_RUN", 1, "is neither true nor false"),
        ("DRY_RUN", "perhaps", "is neither true nor false"),
    ],
)
def test_an_invalid_value_is_rejected_with_the_reason(
    name: str, wrong: object, message: str
) -> None:
    assert problem(**{name: wrong}) == (
        f"{name}: {message}, got {wrong!r}, expected {SETTINGS[name].expected}"
        if len(repr(wrong)) <= 60
        else f"{name}: {message}, got {repr(wrong)[:57]}..., expected {SETTINGS[name].expected}"
    )


@pytest.mark.parametrize(
    ("raw", "load"), [(1.5, 1.5), ("0.1", 0.1), (" 2 ", 2.0), (10**400, 1e9), (1, 1.0)]
)
def test_a_load_is_a_number_of_at_least_a_tenth(raw: object, load: float) -> None:
    assert read(PAUSE_ABOVE_LOAD=raw).pause_above_load == load


def test_a_load_too_large_for_a_float_is_capped() -> None:
    assert read(PAUSE_ABOVE_LOAD=10**5000).pause_above_load == 1e9


@pytest.mark.parametrize("yes", [True, "true", "Yes", " on ", "1"])
@pytest.mark.parametrize("no", [False, "false", "No", "off", "0"])
def test_dry_run_is_a_boolean_in_any_common_form(yes: object, no: object) -> None:
    assert read(DRY_RUN=yes).dry_run is True
    assert read(DRY_RUN=no).dry_run is False
    assert read_settings({"DRY_RUN": "true"}, {"API_KEY": KEY, "DRY_RUN": no})[0].dry_run is False


# SCHEDULE, EXCLUSIVE and SCAN; test_schedule_parser.py has their forms


@pytest.mark.parametrize("name", ["SCHEDULE", "EXCLUSIVE"])
@pytest.mark.parametrize("empty", [[], "", ",", ";", [""]])
def test_an_empty_schedule_does_not_override_the_environment(name: str, empty: object) -> None:
    written = {"SCHEDULE": "ocr=22:00-06:00", "EXCLUSIVE": "ocr,smartSearch"}[name]
    field = name.lower()
    configured = getattr(read(**{name: written}), field)
    assert len(configured) == 1
    expected = () if empty == ";" else configured
    found, _ = read_settings({name: written}, {"API_KEY": KEY, name: empty})
    assert getattr(found, field) == expected


def test_an_invalid_window_or_group_is_reported_in_one_line() -> None:
    assert problem(SCHEDULE="ocr=22:00-22:00") == (
        "SCHEDULE: has a window that opens and closes at the same time, got 'ocr=22:00-22:00', "
        "expected windows such as videoConversion,ocr=22:00-06:00 mon-fri, separated by "
        "semicolons, or a list of {queues, from, to, days}"
    )
    assert problem(EXCLUSIVE="ocr") == (
        "EXCLUSIVE: has a group with fewer than two queues, which has no effect, got 'ocr', "
        "expected queue groups such as smartSearch,faceDetection,ocr, separated by semicolons"
    )
    assert problem(SCAN="always") == (
        "SCAN: is neither a time of day nor a window, got 'always', expected a time such as 03:00, "
        "a window such as 01:00-05:00 mon-fri, or empty"
    )


def test_settings_without_effect_cause_warnings() -> None:
    assert warnings(
        SCHEDULE="backupDatabase,ocr=22:00-06:00", EXCLUSIVE="editor,ocr", QUEUE_PRIORITY="search"
    ) == [
        "QUEUE_PRIORITY: search is ignored, because it is also in PROTECTED_QUEUES",
        "SCHEDULE: backupDatabase is in PROTECTED_QUEUES, so its window has no effect",
        (
            "EXCLUSIVE: the group of ocr has no effect, because the rest of it is in "
            "PROTECTED_QUEUES: editor"
        ),
    ]


# Other settings


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [("release", OnExit.RELEASE), ("Keep", OnExit.KEEP), (" KEEP ", OnExit.KEEP)],
)
def test_on_exit_is_release_or_keep_in_any_case(raw: str, parsed: OnExit) -> None:
    assert read(ON_EXIT=raw).on_exit is parsed


@pytest.mark.parametrize("level", ["trace", "debug", "info", "notice", "warning", "error", "fatal"])
def test_log_levels_are_those_of_bashio_in_any_case(level: str) -> None:
    assert read(LOG_LEVEL=level).log_level == level
    assert read(LOG_LEVEL=f" {level.upper()} ").log_level == level


@pytest.mark.parametrize("folder", ["/data", "state/of it", ".", "/share/ä"])
def test_the_data_folder_may_be_absolute_or_relative(folder: str) -> None:
    assert read(DATA_DIR=f" {folder} ").data_dir == Path(folder)


# The schema as data


def test_the_schema_declares_each_setting_once() -> None:
    assert [str(marker) for marker in SCHEMA.schema] == list(SETTINGS)
    assert {name.lower() for name in SETTINGS} == {one.name for one in dataclasses.fields(Settings)}
    assert all(one.expected for one in SETTINGS.values())
    assert [name for name, one in SETTINGS.items() if one.default is None] == ["API_KEY"]


def test_every_default_is_parsed_to_the_default() -> None:
    defaults = {name: one.default for name, one in SETTINGS.items() if one.default is not None}
    printed = {name: str(value) for name, value in defaults.items()}
    assert read(**defaults) == read()
    assert read_settings({"API_KEY": KEY, **printed}, None) == (read(), [])


# Reading options


def problem_of_options(source: str, stdin: io.BytesIO | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        read_options(source, stdin)
    (line,) = caught.value.problems
    assert line.startswith("--options: ")
    assert line.isprintable()
    # The error of json contains the whole document.
    assert caught.value.__context__ is None
    return line


def test_options_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "options.json"
    file.write_text(json.dumps({"API_KEY": KEY, "QUEUE_PRIORITY": ["ocr"]}), encoding="utf-8-sig")
    assert read_options(str(file), None) == {"API_KEY": KEY, "QUEUE_PRIORITY": ["ocr"]}


class Pipe(io.BytesIO):
    """A stream that returns one byte at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(1, size or 0))


@pytest.mark.parametrize("kind", [io.BytesIO, Pipe])
def test_options_are_read_from_standard_input(kind: type[io.BytesIO]) -> None:
    assert read_options("-", kind('{"DATA_DIR": "ä"}'.encode())) == {"DATA_DIR": "ä"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid JSON (line 1, column 1)"),
        (b"{\n" + KEY.encode(), "is not valid JSON (line 2, column 1)"),
        (b'{"API_KEY": "' + KEY.encode(), "is not valid JSON"),
        (b"\xff\xfe\xfd" + KEY.encode(), "cannot be parsed as JSON"),
        (b'{"a": ' + b"[" * 500_000, "cannot be parsed as JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "cannot be parsed as JSON"),
        (b'"' + KEY.encode() + b'"', "is not a JSON object"),
        (b"[]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b'{"a": "' + KEY.encode() * 50_000 + b'"}', "is larger than 1 MiB"),
    ],
)
def test_invalid_options_are_rejected_without_showing_them(
    content: bytes, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "options.json"
    file.write_bytes(content)
    for line in (
        problem_of_options(str(file)),
        problem_of_options("-", io.BytesIO(content)),
    ):
        assert message in line
        assert KEY not in line
        assert line.endswith(
            "expected a JSON object of settings, in a file or, with -, in standard input"
        )


def test_options_of_exactly_1_mib_are_read() -> None:
    content = b'{"a": "' + b"x" * (1024 * 1024 - 9) + b'"}'
    assert len(content) == 1024 * 1024
    assert read_options("-", io.BytesIO(content)).keys() == {"a"}
    assert "is larger than 1 MiB" in problem_of_options("-", io.BytesIO(content + b" "))


def test_an_unreadable_file_is_reported_with_its_name_and_the_reason(tmp_path: Path) -> None:
    assert "No such file" in problem_of_options(str(tmp_path / "gone"))
    assert "Is a directory" in problem_of_options(str(tmp_path))
    assert r"the file 'a\x00b' cannot be read" in problem_of_options("a\0b")


def test_a_closed_standard_input_is_reported() -> None:
    closed = io.BytesIO()
    closed.close()
    assert "standard input cannot be read" in problem_of_options("-", closed)
    assert "standard input is closed" in problem_of_options("-")


def test_options_passed_instead_of_a_file_name_are_not_shown() -> None:
    line = problem_of_options(json.dumps({"API_KEY": KEY}))
    assert "the file cannot be read" in line
    assert KEY not in line


# Generated values

json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=80)
    | st.sampled_from([KEY, f"http://{KEY}@h", f"x{KEY}", "1", "10s", "keep", "none", "ocr"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
any_options = st.dictionaries(st.sampled_from(list(SETTINGS)) | st.text(max_size=12), json_like)
any_environment = st.dictionaries(st.sampled_from(list(SETTINGS)), st.text(max_size=80))


@given(environment=any_environment, options=any_options, has_key=st.booleans())
def test_any_values_are_valid_or_reported_by_name_without_the_key(
    environment: Mapping[str, str], options: dict[str, object], *, has_key: bool
) -> None:
    if has_key:
        options = {**options, "API_KEY": KEY}
    else:
        environment = {**environment, "API_KEY": KEY}
    try:
        settings, lines = read_settings(environment, options)
    except SettingsError as error:
        lines = error.problems
        assert lines
        assert all(line.split(": ")[0] in SETTINGS for line in lines)
        assert all(re.match(r"\w+: .+, got .+, expected .+", line) for line in lines)
        assert len({line.split(":")[0] for line in lines}) == len(lines)
    else:
        assert settings.max_concurrent_jobs >= 1
        assert 1 <= settings.poll_interval <= 3600
        assert KEY not in repr(dataclasses.replace(settings, immich_url="", data_dir=Path()))
    assert all(line.isprintable() and KEY not in line for line in lines)


@given(content=st.binary(max_size=200) | json_like.map(lambda value: json.dumps(value).encode()))
def test_any_content_is_an_object_or_one_problem(content: bytes) -> None:
    try:
        found: object = read_options("-", io.BytesIO(content))
    except SettingsError as error:
        (line,) = error.problems
        found = {}
    else:
        line = ""
    assert isinstance(found, dict)
    assert KEY not in line


@given(interval=st.floats(min_value=1, max_value=3600))
def test_a_poll_interval_is_the_same_as_a_number_and_as_text(interval: float) -> None:
    assert read(POLL_INTERVAL=interval).poll_interval == interval
    assert read(POLL_INTERVAL=str(interval)).poll_interval == interval
