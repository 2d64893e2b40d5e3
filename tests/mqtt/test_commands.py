"""What is asked for over MQTT: what is understood, and that nothing else does any harm."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.model.controls import Change, Mode, Override, SetLimit, SetMode, SetQueue
from immich_job_daemon.mqtt.commands import (
    LONGEST,
    RefusedCommandError,
    read_command,
    refusal,
)
from immich_job_daemon.mqtt.topics import Topics
from tests.web.sample_statuses import BUSY, NOTHING

TOPICS: Final = Topics("1a2b3c4d")
EVERY: Final = [
    TOPICS.mode,
    TOPICS.limit,
    TOPICS.resume_all,
    TOPICS.of_queue("ocr"),
    TOPICS.of_queue(""),
    TOPICS.of_queue("a b"),
    f"{TOPICS.base}/else/set",
    f"{TOPICS.base}/queue/set",
    "",
]


@pytest.mark.parametrize(
    ("topic", "payload", "change"),
    [
        (TOPICS.mode, b"automatic", SetMode(Mode.AUTOMATIC)),
        (TOPICS.mode, b"open", SetMode(Mode.OPEN)),
        (TOPICS.mode, b"held", SetMode(Mode.HELD)),
        (TOPICS.limit, b"1", SetLimit(1)),
        (TOPICS.limit, b"2.0", SetLimit(2)),
        (TOPICS.limit, b"1000", SetLimit(1000)),
        (TOPICS.resume_all, b"PRESS", SetMode(Mode.OPEN)),
        (TOPICS.of_queue("ocr"), b"automatic", SetQueue("ocr", Override.AUTOMATIC)),
        (TOPICS.of_queue("ocr"), b"run next", SetQueue("ocr", Override.NEXT)),
        (TOPICS.of_queue("ocr"), b"held", SetQueue("ocr", Override.HELD)),
    ],
)
def test_what_home_assistant_sends_is_understood(
    topic: str, payload: bytes, change: Change
) -> None:
    assert read_command(TOPICS, topic, payload) == change


@pytest.mark.parametrize(
    ("topic", "payload", "why"),
    [
        (TOPICS.mode, b"", "expected automatic, open or held"),
        (TOPICS.mode, b"HELD", "expected automatic, open or held"),
        (TOPICS.mode, b'{"mode": "held"}', "expected automatic, open or held"),
        (TOPICS.mode, b"held\n", "expected automatic, open or held"),
        (TOPICS.mode, b"\xff\xfe", "it is no text in UTF-8"),
        (TOPICS.mode, b"held" * 100, "400 bytes are too many"),
        (TOPICS.limit, b"0", "expected a whole number from 1"),
        (TOPICS.limit, b"-1", "expected a whole number from 1"),
        (TOPICS.limit, b"1.5", "expected a whole number from 1"),
        (TOPICS.limit, b"1001", "expected a whole number from 1"),
        (TOPICS.limit, b"many", "expected a whole number from 1"),
        (TOPICS.limit, b"9" * LONGEST, "expected a whole number from 1"),
        (TOPICS.limit, "\u0663".encode(), "expected a whole number from 1"),
        (TOPICS.limit, b"None", "expected a whole number from 1"),
        (TOPICS.resume_all, b"", "expected PRESS"),
        (TOPICS.resume_all, b"press", "expected PRESS"),
        (TOPICS.of_queue("ocr"), b"next", "expected automatic, run next or held"),
        (TOPICS.of_queue("ocr"), b"", "expected automatic, run next or held"),
        (TOPICS.of_queue(""), b"held", "expected automatic, run next or held"),
        (TOPICS.of_queue("x" * 65), b"held", "expected automatic, run next or held"),
        (f"{TOPICS.base}/else/set", b"held", "nothing can be asked for there"),
        (f"{TOPICS.base}/queue/set", b"held", "nothing can be asked for there"),
        (Topics("other").mode, b"held", "nothing can be asked for there"),
    ],
)
def test_what_means_nothing_is_refused_with_the_reason(
    topic: str, payload: bytes, why: str
) -> None:
    with pytest.raises(RefusedCommandError) as caught:
        read_command(TOPICS, topic, payload)
    assert str(caught.value) == why


@given(
    st.sampled_from(EVERY) | st.text(max_size=80),
    st.binary(max_size=200)
    | st.text(max_size=50).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.integers().map(lambda number: str(number).encode())
    | st.floats().map(lambda number: str(number).encode()),
)
def test_whatever_is_said_is_a_change_that_can_be_made_or_refused(
    topic: str, payload: bytes
) -> None:
    try:
        change = read_command(TOPICS, topic, payload)
    except RefusedCommandError as error:
        assert str(error)  # noqa: PT017 - either of the two is right
        return
    assert isinstance(change, SetMode | SetLimit | SetQueue)
    assert isinstance(refusal(change, BUSY), str | None)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (SetMode(Mode.HELD), None),
        (SetLimit(4), None),
        (SetLimit(5), "there are only 4 queues"),
        (SetQueue("ocr", Override.NEXT), None),
        (SetQueue("new", Override.NEXT), "Immich has no queue new"),
        (
            SetQueue("search", Override.HELD),
            "search is left alone: it is protected, or Immich lets nobody pause it",
        ),
    ],
)
def test_what_cannot_be_done_now_is_refused_with_the_reason(change: Change, why: str) -> None:
    assert refusal(change, BUSY) == why


def test_before_immich_has_answered_no_limit_is_too_high_and_no_queue_is_known() -> None:
    assert refusal(SetLimit(1000), NOTHING) is None
    assert refusal(SetQueue("ocr", Override.HELD), NOTHING) == "Immich has no queue ocr"
