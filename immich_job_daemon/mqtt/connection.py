"""One connection to the broker, through paho-mqtt: from CONNECT to DISCONNECT."""

import logging
import ssl
import time
from collections.abc import Callable
from threading import Event
from typing import Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from immich_job_daemon.model.settings import Broker
from immich_job_daemon.mqtt import errors
from immich_job_daemon.mqtt.discovery import MAX_MESSAGE_BYTES
from immich_job_daemon.mqtt.publisher import Publisher
from immich_job_daemon.mqtt.topics import OFFLINE, Topics
from immich_job_daemon.status.hub import StatusHub

KEEPALIVE: Final = 30
"""Seconds. After one and a half times that in silence the broker publishes the last will."""

TICK: Final = 0.2
"""Seconds between two checks for a new status or a stop."""

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for the TCP connection."""

CONNACK_TIMEOUT: Final = 15.0
"""Seconds from the TCP connection to the broker's CONNACK."""

DISCONNECT_TIMEOUT: Final = 1.0
"""Seconds to deliver the offline messages at the end."""

log = logging.getLogger(__name__)


class Connection:
    """A connection with a client of its own; it is used once.

    A new client for each connection keeps no messages while the broker is away: an outage of hours
    costs no memory, and afterwards only the current state is published. ``redact`` removes secrets
    from a text.
    """

    def __init__(
        self,
        broker: Broker,
        protocol: MQTTProtocolVersion,
        hub: StatusHub,
        topics: Topics,
        redact: Callable[[str], str],
    ) -> None:
        self._broker = broker
        self._is_connected = False
        self._end_reason: str | None = None
        self._has_warned = False
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"immich-job-{topics.instance}",
            protocol=protocol,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT
        if broker.username:
            client.username_pw_set(broker.username, broker.password.reveal())
        if broker.is_encrypted:
            client.tls_set_context(ssl.create_default_context())
        client.will_set(topics.availability, OFFLINE, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        self._publisher = Publisher(client, hub, topics, redact=redact)

    def run(self, stopping: Event, on_connected: Callable[[Broker], None]) -> str:
        """Connect, and run until the connection ends or the daemon stops.

        Returns:
            The name of the MQTT reason code with which the connection ended.

        Raises:
            OSError: the broker cannot be reached.
        """
        try:
            self._connect()
            deadline = time.monotonic() + CONNACK_TIMEOUT
            while not stopping.is_set() and not self._is_connected:
                if not self._loop():
                    return self._end_reason or errors.CLOSED_WITHOUT_REPLY
                if time.monotonic() > deadline:
                    raise TimeoutError
            if self._is_connected:
                on_connected(self._broker)
            while not stopping.is_set():
                self._publisher.publish_changes()
                if not self._loop():
                    return self._end_reason or errors.CONNECTION_LOST
            self._disconnect()
        finally:
            # Without a DISCONNECT before this, the broker publishes the last will.
            self._client.on_disconnect = None
            if (sock := self._client.socket()) is not None:
                sock.close()
        return "Success"

    def _connect(self) -> None:
        properties = None
        if self._client.protocol is MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            # The broker does not forward longer messages to this client.
            properties.MaximumPacketSize = MAX_MESSAGE_BYTES
        broker = self._broker
        self._client.connect(broker.host, broker.port, KEEPALIVE, properties=properties)

    def _loop(self) -> bool:
        """Run the client's network loop for one tick; return whether the connection is alive."""
        code = self._client.loop(TICK)
        return code is MQTTErrorCode.MQTT_ERR_SUCCESS and self._end_reason is None

    def _disconnect(self) -> None:
        if not self._is_connected:
            return
        deliveries = self._publisher.go_offline()
        deadline = time.monotonic() + DISCONNECT_TIMEOUT
        while (
            not all(delivery.is_published() for delivery in deliveries)
            and time.monotonic() < deadline
        ):
            if not self._loop():
                return
        self._client.disconnect()
        self._client.loop(0.0)

    def _on_connect(
        self, _: Client, __: object, ___: ConnectFlags, code: ReasonCode, ____: Properties | None
    ) -> None:
        if code.is_failure:
            self._end_reason = code.getName()
        else:
            self._is_connected = True
            self._publisher.subscribe()

    def _on_disconnect(
        self, _: Client, __: object, ___: DisconnectFlags, code: ReasonCode, ____: Properties | None
    ) -> None:
        if self._end_reason is None and self._is_connected:
            self._end_reason = code.getName()

    def _on_subscribe(
        self, _: Client, __: object, ___: int, codes: list[ReasonCode], ____: Properties | None
    ) -> None:
        self._warn_if_not_permitted(codes)
        self._publisher.on_subscribed()

    def _on_publish(
        self, _: Client, __: object, ___: int, code: ReasonCode, ____: Properties | None
    ) -> None:
        self._warn_if_not_permitted([code])

    def _on_message(self, _: Client, __: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._publisher.on_message(topic, bytes(message.payload), retained=message.retain)

    def _warn_if_not_permitted(self, codes: list[ReasonCode]) -> None:
        """Log, once, that the broker has denied a subscription or a message."""
        if self._has_warned or not any(code.is_failure for code in codes):
            return
        self._has_warned = True
        log.warning(
            "The MQTT broker at %s does not give its user %s all permissions that the daemon "
            "needs. Allow the user to read and write immich_job_daemon/# and homeassistant/#.",
            self._broker,
            self._broker.username or "(none)",
        )
