"""How the value of a setting is read, from text or from what JSON has instead, and how shown.

Every reader takes one value and returns what it means, or raises voluptuous' Invalid with what is
wrong, said without the value itself: whether that may be shown is not decided here.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import tempora
import voluptuous as vol

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.base.text import one_line
from immich_job_daemon.model.queue import is_queue_name
from immich_job_daemon.model.settings import MIN_PASSWORD_LENGTH

_LARGEST_PORT: Final = 65535
_LONGEST_NUMBER: Final = 64
_LONGEST_ADDRESS: Final = 2048
_FAR: Final = 1e9
_SHOWN: Final = 60
_WHOLE: Final = re.compile(r"[+-]?[0-9]+(\.0+)?")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_DURATION: Final = re.compile(r"([0-9]+(\.[0-9]+)? ?[a-zA-Z]+(, ?| )?)+(?<![, ])")
_BRACKETED: Final = re.compile(r"\[[0-9A-Fa-f:.]+\](:[0-9]+)?")


class ItemsInvalid(vol.Invalid):
    """Some items of a list are wrong: ``items`` are those, as they were given."""

    def __init__(self, message: str, items: list[object]) -> None:
        super().__init__(message)
        self.items = items


def is_unset(value: object) -> bool:
    """Whether a value stands for none: null, nothing, or the ``null`` that bashio prints.

    >>> [is_unset(value) for value in (None, "", " ", "null", 0, False)]
    [True, True, True, True, False, False]
    """
    return value is None or (isinstance(value, str) and value.strip() in {"", "null"})


def show(value: object) -> str:
    r"""Return a value as a message shows it: as Python writes it, in at most 60 characters.

    >>> print(show("two\nlines"))
    'two\nlines'
    """
    return one_line(_written(value), longest=_SHOWN)


def texts_in(value: object) -> Iterator[str]:
    """Yield every text and number in a value, also the names and the items in lists and objects.

    >>> sorted(texts_in({"a": ["b", 1, None]}))
    ['1', 'a', 'b']
    """
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, Mapping):
            left += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple):
            left += item
        elif item is not None and not isinstance(item, bool):
            yield item if isinstance(item, str) else _written(item)


def _written(value: object) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):
        # A number of thousands of digits, or lists in lists without an end.
        return "what is too large to show"


def text(value: object) -> str:
    """Return a text without the whitespace around it."""
    if not isinstance(value, str):
        raise vol.Invalid("is not a text")
    return value.strip()


def whole_number(value: object) -> int:
    """Return a whole number, which a text or a float may also be.

    >>> whole_number(" 2 "), whole_number(2.0), whole_number(2)
    (2, 2, 2)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and _WHOLE.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    raise vol.Invalid("is not a whole number")


def port(value: object) -> int:
    """Return the number of a port, or 0 for none."""
    number = whole_number(value)
    if not 0 <= number <= _LARGEST_PORT:
        raise vol.Invalid("is no port")
    return number


