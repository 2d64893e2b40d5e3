"""The add-on as seen by Home Assistant's store and options page.

The rules are those of the Supervisor and of the add-on linter, as of August 2026.
"""

import math
import re
import struct
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from PIL import Image

from immich_job_daemon import __version__
from immich_job_daemon.config.schema import SETTINGS, SettingsError, read_settings
from immich_job_daemon.config.secret_scanner import SECRETS
from immich_job_daemon.daemon.loop import RELEASE_WITHIN
from tests.support.repository import ROOT, tracked_files

REPOSITORY_URL = "https://github.com/immich-job-daemon/immich-job-daemon"
CONFIG: Final[dict[str, Any]] = yaml.safe_load((ROOT / "config.yaml").read_text())
FORMS: Final[dict[str, Any]] = CONFIG["schema"]
Form = str | list[Any] | dict[str, Any]
"""The type of an option in config.yaml: a string, or a list or an object of such strings."""
OBJECTS: Final[list[object]] = [
    {"a": ["x"]},
    [["x"]],
    [{"b": "x"}],
    [{"a": "x"}],
    [{"a": [1]}],
    None,
]
NOT_OPTIONS = {"DATA_DIR", "STATUS_PORT", "UI_PORT", "UI_PASSWORD"}
"""Settings that are not options of the add-on: it stores its data below /data, and Home Assistant
configures its ports and protects its page."""

DEFAULTS: Final = {
    "apparmor": True,
    "backup": "hot",
    "boot": "auto",
    "hassio_api": False,
    "hassio_role": "default",
    "homeassistant_api": False,
    "host_network": False,
    "ingress": False,
    "ingress_port": 8099,
    "ingress_stream": False,
    "init": True,
    "panel_admin": True,
    "panel_icon": "mdi:puzzle",
    "stage": "stable",
    "startup": "application",
    "timeout": 10,
}
WITHOUT_DEFAULT: Final = {
    "arch",
    "description",
    "homeassistant",
    "image",
    "map",
    "name",
    "options",
    "panel_title",
    "ports",
    "privileged",
    "schema",
    "services",
    "slug",
    "url",
    "version",
}


def relative_paths() -> list[Path]:
    """Return the paths of all files, relative to the root of the repository."""
    return [path.relative_to(ROOT) for path in tracked_files()]


def files_named(stem: str) -> list[str]:
    kinds = {".yaml", ".yml", ".json"}
    return [str(p) for p in relative_paths() if p.stem == stem and p.suffix in kinds]


# Validation of stored options, as in the Supervisor.


class InvalidOptionError(Exception):
    """The options page refuses to save this value, or the add-on is not started with it."""


def stored_options(options: Mapping[str, object]) -> dict[str, object]:
    """Return the contents of options.json for the options that a user has stored."""
    merged = {**CONFIG["options"], **options}
    result = {
        name: validated(FORMS[name], value) for name, value in merged.items() if name in FORMS
    }
    for name, form in FORMS.items():
        if name not in result and not is_optional(form):
            raise InvalidOptionError(f"Missing option '{name}'")
    return result


def is_optional(form: Form) -> bool:
    """Return whether an option may be left out: a list if its items may, never one of objects."""
    item = form[0] if isinstance(form, list) else form
    return isinstance(item, str) and item.endswith("?")


def validated(form: Form, value: object) -> object:
    if isinstance(form, list):
        if not isinstance(value, list):
            raise InvalidOptionError("is not a list")
        return [validated(form[0], item) for item in value]
    if isinstance(form, dict):
        return validated_object(form, value)
    if value is None:
        raise InvalidOptionError("null")
    kind, _, bounds = form.removesuffix("?").partition("(")
    return CHECKS[kind](bounds.removesuffix(")"), value)


def validated_object(form: dict[str, Any], value: object) -> object:
    if not isinstance(value, dict):
        raise InvalidOptionError("is not an object")
    missing = [key for key in form if key not in value and not is_optional(form[key])]
    if missing:
        raise InvalidOptionError(f"Missing option '{missing[0]}'")
    return {key: validated(form[key], item) for key, item in value.items() if key in form}


