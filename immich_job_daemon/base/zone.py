"""The time zone of this system: that of TZ, as in a container, or else the system's own."""

import os
from collections.abc import Mapping
from datetime import tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil import tz


def local_zone(environment: Mapping[str, str] = os.environ) -> tzinfo:
    """Return the zone, with all its changes of the clock.

    >>> str(local_zone({"TZ": "Europe/Berlin"}))
    'Europe/Berlin'
    """
    name = environment.get("TZ", "").removeprefix(":")
    try:
        return ZoneInfo(name) if name else tz.tzlocal()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return _without_a_table(name)


def _without_a_table(name: str) -> tzinfo:
    """Return a zone such as CET-1CEST, which the C library knows, or that of a file."""
    try:
        return tz.gettz(name) or tz.tzlocal()
    except (ValueError, OSError):
        # As the C library does with a name that is none.
        return tz.tzlocal()
