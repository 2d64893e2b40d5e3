"""What the page says, in the reader's language: texts, plurals, numbers, durations.

Babel would do this, and takes 30 MB where the whole image may have 15: for three languages a
table does. Plural forms and separators are those of Unicode's CLDR.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from werkzeug.wrappers import Request

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400

_TO_THE_MINUTE: Final = 20
"""Minutes up to which an estimate names each one; above that it would be no more than a guess."""
_LONGEST_NAME: Final = 48


def _one_or_other(count: float) -> str:
    return "one" if count == 1 else "other"


def _russian(count: float) -> str:
    """Return the form that follows a number in Russian.

    >>> [_russian(count) for count in (1, 2, 5, 11, 21, 112, 2.5)]
    ['one', 'few', 'many', 'many', 'one', 'many', 'other']
    """
    if count % 1:
        return "other"
    ten, hundred = int(count) % 10, int(count) % 100
    if ten == 1 and hundred != 11:  # noqa: PLR2004 - eleven
        return "one"
    return "few" if ten in {2, 3, 4} and hundred not in {12, 13, 14} else "many"


PLURALS: Final[Mapping[str, Callable[[float], str]]] = {
    "en": _one_or_other,
    "ru": _russian,
    "de": _one_or_other,
}
"""Which form follows a number, by language; the first language is for everybody else."""

FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "en": ("one", "other"),
    "ru": ("one", "few", "many", "other"),
    "de": ("one", "other"),
}
"""The forms that a language has."""


class Words:
    """What can be said in one language.

    Args:
        language: its code.
        found: the content of its file.
    """

    def __init__(self, language: str, found: Mapping[str, Any]) -> None:
        self.language = language
        self.texts: dict[str, str | dict[str, str]] = {
            f"{group}.{name}": text
            for group, texts in found["texts"].items()
            for name, text in texts.items()
        }
        self._found = found

    def __call__(self, key: str, **values: object) -> str:
        """Return a text with the values in it."""
        text = self.texts[key]
        if isinstance(text, dict):
            raise TypeError(f"{key} needs a number")
        return text.format(**values)

    def many(self, key: str, count: float, **values: object) -> str:
        """Return the text for so many, as ``{count}``, with the other values in it.

        >>> words("ru").many("now.waiting", 3)
        'ждут 3 очереди'
        """
        text = self.texts[key]
        if isinstance(text, dict):
            text = text[PLURALS[self.language](count)]
        return text.format(count=self.number(count), **values)

    def number(self, value: float) -> str:
        """Return a number, with one digit after the comma at most.

        >>> words("de").number(1234.5), words("en").number(1234)
        ('1.234,5', '1,234')
        """
        whole, _, tenth = f"{value:,.1f}".partition(".")
        digits = whole.replace(",", self._found["thousands"])
        return digits if tenth == "0" else f"{digits}{self._found['decimal']}{tenth}"

    def about(self, seconds: float) -> str:
        """Return a duration for a sentence.

        >>> [words("en").about(seconds) for seconds in (20, 740, 9000)]
        ['less than a minute', 'about 12 minutes', 'about 2.5 hours']
        """
        return self._duration("about", seconds)

    def short(self, seconds: float | None) -> str:
        """Return a duration for a narrow column; None is unknown.

        >>> words("de").short(9000), words("de").short(None)
        ('2,5 Std.', 'unbekannt')
        """
        return self("short.unknown") if seconds is None else self._duration("short", seconds)

    def moment(self, at: float) -> str:
        """Return a time in seconds since 1970 as a script that knows the zone would write it.

        >>> words("de").moment(1790000000)
        '21. Sept., 14:13 UTC'
        """
        when = datetime.fromtimestamp(at, UTC)
        month: str = self._found["months"][when.month - 1]
        pattern: str = self._found["date"]
        return pattern.format(day=when.day, month=month, time=f"{when:%H:%M}")

    def hour(self, at: float) -> str:
        """Return the time of day of a moment, as ``moment`` does."""
        return self("short.utc", time=f"{datetime.fromtimestamp(at, UTC):%H:%M}")

    def queue(self, name: str) -> str:
        """Return what a person calls a queue; one that nobody knows has its own name only."""
        text = self.texts.get(f"queue.{name}")
        return text if isinstance(text, str) else plain(name)

    def _duration(self, kind: str, seconds: float) -> str:
        unit, count = _rounded(seconds)
        return self.many(f"{kind}.{unit}", count) if count else self(f"{kind}.less")


def _rounded(seconds: float) -> tuple[str, float]:
    """Return the unit and the number that say no more than an estimate can know."""
    minutes = round(seconds / MINUTE)
    if seconds < MINUTE:
        return "minutes", 0
    if minutes <= _TO_THE_MINUTE:
        return "minutes", minutes
    if seconds < 1.6 * HOUR:
        return "minutes", 5 * round(seconds / MINUTE / 5)
    if seconds < 1.9 * DAY:
        return "hours", _half(seconds / HOUR)
    return "days", _half(seconds / DAY)


def _half(value: float) -> float:
    """Return a number to the nearest half, from ten on to the nearest whole."""
    return round(value * 2) / 2 if value < 9.75 else round(value)  # noqa: PLR2004 - just told


def plain(name: str) -> str:
    """Return a name that came from outside as one line that can be shown.

    >>> plain("a" + chr(10) + "b") == "a" + chr(0xFFFD) + "b", len(plain("x" * 500))
    (True, 49)
    """
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}…"


@cache
def words(language: str) -> Words:
    """Return the words of one of the languages in ``PLURALS``."""
    path = Path(__file__).with_name("languages") / f"{language}.json"
    return Words(language, json.loads(path.read_text(encoding="utf-8")))


def best(request: Request) -> Words:
    """Return the words for who asks: what the address names (``?lang=``), or the browser wants."""
    asked = request.args.get("lang")
    if asked in PLURALS:
        return words(asked)
    first = next(iter(PLURALS))
    return words(request.accept_languages.best_match([*PLURALS], first) or first)
