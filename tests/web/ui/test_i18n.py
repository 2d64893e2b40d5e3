"""The three languages: complete, with the right plurals, numbers and durations."""

import json
import string
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask, request

from immich_job_daemon.model.controls import Mode, Override
from immich_job_daemon.model.queue import PRIORITY, PROTECTED
from immich_job_daemon.status.status import ProblemKind
from immich_job_daemon.web.ui import i18n
from immich_job_daemon.web.ui.i18n import FORMS, PLURALS, Words, best, words
from simulator.immich.pipeline import QUEUES

FOLDER: Final = Path(i18n.__file__).parent
OTHERS: Final = [language for language in PLURALS if language != "en"]
BUILT: Final = (
    "about.",
    "advice.",
    "doing.",
    "mode.",
    "queue.",
    "short.",
    "state.",
    "trouble.",
    "override.",
)
"""The groups of texts whose names are put together as they are needed."""


def found(language: str) -> dict[str, Any]:
    text = (FOLDER / "languages" / f"{language}.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_has_every_text_of_the_same_kind(language: str) -> None:
    english, other = words("en").texts, words(language).texts
    assert other.keys() == english.keys()
    assert {key for key, text in other.items() if isinstance(text, dict)} == {
        key for key, text in english.items() if isinstance(text, dict)
    }


@pytest.mark.parametrize("language", PLURALS)
def test_a_text_with_a_number_has_each_form_of_its_language(language: str) -> None:
    for key, text in words(language).texts.items():
        if isinstance(text, dict):
            assert tuple(text) == FORMS[language], key


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_has_the_same_values_in_it(language: str) -> None:
    english = words("en").texts
    for key, text in words(language).texts.items():
        told = english[key]
        forms = [*text.values()] if isinstance(text, dict) else [text]
        expected = placeholders(told["other"] if isinstance(told, dict) else told)
        for form in forms:
            assert placeholders(form) == expected, key


@pytest.mark.parametrize("language", PLURALS)
def test_no_text_is_empty_or_stands_in_for_another_languages(language: str) -> None:
    for key, text in words(language).texts.items():
        for form in text.values() if isinstance(text, dict) else [text]:
            assert form.strip() == form != "", key
            is_russian = any("\u0400" <= letter <= "\u04ff" for letter in form)
            assert language == "ru" or not is_russian, key


def test_every_text_is_used() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in [*FOLDER.glob("*.py"), *FOLDER.glob("templates/*.html")]
    ).replace("'", '"')
    texts = [key for key in words("en").texts if not key.startswith(BUILT)]
    unused = [
        key
        for key in texts
        if f'"{key}"' not in sources and f'"{key.partition(".")[2]}"' not in sources
    ]
    assert unused == []


@pytest.mark.parametrize("language", PLURALS)
def test_everything_that_has_a_name_has_one_in_every_language(language: str) -> None:
    texts = words(language).texts
    wanted = {f"queue.{name}" for name in {*QUEUES, *PRIORITY, *PROTECTED}}
    wanted |= {f"doing.{name}" for name in QUEUES if name not in PROTECTED}
    wanted |= {
        f"{group}.{kind}".replace(" ", "_")
        for group in ("trouble", "advice")
        for kind in ProblemKind
    }
    wanted |= {f"mode.{mode}" for mode in Mode} | {f"override.{override}" for override in Override}
    assert wanted - texts.keys() == set()


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, "ждёт 1 очередь"),
        (2, "ждут 2 очереди"),
        (5, "ждут 5 очередей"),
        (11, "ждут 11 очередей"),
        (12, "ждут 12 очередей"),
        (21, "ждёт 21 очередь"),
        (22, "ждут 22 очереди"),
        (25, "ждут 25 очередей"),
        (111, "ждут 111 очередей"),
        (1001, "ждёт 1\u00a0001 очередь"),
    ],
)
def test_russian_plurals(count: int, expected: str) -> None:
    assert words("ru").many("now.waiting", count) == expected


