"""Texts, plurals, numbers, durations and dates in the reader's language.

Babel would do this too but takes 30 MB, twice the limit of the whole image. Plural rules,
separators and month names are those of Unicode's CLDR.
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

_EXACT_MINUTES: Final = 20
"""Up to here an estimate is rounded to whole minutes; beyond that to the precision that it has."""
_MAX_NAME_LENGTH: Final = 48


def _one_or_other(count: float) -> str:
    return "one" if count == 1 else "other"


def _russian(count: float) -> str:
    """Return the plural form for a number in Russian.

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
"""The plural rule of each language; the first language is the default."""


class Texts:
    """The texts of one language, by keys such as "state.running".

    In ``messages`` a text with plural forms is a dictionary of them.
    """

    def __init__(self, language: str, content: Mapping[str, Any]) -> None:
        self.language = language
        self.messages: dict[str, str | dict[str, str]] = {
            f"{group}.{name}": text
            for group, texts in content["texts"].items()
            for name, text in texts.items()
        }
        self._content = content

    def __call__(self, key: str, **values: object) -> str:
        """Return a text with its placeholders filled in."""
        text = self.messages[key]
        if isinstance(text, dict):
            raise TypeError(f"{key} needs a number")
        return text.format(**values)

    def plural(self, key: str, count: float, **values: object) -> str:
        """Return the plural form for ``count``, with its placeholders filled in.

        >>> load_texts("ru").plural("headline.waiting", 3)
        'ждут 3 очереди'
        """
        text = self.messages[key]
        if isinstance(text, dict):
            text = text[PLURALS[self.language](count)]
        return text.format(count=self.number(count), **values)

    def number(self, value: float) -> str:
        """Return a number with at most one decimal.

        >>> load_texts("de").number(1234.5), load_texts("en").number(1234)
        ('1.234,5', '1,234')
        """
        whole, _, tenth = f"{value:,.1f}".partition(".")
        digits = whole.replace(",", self._content["thousands"])
        return digits if tenth == "0" else f"{digits}{self._content['decimal']}{tenth}"

    def duration(self, seconds: float) -> str:
        """Return an estimated duration for a sentence.

        >>> [load_texts("en").duration(seconds) for seconds in (20, 740, 9000)]
        ['less than a minute', 'about 12 minutes', 'about 2.5 hours']
        """
        return self._duration("duration", seconds)

    def short_duration(self, seconds: float | None) -> str:
        """Return an estimated duration for a narrow column; None is unknown.

        >>> load_texts("de").short_duration(9000), load_texts("de").short_duration(None)
        ('2,5 Std.', 'unbekannt')
        """
        return self("short.unknown") if seconds is None else self._duration("short", seconds)

    def date_time(self, at: float) -> str:
        """Return a date and time in UTC; the page's script replaces it with the reader's zone.

        >>> load_texts("de").date_time(1790000000)
        '21. Sept., 14:13 UTC'
        """
        when = datetime.fromtimestamp(at, UTC)
        month: str = self._content["months"][when.month - 1]
        pattern: str = self._content["date"]
        return pattern.format(day=when.day, month=month, time=f"{when:%H:%M}")

    def time_of_day(self, at: float) -> str:
        """Return a time of day in UTC; the page's script replaces it with the reader's zone."""
        return self("short.utc", time=f"{datetime.fromtimestamp(at, UTC):%H:%M}")

    def queue(self, name: str) -> str:
        """Return the label of a queue; Immich's own name if the queue is unknown."""
        text = self.messages.get(f"queue.{name}")
        return text if isinstance(text, str) else printable_name(name)

    def _duration(self, group: str, seconds: float) -> str:
        unit, count = _rounded(seconds)
        return self.plural(f"{group}.{unit}", count) if count else self(f"{group}.less")


def _rounded(seconds: float) -> tuple[str, float]:
    """Return a unit and a number, no more precise than an estimate is."""
    minutes = round(seconds / MINUTE)
    if seconds < MINUTE:
        return "minutes", 0
    if minutes <= _EXACT_MINUTES:
        return "minutes", minutes
    if seconds < 1.6 * HOUR:
        return "minutes", 5 * round(seconds / MINUTE / 5)
    if seconds < 1.9 * DAY:
        return "hours", _half(seconds / HOUR)
    return "days", _half(seconds / DAY)


def _half(value: float) -> float:
    """Round to halves below ten, to whole numbers from ten on."""
    return round(value * 2) / 2 if value < 9.75 else round(value)  # noqa: PLR2004 - see above


def printable_name(name: str) -> str:
    """Return a name from the server as one short, printable line.

    >>> printable_name("a" + chr(10) + "b") == "a" + chr(0xFFFD) + "b"
    True
    >>> len(printable_name("x" * 500))
    49
    """
    printable = "".join(char if char.isprintable() else "\ufffd" for char in name)
    if len(printable) <= _MAX_NAME_LENGTH:
        return printable
    return f"{printable[:_MAX_NAME_LENGTH]}…"


@cache
def load_texts(language: str) -> Texts:
    """Return the texts of one of the languages in ``PLURALS``."""
    path = Path(__file__).with_name("languages") / f"{language}.json"
    return Texts(language, json.loads(path.read_text(encoding="utf-8")))


def request_texts(request: Request) -> Texts:
    """Return the texts in the language that ``?lang=`` names, or that the browser prefers."""
    language = request.args.get("lang")
    if language in PLURALS:
        return load_texts(language)
    default = next(iter(PLURALS))
    return load_texts(request.accept_languages.best_match([*PLURALS], default) or default)
