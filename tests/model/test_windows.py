"""Windows in local time, including the days with a DST change."""

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
    """Return a local time in 2026 from ``MM-DD HH:MM``; a ``b`` selects the second of two."""
    local = datetime.fromisoformat(f"2026-{text.removesuffix('b')}")
    return local.replace(tzinfo=zone, fold=int(text.endswith("b")))


def next_opening(window: Window, local: datetime) -> str | None:
    """Return the local time at which a queue may run again, None if it may run now."""
    opening = closed_until([window], "ocr", local)
    return None if opening is None else f"{opening:%m-%d %H:%M %z}"


def hours_open(window: Window, begin: datetime, end: datetime) -> float:
    """Return the elapsed hours in which a queue may run, with a resolution of a minute."""
    minutes = int((end.timestamp() - begin.timestamp()) / 60)
    instants = (instant(begin.timestamp() + 60 * m, begin) for m in range(minutes))
    return sum(closed_until([window], "ocr", local) is None for local in instants) / 60


def instant(timestamp: float, like: datetime) -> datetime:
    return datetime.fromtimestamp(timestamp, like.tzinfo)


# Days without a change.


def test_a_queue_without_windows_may_run_at_any_time() -> None:
    others = Window(frozenset({"videoConversion", "library"}), time(22), time(6))
    for local in (at("11-24 12:00"), at("11-24 23:00")):
        assert closed_until([], "ocr", local) is None
        assert closed_until([others], "ocr", local) is None
    assert closed_until([others], "library", at("11-24 12:00")) == at("11-24 22:00")


def test_a_window_includes_its_start_and_excludes_its_end() -> None:
    tick = timedelta(microseconds=1)
    assert next_opening(DAY, at("11-24 09:30") - tick) == "11-24 09:30 +0100"
    assert next_opening(DAY, at("11-24 09:30")) is None
    assert next_opening(DAY, at("11-24 17:00") - tick) is None
    assert next_opening(DAY, at("11-24 17:00")) == "11-25 09:30 +0100"


def test_a_window_can_span_midnight() -> None:
    assert next_opening(NIGHT, at("11-24 21:59:59")) == "11-24 22:00 +0100"
    for inside in ("11-24 22:00", "11-24 23:59:59", "11-25 00:00", "11-25 05:59:59"):
        assert next_opening(NIGHT, at(inside)) is None
    assert next_opening(NIGHT, at("11-25 06:00")) == "11-25 22:00 +0100"


def test_a_window_that_ends_at_midnight_ends_with_the_day() -> None:
    evening = Window(None, time(18), time(0))
    assert next_opening(evening, at("11-24 23:59:59")) is None
    assert next_opening(evening, at("11-25 00:00")) == "11-25 18:00 +0100"


def test_a_window_from_midnight_begins_with_the_day() -> None:
    morning = Window(None, time(0), time(7))
    assert next_opening(morning, at("11-24 23:59:59")) == "11-25 00:00 +0100"
    assert next_opening(morning, at("11-25 00:00")) is None


def test_days_are_the_days_on_which_a_window_opens() -> None:
    """24 November 2026 is a Tuesday; the window of Friday night ends on Saturday."""
    nights = Window(None, time(22), time(6), WORKDAYS)
    assert next_opening(nights, at("11-27 23:00")) is None
    assert next_opening(nights, at("11-28 05:59")) is None
    assert next_opening(nights, at("11-28 06:00")) == "11-30 22:00 +0100"
    assert next_opening(nights, at("11-28 23:00")) == "11-30 22:00 +0100"
    assert next_opening(nights, at("11-30 03:00")) == "11-30 22:00 +0100"


def test_a_window_on_one_day_opens_again_a_week_later() -> None:
    sunday = Window(None, time(1), time(5), frozenset({6}))
    assert next_opening(sunday, at("11-29 05:00")) == "12-06 01:00 +0100"
    sunday_night = Window(None, time(23), time(5), frozenset({6}))
    assert next_opening(sunday_night, at("11-30 05:00")) == "12-06 23:00 +0100"


def test_a_queue_may_run_in_any_of_its_windows_and_the_next_opening_is_the_earliest() -> None:
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


