"""Windows in local time, also on the two days a year on which the clock changes."""

import time as clock
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from dateutil import tz
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.base.clock import local_zone
from immich_job_daemon.model.windows import DAILY, Window, closed_until, next_edge

BERLIN = ZoneInfo("Europe/Berlin")  # 29 March 02:00 -> 03:00, 25 October 03:00 -> 02:00
NEW_YORK = ZoneInfo("America/New_York")  # 8 March 02:00 -> 03:00, 1 November 02:00 -> 01:00
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # 5 April 02:00 -> 01:30, 4 October 02:00 -> 02:30
ZONES = (BERLIN, NEW_YORK, LORD_HOWE, ZoneInfo("Asia/Kolkata"))

NIGHT = Window(None, time(22), time(6))
DAY = Window(None, time(9, 30), time(17))
WORKDAYS = frozenset(range(5))
WEEKEND = frozenset({5, 6})


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    """Return a time of 2026 in a zone, of two the first; ``...b`` is the second."""
    found = datetime.fromisoformat(f"2026-{text.removesuffix('b')}")
    return found.replace(tzinfo=zone, fold=int(text.endswith("b")))


def opens(window: Window, local: datetime) -> str | None:
    """Return when a queue may run again, as it reads on the wall; None: it may run now."""
    found = closed_until([window], "ocr", local)
    return None if found is None else f"{found:%m-%d %H:%M %z}"


def hours_open(window: Window, begin: datetime, end: datetime) -> float:
    """Return for how many real hours a queue may run between two instants, minute by minute."""
    minutes = int((end.timestamp() - begin.timestamp()) / 60)
    instants = (instant(begin.timestamp() + 60 * m, begin) for m in range(minutes))
    return sum(closed_until([window], "ocr", local) is None for local in instants) / 60


def instant(timestamp: float, like: datetime) -> datetime:
    return datetime.fromtimestamp(timestamp, like.tzinfo)


# Ordinary days.


def test_without_a_window_that_speaks_of_it_a_queue_may_run_always() -> None:
    others = Window(frozenset({"videoConversion", "library"}), time(22), time(6))
    for local in (at("11-24 12:00"), at("11-24 23:00")):
        assert closed_until([], "ocr", local) is None
        assert closed_until([others], "ocr", local) is None
    assert closed_until([others], "library", at("11-24 12:00")) == at("11-24 22:00")


def test_a_window_is_open_from_its_first_instant_to_before_its_last() -> None:
    tick = timedelta(microseconds=1)
    assert opens(DAY, at("11-24 09:30") - tick) == "11-24 09:30 +0100"
    assert opens(DAY, at("11-24 09:30")) is None
    assert opens(DAY, at("11-24 17:00") - tick) is None
    assert opens(DAY, at("11-24 17:00")) == "11-25 09:30 +0100"


def test_a_window_runs_over_midnight() -> None:
    assert opens(NIGHT, at("11-24 21:59:59")) == "11-24 22:00 +0100"
    for inside in ("11-24 22:00", "11-24 23:59:59", "11-25 00:00", "11-25 05:59:59"):
        assert opens(NIGHT, at(inside)) is None
    assert opens(NIGHT, at("11-25 06:00")) == "11-25 22:00 +0100"


def test_a_window_that_ends_at_midnight_ends_with_the_day() -> None:
    evening = Window(None, time(18), time(0))
    assert opens(evening, at("11-24 23:59:59")) is None
    assert opens(evening, at("11-25 00:00")) == "11-25 18:00 +0100"


def test_a_window_from_midnight_begins_with_the_day() -> None:
    morning = Window(None, time(0), time(7))
    assert opens(morning, at("11-24 23:59:59")) == "11-25 00:00 +0100"
    assert opens(morning, at("11-25 00:00")) is None


