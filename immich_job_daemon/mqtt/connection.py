"""One connection to the broker as paho-mqtt makes it: from the greeting to the goodbye."""

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
from immich_job_daemon.mqtt.discovery import MOST_BYTES
from immich_job_daemon.mqtt.publisher import Conversation
from immich_job_daemon.mqtt.topics import OFFLINE, Topics
from immich_job_daemon.status.hub import StatusHub

KEEPALIVE: Final = 30
"""Seconds of silence, one and a half times that, after which the broker speaks our last will."""

TICK: Final = 0.2
"""Seconds in which a new picture is noticed, and a stop."""

LET_IN_WITHIN: Final = 15.0
"""Seconds from a connection to the broker's word that we are let in."""

CONNECT_WITHIN: Final = 10.0
"""Seconds for the connection itself."""

LEAVE_WITHIN: Final = 1.0
"""Seconds for the last words at the end."""

log = logging.getLogger(__name__)


class Session:
    """One connection; it is used once.

    Args:
        broker: where to, and as whom.
        protocol: the version of MQTT that is spoken.
        hub: where the loop leaves its pictures and finds what is wished for.
        topics: where this daemon speaks and listens.
        hide: takes secrets out of a text.
    """

    def __init__(
        self,
        broker: Broker,
        protocol: MQTTProtocolVersion,
        hub: StatusHub,
        topics: Topics,
        hide: Callable[[str], str] = str,
    ) -> None:
        self._broker = broker
        self._is_new = protocol is MQTTProtocolVersion.MQTTv5
        self._is_in = False
        self._ended: str | None = None
        self._was_forbidden = False
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"immich-job-{topics.instance}",
            protocol=protocol,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_WITHIN
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
        self._conversation = Conversation(client, hub, topics, hide=hide)

    def talk(self, stopping: Event, let_in: Callable[[Broker], None]) -> str:
        """Connect, and talk until the connection ends or the daemon stops.

        Args:
            stopping: set when it is time to take leave.
            let_in: called once the broker has let us in.

        Returns:
            Why it ended, by MQTT's name for it.

        Raises:
            OSError: the broker cannot be reached.
        """
        try:
            self._connect()
            deadline = time.monotonic() + LET_IN_WITHIN
            while not stopping.is_set() and not self._is_in:
                if not self._work():
                    return self._ended or errors.NO_ANSWER
                if time.monotonic() > deadline:
                    raise TimeoutError
            if self._is_in:
                let_in(self._broker)
            while not stopping.is_set():
                self._conversation.tick()
                if not self._work():
                    return self._ended or errors.LOST
            self._leave()
        finally:
            # Where no goodbye was said, the broker speaks the last will.
            self._client.on_disconnect = None
            if (sock := self._client.socket()) is not None:
                sock.close()
        return "Success"

    def _connect(self) -> None:
        properties = None
        if self._is_new:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            # Whatever is longer, the broker keeps to itself.
            properties.MaximumPacketSize = MOST_BYTES
        broker = self._broker
        self._client.connect(broker.host, broker.port, KEEPALIVE, properties=properties)

    def _work(self) -> bool:
        """Let the client work for a moment; return whether the connection goes on."""
        code = self._client.loop(TICK)
        return code is MQTTErrorCode.MQTT_ERR_SUCCESS and self._ended is None

    def _leave(self) -> None:
        if not self._is_in:
            return
        last = self._conversation.farewell()
        until = time.monotonic() + LEAVE_WITHIN
        while not all(one.is_published() for one in last) and time.monotonic() < until:
            if not self._work():
                return
        self._client.disconnect()
        self._client.loop(0.0)

    def _on_connect(
        self, _: Client, __: object, ___: ConnectFlags, code: ReasonCode, ____: Properties | None
    ) -> None:
        if code.is_failure:
            self._ended = code.getName()
        else:
            self._is_in = True
            self._conversation.begin()

    def _on_disconnect(
        self, _: Client, __: object, ___: DisconnectFlags, code: ReasonCode, ____: Properties | None
    ) -> None:
        if self._ended is None and self._is_in:
            self._ended = code.getName()

    def _on_subscribe(
        self, _: Client, __: object, ___: int, codes: list[ReasonCode], ____: Properties | None
    ) -> None:
        self._check(codes)
        self._conversation.subscribed()

    def _on_publish(
        self, _: Client, __: object, ___: int, code: ReasonCode, ____: Properties | None
    ) -> None:
        self._check([code])

    def _on_message(self, _: Client, __: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._conversation.hear(topic, bytes(message.payload), retained=message.retain)

    def _check(self, codes: list[ReasonCode]) -> None:
        """Say once that the broker forbids something that is needed."""
        if self._was_forbidden or not any(code.is_failure for code in codes):
            return
        self._was_forbidden = True
        log.warning(
            "The MQTT broker at %s does not let its user %s do all that is needed: let it read and "
            "write immich_job_daemon/# and homeassistant/#.",
            self._broker,
            self._broker.username or "(none)",
        )
