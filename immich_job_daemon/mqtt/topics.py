"""What is said where at the broker. Pure.

>>> topics = Topics("1a2b3c4d")
>>> topics.state, topics.of_queue("ocr")
('immich_job_daemon/1a2b3c4d/state', 'immich_job_daemon/1a2b3c4d/queue/ocr/set')
"""

from dataclasses import dataclass
from typing import Final

PREFIX: Final = "homeassistant"
"""Home Assistant's own default for where it looks for devices, and tells of itself."""

ONLINE: Final = "online"
OFFLINE: Final = "offline"


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics of one daemon.

    Attributes:
        instance: tells it from any other at the same broker.
        prefix: where Home Assistant looks for devices.
    """

    instance: str
    prefix: str = PREFIX

    @property
    def base(self) -> str:
        """What all topics of this daemon begin with, but for Home Assistant's."""
        return f"immich_job_daemon/{self.instance}"

    @property
    def discovery(self) -> str:
        """Where Home Assistant finds the device. Two daemons in one place would wipe each other."""
        return f"{self.prefix}/device/immich_job_daemon/{self.instance}/config"

    @property
    def shared_discovery(self) -> str:
        """Where there is room for one daemon only: what this one left there is taken away."""
        return f"{self.prefix}/device/immich_job_daemon/config"

    @property
    def home_assistant(self) -> str:
        """Where Home Assistant says that it has started, or is about to stop."""
        return f"{self.prefix}/status"

    @property
    def availability(self) -> str:
        """Whether the daemon is there; the broker itself says so when it is not any more."""
        return f"{self.base}/availability"

    @property
    def immich(self) -> str:
        """Whether Immich is there, so that what is known of its queues still holds."""
        return f"{self.base}/immich"

    @property
    def state(self) -> str:
        """What the entities show, as one JSON object."""
        return f"{self.base}/state"

    @property
    def mode(self) -> str:
        """Where a mode is asked for."""
        return f"{self.base}/mode/set"

    @property
    def limit(self) -> str:
        """Where another number of queues at once is asked for."""
        return f"{self.base}/limit/set"

    @property
    def resume_all(self) -> str:
        """Where everything is asked to be open."""
        return f"{self.base}/resume_all/set"

    def of_queue(self, name: str) -> str:
        """Return where something is asked of one queue."""
        return f"{self.base}/queue/{name}/set"

    def queue_in(self, topic: str) -> str | None:
        """Return the queue of which something is asked on this topic, None if it is no such."""
        name = topic.split("/")[-2] if "/" in topic else ""
        return name if topic == self.of_queue(name) else None

    @property
    def commands(self) -> tuple[str, str]:
        """What to subscribe to, to hear everything that is asked for."""
        return f"{self.base}/+/set", self.of_queue("+")
