"""The schema of all settings, and how they are read from the environment and from options.json."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import voluptuous as vol

from immich_job_daemon.base.logging import LEVELS
from immich_job_daemon.config import parsers, schedule_parser, url_parsers
from immich_job_daemon.config.secret_scanner import SECRETS, SecretScanner
from immich_job_daemon.config.warnings import conflicting_settings
from immich_job_daemon.model.queue import PRIORITY, PROTECTED
from immich_job_daemon.model.settings import MIN_PASSWORD_LENGTH, OnExit, Settings

SCHEMA: Final = vol.Schema(
    {
        vol.Optional(
            "IMMICH_URL",
            default="",
            description="an address such as http://192.168.1.5:2283, or empty to search for Immich",
        ): url_parsers.optional_immich_url,
        vol.Required(
            "API_KEY",
            msg="is required",
            description="a key from Immich > Account Settings > API Keys",
        ): parsers.api_key,
        vol.Optional(
            "MAX_CONCURRENT_JOBS", default=1, description="a whole number, at least 1"
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
            description="queue names separated by commas, each once",
        ): parsers.queue_names,
        vol.Optional(
            "PROTECTED_QUEUES",
            default=",".join(PROTECTED),
            description="queue names separated by commas, each once, or the word none",
        ): parsers.queue_names_or_none,
        vol.Optional(
            "UNRESTRICTED_BELOW", default=0, description="a whole number, at least 0"
        ): vol.All(parsers.whole_number, vol.Range(min=0, msg="is too small")),
        vol.Optional(
            "SCHEDULE",
            default="",
            description="windows such as videoConversion,ocr=22:00-06:00 mon-fri, separated by "
            "semicolons, or a list of {queues, from, to, days}",
        ): schedule_parser.windows,
        vol.Optional(
            "EXCLUSIVE",
            default="",
            description="queue groups such as smartSearch,faceDetection,ocr, separated by "
            "semicolons",
        ): schedule_parser.queue_groups,
        vol.Optional(
            "YIELD_AFTER",
            default="",
            description="a number of seconds or a duration such as 5m, at least 1 second, or empty",
        ): parsers.optional_duration,
        vol.Optional(
            "MAX_WAIT",
            default="",
            description="a number of seconds or a duration such as 12h, at least 1 minute, or "
            "empty",
        ): vol.All(parsers.optional_duration, vol.Any(None, vol.Range(min=60), msg="is too short")),
        vol.Optional(
            "PAUSE_ABOVE_LOAD",
            default="",
            description="a load average per processor core such as 1.5, at least 0.1, or empty",
        ): parsers.optional_load,
        vol.Optional(
            "SCAN",
            default="",
            description="a time such as 03:00, a window such as 01:00-05:00 mon-fri, or empty",
        ): schedule_parser.scan,
        vol.Optional("DRY_RUN", default="false", description="true or false"): parsers.boolean,
        vol.Optional("ON_EXIT", default="release", description="release or keep"): vol.All(
            parsers.text, vol.Lower, vol.Coerce(OnExit, msg="is neither release nor keep")
        ),
        vol.Optional(
            "LOG_LEVEL", default="info", description=f"one of {', '.join(LEVELS)}"
        ): vol.All(parsers.text, vol.Lower, vol.In(LEVELS, msg="is not a log level")),
        vol.Optional(
            "STATUS_PORT", default=8085, description="a port from 1 to 65535, or 0 for none"
        ): parsers.port,
        vol.Optional(
            "UI_PORT", default=8099, description="a port from 1 to 65535, or 0 for none"
        ): parsers.port,
        vol.Optional(
            "UI_PASSWORD",
            default="",
            description=f"at least {MIN_PASSWORD_LENGTH} characters, or empty for a view-only page",
        ): parsers.optional_password,
        vol.Optional(
            "MQTT_URL",
            default="",
            description="an address such as mqtt://user:password@192.168.1.5:1883, or empty",
        ): url_parsers.optional_broker,
        vol.Optional(
            "DATA_DIR", default="/data", description="a folder such as /data"
        ): parsers.folder,
    }
)
"""Every setting with its default, its parser, and what an error message says is expected."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of the schema; ``default`` is in the form that a user would enter."""

    default: str | int | bool | None
    expected: str


SETTINGS: Final = {
    str(marker): Setting(
        default=None if isinstance(marker.default, vol.Undefined) else marker.default(),
        expected=marker.description,
    )
    for marker in SCHEMA.schema
}
"""The settings by name. One whose default is None is required."""

_LISTS: Final = frozenset({"QUEUE_PRIORITY", "PROTECTED_QUEUES", "SCHEDULE", "EXCLUSIVE"})
_MAX_BYTES: Final = 1024 * 1024


