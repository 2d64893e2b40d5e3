"""Which broker the daemon is shown through: the one of the settings, else the Supervisor's."""

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from immich_job_daemon.model.settings import Broker
from immich_job_daemon.mqtt.serving import linked
from immich_job_daemon.mqtt.topics import Topics
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Problem, ProblemKind
from tests.mqtt.broker_client import BrokerClient
from tests.mqtt.fake_supervisor import TOKEN, standing_in
from tests.mqtt.mosquitto import PASSWORD, USER, mosquitto
from tests.support.immich_server import KEY
from tests.support.waiting import wait_until
from tests.web.sample_statuses import BUSY

TOPICS: Final = Topics("1a2b3c4d")


@dataclass
class Wanted:
    """The settings, as far as they matter here."""

    mqtt_url: Broker | None = None
    secrets: list[str] = field(default_factory=lambda: [KEY])


def hub() -> StatusHub:
    told = Problem(ProblemKind.UNEXPECTED, f"it says {KEY}", time.time())
    due = time.monotonic() + 1000
    return StatusHub(replace(BUSY, instance=TOPICS.instance, next_due=due, problem=told))


def test_the_broker_of_the_settings_wins_and_no_supervisor_is_asked(tmp_path: Path) -> None:
    asked: list[str] = []
    with (
        mosquitto(tmp_path / "broker") as broker,
        standing_in(400, b"", asked) as address,
        linked(hub(), Wanted(broker.broker), TOKEN, address),
        BrokerClient(broker) as ears,
    ):
        wait_until(lambda: ears.state(TOPICS) != {})
        assert ears.state(TOPICS)["problem"]["text"] == "it says (hidden)"
    assert asked == []


def test_without_one_it_is_the_supervisors(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        found = {"host": "127.0.0.1", "port": broker.port, "username": USER, "password": PASSWORD}
        service = json.dumps({"data": found}).encode()
        with (
            standing_in(200, service) as address,
            linked(hub(), Wanted(), TOKEN, address),
            BrokerClient(broker) as ears,
        ):
            wait_until(lambda: ears.state(TOPICS) != {})
