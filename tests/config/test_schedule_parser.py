"""What people write for times and groups, from JSON and from the environment, and what is wrong."""

from datetime import time

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.config import schedule_parser
from immich_job_daemon.config.schema import SettingsError, read_settings
from immich_job_daemon.model.queue import PRIORITY
from immich_job_daemon.model.settings import Scan
from immich_job_daemon.model.windows import DAILY, DAYS, Window

WORKDAYS, WEEKEND = frozenset(range(5)), frozenset({5, 6})
NIGHT = Window(frozenset({"videoConversion", "ocr"}), time(22), time(6), WORKDAYS)


def wrong(reader: object, value: object) -> str:
    """Return what a reader says is wrong with a value."""
    assert callable(reader)
    with pytest.raises(vol.Invalid) as caught:
        reader(value)
    return str(caught.value)


# SCHEDULE


@pytest.mark.parametrize(
    "written",
    [
        "videoConversion,ocr=22:00-06:00 mon-fri",
        " videoConversion , ocr = 22:00 - 6:00  mon,tue,wed,thu,fri ; ",
        "videoConversion,ocr=22:00:00-06:00:00 MON-FRI",
        "\nvideoConversion,ocr=22:00-06:00 mon-fri\n",
        [{"queues": "videoConversion,ocr", "from": "22:00", "to": "06:00", "days": "mon-fri"}],
        [{"queues": ["ocr", "videoConversion"], "from": 1320, "to": 360, "days": ["mon-fri"]}],
        [
            {
                "queues": ["videoConversion", " ocr ", ""],
                "from": "22:00",
                "to": "6:00",
                "days": ["mon", "tue", "wed", "thu", "fri"],
            }
        ],
    ],
    ids=str,
)
def test_a_window_is_the_same_however_it_is_written(written: object) -> None:
    assert schedule_parser.windows(written) == (NIGHT,)


@pytest.mark.parametrize("separator", [";", "; ", "\n", ";\n", ";;\n\n"])
def test_windows_follow_one_another_with_a_semicolon_or_on_lines_of_their_own(
    separator: str,
) -> None:
    text = separator.join(["videoConversion,ocr=22:00-06:00 mon-fri", "all=01:00-02:00 sat,sun"])
    assert schedule_parser.windows(text) == (NIGHT, Window(None, time(1), time(2), WEEKEND))


def test_a_list_keeps_its_windows_in_their_order() -> None:
    objects = [
        {"queues": "all", "from": "01:00", "to": "02:00", "days": "sat,sun"},
        {"queues": ["videoConversion", "ocr"], "from": "22:00", "to": "06:00", "days": "mon-fri"},
    ]
    assert schedule_parser.windows(objects) == (Window(None, time(1), time(2), WEEKEND), NIGHT)


@pytest.mark.parametrize("nothing", ["", [], ";", " \n "])
def test_nothing_is_no_window(nothing: object) -> None:
    assert schedule_parser.windows(nothing) == ()


@pytest.mark.parametrize("days", [None, "", " ", "null", []])
def test_a_window_without_days_is_one_of_every_day(days: object) -> None:
    item = {"queues": "ocr", "from": "22:00", "to": "06:00", "days": days}
    if days == []:
        assert "days" in wrong(schedule_parser.windows, [item])
        return
    assert schedule_parser.windows([item]) == schedule_parser.windows("ocr=22:00-06:00")
    assert schedule_parser.windows([item])[0].days == DAILY