def test_the_days_are_those_on_which_a_window_opens() -> None:
    """24 November 2026 is a Tuesday: the night of Friday goes on into Saturday."""
    nights = Window(None, time(22), time(6), WORKDAYS)
    assert opens(nights, at("11-27 23:00")) is None
    assert opens(nights, at("11-28 05:59")) is None
    assert opens(nights, at("11-28 06:00")) == "11-30 22:00 +0100"
    assert opens(nights, at("11-28 23:00")) == "11-30 22:00 +0100"
    assert opens(nights, at("11-30 03:00")) == "11-30 22:00 +0100"


def test_a_window_of_one_day_opens_a_week_later_again() -> None:
    sunday = Window(None, time(1), time(5), frozenset({6}))
    assert opens(sunday, at("11-29 05:00")) == "12-06 01:00 +0100"
    sunday_night = Window(None, time(23), time(5), frozenset({6}))
    assert opens(sunday_night, at("11-30 05:00")) == "12-06 23:00 +0100"


def test_of_several_windows_any_lets_a_queue_run_and_the_first_to_open_counts() -> None:
    windows = [
        Window(frozenset({"ocr"}), time(22), time(6), WORKDAYS),
        Window(frozenset({"ocr", "library"}), time(12), time(20), WEEKEND),
        Window(frozenset({"library"}), time(1), time(2)),
    ]
    assert closed_until(windows, "ocr", at("11-27 23:00")) is None
    assert closed_until(windows, "ocr", at("11-28 07:00")) == at("11-28 12:00")
    assert closed_until(windows, "ocr", at("11-28 13:00")) is None
    assert closed_until(windows, "library", at("11-28 07:00")) == at("11-28 12:00")
    assert closed_until(windows, "library", at("11-28 21:00")) == at("11-29 01:00")


def test_two_windows_that_meet_are_one() -> None:
    halves = [Window(None, time(0), time(12)), Window(None, time(12), time(0))]
    for local in (at("11-24 11:59:59"), at("11-24 12:00"), at("11-24 23:59:59"), at("11-25 00:00")):
        assert closed_until(halves, "ocr", local) is None


# The days on which the clock changes.


def test_a_night_is_an_hour_shorter_in_spring_and_longer_in_autumn() -> None:
    assert hours_open(NIGHT, at("03-27 12:00"), at("03-28 12:00")) == 8
    assert hours_open(NIGHT, at("03-28 12:00"), at("03-29 12:00")) == 7
    assert hours_open(NIGHT, at("10-24 12:00"), at("10-25 12:00")) == 9


def test_in_new_york_as_well() -> None:
    assert hours_open(NIGHT, at("03-07 12:00", NEW_YORK), at("03-08 12:00", NEW_YORK)) == 7
    assert hours_open(NIGHT, at("10-31 12:00", NEW_YORK), at("11-01 12:00", NEW_YORK)) == 9


def test_on_lord_howe_it_is_half_an_hour() -> None:
    assert hours_open(NIGHT, at("04-04 12:00", LORD_HOWE), at("04-05 12:00", LORD_HOWE)) == 8.5
    assert hours_open(NIGHT, at("10-03 12:00", LORD_HOWE), at("10-04 12:00", LORD_HOWE)) == 7.5


def test_a_window_that_the_clock_passes_over_opens_as_much_later() -> None:
    """There is no 02:30 on that morning: it is the instant an hour after 01:30."""
    half_past_two = Window(None, time(2, 30), time(4))
    assert opens(half_past_two, at("03-29 01:59:59")) == "03-29 03:30 +0200"
    assert opens(half_past_two, at("03-29 03:29:59")) == "03-29 03:30 +0200"
    assert opens(half_past_two, at("03-29 03:30")) is None
    assert opens(half_past_two, at("03-29 04:00")) == "03-30 02:30 +0200"


def test_a_window_that_lies_within_what_the_clock_passes_over_is_there_all_the_same() -> None:
    short = Window(None, time(2, 10), time(2, 40))
    assert hours_open(short, at("03-29 00:00"), at("03-30 00:00")) == 0.5
    assert opens(short, at("03-29 03:10")) is None
    assert opens(short, at("03-29 03:40")) == "03-30 02:10 +0200"


