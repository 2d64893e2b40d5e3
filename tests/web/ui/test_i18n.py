"""The three languages: complete, with correct plurals, numbers and durations."""

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
from immich_job_daemon.web.ui.i18n import PLURALS, Texts, load_texts, request_texts
from simulator.immich.pipeline import QUEUES

FOLDER: Final = Path(i18n.__file__).parent
OTHERS: Final = [language for language in PLURALS if language != "en"]
COMPUTED: Final = (
    "activity.",
    "advice.",
    "duration.",
    "mode.",
    "override.",
    "problem.",
    "queue.",
    "short.",
    "state.",
)
"""Groups whose keys are computed in the code, so that a search does not find them."""
FORMS: Final = {
    "en": ("one", "other"),
    "ru": ("one", "few", "many", "other"),
    "de": ("one", "other"),
}


def content(language: str) -> dict[str, Any]:
    text = (FOLDER / "languages" / f"{language}.json").read_text(encoding="utf-8")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_has_the_same_texts_with_plurals_in_the_same_places(language: str) -> None:
    english, other = load_texts("en").messages, load_texts(language).messages
    assert other.keys() == english.keys()
    assert {key for key, text in other.items() if isinstance(text, dict)} == {
        key for key, text in english.items() if isinstance(text, dict)
    }


@pytest.mark.parametrize("language", PLURALS)
def test_a_text_with_plurals_has_each_form_of_its_language(language: str) -> None:
    for key, text in load_texts(language).messages.items():
        if isinstance(text, dict):
            assert tuple(text) == FORMS[language], key


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_has_the_same_placeholders_in_every_language(language: str) -> None:
    english = load_texts("en").messages
    for key, text in load_texts(language).messages.items():
        in_english = english[key]
        forms = [*text.values()] if isinstance(text, dict) else [text]
        expected = placeholders(in_english["other"] if isinstance(in_english, dict) else in_english)
        for form in forms:
            assert placeholders(form) == expected, key


@pytest.mark.parametrize("language", PLURALS)
def test_no_text_is_empty_or_in_another_language(language: str) -> None:
    for key, text in load_texts(language).messages.items():
        for form in text.values() if isinstance(text, dict) else [text]:
            assert form.strip() == form != "", key
            is_russian = any("\u0400" <= letter <= "\u04ff" for letter in form)
            assert language == "ru" or not is_russian, key


def test_every_text_is_used() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in [*FOLDER.glob("*.py"), *FOLDER.glob("templates/*.html")]
    ).replace("'", '"')
    texts = [key for key in load_texts("en").messages if not key.startswith(COMPUTED)]
    unused = [
        key
        for key in texts
        if f'"{key}"' not in sources and f'"{key.partition(".")[2]}"' not in sources
    ]
    assert unused == []


@pytest.mark.parametrize("language", PLURALS)
def test_every_queue_problem_mode_and_override_has_its_texts_in_every_language(
    language: str,
) -> None:
    texts = load_texts(language).messages
    expected = {f"queue.{name}" for name in {*QUEUES, *PRIORITY, *PROTECTED}}
    expected |= {f"activity.{name}" for name in QUEUES if name not in PROTECTED}
    expected |= {
        f"{group}.{kind}".replace(" ", "_")
        for group in ("problem", "advice")
        for kind in ProblemKind
    }
    expected |= {f"mode.{mode}" for mode in Mode} | {
        f"override.{override}" for override in Override
    }
    assert expected - texts.keys() == set()


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
    assert load_texts("ru").plural("headline.waiting", count) == expected


@pytest.mark.parametrize(
    ("language", "one", "many"),
    [
        ("en", "1 queue is waiting", "2 queues are waiting"),
        ("de", "1 Warteschlange wartet", "2 Warteschlangen warten"),
    ],
)
def test_english_and_german_plurals(language: str, one: str, many: str) -> None:
    assert [load_texts(language).plural("headline.waiting", count) for count in (1, 2)] == [
        one,
        many,
    ]


@pytest.mark.parametrize(
    ("language", "expected"),
    [("en", "1,234,567.5"), ("de", "1.234.567,5"), ("ru", "1\u00a0234\u00a0567,5")],
)
def test_numbers_have_the_separators_of_the_language(language: str, expected: str) -> None:
    assert load_texts(language).number(1234567.5) == expected
    assert load_texts(language).number(7) == "7"


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
def test_a_duration_is_no_more_precise_than_an_estimate(seconds: float, expected: str) -> None:
    assert load_texts("en").duration(seconds) == expected


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
    assert load_texts(language).duration(seconds) == expected


def test_an_unknown_duration_is_shown_as_unknown() -> None:
    assert [load_texts(language).short_duration(None) for language in PLURALS] == [
        "unknown",
        "неизвестно",
        "unbekannt",
    ]


@pytest.mark.parametrize(
    ("language", "expected"),
    [("en", "21 Sep, 14:13 UTC"), ("de", "21. Sept., 14:13 UTC"), ("ru", "21 сент., 14:13 UTC")],
)
def test_without_a_script_times_are_in_utc(language: str, expected: str) -> None:
    assert load_texts(language).date_time(1790000000) == expected


def test_an_unknown_queue_has_immichs_name() -> None:
    assert load_texts("de").queue("newQueue") == "newQueue"
    assert load_texts("de").queue("thumbnailGeneration") == "Vorschaubilder"


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
def test_the_language_is_the_one_that_the_browser_prefers(
    accepted: str | None, expected: str
) -> None:
    headers = {} if accepted is None else {"Accept-Language": accepted}
    with Flask(__name__).test_request_context("/", headers=headers):
        assert request_texts(request).language == expected


@pytest.mark.parametrize(
    ("lang", "expected"), [("ru", "ru"), ("de", "de"), ("fr", "de"), ("../en", "de"), ("", "de")]
)
def test_the_url_overrides_the_language_of_the_browser(lang: str, expected: str) -> None:
    with Flask(__name__).test_request_context(
        "/", query_string={"lang": lang}, headers={"Accept-Language": "de"}
    ):
        assert request_texts(request).language == expected


def test_a_text_with_plurals_needs_a_number() -> None:
    with pytest.raises(TypeError, match="needs a number"):
        Texts("en", content("en"))("headline.waiting")
