"""The local time zone for any value of TZ."""

import time
from datetime import datetime, timedelta

import pytest
from dateutil import tz

from immich_job_daemon.base.clock import local_zone


def offset_hours(name: str, when: str) -> float:
    """Return the UTC offset of a zone at a time in 2026, in hours."""
    local = datetime.fromisoformat(f"2026-{when}").replace(tzinfo=local_zone({"TZ": name}))
    offset = local.utcoffset()
    assert offset is not None
    return offset / timedelta(hours=1)


@pytest.mark.parametrize(
    ("name", "winter", "summer"),
    [
        ("Europe/Berlin", 1, 2),
        (":Europe/Berlin", 1, 2),
        ("America/New_York", -5, -4),
        ("Australia/Lord_Howe", 11, 10.5),
        ("Asia/Kolkata", 5.5, 5.5),
        ("UTC", 0, 0),
        ("CET-1CEST", 1, 2),
        ("CET-1CEST,M3.5.0,M10.5.0/3", 1, 2),
        ("EST5EDT", -5, -4),
        ("/usr/share/zoneinfo/Europe/Berlin", 1, 2),
    ],
)
def test_a_zone_has_its_dst_changes(name: str, winter: float, summer: float) -> None:
    assert (offset_hours(name, "01-15"), offset_hours(name, "07-15")) == (winter, summer)


@pytest.mark.parametrize("environment", [{}, {"TZ": ""}, {"TZ": ":"}])
def test_without_tz_the_zone_is_the_systems(environment: dict[str, str]) -> None:
    assert local_zone(environment) == tz.tzlocal()


@pytest.mark.parametrize(
    "wrong",
    ["No/Where", "nonsense", "Europe", " ", "a\0b", "x" * 5000, "ä", "/etc/passwd", "/etc"],
    ids=lambda name: name[:20],
)
def test_with_an_invalid_tz_the_zone_is_the_systems(wrong: str) -> None:
    assert local_zone({"TZ": wrong}) == tz.tzlocal()


def test_the_systems_zone_is_that_of_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        there = datetime.fromtimestamp(0, local_zone({}))
        assert (there.hour, there.utcoffset()) == (9, timedelta(hours=9))
    finally:
        monkeypatch.undo()
        time.tzset()
