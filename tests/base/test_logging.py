"""The log: bashio's format, one line for each record, never the API key."""

import io
import logging
import re
import time
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.base.logging import LEVELS, NOTICE, TRACE, configure_logging

KEY: Final = "Xk3+/yZ9qW7vLmN2pR5tB8sD"
LINE: Final = re.compile(
    r"\[\d\d:\d\d:\d\d\] (TRACE|DEBUG|INFO|NOTICE|WARNING|ERROR|FATAL): (.*)\n"
)


@pytest.fixture(autouse=True)
def _restore_logger() -> Iterator[None]:
    logger = logging.getLogger("immich_job_daemon")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def written(text: str, *values: object, level: str = "info", secret: str | None = KEY) -> str:
    """Log a message and return the text of its line."""
    stream = io.StringIO()
    configure_logging(level, stream, secrets=(secret or "",)).error(text, *values)
    line = LINE.fullmatch(stream.getvalue())
    assert line, stream.getvalue()
    return line[2]


def test_a_line_has_bashios_format_and_the_local_time() -> None:
    stream = io.StringIO()
    logger = configure_logging("info", stream)
    record = logger.makeRecord(logger.name, logging.INFO, "", 0, "ready, %d queues", (19,), None)
    logger.handle(record)
    clock = time.strftime("%H:%M:%S", time.localtime(record.created))
    assert stream.getvalue() == f"[{clock}] INFO: ready, 19 queues\n"


def test_every_level_has_its_name_in_bashio() -> None:
    stream = io.StringIO()
    logger = configure_logging("trace", stream)
    for number in LEVELS.values():
        logger.log(number, "x")
    names = [line.split(" ")[1] for line in stream.getvalue().splitlines()]
    assert names == ["TRACE:", "DEBUG:", "INFO:", "NOTICE:", "WARNING:", "ERROR:", "FATAL:"]


@pytest.mark.parametrize("level", LEVELS)
def test_records_below_the_level_are_not_written(level: str) -> None:
    stream = io.StringIO()
    logger = configure_logging(level, stream)
    for name, number in LEVELS.items():
        logger.log(number, name)
    names = [line.split(": ")[1] for line in stream.getvalue().splitlines()]
    assert names == list(LEVELS)[list(LEVELS).index(level) :]


def test_the_levels_have_bashios_order() -> None:
    assert TRACE < logging.DEBUG < logging.INFO < NOTICE < logging.WARNING
    assert sorted(LEVELS.values()) == list(LEVELS.values())


def test_a_module_logs_through_the_packages_logger() -> None:
    stream = io.StringIO()
    configure_logging("info", stream)
    logging.getLogger("immich_job_daemon.daemon.loop").warning("from a module")
    assert stream.getvalue().endswith("WARNING: from a module\n")


def test_a_second_configuration_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging("info", first)
    logger = configure_logging("error", second)
    logger.warning("not wanted")
    logger.error("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1
    assert "not wanted" not in second.getvalue()
    assert logger.name == "immich_job_daemon"


def test_other_handlers_stay() -> None:
    other = logging.NullHandler()
    logging.getLogger("immich_job_daemon").addHandler(other)
    assert other in configure_logging("info", io.StringIO()).handlers


def test_the_root_logger_gets_nothing() -> None:
    root, above = logging.getLogger(), io.StringIO()
    handler = logging.StreamHandler(above)
    root.addHandler(handler)
    try:
        configure_logging("info", io.StringIO()).error("once")
    finally:
        root.removeHandler(handler)
    assert above.getvalue() == ""


# Forged lines


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
def test_unprintable_characters_are_escaped(hostile: str, seen: str) -> None:
    assert written("%s", hostile) == seen
    assert written(hostile) == seen


@given(text=st.text())
def test_any_text_is_one_printable_line(text: str) -> None:
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
def test_the_key_is_removed_in_any_form(form: str) -> None:
    assert written(f"a {form} b") == "a (hidden) b"
    assert written("a %s b", form) == "a (hidden) b"
    assert written("a %s b", [f"x{form}y"]) == "a ['x(hidden)y'] b"
    assert written("%(key)s", {"key": form}) == "(hidden)"


@pytest.mark.parametrize("key", ['quo"te\\back', "it's", "bell-ä-ü", "percent%2Fkey", "a b c d"])
def test_a_key_that_needs_escaping_is_removed(key: str) -> None:
    for form in (key, repr({"k": key}), repr(key.encode("latin-1")), ascii(key)):
        text = written("%s", form, secret=key)
        assert "(hidden)" in text
        assert key not in text
        assert "back" not in text
        assert "bell" not in text


@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_key_nothing_is_removed(secret: str | None) -> None:
    assert written("a b", secret=secret) == "a b"


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
    logger = configure_logging(level, stream, secrets=(KEY,))
    try:
        fail()
    except RuntimeError:
        logger.exception("a round failed")
    return stream.getvalue()


@pytest.mark.parametrize("level", ["info", "notice", "warning", "error"])
def test_a_traceback_is_not_written_above_debug(level: str) -> None:
    line = LINE.fullmatch(logged_failure(level))
    assert line
    assert line[2] == "a round failed"


@pytest.mark.parametrize("level", ["debug", "trace"])
def test_a_traceback_is_indented_and_neither_forges_a_line_nor_shows_the_key(level: str) -> None:
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
    configure_logging("debug", stream).error("nothing is wrong", exc_info=True)
    assert LINE.fullmatch(stream.getvalue())


# Errors while logging


class BrokenStream(io.StringIO):
    """A pipe whose reader has exited."""

    def write(self, _text: str, /) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def test_a_closed_stream_raises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logger = configure_logging("info", stream, secrets=(KEY,))
    stream.close()
    logger.error("into the void %s", KEY)
    configure_logging("info", io.StringIO())
    assert capsys.readouterr() == ("", "")


def test_a_broken_stream_raises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    logger = configure_logging("info", BrokenStream(), secrets=(KEY,))
    logger.error("into the void %s", KEY)
    configure_logging("info", io.StringIO())
    assert capsys.readouterr() == ("", "")


def test_a_character_that_the_stream_cannot_encode_is_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    configure_logging("info", stream).info("Grüße %s", "写")
    stream.flush()
    assert raw.getvalue().endswith(rb"INFO: Gr\xfc\xdfe \u5199" + b"\n")


def test_values_that_do_not_fit_the_message_are_written_nevertheless() -> None:
    assert written("one %d", KEY) == "one %d ('(hidden)',)"