def text(_: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidOptionError("is not a string")
    return value


def url(_: str, value: object) -> str:
    if not re.match(r"\w+://[^/]+", text("", value)):
        raise InvalidOptionError("is not a URL")
    return text("", value)


def integer(bounds: str, value: object) -> int:
    try:
        number = int(value)  # type: ignore[call-overload] # any value may be stored
    except (TypeError, ValueError):
        raise InvalidOptionError("is not a number") from None
    minimum, maximum = (float(bound or default) for bound, default in limits(bounds))
    if not minimum <= number <= maximum:
        raise InvalidOptionError("is out of range")
    return int(number)


def number(bounds: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type] # any value may be stored
    except (TypeError, ValueError):
        raise InvalidOptionError("is not a number") from None
    minimum, maximum = (float(bound or default) for bound, default in limits(bounds))
    if not minimum <= number <= maximum:
        raise InvalidOptionError("is out of range")
    return number


def boolean(_: str, value: object) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "enable": True}
    words |= {"0": False, "false": False, "no": False, "off": False, "disable": False}
    if isinstance(value, str):
        if value.lower() not in words:
            raise InvalidOptionError("is not a boolean")
        return words[value.lower()]
    return bool(value)


def limits(bounds: str) -> Iterator[tuple[str, float]]:
    minimum, _, maximum = bounds.partition(",")
    return iter([(minimum, -math.inf), (maximum, math.inf)])


def matching(pattern: str, value: object) -> str:
    if not re.match(pattern, str(value)):
        raise InvalidOptionError("does not match")
    return str(value)


def one_of(choices: str, value: object) -> str:
    if str(value) not in choices.split("|"):
        raise InvalidOptionError("is not one of the choices")
    return str(value)


CHECKS: Final = {
    "str": text,
    "password": text,
    "url": url,
    "int": integer,
    "float": number,
    "bool": boolean,
    "match": matching,
    "list": one_of,
}


def is_valid(form: Form, value: object) -> bool:
    try:
        validated(form, value)
    except InvalidOptionError:
        return False
    return True


@pytest.mark.parametrize(
    ("form", "valid", "invalid"),
    [
        ("str?", ["", "a"], [1, None, True]),
        ("password", ["secret"], [1, None]),
        ("url?", ["http://192.168.1.5:2283"], ["", "192.168.1.5:2283", None]),
        ("int(1,)", [1, "2", 2.9, True], [0, "", "2.5", None, "two"]),
        ("list(a|b)?", ["a", "b"], ["A", "", "a|b", None]),
        (["str?"], [[], ["a", ""]], ["a", [1], [None]]),
        ("match(^[0-9]+$)", ["7", 7, "7\n"], ["", "seven", None]),
        ("float(0.1,)?", [0.1, 2, "1.5", True], [0, "", "high", None, [1]]),
        ("bool?", [True, "on", "False", 0], ["", "perhaps", None]),
        ([{"a": ["str"], "b": "str?"}], [[], [{"a": ["x"]}], [{"a": [], "c": 1}]], OBJECTS),
    ],
    ids=str,
)
def test_options_are_validated_here_as_by_the_supervisor(
    form: Form, valid: list[object], invalid: list[object]
) -> None:
    assert [value for value in valid if not is_valid(form, value)] == []
    assert [value for value in invalid if is_valid(form, value)] == []


# Files that the store finds.


def test_the_store_finds_exactly_one_add_on() -> None:
    """It searches all folders except hidden ones and those named rootfs."""
    found = [
        name
        for name in files_named("config")
        if not any(part.startswith(".") or part == "rootfs" for part in Path(name).parts)
    ]
    assert found == ["config.yaml"]


def test_the_store_finds_one_build_file() -> None:
    """It searches hidden folders too."""
    assert files_named("build") == ["build.yaml"]


def test_the_store_finds_one_repository_file() -> None:
    assert files_named("repository") == ["repository.yaml"]
    repository = yaml.safe_load((ROOT / "repository.yaml").read_text())
    assert repository.keys() == {"name", "url", "maintainer"}
    assert repository["url"] == CONFIG["url"] == REPOSITORY_URL


# config.yaml.


def test_every_key_is_known_to_the_supervisor() -> None:
    """The linter refuses ``watchdog``, ``squash``, and ``webui`` together with ``ingress``."""
    assert CONFIG.keys() - DEFAULTS.keys() - WITHOUT_DEFAULT == set()


def test_no_key_repeats_its_default() -> None:
    assert {k: v for k, v in CONFIG.items() if k in DEFAULTS and v == DEFAULTS[k]} == {}


def test_the_add_on_has_its_slug_architectures_and_ports() -> None:
    assert CONFIG["slug"] == "immich_job_daemon"
    assert set(CONFIG["arch"]) == {"amd64", "aarch64"}
    assert CONFIG["init"] is False, "s6-overlay 3 must run as process 1"
    assert CONFIG["services"] == ["mqtt:want"]
    assert CONFIG["ports"] == {"8085/tcp": None}
    assert CONFIG["panel_icon"].startswith("mdi:")
    assert CONFIG["panel_title"]


