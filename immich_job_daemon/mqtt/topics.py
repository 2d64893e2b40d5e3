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


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics that one daemon publishes or subscribes to.

    Attributes:
        instance: the ID of the daemon, unique among all daemons at a broker.
        prefix: the discovery prefix of Home Assistant.
    """

    instance: str
    prefix: str = DISCOVERY_PREFIX

    @property
    def base(self) -> str:
        """The prefix of the daemon's own topics."""
        return f"immich_job_daemon/{self.instance}"

    @property
    def discovery(self) -> str:
        """The discovery message of the device.

        The topic contains the instance: under one topic for all, two daemons at one broker would
        delete each other's device.
        """
        return f"{self.prefix}/device/immich_job_daemon/{self.instance}/config"

    @property
    def shared_discovery(self) -> str:
        """A discovery topic without the instance; a message of this daemon there is deleted."""
        return f"{self.prefix}/device/immich_job_daemon/config"

    @property
    def home_assistant_status(self) -> str:
        """Home Assistant's birth and last will message."""
        return f"{self.prefix}/status"

    @property
    def availability(self) -> str:
        """Whether the daemon is online; the broker publishes the last will here."""
        return f"{self.base}/availability"

    @property
    def immich_availability(self) -> str:
        """Whether Immich is available, so that the job counts are current."""
        return f"{self.base}/immich"

    @property
    def state(self) -> str:
        """The states of all entities, as one JSON object."""
        return f"{self.base}/state"

    @property
    def mode_command(self) -> str:
        """Sets the mode."""
        return f"{self.base}/mode/set"

    @property
    def limit_command(self) -> str:
        """Sets how many queues may run at once."""
        return f"{self.base}/limit/set"

    @property
    def resume_all_command(self) -> str:
        """Resumes all queues."""
        return f"{self.base}/resume_all/set"

    def queue_command(self, name: str) -> str:
        """Return the topic that sets the override of a queue."""
        return f"{self.base}/queue/{name}/set"

    def queue_of(self, topic: str) -> str | None:
        """Return the queue that a command topic belongs to; None for any other topic."""
        name = topic.split("/")[-2] if "/" in topic else ""
        return name if topic == self.queue_command(name) else None

    @property
    def command_filters(self) -> tuple[str, str]:
        """The topic filters that match all command topics."""
        return f"{self.base}/+/set", self.queue_command("+")