@pytest.mark.parametrize(
    ("language", "one", "many"),
    [
        ("en", "1 queue waits", "2 queues wait"),
        ("de", "1 Warteschlange wartet", "2 Warteschlangen warten"),
    ],
)
def test_english_and_german_plurals(language: str, one: str, many: str) -> None:
    assert [words(language).many("now.waiting", count) for count in (1, 2)] == [one, many]


@pytest.mark.parametrize(
    ("language", "expected"),
    [("en", "1,234,567.5"), ("de", "1.234.567,5"), ("ru", "1\u00a0234\u00a0567,5")],
)
def test_numbers_are_written_as_the_language_does(language: str, expected: str) -> None:
    assert words(language).number(1234567.5) == expected
    assert words(language).number(7) == "7"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "less than a minute"),
        (59, "less than a minute"),
        (60, "about 1 minute"),
        (719, "about 12 minutes"),
        (1320, "about 20 minutes"),
        (3600, "about 60 minutes"),
        (9000, "about 2.5 hours"),
        (40000, "about 11 hours"),
        (100000, "about 28 hours"),
        (172800, "about 2 days"),
        (5_000_000, "about 58 days"),
    ],
)
def test_a_duration_says_no_more_than_an_estimate_knows(seconds: float, expected: str) -> None:
    assert words("en").about(seconds) == expected


@pytest.mark.parametrize(
    ("language", "seconds", "expected"),
    [
        ("ru", 60, "около 1 минуты"),
        ("ru", 720, "около 12 минут"),
        ("ru", 9000, "около 2,5 часа"),
        ("ru", 18000, "около 5 часов"),
        ("de", 9000, "etwa 2,5 Stunden"),
        ("de", 60, "etwa 1 Minute"),
        ("de", 250000, "etwa 3 Tage"),
    ],
)
def test_durations_in_other_languages(language: str, seconds: float, expected: str) -> None:
    assert words(language).about(seconds) == expected


def test_an_unknown_duration_is_called_so() -> None:
    assert [words(language).short(None) for language in PLURALS] == [
        "unknown",
        "неизвестно",
        "unbekannt",
    ]


@pytest.mark.parametrize(
    ("language", "expected"),
    [("en", "21 Sep, 14:13 UTC"), ("de", "21. Sept., 14:13 UTC"), ("ru", "21 сент., 14:13 UTC")],
)
def test_a_moment_without_a_script_is_in_utc(language: str, expected: str) -> None:
    assert words(language).moment(1790000000) == expected


def test_a_queue_that_nobody_knows_has_its_own_name() -> None:
    assert words("de").queue("newQueue") == "newQueue"
    assert words("de").queue("thumbnailGeneration") == "Vorschaubilder"


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        (None, "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.5", "de"),
        ("fr-FR, ru;q=0.8, en;q=0.7", "ru"),
        ("ru;q=0.1, de;q=0.2", "de"),
        ("de;q=0, ru;q=0.5", "ru"),
        ("fr, it", "en"),
        ("*", "en"),
        ("", "en"),
        ("de;q=;;,,=", "de"),
        ("x" * 5000, "en"),
        ("de\x00,\xff", "en"),
    ],
)
def test_the_language_is_the_one_that_the_browser_likes_best(
    accepted: str | None, expected: str
) -> None:
    headers = {} if accepted is None else {"Accept-Language": accepted}
    with Flask(__name__).test_request_context("/", headers=headers):
        assert best(request).language == expected


@pytest.mark.parametrize(
    ("asked", "expected"), [("ru", "ru"), ("de", "de"), ("fr", "de"), ("../en", "de"), ("", "de")]
)
def test_the_address_may_name_another_one(asked: str, expected: str) -> None:
    with Flask(__name__).test_request_context(
        "/", query_string={"lang": asked}, headers={"Accept-Language": "de"}
    ):
        assert best(request).language == expected


def test_a_text_that_needs_a_number_is_not_said_without() -> None:
    with pytest.raises(TypeError, match="needs a number"):
        Words("en", found("en"))("now.waiting")
