"""Fixtures for tests of the MQTT service."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from immich_job_daemon.base.logging import configure_logging
from immich_job_daemon.mqtt import connection, publisher, service
from tests.mqtt.mosquitto import PASSWORD, Mosquitto, mosquitto
from tests.support.immich_server import KEY


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Yield the daemon's log at the level info; check that the password is not in it."""
    stream = io.StringIO()
    configure_logging("info", stream, secrets=(KEY, PASSWORD))
    yield stream
    assert PASSWORD not in stream.getvalue()
    logger = logging.getLogger("immich_job_daemon")
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the intervals at which the service retries and publishes."""
    monkeypatch.setattr(service, "LONGEST_RETRY", 1)
    monkeypatch.setattr(service, "CREDENTIALS_RETRY", 0.1)
    monkeypatch.setattr(service, "SUPERVISOR_RETRY", 0.1)
    monkeypatch.setattr(publisher, "MIN_STATE_INTERVAL", 0.1)
    monkeypatch.setattr(connection, "TICK", 0.05)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker") as running:
        yield running
