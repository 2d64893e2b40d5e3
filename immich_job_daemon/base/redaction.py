"""Secrets: a type that hides its value, and a function that removes secrets from text."""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "(hidden)"
"""Replaces a secret in text."""


class Secret:
    """A secret text; only ``reveal`` returns it.

    >>> key = Secret("abc")
    >>> key, f"{key}", key.reveal()
    (Secret(hidden), '(hidden)', 'abc')
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, for the code that sends it."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret{HIDDEN}"

    def __str__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def redactor(*secrets: str) -> Callable[[str], str]:
    """Return a function that removes the secrets from a text in every form they may take.

    These are the secret itself, quoted for a URL, and escaped as in Python or JSON. Upper and lower
    case are the same.

    >>> redactor("a+b")("key=a%2bb, a+b")
    'key=(hidden), (hidden)'
    """
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    if not forms:
        return str
    # The longest first, so that no part of a longer form remains.
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)
    return lambda text: pattern.sub(HIDDEN, text)


def _forms(secret: str) -> set[str]:
    encoded = secret.encode("utf-8", "surrogatepass")
    latin = secret.encode("latin-1", "backslashreplace")
    return {
        secret,
        quote(encoded, safe=""),
        quote(encoded),
        quote_plus(encoded),
        quote(latin, safe=""),
        secret.encode("unicode_escape").decode("ascii"),
        secret.replace("\\", "\\\\").replace('"', '\\"'),
        repr(secret)[1:-1],
        repr(latin)[2:-1],
    }
