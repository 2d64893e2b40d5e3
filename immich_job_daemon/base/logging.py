"""The daemon's log, with lines in the format of bashio: ``[19:07:31] INFO: text``.

A record is always one line, whatever text it contains: a server's response with newlines, colours
or characters that change the direction of writing cannot forge another. Secrets are removed.
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
"""bashio's names of the levels, from the most verbose to the least."""


def configure_logging(
    level: str, stream: TextIO, *, secrets: Iterable[str] = (), prefix: str = ""
) -> logging.Logger:
    """Let the package's logger write to a stream and return it. A second call replaces the first.

    ``level`` is the lowest of LEVELS that is written; tracebacks are written only with debug or
    trace. A closed or broken stream loses lines without an error.
    """
    logger = logging.getLogger("immich_job_daemon")
    for handler in [one for one in logger.handlers if isinstance(one, _LineHandler)]:
        logger.removeHandler(handler)
        handler.close()
    handler = _LineHandler(stream)
    with_traceback = LEVELS[level] <= logging.DEBUG
    handler.setFormatter(_LineFormatter(secrets, prefix, with_traceback=with_traceback))
    logger.addHandler(handler)
    logger.setLevel(LEVELS[level])
    logger.propagate = False
    return logger


class _LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines to a stream and ignores errors of the stream."""

    def format(self, record: logging.LogRecord) -> str:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return super().format(record).encode(encoding, "backslashreplace").decode(encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Do nothing: the default prints the record's values, with any secret, to stderr."""


class _LineFormatter(logging.Formatter):
    """Formats a record as one line, followed by the indented traceback if enabled."""

    def __init__(self, secrets: Iterable[str], prefix: str, *, with_traceback: bool) -> None:
        super().__init__()
        self._prefix = prefix
        self._redact = redactor(*secrets)
        self._with_traceback = with_traceback

    def format(self, record: logging.LogRecord) -> str:
        time = self.formatTime(record, "%H:%M:%S")
        text = self._clean(_message(record))
        line = f"[{time}] {_level_name(record.levelno)}: {self._prefix}{text}"
        return "\n".join([line, *(f"    {self._clean(one)}" for one in self._traceback(record))])

    def _traceback(self, record: logging.LogRecord) -> list[str]:
        error = record.exc_info[1] if record.exc_info else None
        if error is None or not self._with_traceback:
            return []
        return "".join(traceback.format_exception(error)).rstrip("\n").split("\n")

    def _clean(self, text: str) -> str:
        # Redact twice: escaping can turn other text into the secret.
        return self._redact(one_line(self._redact(text)))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # The values do not fit the format string. Show both rather than lose the message.
        return f"{record.msg} {record.args}"


def _level_name(number: int) -> str:
    """Return the name of a level; a number between two levels has the name of the lower.

    >>> _level_name(logging.CRITICAL), _level_name(26), _level_name(1)
    ('FATAL', 'NOTICE', 'TRACE')
    """
    names = [name for name, level in LEVELS.items() if level <= number] or ["trace"]
    return names[-1].upper()