def test_the_version_is_that_of_the_package() -> None:
    assert CONFIG["version"] == __version__


def test_the_stop_timeout_is_long_enough_for_a_slow_machine() -> None:
    assert 5 * RELEASE_WITHIN <= CONFIG["timeout"] <= 300


def test_the_security_rating_is_the_highest() -> None:
    profiles = re.findall(r"^profile \S+", (ROOT / "apparmor.txt").read_text(), re.MULTILINE)
    assert len(profiles) == 1
    rating = 5
    rating += 2 if CONFIG.get("ingress") else 0
    rating += 1 if CONFIG.get("apparmor", True) else -1
    rating -= 1 if CONFIG.get("host_network") else 0
    assert rating == 8


def test_no_permission_lowers_the_security_rating() -> None:
    rights = {
        "auth_api",
        "devices",
        "docker_api",
        "full_access",
        "hassio_role",
        "host_dbus",
        "host_ipc",
        "host_network",
        "host_pid",
        "host_uts",
        "kernel_modules",
        "map",
        "privileged",
    }
    assert CONFIG.keys() & rights == set()


def test_the_base_image_is_pinned_and_the_same_with_and_without_the_build_file() -> None:
    bases = yaml.safe_load((ROOT / "build.yaml").read_text())
    assert bases.keys() == {"build_from"}
    assert bases["build_from"].keys() == set(CONFIG["arch"])
    (base,) = set(bases["build_from"].values())
    pinned = r"ghcr\.io/home-assistant/base-python:3\.1[2-4]-alpine3\.2[2-4]-\d{4}\.\d\d\.\d+"
    assert re.fullmatch(pinned, base)
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^ARG BUILD_FROM=(\S+)$", dockerfile, re.MULTILINE) == [base]


# YAML.

YAML_FILES = [
    path for path in relative_paths() if path.suffix in {".yaml", ".yml"} and len(path.parts) <= 2
]


def nodes(node: yaml.Node) -> Iterator[yaml.Node]:
    yield node
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from (*nodes(key), *nodes(value))
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from nodes(item)


@pytest.mark.parametrize("path", YAML_FILES, ids=str)
def test_times_are_quoted_and_keys_are_unique(path: Path) -> None:
    """An unquoted 22:00 is read as 1320, and of two equal keys the last one silently wins."""
    root = yaml.compose((ROOT / path).read_text(), Loader=yaml.SafeLoader)
    assert root is not None
    for node in nodes(root):
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            assert not re.fullmatch(r"\d+(:\d+)+", node.value), node.start_mark
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            assert len(keys) == len(set(keys)), node.start_mark


# Options.


def daemon_accepts(name: str, value: object) -> bool:
    """Return whether the daemon accepts a value."""
    try:
        read_settings({}, {"API_KEY": "x", name: value})
    except SettingsError:
        return False
    return True


def form_of(name: str) -> Form:
    """Return the form that fits the daemon's schema, without the ``?`` of an optional one.

    The form of a duration is ``match`` without its pattern, which other tests check.
    """
    window = {"queues": ["ocr"], "from": "22:00", "to": "06:00"}
    if name in SECRETS:
        return "password"
    if daemon_accepts(name, [window]):
        return [{"queues": ["str"], "from": "str", "to": "str", "days": "str?"}]
    if daemon_accepts(name, ["sidecar"]) or daemon_accepts(name, ["sidecar,ocr"]):
        return ["str?"]
    return scalar_form_of(name)


def scalar_form_of(name: str) -> str:
    """Return the form of an option that is neither a list nor a secret."""
    yes: object = True
    if daemon_accepts(name, yes):
        return "bool"
    if daemon_accepts(name, 100) and daemon_accepts(name, "100s"):
        return "match"
    if daemon_accepts(name, 5.5):
        return f"float({next(n / 10 for n in range(100) if daemon_accepts(name, n / 10))},)"
    if daemon_accepts(name, 5):
        return f"int({min(number for number in range(-5, 6) if daemon_accepts(name, number))},)"
    if daemon_accepts(name, "anything-at-all") or daemon_accepts(name, "03:00"):
        return "str"
    choices = [
        word for word in re.findall(r"\w+", SETTINGS[name].expected) if daemon_accepts(name, word)
    ]
    return f"list({'|'.join(choices)})"


