"""SCHEDULE, EXCLUSIVE and SCAN: their forms in JSON and in the environment, and their errors."""

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


def problem(parser: object, value: object) -> str:
    """Return the message with which a parser rejects a value."""
    assert callable(parser)
    with pytest.raises(vol.Invalid) as caught:
        parser(value)
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
def test_all_forms_of_a_window_mean_the_same(written: object) -> None:
    assert schedule_parser.windows(written) == (NIGHT,)


@pytest.mark.parametrize("separator", [";", "; ", "\n", ";\n", ";;\n\n"])
def test_windows_are_separated_by_semicolons_or_newlines(
    separator: str,
) -> None:
    text = separator.join(["videoConversion,ocr=22:00-06:00 mon-fri", "all=01:00-02:00 sat,sun"])
    assert schedule_parser.windows(text) == (NIGHT, Window(None, time(1), time(2), WEEKEND))


def test_windows_keep_the_order_of_the_list() -> None:
    objects = [
        {"queues": "all", "from": "01:00", "to": "02:00", "days": "sat,sun"},
        {"queues": ["videoConversion", "ocr"], "from": "22:00", "to": "06:00", "days": "mon-fri"},
    ]
    assert schedule_parser.windows(objects) == (Window(None, time(1), time(2), WEEKEND), NIGHT)


@pytest.mark.parametrize("empty", ["", [], ";", " \n "])
def test_an_empty_schedule_has_no_windows(empty: object) -> None:
    assert schedule_parser.windows(empty) == ()


@pytest.mark.parametrize("days", [None, "", " ", "null", []])
def test_a_window_without_days_opens_every_day(days: object) -> None:
    item = {"queues": "ocr", "from": "22:00", "to": "06:00", "days": days}
    if days == []:
        assert "days" in problem(schedule_parser.windows, [item])
        return
    assert schedule_parser.windows([item]) == schedule_parser.windows("ocr=22:00-06:00")
    assert schedule_parser.windows([item])[0].days == DAILY


@pytest.mark.parametrize("word", ["all", " ALL ", ["all"]])
def test_a_window_for_all_has_no_queue_names(word: object) -> None:
    found = schedule_parser.windows([{"queues": word, "from": "22:00", "to": "06:00"}])
    assert found == (Window(None, time(22), time(6)),)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "is not a list of windows"),
        ({"queues": "ocr", "from": "22:00", "to": "06:00"}, "is not a list of windows"),
        ("night", "has a window that does not look like ocr=22:00-06:00 mon-fri"),
        ("ocr=22:00", "has a window that does not look like ocr=22:00-06:00 mon-fri"),
        ("ocr=22:00-06:00-07:00", "has a window that does not look like ocr=22:00-06:00 mon-fri"),
        ("=22:00-06:00", "has a window that does not look like ocr=22:00-06:00 mon-fri"),
        ("ocr=22:00-06:00 on 1 May", "has a window that does not look like"),
        (",=22:00-06:00", "has a window without queues"),
        ("a b=22:00-06:00", "contains an invalid queue name"),
        ("ocr,ocr=22:00-06:00", "contains a name more than once"),
        ("all,ocr=22:00-06:00", "has a window that combines 'all' with queue names"),
        ("ocr=25:00-06:00", "has a time that does not look like 22:00"),
        ("ocr=22:60-06:00", "has a time that does not look like 22:00"),
        ("ocr=22:00:30-06:00", "has a time that does not look like 22:00"),
        ("ocr=22-06", "has a time that does not look like 22:00"),
        ("ocr=22:00-24:00", "has a time that does not look like 22:00"),
        ("ocr=06:00-6:00", "has a window that opens and closes at the same time"),
        ("ocr=22:00-06:00 monday", "has days that do not look like mon-fri or sat,sun"),
        ("ocr=22:00-06:00 mon-", "has days that do not look like mon-fri or sat,sun"),
        ("ocr=22:00-06:00 mon-wed-fri", "has days that do not look like mon-fri or sat,sun"),
        ("ocr=22:00-06:00;" * 300, "is too long"),
        (["ocr=22:00-06:00"], "has a window that is not an object of queues, from, to and days"),
        ([["ocr"]], "has a window that is not an object of queues, from, to and days"),
        ([{"queues": "ocr", "from": "22:00"}], "has a window without 'to'"),
        ([{"queues": [], "from": "1:00", "to": "2:00"}], "has a window without queues"),
        (
            [{"queues": "", "from": None, "to": "06:00"}],
            "has a window without 'queues' and 'from'",
        ),
        (
            [{"queues": "ocr", "from": "22:00", "until": "06:00"}],
            "has a window that is not an object of queues, from, to and days",
        ),
        (
            [{"queues": "ocr", "from": "22:00", "to": "06:00", "days": 1}],
            "has days that do not look like mon-fri or sat,sun",
        ),
        (
            [{"queues": "ocr", "from": True, "to": "06:00"}],
            "has a time that does not look like 22:00",
        ),
        (
            [{"queues": "ocr", "from": "22:00", "to": 79200}],
            "has a time that does not look like 22:00",
        ),
        (
            [{"queues": "ocr", "from": "22:00", "to": 6}],
            "has a time that does not look like 22:00",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_invalid_window_is_rejected_with_the_reason(value: object, message: str) -> None:
    assert problem(schedule_parser.windows, value).startswith(message)


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
def test_all_forms_of_groups_mean_the_same(written: object) -> None:
    assert schedule_parser.queue_groups(written) == (
        frozenset({"ocr", "smartSearch"}),
        frozenset({"library", "sidecar"}),
    )


def test_a_queue_may_be_in_two_groups() -> None:
    assert len(schedule_parser.queue_groups("ocr,smartSearch;ocr,faceDetection")) == 2


@pytest.mark.parametrize("empty", ["", [], ";", "\n", ["", None]])
def test_an_empty_value_has_no_groups(empty: object) -> None:
    assert schedule_parser.queue_groups(empty) == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ocr", "has a group with fewer than two queues, which has no effect"),
        (["ocr", "smartSearch"], "has a group with fewer than two queues"),
        ([[]], "has a group with fewer than two queues"),
        ("ocr,ocr", "contains a name more than once"),
        ("ocr smartSearch", "contains an invalid queue name"),
        ([{"a": "ocr"}], "is not a list of names"),
        ([1], "is not a list of names"),
        (1, "is not a list of queue groups"),
        ({"ocr": "smartSearch"}, "is not a list of queue groups"),
    ],
    ids=str,
)
def test_an_invalid_group_is_rejected_with_the_reason(value: object, message: str) -> None:
    assert problem(schedule_parser.queue_groups, value).startswith(message)


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
def test_a_scan_is_a_time_of_day_or_a_window(
    written: object,
    opens: time,
    closes: time,
    days: frozenset[int],
    is_window: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    assert schedule_parser.scan(written) == Scan(
        Window(None, opens, closes, days), ends_with_window=is_window
    )


def test_an_empty_value_means_no_scan() -> None:
    assert schedule_parser.scan("") is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("always", "is neither a time of day nor a window"),
        ("03:00-", "is neither a time of day nor a window"),
        ("ocr=03:00", "is neither a time of day nor a window"),
        (["03:00"], "is neither a time of day nor a window"),
        (2.5, "is neither a time of day nor a window"),
        (True, "is neither a time of day nor a window"),
        (3, "has a time that does not look like 22:00"),
        ("24:00", "has a time that does not look like 22:00"),
        ("3", "has a time that does not look like 22:00"),
        ("03:00-03:00", "is a window that opens and closes at the same time"),
        ("03:00 weekdays", "has days that do not look like mon-fri or sat,sun"),
    ],
    ids=str,
)
def test_an_invalid_scan_is_rejected_with_the_reason(value: object, message: str) -> None:
    assert problem(schedule_parser.scan, value).startswith(message)