class SettingsError(Exception):
    """The daemon cannot start with these settings; ``problems`` has one line for each reason."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def read_settings(
    environment: Mapping[str, str], options: Mapping[str, object] | None
) -> tuple[Settings, list[str]]:
    """Return the settings, and one line for each value that has no effect.

    An option that is set overrides the environment variable of the same name.

    Raises:
        SettingsError: values are invalid; names all of them.
    """
    options = options or {}
    raw = {**_select_set(environment), **_select_set(options)}
    scanner = SecretScanner(environment, options)
    # Raised outside of any except: the context of a SettingsError would show voluptuous' errors,
    # and these contain the values.
    parsed, errors = _validate(raw)
    if errors:
        raise SettingsError(
            _describe(name, errors[name], raw, scanner) for name in SETTINGS if name in errors
        )
    settings = Settings(**{name.lower(): value for name, value in parsed.items()})
    unknown = [
        f"{scanner.show_name(name)}: unknown setting, ignored"
        for name in options
        if name not in SETTINGS
    ]
    # The default order contains queues that a user may protect, which is no mistake.
    protected = [
        f"QUEUE_PRIORITY: {name} is ignored, because it is also in PROTECTED_QUEUES"
        for name in settings.queue_priority
        if name in settings.protected_queues and "QUEUE_PRIORITY" in raw
    ]
    return settings, [*unknown, *protected, *conflicting_settings(settings)]


def read_options(source: str, stdin: IO[bytes] | None) -> dict[str, object]:
    """Return the JSON object in the file named ``source``, or in standard input for ``-``.

    Raises:
        SettingsError: it cannot be read, is larger than 1 MiB, or is not a JSON object. The
            message shows nothing of the content, which includes the API key.
    """
    content, problem = _read_source(source, stdin)
    options, problem = ({}, problem) if problem else _parse_object(content)
    if problem:
        # A user may pass the options themselves instead of a file name, and the key with them.
        file = "the file" if "{" in source else f"the file {parsers.show(source)}"
        where = "standard input" if source == "-" else file
        expected = "a JSON object of settings, in a file or, with -, in standard input"
        raise SettingsError([f"--options: {where} {problem}, expected {expected}"])
    return options


def _read_source(source: str, stdin: IO[bytes] | None) -> tuple[bytes, str]:
    """Return the content, and what is wrong with it or an empty text."""
    try:
        if source != "-":
            with Path(source).open("rb") as file:
                content = _read_limited(file)
        elif stdin is not None:
            content = _read_limited(stdin)
        else:
            return b"", "is closed"
    except OSError as error:
        return b"", f"cannot be read ({error.strerror})"
    except ValueError:
        return b"", "cannot be read"
    return content, "is larger than 1 MiB" if len(content) > _MAX_BYTES else ""


def _read_limited(file: IO[bytes]) -> bytes:
    """Return the content, or one byte more than the limit if the file is too large.

    A pipe returns its content in parts.
    """
    content = b""
    while len(content) <= _MAX_BYTES and (part := file.read(_MAX_BYTES + 1 - len(content))):
        content += part
    return content


def _parse_object(content: bytes) -> tuple[dict[str, object], str]:
    """Return the JSON object, and what is wrong with the content or an empty text."""
    try:
        parsed = json.loads(content)
    except json.JSONDecodeError as error:
        return {}, f"is not valid JSON (line {error.lineno}, column {error.colno})"
    except (ValueError, RecursionError):
        return {}, "cannot be parsed as JSON"
    return (parsed, "") if isinstance(parsed, dict) else ({}, "is not a JSON object")


def _select_set(source: Mapping[str, object]) -> dict[str, object]:
    """Return the raw values of the settings that are set in a source."""
    return {
        name: source[name]
        for name in SETTINGS
        if not parsers.is_unset(source.get(name))
        and not (name in _LISTS and parsers.is_empty_list(source[name]))
    }


def _validate(raw: dict[str, object]) -> tuple[dict[str, Any], dict[str, vol.Invalid]]:
    """Return the parsed values, or the errors by the name of the setting."""
    try:
        parsed = SCHEMA(raw)
    except vol.MultipleInvalid as errors:
        return {}, {str(error.path[0]): error for error in errors.errors}
    if parsed["STATUS_PORT"] == parsed["UI_PORT"] != 0:
        # The error belongs to a port that the user has set, not to a default.
        port, other = ("UI_PORT", "STATUS_PORT")[:: 1 if "UI_PORT" in raw else -1]
        return {}, {port: vol.Invalid(f"is the same port as {other}")}
    return parsed, {}


def _describe(name: str, error: vol.Invalid, raw: dict[str, object], scanner: SecretScanner) -> str:
    """Return the line for the user about the invalid value of a setting."""
    problem = error.error_message
    value = raw.get(name)
    if name not in raw:
        got = "nothing"
    elif name in SECRETS:
        got = "a hidden value"
    elif secret := scanner.find(value):
        problem, got = secret, "a hidden value"
    elif any("@" in text for text in parsers.iterate_texts(value)):
        # In an address, a password may precede the @.
        got = "a hidden value"
    elif isinstance(error, parsers.ItemsInvalid):
        got = parsers.show(error.items[0] if len(error.items) == 1 else error.items)
    else:
        got = parsers.show(value)
    return f"{name}: {problem}, got {got}, expected {SETTINGS[name].expected}"
