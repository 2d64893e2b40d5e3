"""The settings: what there is, where the values come from, and how an error in one reads."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import voluptuous as vol

from immich_job_daemon.base.logging import LEVELS
from immich_job_daemon.config import parsers, schedule_parser
from immich_job_daemon.config.broker import broker_or_nothing
from immich_job_daemon.config.hiding import SECRETS, Hiding
from immich_job_daemon.config.warnings import conflicting_settings
from immich_job_daemon.model.queue import PRIORITY, PROTECTED
from immich_job_daemon.model.settings import MIN_PASSWORD_LENGTH, OnExit, Settings

SCHEMA: Final = vol.Schema(
    {
        vol.Optional(
            "IMMICH_URL",
            default="",
            description="an address such as http://192.168.1.5:2283, or nothing to look for it",
        ): parsers.address_or_nothing,
        vol.Required(
            "API_KEY",
            msg="is required",
            description="a key from Immich > Account Settings > API Keys",
        ): parsers.api_key,
        vol.Optional(
            "MAX_CONCURRENT_JOBS", default=1, description="a whole number from 1"
        ): vol.All(parsers.whole_number, vol.Range(min=1, msg="is too small")),
        vol.Optional(
            "POLL_INTERVAL",
            default=10,
            description="a number of seconds or a duration such as 10s, from 1 second to 1 hour",
        ): vol.All(
            parsers.seconds,
            vol.Range(min=1, msg="is too short"),
            vol.Range(max=3600, msg="is too long"),
        ),
        vol.Optional(
            "QUEUE_PRIORITY",
            default=",".join(PRIORITY),
            description="names of queues with commas between them, each once",
        ): parsers.queue_names,
        vol.Optional(
            "PROTECTED_QUEUES",
            default=",".join(PROTECTED),
            description="names of queues with commas between them, each once, or none",
        ): parsers.queue_names_or_none,
        vol.Optional("UNRESTRICTED_BELOW", default=0, description="a whole number from 0"): vol.All(
            parsers.whole_number, vol.Range(min=0, msg="is too small")
        ),
        vol.Optional(
            "SCHEDULE",
            default="",
            description="windows such as videoConversion,ocr=22:00-06:00 mon-fri with ; between "
            "them, or a list of {queues, from, to, days}",
        ): schedule_parser.windows,
        vol.Optional(
            "EXCLUSIVE",
            default="",
            description="groups of queues such as smartSearch,faceDetection,ocr with ; between",
        ): schedule_parser.groups,
        vol.Optional(
            "YIELD_AFTER",
            default="",
            description="a number of seconds or a duration such as 5m, from 1 second, or nothing",
        ): parsers.duration_or_nothing,
        vol.Optional(
            "MAX_WAIT",
            default="",
            description="a number of seconds or a duration such as 12h, from 1 minute, or nothing",
        ): vol.All(
            parsers.duration_or_nothing, vol.Any(None, vol.Range(min=60), msg="is too short")
        ),
        vol.Optional(
            "PAUSE_ABOVE_LOAD",
            default="",
            description="a load for each processor core such as 1.5, from 0.1, or nothing",
        ): parsers.load_or_nothing,
        vol.Optional(
            "SCAN",
            default="",
            description="a time such as 03:00, a window such as 01:00-05:00 mon-fri, or nothing",
        ): schedule_parser.scan,
        vol.Optional("DRY_RUN", default="false", description="true or false"): parsers.yes_or_no,
        vol.Optional("ON_EXIT", default="release", description="release or keep"): vol.All(
            parsers.text, vol.Lower, vol.Coerce(OnExit, msg="is neither of the two")
        ),
        vol.Optional(
            "LOG_LEVEL", default="info", description=f"one of {', '.join(LEVELS)}"
        ): vol.All(parsers.text, vol.Lower, vol.In(LEVELS, msg="is no level")),
        vol.Optional(
            "STATUS_PORT", default=8085, description="a port from 1 to 65535, or 0 for none"
        ): parsers.port,
        vol.Optional(
            "UI_PORT", default=8099, description="a port from 1 to 65535, or 0 for none"
        ): parsers.port,
        vol.Optional(
            "UI_PASSWORD",
            default="",
            description=f"{MIN_PASSWORD_LENGTH} characters or more, or nothing: the page "
            "only shows",
        ): parsers.password_or_nothing,
        vol.Optional(
            "MQTT_URL",
            default="",
            description="an address such as mqtt://user:password@192.168.1.5:1883, or nothing",
        ): broker_or_nothing,
        vol.Optional(
            "DATA_DIR", default="/data", description="a folder such as /data"
        ): parsers.folder,
    }
)
"""Every setting once: its name, its default, what is expected, and how its value is read."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the schema says of one setting; ``default`` is as a user would write it."""

    name: str
    default: str | int | bool | None
    expected: str


SETTINGS: Final = {
    str(marker): Setting(
        name=str(marker),
        default=None if isinstance(marker.default, vol.Undefined) else marker.default(),
        expected=marker.description,
    )
    for marker in SCHEMA.schema
}
"""The schema as data, by name. A setting whose default is None is required."""

_LISTS: Final = frozenset({"QUEUE_PRIORITY", "PROTECTED_QUEUES", "SCHEDULE", "EXCLUSIVE"})
_LARGEST: Final = 1024 * 1024