def test_a_window_that_opens_in_what_the_clock_passes_over_keeps_its_length() -> None:
    early = Window(None, time(2, 30), time(3, 15))
    assert opens(early, at("03-29 03:15")) == "03-29 03:30 +0200"
    assert opens(early, at("03-29 04:14:59")) is None
    assert opens(early, at("03-29 04:15")) == "03-30 02:30 +0200"
    quarter = Window(None, time(2, 15), time(2, 45))
    assert hours_open(quarter, at("10-04 00:00", LORD_HOWE), at("10-05 00:00", LORD_HOWE)) == 0.5


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York"])
def test_zones_of_the_system_and_of_its_c_library_agree_with_the_tables(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own zone and one such as CET-1CEST take a time that there is not otherwise."""
    table = ZoneInfo(name)
    rules = {
        "Europe/Berlin": "CET-1CEST,M3.5.0,M10.5.0/3",
        "America/New_York": "EST5EDT,M3.2.0,M11.1.0",
    }
    monkeypatch.setenv("TZ", name)
    clock.tzset()
    others = [local_zone({"TZ": rules[name]}), tz.tzlocal()]
    try:
        for window in (Window(None, time(2, 10), time(2, 40)), Window(None, time(1, 10), time(3))):
            for began in ("03-07 12:00", "03-28 12:00", "10-24 12:00", "10-31 12:00"):
                begin = at(began, table)
                end = begin + timedelta(days=2)
                expected = [edge.timestamp() for edge in edges([window], begin, end)]
                for zone in others:
                    there = datetime.fromtimestamp(begin.timestamp(), zone)
                    assert [e.timestamp() for e in edges([window], there, end)] == expected
    finally:
        monkeypatch.undo()
        clock.tzset()


def test_a_window_in_the_hour_that_comes_twice_opens_in_the_first_of_them_alone() -> None:
    short = Window(None, time(2, 10), time(2, 40))
    assert hours_open(short, at("10-25 00:00"), at("10-26 00:00")) == 0.5
    assert opens(short, at("10-25 02:10")) is None
    assert opens(short, at("10-25 02:10b")) == "10-26 02:10 +0100"


def test_a_window_that_ends_in_the_hour_that_comes_twice_ends_in_the_first() -> None:
    early = Window(None, time(0), time(2, 30))
    assert opens(early, at("10-25 02:29")) is None
    assert opens(early, at("10-25 02:30")) == "10-26 00:00 +0100"
    assert opens(early, at("10-25 02:00b")) == "10-26 00:00 +0100"


def test_what_is_said_of_the_next_opening_is_right_beyond_a_change() -> None:
    """The offset is that of the opening, not that of now."""
    assert opens(DAY, at("03-28 18:00")) == "03-29 09:30 +0200"
    assert opens(DAY, at("10-24 18:00")) == "10-25 09:30 +0100"
    assert opens(DAY, at("10-03 18:00", LORD_HOWE)) == "10-04 09:30 +1100"


# The next edge.


def test_the_next_edge_is_an_opening_or_a_closing_of_any_window() -> None:
    windows = [NIGHT, Window(frozenset({"library"}), time(12), time(13), WEEKEND)]
    assert next_edge(windows, at("11-27 21:00")) == at("11-27 22:00")
    assert next_edge(windows, at("11-27 22:00")) == at("11-28 06:00")
    assert next_edge(windows, at("11-28 06:00")) == at("11-28 12:00")
    assert next_edge(windows, at("11-28 12:00")) == at("11-28 13:00")


def test_without_windows_there_is_no_edge() -> None:
    assert next_edge([], at("11-27 21:00")) is None


def test_seconds_to_an_edge_are_real_ones() -> None:
    """On the wall it is nine hours from 22:00 to 07:00, by any watch it is eight or ten."""
    night = Window(None, time(22), time(7))
    for begin, hours in (("03-28 22:00", 8), ("10-24 22:00", 10), ("11-24 22:00", 9)):
        edge = next_edge([night], at(begin))
        assert edge is not None
        assert edge.timestamp() - at(begin).timestamp() == hours * 3600


# At any time, in any zone.

minutes = st.integers(0, 24 * 60 - 1).map(lambda number: time(*divmod(number, 60)))
windows_of = st.lists(
    st.builds(
        Window,
        st.none() | st.frozensets(st.sampled_from(("ocr", "library")), min_size=1),
        minutes,
        minutes,
        st.just(DAILY) | st.frozensets(st.integers(0, 6), min_size=1),
    ).filter(lambda window: window.start != window.end),
    min_size=1,
    max_size=4,
)
around_changes = [
    at("03-29 03:00"),
    at("10-25 02:00"),
    at("03-08 03:00", NEW_YORK),
    at("11-01 01:00", NEW_YORK),
    at("04-05 01:30", LORD_HOWE),
    at("10-04 02:30", LORD_HOWE),
    at("12-31 23:30"),
    at("02-28 12:00", NEW_YORK),
]
instants = st.builds(
    lambda near, seconds, zone: instant(near.timestamp() + seconds, zone),
    st.sampled_from(around_changes),
    st.integers(-3 * 86400, 3 * 86400),
    st.sampled_from([near.replace(tzinfo=zone) for near in around_changes[:1] for zone in ZONES]),
)


def is_open(windows: list[Window], local: datetime) -> bool:
    return closed_until(windows, "ocr", local) is None


@given(windows_of, instants, st.floats(0, 1, exclude_max=True))
def test_between_two_edges_nothing_changes(
    windows: list[Window], local: datetime, share: float
) -> None:
    edge = next_edge(windows, local)
    assert edge is not None
    assert local.timestamp() < edge.timestamp() <= local.timestamp() + 8.1 * 86400
    between = instant(
        local.timestamp() + share * (edge.timestamp() - local.timestamp() - 1e-3), local
    )
    assert closed_until(windows, "ocr", between) == closed_until(windows, "ocr", local)


@given(windows_of, instants)
def test_when_a_queue_may_run_again_it_may_run_and_not_before(
    windows: list[Window], local: datetime
) -> None:
    again = closed_until(windows, "ocr", local)
    mine = [window for window in windows if window.is_for("ocr")]
    if again is None:
        assert not mine or any(
            begin.timestamp() <= local.timestamp() < end.timestamp()
            for window in mine
            for begin, end in window.around(local)
        )
        return
    assert again.timestamp() > local.timestamp()
    assert is_open(windows, again)
    assert not is_open(windows, instant(again.timestamp() - 1e-3, local))
    for edge in edges(windows, local, again):
        assert not is_open(windows, instant(edge.timestamp() - 1e-3, local))


def edges(windows: list[Window], begin: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the edges from one instant up to another one."""
    edge = next_edge(windows, begin)
    while edge is not None and edge.timestamp() <= end.timestamp():
        yield edge
        edge = next_edge(windows, instant(edge.timestamp(), begin))


@given(windows_of, instants)
def test_edges_follow_one_another_for_a_week(windows: list[Window], local: datetime) -> None:
    found = list(edges(windows, local, instant(local.timestamp() + 7 * 86400, local)))
    assert found
    assert all(one.timestamp() < other.timestamp() for one, other in pairwise(found))


@given(windows_of, instants)
def test_what_counts_is_the_instant_and_not_how_it_is_written(
    windows: list[Window], local: datetime
) -> None:
    again = instant(local.astimezone(UTC).timestamp(), local)
    assert closed_until(windows, "ocr", again) == closed_until(windows, "ocr", local)


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_each_window_opens_once_and_closes_once_on_every_day_of_a_year(zone: ZoneInfo) -> None:
    for window in (Window(None, time(2, 15), time(2, 45)), Window(None, time(23), time(2, 15))):
        begin = at("01-01 12:00", zone)
        openings = 0
        was_open = is_open([window], begin)
        for edge in edges([window], begin, begin + timedelta(days=365)):
            openings += is_open([window], edge) and not was_open
            was_open = is_open([window], edge)
        assert openings == 365
