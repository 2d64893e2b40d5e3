"""The log of the daemon, for the tests of this package."""

import logging
from collections.abc import Callable

import pytest

from immich_job_daemon.base.logging import LEVELS


@pytest.fixture
def log_text(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Return a function that returns the log, one ``LEVEL text`` a line, of all levels or some."""
    monkeypatch.setattr(logging.getLogger("immich_job_daemon"), "propagate", True)
    caplog.set_level(logging.DEBUG, logger="immich_job_daemon")

    names = {number: name.upper() for name, number in LEVELS.items()}

    def lines(*levels: str) -> str:
        return "\n".join(
            f"{names[record.levelno]} {record.getMessage()}"
            for record in caplog.records
            if not levels or names[record.levelno] in levels
        )

    return lines
