"""Somebody else at the broker: hears all that is said, and says what he likes."""

import json
import threading
from typing import Any, NamedTuple, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from immich_job_daemon.mqtt.topics import Topics
from tests.mqtt.mosquitto import PASSWORD, USER, Mosquitto
from tests.support.waiting import TIMEOUT, wait_until


class Said(NamedTuple):
    """One message; ``kept``: the broker had it from before."""

    topic: str
    payload: bytes
    kept: bool


class BrokerClient:
    """A client that hears everything, as a context manager. It does not come back by itself."""

    def __init__(self, broker: Mosquitto) -> None:
        self.said: list[Said] = []
        self._broker = broker
        self._heard = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        self._client.username_pw_set(USER, PASSWORD)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._heard.set()

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._broker.port)
        self._client.loop_start()
        self._client.subscribe("#")
        assert self._heard.wait(TIMEOUT)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def last(self, topic: str) -> bytes | None:
        """Return what was said last on a topic."""
        found = [one.payload for one in self.said if one.topic == topic]
        return found[-1] if found else None

    def every(self, topic: str) -> list[bytes]:
        """Return all that was said on a topic."""
        return [one.payload for one in self.said if one.topic == topic]

    def say(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        """Say something, and return when the broker has it."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(TIMEOUT)

    def shout(self, topic: str, payload: bytes) -> None:
        """Say something without waiting for whether anybody hears it."""
        self._client.publish(topic, payload)

    def state(self, topics: Topics) -> dict[str, Any]:
        """Return the state that was said last; nothing before any was."""
        return self._object(topics.state)

    def device(self, topics: Topics) -> dict[str, Any]:
        """Return the discovery message that was said last; nothing before any was."""
        return self._object(topics.discovery)

    def until_said(self, topic: str, payload: bytes) -> None:
        """Wait until that is what was said last on a topic."""
        wait_until(lambda: self.last(topic) == payload)

    def _object(self, topic: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.last(topic) or b"{}")
        return found

    def _on_message(self, _: Client, __: object, message: MQTTMessage) -> None:
        self.said.append(Said(message.topic, bytes(message.payload), message.retain))