@pytest.mark.parametrize("every", ["all", " ALL ", ["all"]])
def test_a_window_for_all_names_no_queue(every: object) -> None:
    found = schedule_parser.windows([{"queues": every, "from": "22:00", "to": "06:00"}])
    assert found == (Window(None, time(22), time(6)),)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (5, "is no list of windows"),
        ({"queues": "ocr", "from": "22:00", "to": "06:00"}, "is no list of windows"),
        ("night", "has a window that is not such as ocr=22:00-06:00 mon-fri"),
        ("ocr=22:00", "has a window that is not such as ocr=22:00-06:00 mon-fri"),
        ("ocr=22:00-06:00-07:00", "has a window that is not such as ocr=22:00-06:00 mon-fri"),
        ("=22:00-06:00", "has a window that is not such as ocr=22:00-06:00 mon-fri"),
        ("ocr=22:00-06:00 on 1 May", "has a window that is not such as"),
        (",=22:00-06:00", "has a window without queues"),
        ("a b=22:00-06:00", "holds what is no name of a queue"),
        ("ocr,ocr=22:00-06:00", "holds a name more than once"),
        ("all,ocr=22:00-06:00", "has a window for all that names queues as well"),
        ("ocr=25:00-06:00", "has a time that is not one such as 22:00"),
        ("ocr=22:60-06:00", "has a time that is not one such as 22:00"),
        ("ocr=22:00:30-06:00", "has a time that is not one such as 22:00"),
        ("ocr=22-06", "has a time that is not one such as 22:00"),
        ("ocr=22:00-24:00", "has a time that is not one such as 22:00"),
        ("ocr=06:00-6:00", "has a window that closes when it opens"),
        ("ocr=22:00-06:00 monday", "has days that are not such as mon-fri or sat,sun"),
        ("ocr=22:00-06:00 mon-", "has days that are not such as mon-fri or sat,sun"),
        ("ocr=22:00-06:00 mon-wed-fri", "has days that are not such as mon-fri or sat,sun"),
        ("ocr=22:00-06:00;" * 300, "is too long"),
        (["ocr=22:00-06:00"], "has a window that is not made of queues, from, to and days"),
        ([["ocr"]], "has a window that is not made of queues, from, to and days"),
        ([{"queues": "ocr", "from": "22:00"}], "has a window without to"),
        ([{"queues": [], "from": "1:00", "to": "2:00"}], "has a window without queues"),
        ([{"queues": "", "from": None, "to": "06:00"}], "has a window without queues and from"),
        (
            [{"queues": "ocr", "from": "22:00", "until": "06:00"}],
            "has a window that is not made of queues, from, to and days",
        ),
        (
            [{"queues": "ocr", "from": "22:00", "to": "06:00", "days": 1}],
            "has days that are not such as mon-fri or sat,sun",
        ),
        (
            [{"queues": "ocr", "from": True, "to": "06:00"}],
            "has a time that is not one such as 22:00",
        ),
        (
            [{"queues": "ocr", "from": "22:00", "to": 79200}],
            "has a time that is not one such as 22:00",
        ),
        (
            [{"queues": "ocr", "from": "22:00", "to": 6}],
            "has a time that is not one such as 22:00",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_with_a_window_is_said(value: object, why: str) -> None:
    assert wrong(schedule_parser.windows, value).startswith(why)


# EXCLUSIVE


@pytest.mark.parametrize(
    "written",
    [
        "ocr,smartSearch;library,sidecar",
        " ocr , smartSearch ;\n library,sidecar,\n",
        "ocr,smartSearch\nlibrary,sidecar",
        ["ocr,smartSearch", "library,sidecar", ""],
        [["ocr", "smartSearch"], ["library", "sidecar"]],
        [["ocr", "smartSearch"], "library,sidecar", None],
    ],
    ids=str,
)
def test_groups_are_the_same_however_they_are_written(written: object) -> None:
    assert schedule_parser.groups(written) == (
        frozenset({"ocr", "smartSearch"}),
        frozenset({"library", "sidecar"}),
    )


def test_a_queue_may_be_in_two_groups() -> None:
    assert len(schedule_parser.groups("ocr,smartSearch;ocr,faceDetection")) == 2


@pytest.mark.parametrize("nothing", ["", [], ";", "\n", ["", None]])
def test_nothing_is_no_group(nothing: object) -> None:
    assert schedule_parser.groups(nothing) == ()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("ocr", "has a group with fewer than two queues, which excludes nothing"),
        (["ocr", "smartSearch"], "has a group with fewer than two queues"),
        ([[]], "has a group with fewer than two queues"),
        ("ocr,ocr", "holds a name more than once"),
        ("ocr smartSearch", "holds what is no name of a queue"),
        ([{"a": "ocr"}], "is not a list of names"),
        ([1], "is not a list of names"),
        (1, "is no list of groups of queues"),
        ({"ocr": "smartSearch"}, "is no list of groups of queues"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_group_is_said(value: object, why: str) -> None:
    assert wrong(schedule_parser.groups, value).startswith(why)


# SCAN


@pytest.mark.parametrize(
    ("written", "opens", "closes", "days", "is_window"),
    [
        ("03:00", time(3), time(4), DAILY, False),
        (" 3:00 ", time(3), time(4), DAILY, False),
        ("03:00:00", time(3), time(4), DAILY, False),
        (180, time(3), time(4), DAILY, False),
        ("23:30", time(23, 30), time(0, 30), DAILY, False),
        ("03:00 sun", time(3), time(4), frozenset({6}), False),
        ("01:00-05:00", time(1), time(5), DAILY, True),
        ("22:00 - 6:00  sat, sun", time(22), time(6), WEEKEND, True),
        ("01:00-05:00 mon-fri", time(1), time(5), WORKDAYS, True),
    ],
)
def test_a_scan_is_a_time_of_the_day_or_a_window(
    written: object,
    opens: time,
    closes: time,
    days: frozenset[int],
    is_window: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    assert schedule_parser.scan(written) == Scan(
        Window(None, opens, closes, days), ends_with_window=is_window
    )


def test_nothing_is_no_scan() -> None:
    assert schedule_parser.scan("") is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("always", "is no time of the day and no window"),
        ("03:00-", "is no time of the day and no window"),
        ("ocr=03:00", "is no time of the day and no window"),
        (["03:00"], "is no time of the day and no window"),
        (2.5, "is no time of the day and no window"),
        (True, "is no time of the day and no window"),
        (3, "has a time that is not one such as 22:00"),
        ("24:00", "has a time that is not one such as 22:00"),
        ("3", "has a time that is not one such as 22:00"),
        ("03:00-03:00", "is a window that closes when it opens"),
        ("03:00 weekdays", "has days that are not such as mon-fri or sat,sun"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_scan_is_said(value: object, why: str) -> None:
    assert wrong(schedule_parser.scan, value).startswith(why)


# Days


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("mon", {0}),
        ("sat,sun", {5, 6}),
        ("sat sun", {5, 6}),
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("fri-mon", {0, 4, 5, 6}),
        ("sun-sun", {6}),
        ("mon-wed,sat", {0, 1, 2, 5}),
        (["mon-wed", "sat"], {0, 1, 2, 5}),
        ("Mon,MON,mon", {0}),
    ],
)
def test_days_are_names_and_spans_that_may_run_over_the_end_of_the_week(
    written: object, days: set[int]
) -> None:
    assert schedule_parser.days(written) == days


# Any window, written in any form.

queues = st.lists(st.sampled_from(PRIORITY), min_size=1, unique=True)
clocks = st.integers(0, 24 * 60 - 1).map(lambda number: time(*divmod(number, 60)))


@given(queues, clocks, clocks, st.sets(st.integers(0, 6)))
def test_json_and_the_environment_say_the_same(
    names: list[str], start: time, end: time, days: set[int]
) -> None:
    written = ",".join(DAYS[day] for day in sorted(days))
    text = f"{','.join(names)}={start:%H:%M}-{end:%H:%M} {written}".strip()
    item = {"queues": names, "from": f"{start:%H:%M}", "to": f"{end:%H:%M}", "days": written}
    if start == end:
        assert wrong(schedule_parser.windows, text) == wrong(schedule_parser.windows, [item])
        return
    expected = Window(frozenset(names), start, end, frozenset(days) or DAILY)
    assert schedule_parser.windows(text) == schedule_parser.windows([item]) == (expected,)
    from_both = [
        read_settings({"API_KEY": "x", "SCHEDULE": text}, None)[0],
        read_settings({}, {"API_KEY": "x", "SCHEDULE": [item]})[0],
    ]
    assert [found.schedule for found in from_both] == [(expected,)] * 2


@given(st.text(max_size=60) | st.from_regex(r"[a-z]{1,3}=[0-9:]{1,5}-[0-9:]{1,5}( [a-z,-]*)?"))
def test_any_text_is_a_timetable_or_a_line_that_says_what_is_wrong(text: str) -> None:
    for name in ("SCHEDULE", "EXCLUSIVE", "SCAN"):
        try:
            read_settings({}, {"API_KEY": "x", name: text})
        except SettingsError as error:
            (line,) = error.problems
            assert line.startswith((f"{name}: is ", f"{name}: has ", f"{name}: holds "))
