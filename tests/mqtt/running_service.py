"""An MQTT service in this process, and what its tests share."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from immich_job_daemon.model.controls import Change
from immich_job_daemon.model.settings import Broker
from immich_job_daemon.mqtt.service import MqttService
from immich_job_daemon.mqtt.topics import Topics
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Status
from tests.mqtt.mosquitto import Mosquitto
from tests.support.waiting import wait_until
from tests.web.sample_statuses import BUSY

TOPICS: Final = Topics("1a2b3c4d")


def current(status: Status) -> Status:
    """Return a sample status as if the loop had just published it."""
    return replace(status, instance=TOPICS.instance, next_due=time.monotonic() + 1000)


@contextmanager
def running_service(
    broker: Mosquitto | Callable[[], Broker], status: Status = BUSY
) -> Iterator[StatusHub]:
    """Yield the hub of a service that publishes this status.

    Args:
        broker: the broker, or a function that finds it.
        status: a sample status.
    """
    hub = StatusHub(current(status))
    address = broker.broker if isinstance(broker, Mosquitto) else None
    find_broker = broker if callable(broker) else lambda: address or broker.broker
    service = MqttService(find_broker, hub)
    before = count_service_threads()
    service.start()
    try:
        yield hub
    finally:
        service.close()
        assert count_service_threads() == before


def count_service_threads() -> int:
    return len([thread for thread in threading.enumerate() if thread.name == "mqtt"])


def lines(log: io.StringIO) -> list[str]:
    """Return the lines of a log without their times."""
    return [line[11:] for line in log.getvalue().splitlines()]


def wait_for_changes(hub: StatusHub) -> list[Change]:
    """Return the changes submitted to the hub, as soon as there are any."""
    changes: list[Change] = []

    def has_changes() -> bool:
        changes.extend(hub.take_changes())
        return bool(changes)

    wait_until(has_changes)
    return changes