def test_option_types_match_the_schema_of_the_daemon() -> None:
    expected = {}
    for name in SETTINGS.keys() - NOT_OPTIONS:
        form = form_of(name)
        # Options that may be left out or emptied.
        is_optional = SETTINGS[name].default is not None and not CONFIG["options"].get(name)
        expected[name] = f"{form}?" if is_optional and isinstance(form, str) else form
    actual = {
        name: re.sub(r"^match\(.*\)", "match", form) if isinstance(form, str) else form
        for name, form in FORMS.items()
    }
    assert actual == expected


def test_option_defaults_match_the_schema_of_the_daemon() -> None:
    for name, value in CONFIG["options"].items():
        # The default of a list is an empty string in the environment.
        assert value == (SETTINGS[name].default or value)
        assert daemon_accepts(name, value)
    defaults, _ = read_settings({}, {"API_KEY": "x"})
    assert read_settings({}, {"API_KEY": "x", **CONFIG["options"]}) == (defaults, [])


def test_the_options_page_shows_five_fields_and_hides_the_others() -> None:
    visible = [
        name for name, form in FORMS.items() if name in CONFIG["options"] or not is_optional(form)
    ]
    assert visible == ["IMMICH_URL", "API_KEY", "MAX_CONCURRENT_JOBS", "POLL_INTERVAL", "SCHEDULE"]


@pytest.mark.parametrize("value", [10, "10", "10s", "0.5m", 2.5, "1 minute", "1m30s", "1 h", ""])
def test_every_interval_that_the_daemon_accepts_can_be_entered(value: object) -> None:
    assert is_valid(FORMS["POLL_INTERVAL"], value)
    assert daemon_accepts("POLL_INTERVAL", validated(FORMS["POLL_INTERVAL"], value))


@pytest.mark.parametrize("value", [-1, "soon", "-5", True, None, [], {}])
def test_an_invalid_interval_is_refused_by_the_options_page(value: object) -> None:
    assert not is_valid(FORMS["POLL_INTERVAL"], value)


@pytest.mark.parametrize("name", ["YIELD_AFTER", "MAX_WAIT"])
@pytest.mark.parametrize("value", [300, "300", "5m", "12 hours", "1 day", "1h30m", ""])
def test_every_duration_that_the_daemon_accepts_can_be_entered(name: str, value: object) -> None:
    assert is_valid(FORMS[name], value)
    assert daemon_accepts(name, validated(FORMS[name], value))


WINDOWS: Final = [
    {"queues": ["videoConversion"], "from": "22:00", "to": "06:00", "days": "mon-fri"},
    {"queues": ["all"], "from": "12:00", "to": "13:30"},
    {"queues": ["ocr", "smartSearch"], "from": "9:00", "to": "17:00", "days": ""},
]


def test_windows_from_the_options_page_equal_those_from_the_environment() -> None:
    settings, warnings = read_settings({}, stored_options({"API_KEY": "x", "SCHEDULE": WINDOWS}))
    assert warnings == []
    text = "videoConversion=22:00-06:00 mon-fri; all=12:00-13:30; ocr,smartSearch=9:00-17:00"
    assert settings == read_settings({"API_KEY": "x", "SCHEDULE": text}, None)[0]


@pytest.mark.parametrize(
    "windows",
    [
        "videoConversion=22:00-06:00",
        [{"queues": ["ocr"], "from": 1320, "to": "06:00"}],
        [{"queues": "ocr", "from": "22:00", "to": "06:00"}],
        [{"queues": ["ocr"], "from": "22:00"}],
        [{"from": "22:00", "to": "06:00"}],
        [{"queues": ["ocr"], "from": "22:00", "to": "06:00", "days": ["mon"]}],
    ],
    ids=str,
)
def test_ambiguous_windows_are_refused_by_the_options_page(windows: object) -> None:
    """An unquoted time was converted to a number: 1320 could be 22:00 or 13:20."""
    assert not is_valid(FORMS["SCHEDULE"], windows)


def test_numbers_and_booleans_are_converted_by_the_options_page() -> None:
    for value in ("1.5", 1.5):
        options = stored_options({"API_KEY": "x", "PAUSE_ABOVE_LOAD": value, "DRY_RUN": "on"})
        assert (options["PAUSE_ABOVE_LOAD"], options["DRY_RUN"]) == (1.5, True)
        settings, _ = read_settings({}, options)
        assert (settings.pause_above_load, settings.dry_run) == (1.5, True)


# Stored configurations.

OLD_OPTIONS = [
    {
        "IMMICH_URL": "http://192.168.1.5:2283",
        "API_KEY": "x",
        "MAX_CONCURRENT_JOBS": limit,
        "POLL_INTERVAL": interval,
    }
    for limit, interval in product((2, "2"), (10, "10"))
]


