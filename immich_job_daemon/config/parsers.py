"""Parsers for single values, from the environment's texts or from JSON.

Each takes a raw value and returns the parsed one, or raises ``vol.Invalid``. The message does not
repeat the value, which may be a secret: ``schema`` decides whether to show it.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import tempora
import voluptuous as vol

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.base.text import one_line
from immich_job_daemon.model.queue import is_queue_name
from immich_job_daemon.model.settings import MIN_PASSWORD_LENGTH

_MAX_PORT: Final = 65535
_MAX_NUMBER_LENGTH: Final = 64
_MAX_NUMBER: Final = 1e9
_MAX_SHOWN_LENGTH: Final = 60
_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.0+)?")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_DURATION: Final = re.compile(r"([0-9]+(\.[0-9]+)? ?[a-zA-Z]+(, ?| )?)+(?<![, ])")


class ItemsInvalid(vol.Invalid):
    """Some ``items`` of a list are invalid."""

    def __init__(self, message: str, items: list[object]) -> None:
        super().__init__(message)
        self.items = items


def is_unset(value: object) -> bool:
    """Whether a value counts as not set: null, an empty text, or the ``null`` that bashio prints.

    >>> [is_unset(value) for value in (None, "", " ", "null", 0, False)]
    [True, True, True, True, False, False]
    """
    return value is None or (isinstance(value, str) and value.strip() in {"", "null"})


def show(value: object) -> str:
    r"""Return the ``repr`` of a value as one safe line of at most 60 characters.

    >>> print(show("two\nlines"))
    'two\nlines'
    """
    return one_line(_represent(value), longest=_MAX_SHOWN_LENGTH)


def iterate_texts(value: object) -> Iterator[str]:
    """Yield every text and number in a value, including those nested in lists and objects.

    >>> sorted(iterate_texts({"a": ["b", 1, None]}))
    ['1', 'a', 'b']
    """
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple):
            pending += item
        elif item is not None and not isinstance(item, bool):
            yield item if isinstance(item, str) else _represent(item)


def _represent(value: object) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):
        # A number with thousands of digits, or lists nested without end.
        return "a value too large to show"


def text(value: object) -> str:
    """Return a text without leading and trailing whitespace."""
    if not isinstance(value, str):
        raise vol.Invalid("is not text")
    return value.strip()


def whole_number(value: object) -> int:
    """Return a whole number from an int, a float or a text.

    >>> whole_number(" 2 "), whole_number(2.0), whole_number(2)
    (2, 2, 2)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if match := _match(_WHOLE_NUMBER, value):
        return int(match[0].partition(".")[0])
    raise vol.Invalid("is not a whole number")


def port(value: object) -> int:
    """Return a TCP port, or 0 for no port."""
    number = whole_number(value)
    if not 0 <= number <= _MAX_PORT:
        raise vol.Invalid("is not a port")
    return number


def seconds(value: object) -> float:
    """Return the seconds in a number or in a duration that tempora can parse.

    >>> seconds(10), seconds("0.5"), seconds("1m30s"), seconds("1 minute, 1 second")
    (10.0, 0.5, 90.0, 61.0)
    """
    number = _number(value)
    if number is not None:
        if math.isnan(number):
            raise vol.Invalid("is not a number of seconds")
        return number
    if isinstance(value, str) and len(value) <= _MAX_NUMBER_LENGTH:
        words = " ".join(value.split())
        # tempora 5.8 alone would ignore a sign and read "1,5s" as 6 s and "14:00" as 14 hours.
        if _DURATION.fullmatch(words):
            return _duration(words)
    raise vol.Invalid("is neither a number of seconds nor a duration")


def optional_duration(value: object) -> float | None:
    """Return a duration of at least one second, or None for an empty value.

    >>> optional_duration(""), optional_duration("5m")
    (None, 300.0)
    """
    if value == "":
        return None
    duration = seconds(value)
    if duration < 1:
        raise vol.Invalid("is too short")
    return min(duration, _MAX_NUMBER)


