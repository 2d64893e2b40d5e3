"""Parsers for the settings with windows and queue groups: SCHEDULE, EXCLUSIVE and SCAN.

Each takes a raw value, from JSON or from the environment, and returns the parsed one, or raises
``vol.Invalid`` with a message that does not repeat the value.
"""

import re
from collections.abc import Mapping
from datetime import time
from typing import Final

import voluptuous as vol

from immich_job_daemon.config import parsers
from immich_job_daemon.model.settings import Scan
from immich_job_daemon.model.windows import DAILY, DAYS, Window

ALL: Final = "all"

_MAX_LENGTH: Final = 4096
_SCAN: Final = re.compile(r"([0-9:]+)(?:\s*-\s*([0-9:]+))?(?:\s+([a-zA-Z,\s-]+))?")
_FIRST_SEXAGESIMAL: Final = 60
"""YAML reads an unquoted 1:00 as the base-60 number 60, but leaves 0:30 as text. So a smaller
number never was a time."""
_TIME: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(:00)?")


def windows(value: object) -> tuple[Window, ...]:
    """Return the windows in a list of objects, or in a text with semicolons between them.

    >>> windows("videoConversion,ocr=22:00-06:00 mon-fri")[0].days == frozenset(range(5))
    True
    """
    if value == "":
        return ()
    if isinstance(value, str):
        if len(value) > _MAX_LENGTH:
            raise vol.Invalid("is too long")
        parts = [part.strip() for part in re.split(r"[;\n]", value)]
        return tuple(_window_from_text(part) for part in parts if part)
    if isinstance(value, list):
        return tuple(_window_from_object(item) for item in value)
    raise vol.Invalid("is not a list of windows")


def queue_groups(value: object) -> tuple[frozenset[str], ...]:
    """Return the queue groups in a list, or in a text with semicolons between them.

    >>> queue_groups("ocr, smartSearch; library,sidecar") == (
    ...     frozenset({"ocr", "smartSearch"}), frozenset({"library", "sidecar"}))
    True
    """
    if value == "":
        return ()
    if isinstance(value, str):
        value = re.split(r"[;\n]", value)
    if not isinstance(value, list):
        raise vol.Invalid("is not a list of queue groups")
    groups = [parsers.queue_names(item) for item in value if not parsers.is_unset(item)]
    if any(len(group) < 2 for group in groups):  # noqa: PLR2004 - a group has at least two queues
        raise vol.Invalid("has a group with fewer than two queues, which has no effect")
    return tuple(frozenset(group) for group in groups)


def scan(value: object) -> Scan | None:
    """Return the window of a scan, or None for an empty value.

    >>> scan("03:00").window.end, scan("01:00-05:00 sat").ends_with_window
    (datetime.time(4, 0), True)
    """
    if value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = time_of_day(value).isoformat("minutes")
    match = _SCAN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise vol.Invalid("is neither a time of day nor a window")
    opens = time_of_day(match[1])
    # A daemon that starts more than an hour after the time waits for the next day.
    closes = time_of_day(match[2]) if match[2] else opens.replace(hour=(opens.hour + 1) % 24)
    if opens == closes:
        raise vol.Invalid("is a window that opens and closes at the same time")
    window = Window(None, opens, closes, weekdays(match[3]))
    return Scan(window, ends_with_window=match[2] is not None)


def time_of_day(value: object) -> time:
    """Return a time of day, to the minute.

    >>> time_of_day("6:30"), time_of_day("22:00:00")
    (datetime.time(6, 30), datetime.time(22, 0))
    """
    # YAML reads an unquoted 22:00 as the number 1320.
    if isinstance(value, int) and _FIRST_SEXAGESIMAL <= value < 24 * 60:
        return time(*divmod(value, 60))
    if isinstance(value, str) and (match := _TIME.fullmatch(value.strip())):
        return time(int(match[1]), int(match[2]))
    raise vol.Invalid("has a time that does not look like 22:00")


def weekdays(value: object) -> frozenset[int]:
    """Return days of the week, where 0 is Monday; an unset value means every day.

    >>> sorted(weekdays("fri-sun, tue"))
    [1, 4, 5, 6]
    """
    if parsers.is_unset(value):
        return DAILY
    if isinstance(value, list):
        value = ",".join(str(item) for item in value)
    if not isinstance(value, str):
        raise vol.Invalid("has days that do not look like mon-fri or sat,sun")
    selected: set[int] = set()
    for part in re.split(r"[,\s]+", value.strip().lower()):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if first not in DAYS or last not in DAYS:
            raise vol.Invalid("has days that do not look like mon-fri or sat,sun")
        begin, end = DAYS.index(first), DAYS.index(last)
        selected |= {day % 7 for day in range(begin, end + (7 if end < begin else 0) + 1)}
    return frozenset(selected)


def _window_from_object(item: object) -> Window:
    if not isinstance(item, Mapping) or item.keys() - {"queues", "from", "to", "days"}:
        raise vol.Invalid("has a window that is not an object of queues, from, to and days")
    missing = [name for name in ("queues", "from", "to") if parsers.is_unset(item.get(name))]
    if missing:
        raise vol.Invalid(f"has a window without {' and '.join(map(repr, missing))}")
    return _window(item["queues"], item["from"], item["to"], item.get("days"))


def _window_from_text(text: str) -> Window:
    match = re.fullmatch(r"([^=]+)=\s*([0-9:]+)\s*-\s*([0-9:]+)(?:\s+([a-zA-Z,\s-]+))?", text)
    if match is None:
        raise vol.Invalid("has a window that does not look like ocr=22:00-06:00 mon-fri")
    return _window(match[1], match[2], match[3], match[4])


def _window(queues: object, start: object, end: object, days: object) -> Window:
    names = parsers.queue_names(queues)
    if not names:
        raise vol.Invalid("has a window without queues")
    if ALL in map(str.lower, names) and len(names) > 1:
        raise vol.Invalid("has a window that combines 'all' with queue names")
    opens, closes = time_of_day(start), time_of_day(end)
    if opens == closes:
        raise vol.Invalid("has a window that opens and closes at the same time")
    is_for_all = names[0].lower() == ALL
    return Window(None if is_for_all else frozenset(names), opens, closes, weekdays(days))
