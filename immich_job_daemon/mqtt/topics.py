"""The MQTT topics of one daemon. Pure.

>>> topics = Topics("1a2b3c4d")
>>> topics.state, topics.queue_command("ocr")
('immich_job_daemon/1a2b3c4d/state', 'immich_job_daemon/1a2b3c4d/queue/ocr/set')
"""

from dataclasses import dataclass
from typing import Final

DISCOVERY_PREFIX: Final = "homeassistant"
"""Home Assistant's default prefix for discovery and for its own status."""

ONLINE: Final = "online"
OFFLINE: Final = "offline"


@dataclass
class Topics:
    """All topics that one daemon publishes or subscribes to.

    Attributes:
        instance: the ID of the daemon, unique among all daemons at a broker.
    """

    instance: str

    def __post_init__(self) -> None:
        self.base = f"immich_job_daemon/{self.instance}"
        # The topic contains the instance: under one topic for all, two daemons at one broker would
        # delete each other's device.
        self.discovery = f"{DISCOVERY_PREFIX}/device/immich_job_daemon/{self.instance}/config"
        # A message of this daemon under the topic for all is deleted.
        self.shared_discovery = f"{DISCOVERY_PREFIX}/device/immich_job_daemon/config"
        # Home Assistant's birth and last will message.
        self.home_assistant_status = f"{DISCOVERY_PREFIX}/status"

        # The broker publishes the last will here.
        self.availability = f"{self.base}/availability"
        # Whether Immich is available, so that the job counts are current.
        self.immich_availability = f"{self.base}/immich"
        # The states of all entities, as one JSON object.
        self.state = f"{self.base}/state"

        self.mode_command = f"{self.base}/mode/set"
        self.limit_command = f"{self.base}/limit/set"
        self.resume_all_command = f"{self.base}/resume_all/set"
        self.command_filters = (f"{self.base}/+/set", self.queue_command("+"))

    def queue_command(self, name: str) -> str:
        """Return the topic that sets the override of a queue."""
        return f"{self.base}/queue/{name}/set"

    def queue_of(self, topic: str) -> str | None:
        """Return the queue that a command topic belongs to; None for any other topic."""
        name = topic.split("/")[-2] if "/" in topic else ""
        return name if topic == self.queue_command(name) else None