def seconds(value: object) -> float:
    """Return how many seconds a number of them, or a duration in tempora's words, is.

    >>> seconds(10), seconds("0.5"), seconds("1m30s"), seconds("1 minute, 1 second")
    (10.0, 0.5, 90.0, 61.0)
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        # A whole number of JSON may be too large for a float.
        number = float(min(max(value, -_FAR), _FAR))
        if math.isnan(number):
            raise vol.Invalid("is not a number of seconds")
        return number
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        words = " ".join(value.split())
        if _NUMBER.fullmatch(words):
            return float(words)
        # tempora 5.8 passes over a sign and reads "1,5s" as 6 s and "14:00" as hours.
        if _DURATION.fullmatch(words):
            return _duration(words)
    raise vol.Invalid("is neither a number of seconds nor a duration")


def duration_or_nothing(value: object) -> float | None:
    """Return how many seconds a duration is, from one on, or None where nothing is given.

    >>> duration_or_nothing(""), duration_or_nothing("5m")
    (None, 300.0)
    """
    if value == "":
        return None
    found = seconds(value)
    if found < 1:
        raise vol.Invalid("is too short")
    return min(found, _FAR)


def load_or_nothing(value: object) -> float | None:
    """Return a load for each core, from 0.1 on, or None where nothing is given.

    >>> load_or_nothing("1.5"), load_or_nothing(2), load_or_nothing("")
    (1.5, 2.0, None)
    """
    if value == "":
        return None
    if (
        isinstance(value, str)
        and len(value) <= _LONGEST_NUMBER
        and _NUMBER.fullmatch(value.strip())
    ):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise vol.Invalid("is no number")
    # A whole number of JSON may be too large for a float.
    number = float(min(max(value, -_FAR), _FAR))
    if not number >= 0.1:  # noqa: PLR2004 - below that no machine ever is; NaN is not either
        raise vol.Invalid("is too small")
    return number


def yes_or_no(value: object) -> bool:
    """Return whether a value means yes.

    >>> yes_or_no("true"), yes_or_no("No"), yes_or_no(True)
    (True, False, True)
    """
    if isinstance(value, bool):
        return value
    meant = {"true": True, "yes": True, "on": True, "1": True}
    meant |= {"false": False, "no": False, "off": False, "0": False}
    if isinstance(value, str) and value.strip().lower() in meant:
        return meant[value.strip().lower()]
    raise vol.Invalid("is neither true nor false")


def _duration(words: str) -> float:
    try:
        return float(tempora.parse_timedelta(words).total_seconds())
    except (ValueError, OverflowError):
        raise vol.Invalid("is not a duration") from None


def queue_names(value: object) -> tuple[str, ...]:
    """Return the names of queues in a list, or in a text with commas or newlines between them.

    >>> queue_names("sidecar, ocr,"), queue_names(["sidecar", ""])
    (('sidecar', 'ocr'), ('sidecar',))
    """
    names: list[str] = []
    wrong: list[object] = []
    for item in _items(value):
        if isinstance(item, str) and is_queue_name(item.strip()):
            names.append(item.strip())
        else:
            wrong.append(item)
    if wrong:
        raise ItemsInvalid("holds what is no name of a queue", wrong)
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ItemsInvalid("holds a name more than once", [*twice])
    return tuple(names)


def queue_names_or_none(value: object) -> frozenset[str]:
    """Return the names of queues as a set, which is empty for the single word ``none``."""
    names = queue_names(value)
    if "none" not in map(str.lower, names):
        return frozenset(names)
    if len(names) > 1:
        raise vol.Invalid("holds none beside the names of queues")
    return frozenset()


def is_empty_list(value: object) -> bool:
    """Whether a list of names, or a text of them, has no item in it.

    >>> is_empty_list([]), is_empty_list(" , "), is_empty_list([""]), is_empty_list("none")
    (True, True, True, False)
    """
    return isinstance(value, str | list | tuple) and not _items(value)


def _items(value: object) -> list[object]:
    if isinstance(value, str):
        # bashio prints a list with one item a line.
        value = re.split(r"[,\n]", value)
    if not isinstance(value, list | tuple):
        raise vol.Invalid("is not a list of names")
    return [item for item in value if not is_unset(item)]


def api_key(value: object) -> Secret:
    """Return a key that can be sent in a header of HTTP."""
    key = text(value)
    if not re.fullmatch(r"[!-~]+", key):
        raise vol.Invalid("holds a space, a line break or another character that no key has")
    return Secret(key)


def password_or_nothing(value: object) -> Secret:
    """Return a password that a person chose and types, or an empty one where nothing is given."""
    password = text(value)
    if not password.isprintable():
        raise vol.Invalid("holds a line break or another character that cannot be seen")
    if 0 < len(password) < MIN_PASSWORD_LENGTH:
        raise vol.Invalid("is too short")
    return Secret(password)


def folder(value: object) -> Path:
    """Return the path of a folder, which need not exist yet."""
    path = text(value)
    if "\0" in path:
        raise vol.Invalid("holds a NUL character")
    return Path(path)


def address(value: object) -> str:
    """Return the address of Immich, ready for ``/api/...`` to be appended.

    >>> address("192.168.1.5:2283"), address("HTTPS://home.example/photos/api/")
    ('http://192.168.1.5:2283', 'https://home.example/photos')
    """
    given = text(value)
    if len(given) > _LONGEST_ADDRESS:
        raise vol.Invalid("is too long")
    if not given.isprintable() or " " in given or "\\" in given:
        raise vol.Invalid("holds a space, a backslash or a character that cannot be seen")
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        # Only asking for the port checks it.
        port = parts.port
    except ValueError:
        raise vol.Invalid("has a wrong port or is not an address") from None
    _check(parts, port)
    if "?" in given or "#" in given:
        raise vol.Invalid("has a ? or a # in it")
    path = parts.path.rstrip("/")
    if path.endswith("/api"):
        path = path.removesuffix("/api").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def address_or_nothing(value: object) -> str:
    """Return the address of Immich, or nothing where nothing is given."""
    return "" if value == "" else address(value)


def _check(parts: SplitResult, port: int | None) -> None:
    if parts.scheme not in {"http", "https"}:
        raise vol.Invalid("is neither http nor https")
    if parts.username is not None:
        raise vol.Invalid("has a user or a password in it, which Immich does not take")
    if not parts.hostname:
        raise vol.Invalid("has no host")
    if port == 0 or parts.netloc.endswith(":"):
        raise vol.Invalid("has a wrong port")
    if not (_BRACKETED.fullmatch(parts.netloc) or _is_host(parts.hostname)):
        raise vol.Invalid("has a host that no machine is called")


def _is_host(name: str) -> bool:
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return re.fullmatch(r"[\w.-]+", name) is not None
