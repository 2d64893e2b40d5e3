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
        # Also such as CET-1CEST, which the C library knows and no table names.
        return tz.gettz(name) or tz.tzlocal()
