"""Commands over MQTT: valid ones are parsed, all others are rejected."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.model.controls import Change, Mode, Override, SetLimit, SetMode, SetQueue
from immich_job_daemon.mqtt.commands import (
    MAX_COMMAND_BYTES,
    RejectedCommandError,
    read_command,
    rejection_text,
)
from immich_job_daemon.mqtt.topics import Topics
from tests.web.sample_statuses import BUSY, NOTHING

TOPICS: Final = Topics("1a2b3c4d")
COMMAND_TOPICS: Final = [
    TOPICS.mode_command,
    TOPICS.limit_command,
    TOPICS.resume_all_command,
    TOPICS.queue_command("ocr"),
    TOPICS.queue_command(""),
    TOPICS.queue_command("a b"),
    f"{TOPICS.base}/other/set",
    f"{TOPICS.base}/queue/set",
    "",
]


@pytest.mark.parametrize(
    ("topic", "payload", "change"),
    [
        (TOPICS.mode_command, b"automatic", SetMode(Mode.AUTOMATIC)),
        (TOPICS.mode_command, b"open", SetMode(Mode.OPEN)),
        (TOPICS.mode_command, b"held", SetMode(Mode.HELD)),
        (TOPICS.limit_command, b"1", SetLimit(1)),
        (TOPICS.limit_command, b"2.0", SetLimit(2)),
        (TOPICS.limit_command, b"1000", SetLimit(1000)),
        (TOPICS.resume_all_command, b"PRESS", SetMode(Mode.OPEN)),
        (TOPICS.queue_command("ocr"), b"automatic", SetQueue("ocr", Override.AUTOMATIC)),
        (TOPICS.queue_command("ocr"), b"run next", SetQueue("ocr", Override.NEXT)),
        (TOPICS.queue_command("ocr"), b"held", SetQueue("ocr", Override.HELD)),
    ],
)
def test_commands_from_home_assistant_are_parsed(
    topic: str, payload: bytes, change: Change
) -> None:
    assert read_command(TOPICS, topic, payload) == change


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (TOPICS.mode_command, b"", "expected automatic, open or held"),
        (TOPICS.mode_command, b"HELD", "expected automatic, open or held"),
        (TOPICS.mode_command, b'{"mode": "held"}', "expected automatic, open or held"),
        (TOPICS.mode_command, b"held\n", "expected automatic, open or held"),
        (TOPICS.mode_command, b"\xff\xfe", "the payload is not valid UTF-8"),
        (TOPICS.mode_command, b"held" * 100, "the payload has 400 bytes, more than 64"),
        (TOPICS.limit_command, b"0", "expected a whole number from 1"),
        (TOPICS.limit_command, b"-1", "expected a whole number from 1"),
        (TOPICS.limit_command, b"1.5", "expected a whole number from 1"),
        (TOPICS.limit_command, b"1001", "expected a whole number from 1"),
        (TOPICS.limit_command, b"many", "expected a whole number from 1"),
        (TOPICS.limit_command, b"9" * MAX_COMMAND_BYTES, "expected a whole number from 1"),
        (TOPICS.limit_command, "\u0663".encode(), "expected a whole number from 1"),
        (TOPICS.limit_command, b"None", "expected a whole number from 1"),
        (TOPICS.resume_all_command, b"", "expected PRESS"),
        (TOPICS.resume_all_command, b"press", "expected PRESS"),
        (TOPICS.queue_command("ocr"), b"next", "expected automatic, run next or held"),
        (TOPICS.queue_command("ocr"), b"", "expected automatic, run next or held"),
        (TOPICS.queue_command(""), b"held", "expected automatic, run next or held"),
        (TOPICS.queue_command("x" * 65), b"held", "expected automatic, run next or held"),
        (f"{TOPICS.base}/other/set", b"held", "this is not a command topic"),
        (f"{TOPICS.base}/queue/set", b"held", "this is not a command topic"),
        (Topics("other").mode_command, b"held", "this is not a command topic"),
    ],
)
def test_an_invalid_command_is_rejected_with_a_reason(
    topic: str, payload: bytes, reason: str
) -> None:
    with pytest.raises(RejectedCommandError) as caught:
        read_command(TOPICS, topic, payload)
    assert str(caught.value) == reason


@given(
    st.sampled_from(COMMAND_TOPICS) | st.text(max_size=80),
    st.binary(max_size=200)
    | st.text(max_size=50).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.integers().map(lambda number: str(number).encode())
    | st.floats().map(lambda number: str(number).encode()),
)
def test_any_message_is_either_a_change_or_rejected(topic: str, payload: bytes) -> None:
    try:
        change = read_command(TOPICS, topic, payload)
    except RejectedCommandError as error:
        assert str(error)  # noqa: PT017 - both outcomes are valid
        return
    assert isinstance(change, SetMode | SetLimit | SetQueue)
    assert isinstance(rejection_text(change, BUSY), str | None)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (SetMode(Mode.HELD), None),
        (SetLimit(4), None),
        (SetLimit(5), "the daemon manages only 4 queues"),
        (SetQueue("ocr", Override.NEXT), None),
        (SetQueue("new", Override.NEXT), "Immich has no queue new"),
        (
            SetQueue("search", Override.HELD),
            "search is not managed: it is protected, or Immich does not allow pausing it",
        ),
    ],
)
def test_a_change_that_is_not_possible_now_has_a_rejection_text(
    change: Change, text: str | None
) -> None:
    assert rejection_text(change, BUSY) == text


def test_before_immich_responds_no_limit_is_too_high_and_no_queue_is_known() -> None:
    assert rejection_text(SetLimit(1000), NOTHING) is None
    assert rejection_text(SetQueue("ocr", Override.HELD), NOTHING) == "Immich has no queue ocr"