# Weekdays


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
def test_weekdays_are_names_and_spans_which_may_wrap_around_the_week(
    written: object, days: set[int]
) -> None:
    assert schedule_parser.weekdays(written) == days


# Generated windows and texts

queues = st.lists(st.sampled_from(PRIORITY), min_size=1, unique=True)
clocks = st.integers(0, 24 * 60 - 1).map(lambda number: time(*divmod(number, 60)))


@given(queues, clocks, clocks, st.sets(st.integers(0, 6)))
def test_a_window_means_the_same_in_json_and_in_the_environment(
    names: list[str], start: time, end: time, days: set[int]
) -> None:
    written = ",".join(DAYS[day] for day in sorted(days))
    text = f"{','.join(names)}={start:%H:%M}-{end:%H:%M} {written}".strip()
    item = {"queues": names, "from": f"{start:%H:%M}", "to": f"{end:%H:%M}", "days": written}
    if start == end:
        assert problem(schedule_parser.windows, text) == problem(schedule_parser.windows, [item])
        return
    expected = Window(frozenset(names), start, end, frozenset(days) or DAILY)
    assert schedule_parser.windows(text) == schedule_parser.windows([item]) == (expected,)
    from_each_source = [
        read_settings({"API_KEY": "x", "SCHEDULE": text}, None)[0],
        read_settings({}, {"API_KEY": "x", "SCHEDULE": [item]})[0],
    ]
    assert [found.schedule for found in from_each_source] == [(expected,)] * 2


@given(st.text(max_size=60) | st.from_regex(r"[a-z]{1,3}=[0-9:]{1,5}-[0-9:]{1,5}( [a-z,-]*)?"))
def test_any_text_is_valid_or_rejected_with_one_line(text: str) -> None:
    for name in ("SCHEDULE", "EXCLUSIVE", "SCAN"):
        try:
            read_settings({}, {"API_KEY": "x", name: text})
        except SettingsError as error:
            (line,) = error.problems
            assert line.startswith((f"{name}: is ", f"{name}: has ", f"{name}: contains "))
