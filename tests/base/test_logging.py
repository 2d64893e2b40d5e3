"""What the daemon says: bashio's look, one line a record, never the key."""

import io
import logging
import re
import time
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.base.logging import LEVELS, NOTICE, TRACE, set_up

KEY: Final = "Xk3+/yZ9qW7vLmN2pR5tB8sD"
LINE: Final = re.compile(
    r"\[\d\d:\d\d:\d\d\] (TRACE|DEBUG|INFO|NOTICE|WARNING|ERROR|FATAL): (.*)\n"
)


@pytest.fixture(autouse=True)
def _logger_as_it_was() -> Iterator[None]:
    logger = logging.getLogger("immich_job_daemon")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def written(text: str, *values: object, level: str = "info", secret: str | None = KEY) -> str:
    """Return the text of the one line that a message becomes."""
    stream = io.StringIO()
    set_up(level, stream, secrets=(secret or "",)).error(text, *values)
    line = LINE.fullmatch(stream.getvalue())
    assert line, stream.getvalue()
    return line[2]


def test_a_line_looks_as_bashios_with_the_local_time() -> None:
    stream = io.StringIO()
    logger = set_up("info", stream)
    record = logger.makeRecord(logger.name, logging.INFO, "", 0, "ready, %d queues", (19,), None)
    logger.handle(record)
    clock = time.strftime("%H:%M:%S", time.localtime(record.created))
    assert stream.getvalue() == f"[{clock}] INFO: ready, 19 queues\n"


def test_every_level_has_bashios_name() -> None:
    stream = io.StringIO()
    logger = set_up("trace", stream)
    for number in LEVELS.values():
        logger.log(number, "x")
    names = [line.split(" ")[1] for line in stream.getvalue().splitlines()]
    assert names == ["TRACE:", "DEBUG:", "INFO:", "NOTICE:", "WARNING:", "ERROR:", "FATAL:"]


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_below_the_level_is_not_written(level: str) -> None:
    stream = io.StringIO()
    logger = set_up(level, stream)
    for name, number in LEVELS.items():
        logger.log(number, name)
    names = [line.split(": ")[1] for line in stream.getvalue().splitlines()]
    assert names == list(LEVELS)[list(LEVELS).index(level) :]


def test_the_levels_are_in_bashios_order() -> None:
    assert TRACE < logging.DEBUG < logging.INFO < NOTICE < logging.WARNING
    assert sorted(LEVELS.values()) == list(LEVELS.values())


def test_a_part_of_the_package_writes_through_the_packages_logger() -> None:
    stream = io.StringIO()
    set_up("info", stream)
    logging.getLogger("immich_job_daemon.daemon.loop").warning("from a part")
    assert stream.getvalue().endswith("WARNING: from a part\n")


def test_doing_it_again_replaces_what_was_set_up() -> None:
    first, second = io.StringIO(), io.StringIO()
    set_up("info", first)
    logger = set_up("error", second)
    logger.warning("not wanted")
    logger.error("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1
    assert "not wanted" not in second.getvalue()
    assert logger.name == "immich_job_daemon"


def test_a_handler_of_somebody_else_stays() -> None:
    other = logging.NullHandler()
    logging.getLogger("immich_job_daemon").addHandler(other)
    assert other in set_up("info", io.StringIO()).handlers


def test_nothing_is_written_twice_through_the_root_logger() -> None:
    root, above = logging.getLogger(), io.StringIO()
    handler = logging.StreamHandler(above)
    root.addHandler(handler)
    try:
        set_up("info", io.StringIO()).error("once")
    finally:
        root.removeHandler(handler)
    assert above.getvalue() == ""


# Nobody forges a line


@pytest.mark.parametrize(
    ("hostile", "seen"),
    [
        ("a\n[19:07:31] INFO: all is well", r"a\n[19:07:31] INFO: all is well"),
        ("a\r\nb", r"a\r\nb"),
        ("a\x1b[2K\x1b[1Ab", r"a\x1b[2K\x1b[1Ab"),
        ("a\x00\x07\x08\x7f\x9bb", r"a\x00\x07\x08\x7f\x9bb"),
        ("a\u202eb\u2066c", r"a\u202eb\u2066c"),
        ("a\u2028b\u2029c\x85d\x0bd", r"a\u2028b\u2029c\x85d\x0bd"),
        ("a\udc80b", r"a\udc80b"),
        ("Grüße, 写真, 📷", "Grüße, 写真, 📷"),
    ],
)
def test_what_cannot_be_seen_on_one_line_is_escaped(hostile: str, seen: str) -> None:
    assert written("%s", hostile) == seen
    assert written(hostile) == seen


@given(text=st.text())
def test_any_text_is_one_line_that_can_be_seen(text: str) -> None:
    assert written("%s", text).isprintable()


# The key


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        "Xk3%2B%2FyZ9qW7vLmN2pR5tB8sD",
        "xk3%2b%2fyz9qw7vlmn2pr5tb8sd",
        "Xk3%2B/yZ9qW7vLmN2pR5tB8sD",
    ],
)
def test_the_key_is_taken_out_in_any_form(form: str) -> None:
    assert written(f"a {form} b") == "a (hidden) b"
    assert written("a %s b", form) == "a (hidden) b"
    assert written("a %s b", [f"x{form}y"]) == "a ['x(hidden)y'] b"
    assert written("%(key)s", {"key": form}) == "(hidden)"


