"""A simulated Immich, a real broker, and the daemon as a separate process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from immich_job_daemon.config.schema import SETTINGS
from immich_job_daemon.mqtt.topics import Topics
from simulator.immich.server import SimulatedServer
from tests.mqtt.mosquitto import PASSWORD, Mosquitto
from tests.support.immich_server import KEY
from tests.support.waiting import wait_until

UI_PASSWORD: Final = "password-of-the-page"
SECRETS: Final = (KEY, PASSWORD, UI_PASSWORD)


class Installation:
    """Everything that a user installs. The files of the daemon are in ``folder``."""

    def __init__(self, server: SimulatedServer, broker: Mosquitto, folder: Path) -> None:
        self.server = server
        self.broker = broker
        self.folder = folder

    @contextmanager
    def daemon(self, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the daemon without its HTTP ports; check that it logs no secret."""
        inherited = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        environment = {
            **inherited,
            "IMMICH_URL": self.server.url,
            "API_KEY": KEY,
            "DATA_DIR": str(self.folder / "data"),
            "STATUS_PORT": "0",
            "UI_PORT": "0",
            "UI_PASSWORD": UI_PASSWORD,
            "MQTT_URL": self.broker.url,
            "LOG_LEVEL": "debug",
            "POLL_INTERVAL": "1",
            **settings,
        }
        with (self.folder / "log.txt").open("ab") as log:
            command = [sys.executable, "-m", "immich_job_daemon", "run"]
            process = subprocess.Popen(command, stderr=log, env=environment)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            assert not [secret for secret in SECRETS if secret in self.log]

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def topics(self) -> Topics:
        """Return the topics of the daemon, whose instance ID is in its ledger."""
        ledger = self.folder / "data" / "ledger.json"
        wait_until(ledger.exists)
        return Topics(json.loads(ledger.read_text())["instance"])
