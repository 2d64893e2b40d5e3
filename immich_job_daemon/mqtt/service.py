"""The thread that keeps a connection to the broker. Whatever happens here, the loop goes on.

Each connection is made by a client of its own, so that nothing waits for a broker that is away:
neither a message nor a byte. It speaks MQTT 5, in which a broker can be told to keep messages from
us that are too long, and MQTT 3.1.1 with a broker that knows no other.
"""

import logging
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Final

from paho.mqtt.enums import MQTTProtocolVersion
from tempora.timing import BackoffDelay

from immich_job_daemon.base.logging import NOTICE
from immich_job_daemon.model.settings import Broker
from immich_job_daemon.mqtt import errors
from immich_job_daemon.mqtt.connection import Session
from immich_job_daemon.mqtt.supervisor import NoBrokerError
from immich_job_daemon.mqtt.topics import Topics
from immich_job_daemon.status.hub import StatusHub

TICK: Final = 0.2
"""Seconds in which it is noticed that the daemon has a name."""

LASTING: Final = 30.0
"""Seconds after which a connection was a good one: the next is tried at once after it."""

LONGEST_RETRY: Final = 60
"""Seconds between two tries, at most."""

REFUSED_RETRY: Final = 120.0
"""Seconds between two tries with a user or a password that the broker has refused."""

ASK_AGAIN: Final = 300.0
"""Seconds until the Supervisor is asked again whether there is a broker by now."""

LEAVE_WITHIN: Final = 2.0
"""Seconds for the last words at the end, with what was under way."""

_OTHER: Final = {
    MQTTProtocolVersion.MQTTv5: MQTTProtocolVersion.MQTTv311,
    MQTTProtocolVersion.MQTTv311: MQTTProtocolVersion.MQTTv5,
}

log = logging.getLogger(__name__)


class Link:
    """Keeps a connection to the broker from ``start`` to ``close``.

    Args:
        find: returns the broker; called before each connection, as it may be another by then.
        hub: where the loop leaves its pictures and finds what is wished for.
        hide: takes secrets out of a text.
    """

    def __init__(
        self, find: Callable[[], Broker], hub: StatusHub, *, hide: Callable[[str], str] = str
    ) -> None:
        self._find = find
        self._hub = hub
        self._hide = hide
        self._stopping = Event()
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._complaint: str | None = None
        self._was_connected = False
        self._thread = Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Take leave, or leave without where that takes too long."""
        self._stopping.set()
        self._thread.join(LEAVE_WITHIN)

    def _run(self) -> None:
        # The name that the daemon has for ever is known once the ledger was read.
        while not self._hub.status.instance:
            if self._stopping.wait(TICK):
                return
        topics = Topics(self._hub.status.instance)
        delays = BackoffDelay(1, factor=2, limit=LONGEST_RETRY)
        while not self._stopping.is_set():
            began = time.monotonic()
            delay = self._once(topics)
            if time.monotonic() - began > LASTING:
                delays.reset()
            self._stopping.wait(next(delays) if delay is None else delay)

    def _once(self, topics: Topics) -> float | None:
        """Connect and talk until the connection ends; return the delay, None for the usual one."""
        try:
            broker = self._find()
        except NoBrokerError as error:
            self._complain(
                f"No MQTT broker, so no entities in Home Assistant ({error}): to have them, "
                "install the Mosquitto broker there, or set MQTT_URL",
                level=logging.INFO,
            )
            return ASK_AGAIN
        try:
            session = Session(broker, self._protocol, self._hub, topics, self._hide)
            why = session.talk(self._stopping, self._connected)
        except Exception as error:  # whatever a broker sends, the thread goes on
            log.debug("The connection to the MQTT broker failed.", exc_info=error)
            self._complain(f"The MQTT broker at {broker} {errors.reason(error)}")
            return None
        if self._stopping.is_set():
            return 0.0
        if why in {errors.NO_ANSWER, errors.TOO_NEW}:
            # One of the oldest may not even say that it knows no MQTT 5.
            self._protocol = _OTHER[self._protocol]
            if self._protocol is MQTTProtocolVersion.MQTTv311:
                return 0.0
        refused = ": correct the user and the password" if why in errors.REFUSED else ""
        self._complain(f"The MQTT broker at {broker} {errors.said(why)}{refused}")
        return REFUSED_RETRY if refused else None

    def _connected(self, broker: Broker) -> None:
        level = NOTICE if self._complaint and self._was_connected else logging.INFO
        again = " again" if self._was_connected else ""
        log.log(level, "Connected%s to the MQTT broker at %s, for Home Assistant.", again, broker)
        self._complaint = None
        self._was_connected = True

    def _complain(self, complaint: str, level: int = logging.WARNING) -> None:
        """Say what is wrong, once as long as it stays so."""
        is_new = complaint != self._complaint
        log.log(level if is_new else logging.DEBUG, "%s. The daemon runs on without.", complaint)
        self._complaint = complaint