@pytest.mark.parametrize(
    "options_stored", OLD_OPTIONS, ids=lambda options_stored: str(list(options_stored.values())[2:])
)
def test_a_configuration_of_the_older_add_on_is_accepted(options_stored: dict[str, object]) -> None:
    settings, warnings = read_settings({}, stored_options(options_stored))
    assert warnings == []
    assert settings.immich_url == "http://192.168.1.5:2283"
    assert settings.max_concurrent_jobs == 2
    assert settings.poll_interval == 10


def test_a_new_installation_needs_only_the_api_key() -> None:
    with pytest.raises(InvalidOptionError, match="Missing option 'API_KEY'"):
        stored_options({})
    settings, warnings = read_settings({}, stored_options({"API_KEY": "x"}))
    defaults, _ = read_settings({}, {"API_KEY": "x"})
    assert (settings, warnings) == (defaults, [])


def test_a_url_without_a_scheme_is_accepted() -> None:
    options = stored_options({"API_KEY": "x", "IMMICH_URL": "192.168.1.5:2283"})
    assert read_settings({}, options)[0].immich_url == "http://192.168.1.5:2283"


def test_every_option_reaches_the_daemon() -> None:
    options = stored_options(
        {
            "IMMICH_URL": "db21ed7f-immich:8080",
            "API_KEY": "x",
            "MAX_CONCURRENT_JOBS": 3,
            "POLL_INTERVAL": "1 minute",
            "QUEUE_PRIORITY": ["videoConversion", "sidecar"],
            "PROTECTED_QUEUES": ["none"],
            "UNRESTRICTED_BELOW": 20,
            "SCHEDULE": WINDOWS[:1],
            "EXCLUSIVE": ["smartSearch,faceDetection,ocr", "library,sidecar"],
            "YIELD_AFTER": 300,
            "MAX_WAIT": "12 hours",
            "PAUSE_ABOVE_LOAD": 2,
            "SCAN": "03:00 sun",
            "DRY_RUN": True,
            "ON_EXIT": "keep",
            "LOG_LEVEL": "debug",
            "MQTT_URL": "mqtt://ha:secret@192.168.1.5",
        }
    )
    assert options.keys() == SETTINGS.keys() - NOT_OPTIONS
    settings, warnings = read_settings({}, options)
    assert warnings == []
    assert settings.queue_priority == ("videoConversion", "sidecar")
    assert settings.protected_queues == frozenset()
    assert settings.unrestricted_below == 20
    assert [str(window.start) for window in settings.schedule] == ["22:00:00"]
    assert [len(group) for group in settings.exclusive] == [3, 2]
    assert (settings.yield_after, settings.max_wait) == (300, 43200)
    assert settings.pause_above_load == 2
    assert settings.scan is not None
    assert settings.scan.window.days == {6}
    assert settings.dry_run is True
    assert settings.on_exit.value == "keep"
    assert settings.log_level == "debug"
    assert str(settings.mqtt_url) == "192.168.1.5:1883"
    assert settings.poll_interval == 60


# Images.


@pytest.mark.parametrize(("name", "size"), [("icon", (128, 128)), ("logo", (250, 100))])
def test_icon_and_logo_have_the_right_size_and_a_source(name: str, size: tuple[int, int]) -> None:
    content = (ROOT / f"{name}.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", content[16:24]) == size
    assert (ROOT / "docs" / "images" / f"{name}.svg").is_file()
    assert f"docs/images/{name}.svg" in (ROOT / "script" / "icons").read_text()


def luminance(colour: tuple[int, ...]) -> float:
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (part / 255 for part in colour[:3])
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: float, second: float) -> float:
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_the_icon_is_legible_at_32_pixels(background: str) -> None:
    """The bars contrast with each other and with the tile, and the tile with the background."""
    icon = Image.open(ROOT / "icon.png").convert("RGBA")
    background_image = Image.new("RGBA", icon.size, background)
    small = Image.alpha_composite(background_image, icon).resize((32, 32), Image.Resampling.LANCZOS)

    def at(x: int, y: int) -> float:
        colour = small.getpixel((x, y))
        assert isinstance(colour, tuple)
        return luminance(colour)

    running, tile, waiting = at(12, 10), at(3, 16), [at(10, 19), at(9, 24)]
    around = at(0, 0)
    assert contrast(tile, running) >= 3
    assert all(contrast(tile, bar) >= 2 for bar in waiting)
    assert all(contrast(running, bar) >= 1.3 for bar in waiting)
    assert max(contrast(around, tile), contrast(around, running)) >= 3