class SettingsError(Exception):
    """The daemon cannot start with what it was given; ``problems`` has one line for each reason."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def read_settings(
    environment: Mapping[str, str], options: Mapping[str, object] | None
) -> tuple[Settings, list[str]]:
    """Return the settings, and a warning, one line each, for all that has no effect.

    Args:
        environment: the process's; what is no setting in it is somebody else's.
        options: the add-on's, which win, key by key; one that is not set leaves it to the other.

    Raises:
        SettingsError: values are wrong, all of them named at once.
    """
    options = options or {}
    given = {**_set_in(environment), **_set_in(options)}
    hiding = Hiding(environment, options)
    # Raised outside of any except: voluptuous' errors must not hang on as its context.
    checked, wrong = _check(given)
    if wrong:
        raise SettingsError(
            _problem(name, wrong[name], given, hiding) for name in SETTINGS if name in wrong
        )
    settings = Settings(**{name.lower(): value for name, value in checked.items()})
    unknown = [
        f"{hiding.name(name)}: not a setting of this daemon, ignored"
        for name in options
        if name not in SETTINGS
    ]
    both = [name for name in settings.queue_priority if name in settings.protected_queues]
    without_effect = [
        f"QUEUE_PRIORITY: {name} is in PROTECTED_QUEUES too, which wins, ignored" for name in both
    ]
    unordered = without_effect if "QUEUE_PRIORITY" in given else []
    return settings, [*unknown, *unordered, *conflicting_settings(settings)]


def read_options(source: str, stdin: IO[bytes] | None) -> dict[str, object]:
    """Return the JSON object in the file named ``source``, or in standard input for ``-``.

    Raises:
        SettingsError: it cannot be read, is over 1 MiB, or is no JSON object. What is in it is
            never told: the key is.
    """
    content, wrong = _content(source, stdin)
    options, wrong = ({}, wrong) if wrong else _object(content)
    if wrong:
        # Who gives the options themselves instead of a file's name gives the key with them.
        file = "the file" if "{" in source else f"the file {parsers.show(source)}"
        where = "standard input" if source == "-" else file
        expected = "a JSON object of settings, in a file or, for -, in standard input"
        raise SettingsError([f"--options: {where} {wrong}, expected {expected}"])
    return options


def _content(source: str, stdin: IO[bytes] | None) -> tuple[bytes, str]:
    """Return what there is to read, and what is wrong with it or nothing."""
    try:
        if source != "-":
            with Path(source).open("rb") as file:
                content = _read(file)
        elif stdin is not None:
            content = _read(stdin)
        else:
            return b"", "is closed"
    except OSError as error:
        return b"", f"cannot be read ({error.strerror})"
    except ValueError:
        return b"", "cannot be read"
    return content, "is over 1 MiB" if len(content) > _LARGEST else ""


def _read(file: IO[bytes]) -> bytes:
    """Return all that is in the file, or the first byte too many: a pipe gives it in parts."""
    content = b""
    while len(content) <= _LARGEST and (part := file.read(_LARGEST + 1 - len(content))):
        content += part
    return content


def _object(content: bytes) -> tuple[dict[str, object], str]:
    """Return the JSON object, and what is wrong with it or nothing."""
    try:
        found = json.loads(content)
    except json.JSONDecodeError as error:
        return {}, f"is not JSON (line {error.lineno}, column {error.colno})"
    except (ValueError, RecursionError):
        return {}, "is not JSON that can be read"
    return (found, "") if isinstance(found, dict) else ({}, "is not a JSON object")


def _set_in(source: Mapping[str, object]) -> dict[str, object]:
    """Return the values of the settings that are set."""
    return {
        name: source[name]
        for name in SETTINGS
        if not parsers.is_unset(source.get(name))
        and not (name in _LISTS and parsers.is_empty_list(source[name]))
    }


def _check(given: dict[str, object]) -> tuple[dict[str, Any], dict[str, vol.Invalid]]:
    """Return the values as they are meant, or what is wrong by the name of the setting."""
    try:
        checked = SCHEMA(given)
    except vol.MultipleInvalid as invalid:
        return {}, {str(error.path[0]): error for error in invalid.errors}
    if checked["STATUS_PORT"] == checked["UI_PORT"] != 0:
        wrong, other = ("UI_PORT", "STATUS_PORT")[:: 1 if "UI_PORT" in given else -1]
        return {}, {wrong: vol.Invalid(f"is the port of {other} too")}
    return checked, {}


def _problem(name: str, error: vol.Invalid, given: dict[str, object], hiding: Hiding) -> str:
    """Return the line that tells a person what is wrong with the value of a setting."""
    wrong = error.error_message
    value = given.get(name)
    if name not in given:
        got = "nothing"
    elif name in SECRETS:
        got = "a hidden value"
    elif found := hiding.found_in(value):
        wrong, got = found, "a hidden value"
    elif any("@" in text for text in parsers.texts_in(value)):
        # An address may have a password before the @.
        got = "a hidden value"
    elif isinstance(error, parsers.ItemsInvalid):
        got = parsers.show(error.items[0] if len(error.items) == 1 else error.items)
    else:
        got = parsers.show(value)
    return f"{name}: {wrong}, got {got}, expected {SETTINGS[name].expected}"