@pytest.mark.parametrize("key", ['quo"te\\back', "it's", "bell-ä-ü", "percent%2Fkey", "a b c d"])
def test_a_key_with_characters_that_are_escaped_is_taken_out_too(key: str) -> None:
    for form in (key, repr({"k": key}), repr(key.encode("latin-1")), ascii(key)):
        text = written("%s", form, secret=key)
        assert "(hidden)" in text
        assert key not in text
        assert "back" not in text
        assert "bell" not in text


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_a_key_nothing_is_taken_out(nothing: str | None) -> None:
    assert written("a b", secret=nothing) == "a b"


@given(before=st.text(), after=st.text())
def test_the_key_is_never_written(before: str, after: str) -> None:
    assert KEY not in written("%s", f"{before}{KEY}{after}")


def fail() -> None:
    try:
        int(f"first {KEY}")
    except ValueError as error:
        raise RuntimeError(f"second {KEY}\n[19:07:31] INFO: forged\r\x1b[2K") from error


def logged_failure(level: str) -> str:
    stream = io.StringIO()
    logger = set_up(level, stream, secrets=(KEY,))
    try:
        fail()
    except RuntimeError:
        logger.exception("a round failed")
    return stream.getvalue()


@pytest.mark.parametrize("level", ["info", "notice", "warning", "error"])
def test_a_traceback_is_not_written_where_nobody_debugs(level: str) -> None:
    line = LINE.fullmatch(logged_failure(level))
    assert line
    assert line[2] == "a round failed"


@pytest.mark.parametrize("level", ["debug", "trace"])
def test_a_traceback_is_indented_and_cannot_forge_a_line_or_show_the_key(level: str) -> None:
    first, *below = logged_failure(level).splitlines()
    assert LINE.fullmatch(f"{first}\n")
    assert below
    assert all(line.startswith("    ") and line.isprintable() for line in below)
    assert "    ValueError: invalid literal for int() with base 10: 'first (hidden)'" in below
    assert "    RuntimeError: second (hidden)" in below
    assert r"    [19:07:31] INFO: forged\r\x1b[2K" in below
    assert KEY not in "".join(below)


def test_exc_info_without_an_exception_adds_nothing() -> None:
    stream = io.StringIO()
    set_up("debug", stream).error("nothing is wrong", exc_info=True)
    assert LINE.fullmatch(stream.getvalue())


# Nothing raises


class BrokenStream(io.StringIO):
    """A pipe whose reader is gone."""

    def write(self, _text: str, /) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def test_a_closed_stream_loses_lines_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logger = set_up("info", stream, secrets=(KEY,))
    stream.close()
    logger.error("into the void %s", KEY)
    set_up("info", io.StringIO())
    assert capsys.readouterr() == ("", "")


def test_a_broken_stream_loses_lines_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    logger = set_up("info", BrokenStream(), secrets=(KEY,))
    logger.error("into the void %s", KEY)
    set_up("info", io.StringIO())
    assert capsys.readouterr() == ("", "")


def test_a_stream_that_cannot_encode_a_character_gets_it_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    set_up("info", stream).info("Grüße %s", "写")
    stream.flush()
    assert raw.getvalue().endswith(rb"INFO: Gr\xfc\xdfe \u5199" + b"\n")


def test_values_that_do_not_fit_the_message_are_still_written() -> None:
    assert written("one %d", KEY) == "one %d ('(hidden)',)"
