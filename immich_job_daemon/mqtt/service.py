"""A thread that keeps a connection to the MQTT broker. Nothing that happens here stops the loop.

It tries MQTT 5 first, in which a client can limit the size of the messages it receives, and falls
back to MQTT 3.1.1 for older brokers.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from paho.mqtt.enums import MQTTProtocolVersion
from tempora.timing import BackoffDelay

from immich_job_daemon.base.logging import NOTICE
from immich_job_daemon.base.redaction import redactor
from immich_job_daemon.model.settings import Broker, Settings
from immich_job_daemon.mqtt import errors, supervisor
from immich_job_daemon.mqtt.connection import Connection
from immich_job_daemon.mqtt.supervisor import NoBrokerError
from immich_job_daemon.mqtt.topics import Topics
from immich_job_daemon.status.hub import StatusHub

INSTANCE_POLL_INTERVAL: Final = 0.2
"""Seconds between two checks whether the daemon knows its instance ID."""

STABLE_AFTER: Final = 30.0
"""Seconds after which a connection counts as stable: the delay before the next try is reset."""

LONGEST_RETRY: Final = 60
"""Longest delay in seconds between two tries."""

CREDENTIALS_RETRY: Final = 120.0
"""Seconds between two tries after the broker has rejected the credentials."""

SUPERVISOR_RETRY: Final = 300.0
"""Seconds until the Supervisor is asked again for a broker."""

STOP_TIMEOUT: Final = 2.0
"""Seconds that ``close`` waits for the thread."""

log = logging.getLogger(__name__)


@contextmanager
def mqtt_service(
    hub: StatusHub,
    settings: Settings,
    token: str,
    supervisor_url: str = supervisor.SUPERVISOR_URL,
) -> Iterator["MqttService"]:
    """Run an MQTT service as long as the context lasts.

    Without MQTT_URL in the settings it uses the broker that the Supervisor knows; ``token`` is the
    value of SUPERVISOR_TOKEN.
    """
    broker = settings.mqtt_url

    def find_broker() -> Broker:
        return supervisor.find_broker(token, supervisor_url) if broker is None else broker

    service = MqttService(find_broker, hub, redact=redactor(*settings.secrets))
    service.start()
    try:
        yield service
    finally:
        service.close()


class MqttService:
    """Keeps a connection to the broker from ``start`` to ``close``.

    ``find_broker`` is called before each connection; it returns the broker or raises
    NoBrokerError. ``redact`` removes secrets from a text.
    """

    def __init__(
        self,
        find_broker: Callable[[], Broker],
        hub: StatusHub,
        *,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._find_broker = find_broker
        self._hub = hub
        self._redact = redact
        self._stopping = Event()
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._problem: str | None = None
        self._was_connected = False
        self._thread = Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Publish that the daemon is offline and end the thread; give up after STOP_TIMEOUT."""
        self._stopping.set()
        self._thread.join(STOP_TIMEOUT)

    def _run(self) -> None:
        # The instance ID is in the ledger, which the loop may not have read yet.
        while not self._hub.status.instance:
            if self._stopping.wait(INSTANCE_POLL_INTERVAL):
                return
        topics = Topics(self._hub.status.instance)
        delays = BackoffDelay(1, factor=2, limit=LONGEST_RETRY)
        while not self._stopping.is_set():
            began = time.monotonic()
            delay = self._run_connection(topics)
            if time.monotonic() - began > STABLE_AFTER:
                delays.reset()
            self._stopping.wait(next(delays) if delay is None else delay)

    def _run_connection(self, topics: Topics) -> float | None:
        """Connect and run until the connection ends.

        Returns:
            the delay in seconds before the next try; None: the next one of the backoff.
        """
        try:
            broker = self._find_broker()
        except NoBrokerError as error:
            self._log_problem(
                f"There are no entities in Home Assistant because no MQTT broker is known: {error}."
                " Install the Mosquitto broker add-on, or set MQTT_URL",
                level=logging.INFO,
            )
            return SUPERVISOR_RETRY
        try:
            connection = Connection(broker, self._protocol, self._hub, topics, self._redact)
            end_reason = connection.run(self._stopping, self._on_connected)
        except Exception as error:  # the broker may send anything; the thread must survive that
            log.debug("The connection to the MQTT broker failed.", exc_info=error)
            self._log_problem(f"The MQTT broker at {broker} {errors.describe_error(error)}")
            return None
        if self._stopping.is_set():
            return 0.0
        if end_reason in {errors.CLOSED_WITHOUT_REPLY, errors.UNSUPPORTED_VERSION}:
            # Some old brokers close the connection without saying that they do not know MQTT 5.
            if self._protocol is MQTTProtocolVersion.MQTTv5:
                self._protocol = MQTTProtocolVersion.MQTTv311
                return 0.0
            self._protocol = MQTTProtocolVersion.MQTTv5
        self._log_problem(f"The MQTT broker at {broker} {errors.describe_reason_code(end_reason)}")
        return CREDENTIALS_RETRY if end_reason in errors.BAD_CREDENTIALS else None

    def _on_connected(self, broker: Broker) -> None:
        level = NOTICE if self._problem and self._was_connected else logging.INFO
        verb = "Reconnected" if self._was_connected else "Connected"
        log.log(level, "%s to the MQTT broker at %s.", verb, broker)
        self._problem = None
        self._was_connected = True

    def _log_problem(self, problem: str, level: int = logging.WARNING) -> None:
        """Log a problem; while it stays the same, repeat it at the debug level only."""
        is_new = problem != self._problem
        log.log(level if is_new else logging.DEBUG, "%s. The daemon runs without MQTT.", problem)
        self._problem = problem
