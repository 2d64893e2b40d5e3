"""The options page in ten languages: complete, nothing too much, nothing left in English."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
import yaml

from tests.support.repository import ROOT

LANGUAGES: Final = ("en", "ru", "de", "fr", "es", "it", "nl", "pl", "pt-BR", "zh-Hans")
CONFIG: Final[dict[str, Any]] = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
OTHERS = [language for language in LANGUAGES if language != "en"]

SCRIPTS: Final = {"ru": r"[\u0430-\u044f]", "zh-Hans": r"[\u4e00-\u9fff]"}
COMMON_WORDS: Final = {
    "de": ("der", "und", "nicht", "wird", "das"),
    "fr": ("les", "est", "une", "dans", "pour"),
    "es": ("el", "las", "y", "una", "con"),
    "it": ("il", "che", "di", "più", "le"),
    "nl": ("het", "een", "wordt", "dan", "de"),
    "pl": ("jest", "co", "na", "przed", "czas"),
    "pt-BR": ("o", "não", "uma", "ao", "você"),
}
ENGLISH: Final = re.compile(
    r"\b(the|and|with|what|leave|when|which|this|your|work|paused|address|time)\b", re.IGNORECASE
)


def translation(language: str) -> dict[str, Any]:
    path = ROOT / "translations" / f"{language}.yaml"
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def texts(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of all that a person reads."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{below}", text) for below, text in texts(value))
        else:
            yield name, value


def fields_of(form: object) -> list[str]:
    """Return the parts of what an option's list is made of; none where it is no list of objects."""
    item = form[0] if isinstance(form, list) else form
    return list(item) if isinstance(item, dict) else []


def verbatim(text: str) -> list[str]:
    """Return what is to be typed or clicked as it stands, so is the same in every language."""
    typed = (
        r"https?://[\d.]+:\d+|\b[a-z]+\.[a-z]+\b|\b30s\b|\b1 minute\b|\b5m\b|\b12h\b|\b1\.5\b"
        r"|\b\d\d:\d\d\b|\bmon-fri\b|\bsat,sun\b|\b[a-z]+[A-Z]\w+\b"
    )
    return sorted(re.findall(typed, text))


def test_there_is_a_file_for_every_language_and_no_other() -> None:
    assert {path.name for path in (ROOT / "translations").iterdir()} == {
        f"{language}.yaml" for language in LANGUAGES
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_option_and_port_has_its_texts_and_there_is_no_key_too_many(language: str) -> None:
    translated = translation(language)
    assert translated.keys() == {"configuration", "network"}
    assert list(translated["configuration"]) == list(CONFIG["schema"])
    for name, option in translated["configuration"].items():
        fields = fields_of(CONFIG["schema"][name])
        texts_of = {"name", "description"}
        assert option.keys() == (texts_of | {"fields"} if fields else texts_of), name
        assert list(option.get("fields", {})) == fields, name
        assert all(field.keys() == texts_of for field in option.get("fields", {}).values()), name
    assert translated["network"].keys() == CONFIG["ports"].keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_one_that_fits_on_the_page(language: str) -> None:
    for place, text in texts(translation(language)):
        assert isinstance(text, str), place
        assert text == " ".join(text.split()), place
        assert 2 <= len(text) <= (45 if place.endswith(".name") else 400), place
        assert not re.search(r"TODO|XXX|[<{}`*]|\?\?", text), place


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_left_in_english(language: str) -> None:
    english = dict(texts(translation("en")))
    for place, text in texts(translation(language)):
        assert text != english[place], place
        left = set(ENGLISH.findall(re.sub(r"\b1 minute\b", "", text)))
        assert left <= ({"time"} if language == "nl" else set()), place


@pytest.mark.parametrize("language", OTHERS)
def test_it_is_the_language_that_the_file_is_named_for(language: str) -> None:
    found = dict(texts(translation(language)))
    if language in SCRIPTS:
        assert [place for place, t in found.items() if not re.search(SCRIPTS[language], t)] == []
    else:
        words = re.findall(r"\w+", " ".join(found.values()).lower())
        scores = {name: sum(words.count(w) for w in own) for name, own in COMMON_WORDS.items()}
        assert max(scores, key=lambda name: scores[name]) == language, scores
        assert not re.search(r"[\u0400-\u9fff]", "".join(words))


@pytest.mark.parametrize("language", OTHERS)
def test_what_is_typed_as_it_stands_is_the_same_in_every_language(language: str) -> None:
    english = dict(texts(translation("en")))
    for place, text in texts(translation(language)):
        assert verbatim(text) == verbatim(english[place]), place


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_choice_that_is_explained_is_one(language: str) -> None:
    options = translation(language)["configuration"]
    queues = options["SCHEDULE"]["fields"]["queues"]["description"]
    assert re.search(r"\ball\b", queues)
    assert all(word in options["ON_EXIT"]["description"] for word in ("release", "keep"))
    levels = CONFIG["schema"]["LOG_LEVEL"].partition("(")[2]
    told = re.findall(r"\b(info|debug|warning)\b", options["LOG_LEVEL"]["description"])
    assert set(told) == {"info", "debug", "warning"}
    assert all(level in levels for level in told)
