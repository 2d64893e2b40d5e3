"""The translations of the options page: complete, without extra keys or English remains."""

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
    """Yield each text with its key, such as ``configuration.API_KEY.name``."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{subkey}", text) for subkey, text in texts(value))
        else:
            yield name, value


def fields_of(form: object) -> list[str]:
    """Return the fields of an option that is a list of objects, an empty list for others."""
    item = form[0] if isinstance(form, list) else form
    return list(item) if isinstance(item, dict) else []


def verbatim(text: str) -> list[str]:
    """Return the literal values in a text, which must not be translated."""
    pattern = (
        r"https?://[\d.]+:\d+|\b[a-z]+\.[a-z]+\b|\b30s\b|\b1 minute\b|\b5m\b|\b12h\b|\b1\.5\b"
        r"|\b\d\d:\d\d\b|\bmon-fri\b|\bsat,sun\b|\b[a-z]+[A-Z]\w+\b"
    )
    return sorted(re.findall(pattern, text))


def test_there_is_one_file_per_language() -> None:
    assert {path.name for path in (ROOT / "translations").iterdir()} == {
        f"{language}.yaml" for language in LANGUAGES
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_option_and_port_is_translated_and_no_key_is_superfluous(language: str) -> None:
    translated = translation(language)
    assert translated.keys() == {"configuration", "network"}
    assert list(translated["configuration"]) == list(CONFIG["schema"])
    for name, option in translated["configuration"].items():
        fields = fields_of(CONFIG["schema"][name])
        keys = {"name", "description"}
        assert option.keys() == (keys | {"fields"} if fields else keys), name
        assert list(option.get("fields", {})) == fields, name
        assert all(field.keys() == keys for field in option.get("fields", {}).values()), name
    assert translated["network"].keys() == CONFIG["ports"].keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_clean_and_fits_on_the_page(language: str) -> None:
    for key, text in texts(translation(language)):
        assert isinstance(text, str), key
        assert text == " ".join(text.split()), key
        assert 2 <= len(text) <= (45 if key.endswith(".name") else 400), key
        assert not re.search(r"TODO|XXX|[<{}`*]|\?\?", text), key


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_left_in_english(language: str) -> None:
    english = dict(texts(translation("en")))
    for key, text in texts(translation(language)):
        assert text != english[key], key
        english_words = set(ENGLISH.findall(re.sub(r"\b1 minute\b", "", text)))
        assert english_words <= ({"time"} if language == "nl" else set()), key


@pytest.mark.parametrize("language", OTHERS)
def test_every_file_is_in_its_language(language: str) -> None:
    translated = dict(texts(translation(language)))
    if language in SCRIPTS:
        assert [key for key, t in translated.items() if not re.search(SCRIPTS[language], t)] == []
    else:
        words = re.findall(r"\w+", " ".join(translated.values()).lower())
        scores = {
            name: sum(words.count(w) for w in common) for name, common in COMMON_WORDS.items()
        }
        assert max(scores, key=lambda name: scores[name]) == language, scores
        assert not re.search(r"[\u0400-\u9fff]", "".join(words))


@pytest.mark.parametrize("language", OTHERS)
def test_literal_values_are_the_same_in_every_language(language: str) -> None:
    english = dict(texts(translation("en")))
    for key, text in texts(translation(language)):
        assert verbatim(text) == verbatim(english[key]), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_documented_choice_exists(language: str) -> None:
    options = translation(language)["configuration"]
    queues = options["SCHEDULE"]["fields"]["queues"]["description"]
    assert re.search(r"\ball\b", queues)
    assert all(word in options["ON_EXIT"]["description"] for word in ("release", "keep"))
    levels = CONFIG["schema"]["LOG_LEVEL"].partition("(")[2]
    documented = re.findall(r"\b(info|debug|warning)\b", options["LOG_LEVEL"]["description"])
    assert set(documented) == {"info", "debug", "warning"}
    assert all(level in levels for level in documented)