def test_adjacent_windows_leave_no_gap() -> None:
    halves = [Window(None, time(0), time(12)), Window(None, time(12), time(0))]
    for local in (at("11-24 11:59:59"), at("11-24 12:00"), at("11-24 23:59:59"), at("11-25 00:00")):
        assert closed_until(halves, "ocr", local) is None


# DST changes.


def test_a_night_is_an_hour_shorter_in_spring_and_longer_in_autumn() -> None:
    assert hours_open(NIGHT, at("03-27 12:00"), at("03-28 12:00")) == 8
    assert hours_open(NIGHT, at("03-28 12:00"), at("03-29 12:00")) == 7
    assert hours_open(NIGHT, at("10-24 12:00"), at("10-25 12:00")) == 9


def test_dst_in_new_york() -> None:
    assert hours_open(NIGHT, at("03-07 12:00", NEW_YORK), at("03-08 12:00", NEW_YORK)) == 7
    assert hours_open(NIGHT, at("10-31 12:00", NEW_YORK), at("11-01 12:00", NEW_YORK)) == 9


def test_dst_of_half_an_hour_on_lord_howe() -> None:
    assert hours_open(NIGHT, at("04-04 12:00", LORD_HOWE), at("04-05 12:00", LORD_HOWE)) == 8.5
    assert hours_open(NIGHT, at("10-03 12:00", LORD_HOWE), at("10-04 12:00", LORD_HOWE)) == 7.5


def test_a_skipped_start_is_shifted_by_the_length_of_the_gap() -> None:
    """02:30 does not exist on that morning, so 03:30 is meant."""
    half_past_two = Window(None, time(2, 30), time(4))
    assert next_opening(half_past_two, at("03-29 01:59:59")) == "03-29 03:30 +0200"
    assert next_opening(half_past_two, at("03-29 03:29:59")) == "03-29 03:30 +0200"
    assert next_opening(half_past_two, at("03-29 03:30")) is None
    assert next_opening(half_past_two, at("03-29 04:00")) == "03-30 02:30 +0200"


def test_a_window_within_the_gap_is_shifted_as_a_whole() -> None:
    short = Window(None, time(2, 10), time(2, 40))
    assert hours_open(short, at("03-29 00:00"), at("03-30 00:00")) == 0.5
    assert next_opening(short, at("03-29 03:10")) is None
    assert next_opening(short, at("03-29 03:40")) == "03-30 02:10 +0200"


