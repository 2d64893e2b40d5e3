"""A test's own client at the broker: it receives every message and can publish any."""

import json
import threading
from typing import Any, NamedTuple, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from immich_job_daemon.mqtt.topics import Topics
from tests.mqtt.mosquitto import PASSWORD, USER, Mosquitto
from tests.support.waiting import TIMEOUT, wait_until


class Message(NamedTuple):
    """A received message; ``retained``: the broker had stored it before the subscription."""

    topic: str
    payload: bytes
    retained: bool


class BrokerClient:
    """A client that subscribes to all topics, as a context manager. It does not reconnect."""

    def __init__(self, broker: Mosquitto) -> None:
        self.messages: list[Message] = []
        self._broker = broker
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        self._client.username_pw_set(USER, PASSWORD)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._subscribed.set()

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._broker.port)
        self._client.loop_start()
        self._client.subscribe("#")
        assert self._subscribed.wait(TIMEOUT)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def last_payload(self, topic: str) -> bytes | None:
        """Return the last payload received on a topic."""
        payloads = self.payloads(topic)
        return payloads[-1] if payloads else None

    def payloads(self, topic: str) -> list[bytes]:
        """Return all payloads received on a topic."""
        return [message.payload for message in self.messages if message.topic == topic]

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        """Publish a message and wait until the broker has acknowledged it."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(TIMEOUT)

    def publish_without_waiting(self, topic: str, payload: bytes) -> None:
        """Publish a message with QoS 0."""
        self._client.publish(topic, payload)

    def state(self, topics: Topics) -> dict[str, Any]:
        """Return the last state; empty before the first one."""
        return self._last_object(topics.state)

    def device(self, topics: Topics) -> dict[str, Any]:
        """Return the last discovery message; empty before the first one."""
        return self._last_object(topics.discovery)

    def wait_for(self, topic: str, payload: bytes) -> None:
        """Wait until this is the last payload on a topic."""
        wait_until(lambda: self.last_payload(topic) == payload)

    def _last_object(self, topic: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.last_payload(topic) or b"{}")
        return value

    def _on_message(self, _: Client, __: object, message: MQTTMessage) -> None:
        self.messages.append(Message(message.topic, bytes(message.payload), message.retain))
