"""One connection to the broker, from the moment the daemon is let in to the end.

It announces the device, shows the picture as it changes, and hears what is asked for. All of it
happens in the one thread that lets the client work; nothing is kept for the next connection, which
begins anew with what is so then.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from immich_job_daemon.mqtt import commands, discovery, state
from immich_job_daemon.mqtt.refusals import SPAN, Refusals
from immich_job_daemon.mqtt.topics import OFFLINE, ONLINE, Topics
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Status

READ_WITHIN: Final = 5
"""Ticks after the broker's answer in which it has sent what it kept of ours, if anything.

Not seconds: on a machine that is too busy they pass while the message lies there unread.
"""

BETWEEN: Final = 1.0
"""Seconds between two states at least."""

log = logging.getLogger(__name__)


class Sent(Protocol):
    """A message on its way."""

    def is_published(self) -> bool:
        """Whether the broker has it."""
        ...


class Client(Protocol):
    """What is needed of the client that speaks MQTT."""

    def publish(self, topic: str, payload: str, qos: int, retain: bool) -> Sent:  # noqa: FBT001 - as paho has it
        """Send a message, some time soon."""
        ...

    def subscribe(self, topic: list[tuple[str, int]]) -> object:
        """Ask for all messages on these topics."""
        ...


class Conversation:
    """What is said and heard in one connection.

    Args:
        client: speaks MQTT; it is connected.
        hub: where the loop leaves its pictures and finds what is wished for.
        topics: where this daemon speaks and listens.
        hide: takes secrets out of a text.
        clock: the daemon's.
    """

    def __init__(
        self,
        client: Client,
        hub: StatusHub,
        topics: Topics,
        *,
        hide: Callable[[str], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._hub = hub
        self._topics = topics
        self._hide = hide
        self._clock = clock
        self._refusals = Refusals()
        # What Home Assistant may still know of earlier messages, and what it is told now.
        self._known: Mapping[str, str] = {}
        self._unread: int | None = None
        self._said: dict[str, str] = {}
        # Of what the last messages were made: while that is the same, so are they.
        self._announced: tuple[list[str], int] | None = None
        self._shown: Status | None = None
        self._was_there = False
        self._shown_at = float("-inf")
        self._done: Mapping[str, float] = {}

    def begin(self) -> None:
        """Ask for what is to be heard."""
        topics = self._topics
        every = (*topics.commands, topics.home_assistant, topics.discovery, topics.shared_discovery)
        self._client.subscribe([(topic, 0) for topic in every])

    def subscribed(self) -> None:
        """Take note that the broker will send what it keeps of ours, if it has anything."""
        self._unread = READ_WITHIN

    def hear(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Do what a message says. It may be anything.

        Args:
            topic: where it was said.
            payload: what was said.
            retained: whether it is an old one that the broker has kept.
        """
        topics = self._topics
        if topic == topics.home_assistant:
            if payload == ONLINE.encode():
                # It has forgotten everything: say it all again.
                self._said.clear()
        elif topic == topics.discovery:
            if retained:
                self._known = {**discovery.announced(payload), **self._known}
                self._said.pop(topic, None)
                self._unread = 0
        elif topic == topics.shared_discovery:
            if discovery.is_of(topics.instance, payload):
                self._client.publish(topic, "", qos=1, retain=True)
        else:
            self._obey(topic, payload, retained=retained)

    def tick(self) -> None:
        """Say what has changed since the last time."""
        now = self._clock()
        self._refusals, untold = self._refusals.due(now)
        if untold:
            log.warning("%d more commands over MQTT were refused in %.0f s.", untold, SPAN)
        if self._unread is None:
            return
        if self._unread:
            self._unread -= 1
            return
        status = self._hub.status
        queues = status.managed if status.queues else None
        if queues is None:
            # Immich has not answered yet: whatever it had before is still there, for all we know.
            queues = discovery.queues_in(self._known)
        self._announce(status, queues)
        self._say(self._topics.availability, ONLINE)
        is_there = state.is_immich_there(status, now)
        self._say(self._topics.immich, ONLINE if is_there else OFFLINE)
        self._show(status, queues, now)

    def farewell(self) -> list[Sent]:
        """Say that the daemon is not there any more; return the messages on their way."""
        topics = (self._topics.availability, self._topics.immich)
        return [self._client.publish(topic, OFFLINE, qos=1, retain=True) for topic in topics]

    def _announce(self, status: Status, queues: list[str]) -> None:
        topics = self._topics
        most = len(status.managed) or len(queues) or status.limit
        if topics.discovery in self._said and self._announced == (queues, most):
            return
        self._announced = (queues, most)
        found = discovery.components(topics, queues, most)
        gone = {key: platform for key, platform in self._known.items() if key not in found}
        if gone:
            self._say(topics.discovery, discovery.message(topics, found, gone))
        self._say(topics.discovery, discovery.message(topics, found, {}))
        self._known = {key: component["p"] for key, component in found.items()}

    def _show(self, status: Status, queues: list[str], now: float) -> None:
        is_said = self._topics.state in self._said
        is_there = state.is_immich_there(status, now)
        is_same = status is self._shown and is_there is self._was_there
        if is_said and (is_same or now - self._shown_at < BETWEEN):
            return
        self._shown, self._was_there = status, is_there
        self._done = state.estimates(status, self._done)
        found = state.shown(status, queues=queues, done=self._done, now=now, hide=self._hide)
        if self._say(self._topics.state, json.dumps(found, separators=(",", ":"))):
            self._shown_at = now

    def _say(self, topic: str, text: str) -> bool:
        """Publish a text unless that is what was said there last; return whether it was."""
        if self._said.get(topic) == text:
            return False
        self._said[topic] = text
        self._client.publish(topic, text, qos=1, retain=True)
        return True

    def _obey(self, topic: str, payload: bytes, *, retained: bool) -> None:
        try:
            self._carry_out(topic, payload, retained=retained)
        except commands.RefusedCommandError as error:
            self._refusals, is_told = self._refusals.more(self._clock())
            if is_told:
                log.warning("A command over MQTT, %.100s, is refused: %s.", topic, error)

    def _carry_out(self, topic: str, payload: bytes, *, retained: bool) -> None:
        if retained:
            # The broker repeats it at each connection, long after anybody meant it.
            raise commands.RefusedCommandError("it was sent to be retained, which none may be")
        change = commands.read_command(self._topics, topic, payload)
        if why := commands.refusal(change, self._hub.status):
            raise commands.RefusedCommandError(why)
        if not self._hub.submit(change):
            raise commands.RefusedCommandError("too much is asked for at once")
