"""What the daemon says: lines in the look of bashio's, ``[19:07:31] INFO: text``.

A record is one line whatever is in it: an answer of a server that holds newlines, colours or
characters that turn the direction of writing cannot forge another. The API key is taken out.
"""

import logging
import traceback
from collections.abc import Iterable
from typing import Final, TextIO

from immich_job_daemon.base.redaction import redactor
from immich_job_daemon.base.text import one_line

TRACE: Final = 5
NOTICE: Final = 25

LEVELS: Final = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": NOTICE,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
"""bashio's names of the levels, from the most talkative to the quietest."""


def set_up(
    level: str, stream: TextIO, *, secrets: Iterable[str] = (), mark: str = ""
) -> logging.Logger:
    """Make the package's logger write to a stream, and return it. Doing it again replaces that.

    Args:
        level: the lowest level that is written, one of LEVELS.
        stream: where lines go. One that is closed or broken loses them and nothing else.
        mark: stands before each text.
        secrets: what must never be written: the API key, passwords.

    Tracebacks are written only where the level is debug or trace.
    """
    logger = logging.getLogger("immich_job_daemon")
    for handler in [one for one in logger.handlers if isinstance(one, _Lines)]:
        logger.removeHandler(handler)
        handler.close()
    lines = _Lines(stream)
    lines.setFormatter(_Look(secrets, mark, with_traceback=LEVELS[level] <= logging.DEBUG))
    logger.addHandler(lines)
    logger.setLevel(LEVELS[level])
    logger.propagate = False
    return logger


class _Lines(logging.StreamHandler[TextIO]):
    """Writes lines to a stream, and is silent where the stream does not take them."""

    def format(self, record: logging.LogRecord) -> str:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return super().format(record).encode(encoding, "backslashreplace").decode(encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Say nothing: logging's own report goes to stderr with the record's values in it."""


class _Look(logging.Formatter):
    """A record as its line, and below it the traceback, indented, where that is wanted."""

    def __init__(self, secrets: Iterable[str], mark: str, *, with_traceback: bool) -> None:
        super().__init__()
        self._mark = mark
        self._redact = redactor(*secrets)
        self._with_traceback = with_traceback

    def format(self, record: logging.LogRecord) -> str:
        time = self.formatTime(record, "%H:%M:%S")
        line = f"[{time}] {_name(record.levelno)}: {self._mark}{self._clean(_text(record))}"
        return "\n".join([line, *(f"    {self._clean(below)}" for below in self._below(record))])

    def _below(self, record: logging.LogRecord) -> list[str]:
        error = record.exc_info[1] if record.exc_info else None
        if error is None or not self._with_traceback:
            return []
        return "".join(traceback.format_exception(error)).rstrip("\n").split("\n")

    def _clean(self, text: str) -> str:
        # Twice: what is escaped can read as the secret does.
        return self._redact(one_line(self._redact(text)))


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # A message whose values do not fit it is still better read than lost.
        return f"{record.msg} {record.args}"


def _name(number: int) -> str:
    """Return the name of a level; one between two is called as the lower.

    >>> _name(logging.CRITICAL), _name(26), _name(1)
    ('FATAL', 'NOTICE', 'TRACE')
    """
    names = [name for name, level in LEVELS.items() if level <= number] or ["trace"]
    return names[-1].upper()
