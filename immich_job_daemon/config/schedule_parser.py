"""How values that speak of times and of groups of queues are read: SCHEDULE, EXCLUSIVE, SCAN.

Every reader takes one value, from JSON or from the environment, and returns what it means, or
raises voluptuous' Invalid with what is wrong, said without the value itself.
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

_LONGEST: Final = 4096
_SCAN: Final = re.compile(r"([0-9:]+)(?:\s*-\s*([0-9:]+))?(?:\s+([a-zA-Z,\s-]+))?")
_UNQUOTED: Final = 60
"""The first number that YAML makes of a time: it leaves 0:30 as it is, so 6 is no 00:06."""
_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(:00)?")


def windows(value: object) -> tuple[Window, ...]:
    """Return the windows in a list of objects, or in a text with semicolons between them.

    >>> windows("videoConversion,ocr=22:00-06:00 mon-fri")[0].days == frozenset(range(5))
    True
    """
    if value == "":
        return ()
    if isinstance(value, str):
        if len(value) > _LONGEST:
            raise vol.Invalid("is too long")
        parts = [part.strip() for part in re.split(r"[;\n]", value)]
        return tuple(_window_of_text(part) for part in parts if part)
    if isinstance(value, list):
        return tuple(_window_of_object(item) for item in value)
    raise vol.Invalid("is no list of windows")


def groups(value: object) -> tuple[frozenset[str], ...]:
    """Return the groups of queues in a list, or in a text with semicolons between them.

    >>> groups("ocr, smartSearch; library,sidecar") == (
    ...     frozenset({"ocr", "smartSearch"}), frozenset({"library", "sidecar"}))
    True
    """
    if value == "":
        return ()
    if isinstance(value, str):
        value = re.split(r"[;\n]", value)
    if not isinstance(value, list):
        raise vol.Invalid("is no list of groups of queues")
    found = [parsers.queue_names(item) for item in value if not parsers.is_unset(item)]
    if any(len(group) < 2 for group in found):  # noqa: PLR2004 - it takes two to be a group
        raise vol.Invalid("has a group with fewer than two queues, which excludes nothing")
    return tuple(frozenset(group) for group in found)


def scan(value: object) -> Scan | None:
    """Return when to look for what is missing, or None where nothing is given.

    >>> scan("03:00").window.end, scan("01:00-05:00 sat").ends_with_window
    (datetime.time(4, 0), True)
    """
    if value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = clock(value).isoformat("minutes")
    if not isinstance(value, str):
        raise vol.Invalid("is no time of the day and no window")
    found = _SCAN.fullmatch(value.strip())
    if found is None:
        raise vol.Invalid("is no time of the day and no window")
    opens = clock(found[1])
    # The hour in which a scan begins; a daemon that starts later than that waits for the next one.
    closes = clock(found[2]) if found[2] else opens.replace(hour=(opens.hour + 1) % 24)
    if opens == closes:
        raise vol.Invalid("is a window that closes when it opens")
    window = Window(None, opens, closes, days(found[3]))
    return Scan(window, ends_with_window=found[2] is not None)


def clock(value: object) -> time:
    """Return a time of the day.

    >>> clock("6:30"), clock("22:00:00")
    (datetime.time(6, 30), datetime.time(22, 0))
    """
    # Without quotes YAML makes 22:00 the number 1320.
    if isinstance(value, int) and _UNQUOTED <= value < 24 * 60:
        return time(*divmod(value, 60))
    if isinstance(value, str) and (found := _CLOCK.fullmatch(value.strip())):
        return time(int(found[1]), int(found[2]))
    raise vol.Invalid("has a time that is not one such as 22:00")


def days(value: object) -> frozenset[int]:
    """Return the days of the week, 0 is Monday; nothing is every day.

    >>> sorted(days("fri-sun, tue"))
    [1, 4, 5, 6]
    """
    if parsers.is_unset(value):
        return DAILY
    if isinstance(value, list):
        value = ",".join(str(item) for item in value)
    if not isinstance(value, str):
        raise vol.Invalid("has days that are not such as mon-fri or sat,sun")
    found: set[int] = set()
    for part in re.split(r"[,\s]+", value.strip().lower()):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if first not in DAYS or last not in DAYS:
            raise vol.Invalid("has days that are not such as mon-fri or sat,sun")
        begin, end = DAYS.index(first), DAYS.index(last)
        found |= {day % 7 for day in range(begin, end + (7 if end < begin else 0) + 1)}
    return frozenset(found)


def _window_of_object(item: object) -> Window:
    if not isinstance(item, Mapping) or item.keys() - {"queues", "from", "to", "days"}:
        raise vol.Invalid("has a window that is not made of queues, from, to and days")
    missing = [name for name in ("queues", "from", "to") if parsers.is_unset(item.get(name))]
    if missing:
        raise vol.Invalid(f"has a window without {' and '.join(missing)}")
    return _window(item["queues"], item["from"], item["to"], item.get("days"))


def _window_of_text(text: str) -> Window:
    found = re.fullmatch(r"([^=]+)=\s*([0-9:]+)\s*-\s*([0-9:]+)(?:\s+([a-zA-Z,\s-]+))?", text)
    if found is None:
        raise vol.Invalid("has a window that is not such as ocr=22:00-06:00 mon-fri")
    return _window(found[1], found[2], found[3], found[4])


def _window(queues: object, start: object, end: object, on: object) -> Window:
    names = parsers.queue_names(queues)
    if not names:
        raise vol.Invalid("has a window without queues")
    if ALL in map(str.lower, names) and len(names) > 1:
        raise vol.Invalid("has a window for all that names queues as well")
    opens, closes = clock(start), clock(end)
    if opens == closes:
        raise vol.Invalid("has a window that closes when it opens")
    every = names[0].lower() == ALL
    return Window(None if every else frozenset(names), opens, closes, days(on))