def test_a_window_that_opens_in_the_gap_keeps_its_length() -> None:
    early = Window(None, time(2, 30), time(3, 15))
    assert next_opening(early, at("03-29 03:15")) == "03-29 03:30 +0200"
    assert next_opening(early, at("03-29 04:14:59")) is None
    assert next_opening(early, at("03-29 04:15")) == "03-30 02:30 +0200"
    quarter = Window(None, time(2, 15), time(2, 45))
    assert hours_open(quarter, at("10-04 00:00", LORD_HOWE), at("10-05 00:00", LORD_HOWE)) == 0.5


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York"])
def test_tzlocal_and_posix_zones_agree_with_zoneinfo(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those two resolve a skipped local time differently from zoneinfo."""
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
                    begin_there = datetime.fromtimestamp(begin.timestamp(), zone)
                    assert [e.timestamp() for e in edges([window], begin_there, end)] == expected
    finally:
        monkeypatch.undo()
        clock.tzset()


def test_a_window_in_the_repeated_hour_opens_only_in_the_first_of_the_two() -> None:
    short = Window(None, time(2, 10), time(2, 40))
    assert hours_open(short, at("10-25 00:00"), at("10-26 00:00")) == 0.5
    assert next_opening(short, at("10-25 02:10")) is None
    assert next_opening(short, at("10-25 02:10b")) == "10-26 02:10 +0100"


def test_a_window_that_ends_in_the_repeated_hour_ends_in_the_first_of_the_two() -> None:
    early = Window(None, time(0), time(2, 30))
    assert next_opening(early, at("10-25 02:29")) is None
    assert next_opening(early, at("10-25 02:30")) == "10-26 00:00 +0100"
    assert next_opening(early, at("10-25 02:00b")) == "10-26 00:00 +0100"


def test_the_next_opening_has_the_offset_of_its_own_date() -> None:
    """Its offset may differ from the current one."""
    assert next_opening(DAY, at("03-28 18:00")) == "03-29 09:30 +0200"
    assert next_opening(DAY, at("10-24 18:00")) == "10-25 09:30 +0100"
    assert next_opening(DAY, at("10-03 18:00", LORD_HOWE)) == "10-04 09:30 +1100"


# Next edge.


def test_the_next_edge_is_an_opening_or_closing_of_any_window() -> None:
    windows = [NIGHT, Window(frozenset({"library"}), time(12), time(13), WEEKEND)]
    assert next_edge(windows, at("11-27 21:00")) == at("11-27 22:00")
    assert next_edge(windows, at("11-27 22:00")) == at("11-28 06:00")
    assert next_edge(windows, at("11-28 06:00")) == at("11-28 12:00")
    assert next_edge(windows, at("11-28 12:00")) == at("11-28 13:00")


def test_without_windows_there_is_no_edge() -> None:
    assert next_edge([], at("11-27 21:00")) is None


def test_the_time_to_an_edge_is_elapsed_time() -> None:
    """From 22:00 to 07:00 it may be eight or ten hours."""
    night = Window(None, time(22), time(7))
    for begin, hours in (("03-28 22:00", 8), ("10-24 22:00", 10), ("11-24 22:00", 9)):
        edge = next_edge([night], at(begin))
        assert edge is not None
        assert edge.timestamp() - at(begin).timestamp() == hours * 3600


# Properties.

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
    lambda base, seconds, zone: instant(base.timestamp() + seconds, zone),
    st.sampled_from(around_changes),
    st.integers(-3 * 86400, 3 * 86400),
    st.sampled_from([base.replace(tzinfo=zone) for base in around_changes[:1] for zone in ZONES]),
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
def test_a_queue_may_run_from_its_next_opening_on_and_not_before(
    windows: list[Window], local: datetime
) -> None:
    reopening = closed_until(windows, "ocr", local)
    own = [window for window in windows if window.is_for("ocr")]
    if reopening is None:
        assert not own or any(
            begin.timestamp() <= local.timestamp() < end.timestamp()
            for window in own
            for begin, end in window.around(local)
        )
        return
    assert reopening.timestamp() > local.timestamp()
    assert is_open(windows, reopening)
    assert not is_open(windows, instant(reopening.timestamp() - 1e-3, local))
    for edge in edges(windows, local, reopening):
        assert not is_open(windows, instant(edge.timestamp() - 1e-3, local))


def edges(windows: list[Window], begin: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the edges after ``begin`` up to ``end``."""
    edge = next_edge(windows, begin)
    while edge is not None and edge.timestamp() <= end.timestamp():
        yield edge
        edge = next_edge(windows, instant(edge.timestamp(), begin))


@given(windows_of, instants)
def test_the_edges_of_a_week_are_in_order(windows: list[Window], local: datetime) -> None:
    edges_found = list(edges(windows, local, instant(local.timestamp() + 7 * 86400, local)))
    assert edges_found
    assert all(earlier.timestamp() < later.timestamp() for earlier, later in pairwise(edges_found))


@given(windows_of, instants)
def test_the_result_depends_on_the_instant_only(windows: list[Window], local: datetime) -> None:
    converted = instant(local.astimezone(UTC).timestamp(), local)
    assert closed_until(windows, "ocr", converted) == closed_until(windows, "ocr", local)


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_each_window_opens_and_closes_once_on_every_day_of_a_year(zone: ZoneInfo) -> None:
    for window in (Window(None, time(2, 15), time(2, 45)), Window(None, time(23), time(2, 15))):
        begin = at("01-01 12:00", zone)
        openings = 0
        was_open = is_open([window], begin)
        for edge in edges([window], begin, begin + timedelta(days=365)):
            openings += is_open([window], edge) and not was_open
            was_open = is_open([window], edge)
        assert openings == 365
