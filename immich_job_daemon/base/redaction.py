"""The API key: a value that does not show itself, and how it is taken out of a text."""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "(hidden)"
"""What stands where a secret would."""


class Secret:
    """A text that shows itself only when asked to.

    >>> key = Secret("abc")
    >>> key, f"{key}", key.reveal()
    (Secret(hidden), '(hidden)', 'abc')
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the one place that sends it."""
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
    """Return a function that takes the secrets out of a text, in any way they may be written.

    That is as they are, quoted for an address, and escaped as Python or JSON would, in any case.

    >>> redactor("a+b")("key=a%2bb, a+b")
    'key=(hidden), (hidden)'
    """
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    if not forms:
        return str
    # The longest first, so that no part of a longer one is left standing.
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