def optional_load(value: object) -> float | None:
    """Return a load average per core of at least 0.1, or None for an empty value.

    >>> optional_load("1.5"), optional_load(2), optional_load("")
    (1.5, 2.0, None)
    """
    if value == "":
        return None
    number = _number(value)
    if number is None:
        raise vol.Invalid("is not a number")
    if not number >= 0.1:  # noqa: PLR2004 - below the load of any machine; true for NaN as well
        raise vol.Invalid("is too small")
    return number


def boolean(value: object) -> bool:
    """Return a boolean from a bool or from a word such as true, yes, on or 1.

    >>> boolean("true"), boolean("No"), boolean(True)
    (True, False, True)
    """
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise vol.Invalid("is neither true nor false")


def _number(value: object) -> float | None:
    """Return the number in a number or a text, which may be NaN, or None if there is none."""
    if match := _match(_NUMBER, value):
        value = float(match[0])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An integer in JSON may be too large for a float.
    return float(min(max(value, -_MAX_NUMBER), _MAX_NUMBER))


def _match(pattern: re.Pattern[str], value: object) -> re.Match[str] | None:
    is_short = isinstance(value, str) and len(value) <= _MAX_NUMBER_LENGTH
    return pattern.fullmatch(str(value).strip()) if is_short else None


def _duration(words: str) -> float:
    try:
        return float(tempora.parse_timedelta(words).total_seconds())
    except (ValueError, OverflowError):
        raise vol.Invalid("is not a duration") from None


def queue_names(value: object) -> tuple[str, ...]:
    """Return the queue names in a list, or in a text with commas or newlines between them.

    >>> queue_names("sidecar, ocr,"), queue_names(["sidecar", ""])
    (('sidecar', 'ocr'), ('sidecar',))
    """
    items = _items(value)
    names = [item.strip() for item in items if isinstance(item, str)]
    invalid = [
        item for item in items if not isinstance(item, str) or not is_queue_name(item.strip())
    ]
    if invalid:
        raise ItemsInvalid("contains an invalid queue name", invalid)
    duplicates = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if duplicates:
        raise ItemsInvalid("contains a name more than once", [*duplicates])
    return tuple(names)


def queue_names_or_none(value: object) -> frozenset[str]:
    """Return a set of queue names, empty for the single word ``none``."""
    names = queue_names(value)
    if "none" not in map(str.lower, names):
        return frozenset(names)
    if len(names) > 1:
        raise vol.Invalid("contains 'none' together with queue names")
    return frozenset()


def is_empty_list(value: object) -> bool:
    """Whether a list of names, or a text with such a list, has no items.

    >>> is_empty_list([]), is_empty_list(" , "), is_empty_list([""]), is_empty_list("none")
    (True, True, True, False)
    """
    return isinstance(value, str | list | tuple) and not _items(value)


def _items(value: object) -> list[object]:
    if isinstance(value, str):
        # bashio prints one item per line.
        value = re.split(r"[,\n]", value)
    if not isinstance(value, list | tuple):
        raise vol.Invalid("is not a list of names")
    return [item for item in value if not is_unset(item)]


def api_key(value: object) -> Secret:
    """Return a key that can be sent in an HTTP header."""
    key = text(value)
    if not re.fullmatch(r"[!-~]+", key):
        raise vol.Invalid("contains a space, a line break or another character that no key has")
    return Secret(key)


def optional_password(value: object) -> Secret:
    """Return a password of printable characters, or an empty one for an empty value."""
    password = text(value)
    if not password.isprintable():
        raise vol.Invalid("contains a line break or another invisible character")
    if 0 < len(password) < MIN_PASSWORD_LENGTH:
        raise vol.Invalid("is too short")
    return Secret(password)


def folder(value: object) -> Path:
    """Return the path of a folder, which may not exist yet."""
    path = text(value)
    if "\0" in path:
        raise vol.Invalid("contains a NUL character")
    return Path(path)
