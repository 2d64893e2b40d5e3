"""The messages within one connection: announce the device, publish changes, receive commands.

All methods run in the thread that drives the MQTT client. A publisher lives as long as its
connection; the next one publishes everything again.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from paho.mqtt.client import Client, MQTTMessageInfo

from immich_job_daemon.mqtt import commands, discovery, state
from immich_job_daemon.mqtt.commands import RejectedCommandError
from immich_job_daemon.mqtt.log_limit import PERIOD, LogLimit
from immich_job_daemon.mqtt.topics import OFFLINE, ONLINE, Topics
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Status

RETAINED_WAIT: Final = 5
"""Calls of ``publish_changes`` after the SUBACK by which retained messages have arrived, if any.

Not seconds: on an overloaded machine these pass while a received message is still unprocessed.
"""

MIN_STATE_INTERVAL: Final = 1.0
"""Shortest time in seconds between two states."""

log = logging.getLogger(__name__)


class Publisher:
    """Publishes the status to the broker and submits received commands to the hub.

    ``redact`` removes secrets from a text.
    """

    def __init__(
        self,
        client: Client,
        hub: StatusHub,
        topics: Topics,
        *,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._client = client
        self._hub = hub
        self._topics = topics
        self._redact = redact
        self._log_limit = LogLimit()
        # Calls left until retained messages have arrived; None before the SUBACK.
        self._wait: int | None = None
        # The last payload by topic.
        self._published: dict[str, str] = {}
        # The platforms, by key, of the components that Home Assistant may know.
        self._announced: Mapping[str, str] = {}
        # The inputs of the last messages: these are rebuilt only when their inputs change.
        self._device_inputs: tuple[list[str], int] | None = None
        self._state_inputs: tuple[Status | None, bool] = (None, False)
        self._state_published_at = float("-inf")
        self._completion: Mapping[str, float] = {}

    def subscribe(self) -> None:
        """Subscribe to commands, to Home Assistant's status and to retained discovery messages."""
        topics = self._topics
        others = (topics.home_assistant_status, topics.discovery, topics.shared_discovery)
        self._client.subscribe([(topic, 0) for topic in (*topics.command_filters, *others)])

    def on_subscribed(self) -> None:
        """Handle the SUBACK: retained messages arrive now, if there are any."""
        self._wait = RETAINED_WAIT

    def on_message(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Handle a message, which may be anything.

        ``retained`` means that the broker had stored it before the subscription.
        """
        topics = self._topics
        if topic == topics.home_assistant_status:
            if payload == ONLINE.encode():
                # Home Assistant has restarted and knows no states: publish everything again.
                self._published.clear()
        elif topic == topics.discovery:
            if retained:
                self._announced = {**discovery.read_platforms(payload), **self._announced}
                self._published.pop(topic, None)
                self._wait = 0
        elif topic == topics.shared_discovery:
            if discovery.announces_instance(topics.instance, payload):
                self._client.publish(topic, "", qos=1, retain=True)
        else:
            self._handle_command(topic, payload, retained=retained)

    def publish_changes(self) -> None:
        """Publish what has changed since the last call. Call this several times a second."""
        now = time.monotonic()
        self._log_limit, suppressed = self._log_limit.flush(now)
        if suppressed:
            log.warning("Rejected %d more MQTT commands within %.0f s.", suppressed, PERIOD)
        if self._wait is None:
            return
        if self._wait:
            self._wait -= 1
            return
        status = self._hub.status
        queues = status.managed if status.queues else None
        if queues is None:
            # Immich has not responded yet: keep the entities of the queues known so far.
            queues = discovery.queues_with_components(self._announced)
        self._publish_device(status, queues)
        self._publish(self._topics.availability, ONLINE)
        is_stale = status.is_stale(now)
        self._publish(self._topics.immich_availability, OFFLINE if is_stale else ONLINE)
        self._publish_state(status, queues, now)

    def go_offline(self) -> list[MQTTMessageInfo]:
        """Publish that the daemon and Immich are offline; return the deliveries to wait for."""
        topics = (self._topics.availability, self._topics.immich_availability)
        return [self._client.publish(topic, OFFLINE, qos=1, retain=True) for topic in topics]

    def _publish_device(self, status: Status, queues: list[str]) -> None:
        topics = self._topics
        max_limit = len(status.managed) or len(queues) or status.limit
        if topics.discovery in self._published and self._device_inputs == (queues, max_limit):
            return
        self._device_inputs = (queues, max_limit)
        components = discovery.build_components(topics, queues, max_limit)
        # Includes what an earlier run announced: the retained message was read back. So entities
        # that an option or a new version has taken away do not stay in Home Assistant for ever.
        removed = {key: p for key, p in self._announced.items() if key not in components}
        if removed:
            message = discovery.discovery_message(topics, components, removed)
            self._publish(topics.discovery, message)
        self._publish(topics.discovery, discovery.discovery_message(topics, components, {}))
        self._announced = {key: component["p"] for key, component in components.items()}

    def _publish_state(self, status: Status, queues: list[str], now: float) -> None:
        is_stale = status.is_stale(now)
        # Compare the identity: every new status is a new object.
        is_same = status is self._state_inputs[0] and is_stale is self._state_inputs[1]
        is_too_early = now - self._state_published_at < MIN_STATE_INTERVAL
        if self._topics.state in self._published and (is_same or is_too_early):
            return
        self._state_inputs = (status, is_stale)
        self._completion = state.completion_times(status, self._completion)
        states = state.build_state(
            status, queues=queues, completion=self._completion, now=now, redact=self._redact
        )
        if self._publish(self._topics.state, json.dumps(states, separators=(",", ":"))):
            self._state_published_at = now

    def _publish(self, topic: str, payload: str) -> bool:
        """Publish a payload, unless it is the last one of the topic; return whether it was sent."""
        if self._published.get(topic) == payload:
            return False
        self._published[topic] = payload
        self._client.publish(topic, payload, qos=1, retain=True)
        return True

    def _handle_command(self, topic: str, payload: bytes, *, retained: bool) -> None:
        try:
            self._submit(topic, payload, retained=retained)
        except RejectedCommandError as error:
            self._log_limit, should_log = self._log_limit.record(time.monotonic())
            if should_log:
                log.warning("Rejected an MQTT command on %.100s: %s.", topic, error)

    def _submit(self, topic: str, payload: bytes, *, retained: bool) -> None:
        if retained:
            # The broker repeats it at each connection, long after the user sent it.
            raise RejectedCommandError("it was retained; publish commands without the retain flag")
        change = commands.read_command(self._topics, topic, payload)
        if text := commands.rejection_text(change, self._hub.status):
            raise RejectedCommandError(text)
        if not self._hub.submit(change):
            raise RejectedCommandError("too many changes are waiting; try again later")
