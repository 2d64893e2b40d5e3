"""What the service publishes to a real broker, and how it handles messages."""

import io
import json
import os
import time
from dataclasses import replace

import pytest

from immich_job_daemon.model.controls import Controls, Mode, Override, SetLimit, SetMode, SetQueue
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.mqtt import log_limit, publisher
from immich_job_daemon.mqtt.discovery import MAX_MESSAGE_BYTES
from immich_job_daemon.mqtt.log_limit import MAX_LINES
from immich_job_daemon.mqtt.service import MqttService
from immich_job_daemon.status.hub import MAX_PENDING_CHANGES, StatusHub
from tests.mqtt.broker_client import BrokerClient
from tests.mqtt.mosquitto import Mosquitto
from tests.mqtt.running_service import TOPICS, current, lines, running_service, wait_for_changes
from tests.support.waiting import wait_until
from tests.web.sample_statuses import BUSY, LOST, NOTHING

pytestmark = pytest.mark.usefixtures("short_delays")

# Published messages


def test_messages_are_retained_for_later_subscribers(broker: Mosquitto) -> None:
    with running_service(broker):
        with BrokerClient(broker) as early:
            early.wait_for(TOPICS.immich_availability, b"online")
            wait_until(lambda: early.state(TOPICS) != {})
        with BrokerClient(broker) as late:
            wait_until(lambda: late.state(TOPICS) != {})
            assert late.device(TOPICS)["dev"]["ids"] == ["immich_job_daemon_1a2b3c4d"]
            assert late.last_payload(TOPICS.availability) == b"online"
            assert late.state(TOPICS)["pending"] == BUSY.pending
            assert all(message.retained for message in late.messages)


def test_the_state_follows_the_status(broker: Mosquitto) -> None:
    with running_service(broker) as hub, BrokerClient(broker) as client:
        wait_until(lambda: client.state(TOPICS).get("mode") == "automatic")
        hub.publish(current(replace(BUSY, controls=Controls(Mode.HELD))))
        wait_until(lambda: client.state(TOPICS).get("mode") == "held")


def test_states_are_rate_limited_and_the_last_one_is_always_published(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MIN_STATE_INTERVAL", 3.0)
    with running_service(broker) as hub, BrokerClient(broker) as client:
        wait_until(lambda: client.state(TOPICS) != {})
        began, number = time.monotonic(), 0
        while time.monotonic() - began < 1.0:
            number += 1
            queue = Queue("ocr", is_paused=True, paused=number)
            hub.publish(current(replace(BUSY, queues={**BUSY.queues, "ocr": queue})))
        wait_until(lambda: client.state(TOPICS)["queues"]["ocr"]["pending"] == number)
        published = len(client.payloads(TOPICS.state))
        assert number > 100
        assert published <= 2 + (time.monotonic() - began) / 3.0


def test_an_unchanged_state_is_published_once(broker: Mosquitto) -> None:
    with running_service(broker) as hub, BrokerClient(broker) as client:
        wait_until(lambda: client.state(TOPICS) != {})
        hub.publish(current(BUSY))
        hub.publish(current(replace(BUSY, controls=Controls(Mode.OPEN))))
        wait_until(lambda: client.state(TOPICS)["mode"] == "open")
        assert len(client.payloads(TOPICS.state)) == 2
        assert len(client.payloads(TOPICS.discovery)) == 1


def test_while_immich_is_away_the_daemon_itself_stays_available(broker: Mosquitto) -> None:
    with running_service(broker) as hub, BrokerClient(broker) as client:
        client.wait_for(TOPICS.immich_availability, b"online")
        hub.publish(current(LOST))
        client.wait_for(TOPICS.immich_availability, b"offline")
        wait_until(lambda: not client.state(TOPICS)["connected"])
        assert client.last_payload(TOPICS.availability) == b"online"
        hub.publish(current(BUSY))
        client.wait_for(TOPICS.immich_availability, b"online")


def test_when_the_loop_is_stuck_immich_counts_as_unavailable(broker: Mosquitto) -> None:
    with running_service(broker) as hub, BrokerClient(broker) as client:
        client.wait_for(TOPICS.immich_availability, b"online")
        hub.publish(replace(current(BUSY), next_due=time.monotonic() - 1))
        client.wait_for(TOPICS.immich_availability, b"offline")


def test_nothing_is_published_before_the_instance_is_known(broker: Mosquitto) -> None:
    with BrokerClient(broker) as client:
        hub = StatusHub(NOTHING)
        service = MqttService(lambda: broker.broker, hub)
        service.start()
        service.close()
        client.publish("end", b"")
        client.wait_for("end", b"")
        assert [message.topic for message in client.messages] == ["end"]


def test_a_stop_publishes_offline(broker: Mosquitto) -> None:
    with BrokerClient(broker) as client:
        with running_service(broker):
            client.wait_for(TOPICS.immich_availability, b"online")
        client.wait_for(TOPICS.availability, b"offline")
        client.wait_for(TOPICS.immich_availability, b"offline")


def test_when_home_assistant_starts_everything_is_published_again(broker: Mosquitto) -> None:
    with running_service(broker), BrokerClient(broker) as client:
        wait_until(lambda: client.state(TOPICS) != {})
        before = len(client.messages)
        client.publish(TOPICS.home_assistant_status, b"offline")
        client.publish(TOPICS.home_assistant_status, b"online")
        topics = {
            TOPICS.discovery,
            TOPICS.availability,
            TOPICS.immich_availability,
            TOPICS.state,
        }
        wait_until(lambda: {message.topic for message in client.messages[before:]} >= topics)


# Removed components


def test_a_new_queue_gets_entities_and_a_newly_protected_one_loses_them(
    broker: Mosquitto,
) -> None:
    with running_service(broker) as hub, BrokerClient(broker) as client:
        wait_until(lambda: "queue_ocr_mode" in client.device(TOPICS).get("cmps", {}))
        new = Queue("library", is_paused=True)
        hub.publish(
            current(
                replace(
                    BUSY,
                    queues={**BUSY.queues, "library": new},
                    order=(*BUSY.order, "library"),
                    reasons={**BUSY.reasons, "ocr": Reason.PROTECTED, "library": Reason.IDLE},
                )
            )
        )
        wait_until(lambda: "queue_ocr_mode" not in client.device(TOPICS)["cmps"])
        assert "queue_library_pending" in client.device(TOPICS)["cmps"]
        first, removing, last = map(json.loads, client.payloads(TOPICS.discovery))
        kinds = ("pending", "failed", "done_at", "mode")
        gone = {f"queue_ocr_{kind}": first["cmps"][f"queue_ocr_{kind}"]["p"] for kind in kinds}
        assert {key: removing["cmps"][key] for key in gone} == {
            key: {"p": platform} for key, platform in gone.items()
        }
        assert last["cmps"].keys() == removing["cmps"].keys() - gone.keys()


def test_components_that_only_an_earlier_run_announced_are_removed(broker: Mosquitto) -> None:
    with BrokerClient(broker) as client:
        earlier = {"cmps": {"old": {"p": "switch", "uniq_id": "x"}, "state": {"p": "sensor"}}}
        client.publish(TOPICS.discovery, json.dumps(earlier), retain=True)
        with running_service(broker):
            wait_until(lambda: len(client.payloads(TOPICS.discovery)) == 3)
        _, removing, last = map(json.loads, client.payloads(TOPICS.discovery))
        assert removing["cmps"]["old"] == {"p": "switch"}
        assert "old" not in last["cmps"]


def test_until_immich_responds_the_queues_of_an_earlier_run_stay(broker: Mosquitto) -> None:
    with BrokerClient(broker) as client:
        with running_service(broker):
            wait_until(lambda: "queue_ocr_mode" in client.device(TOPICS).get("cmps", {}))
        before = len(client.messages)
        with running_service(broker, NOTHING) as hub:
            wait_until(
                lambda: (
                    bool(client.messages[before:])
                    and client.last_payload(TOPICS.availability) == b"online"
                )
            )
            wait_until(lambda: client.state(TOPICS)["queues"]["ocr"]["pending"] is None)
            assert "queue_ocr_mode" in client.device(TOPICS)["cmps"]
            hub.publish(current(BUSY))
            wait_until(lambda: client.state(TOPICS)["queues"]["ocr"]["pending"] == 234)
        payloads = client.payloads(TOPICS.discovery)
        assert all(b'"queue_ocr_mode":{"p"' in payload for payload in payloads)


def test_the_daemons_own_message_on_the_shared_discovery_topic_is_deleted(
    broker: Mosquitto,
) -> None:
    with BrokerClient(broker) as client:
        message = json.dumps({"dev": {"ids": ["immich_job_daemon_1a2b3c4d"]}})
        client.publish(TOPICS.shared_discovery, message, retain=True)
        with running_service(broker):
            client.wait_for(TOPICS.shared_discovery, b"")


def test_another_daemons_message_on_the_shared_discovery_topic_stays(broker: Mosquitto) -> None:
    with BrokerClient(broker) as client:
        client.publish(TOPICS.shared_discovery, b'{"dev": {"ids": ["another"]}}', retain=True)
        with running_service(broker):
            wait_until(lambda: client.state(TOPICS) != {})
        assert len(client.payloads(TOPICS.shared_discovery)) == 1


@pytest.mark.parametrize("payload", [b"\xff\xfe", b"{", b"[]", b"x" * 300_000])
def test_invalid_retained_messages_do_no_harm(broker: Mosquitto, payload: bytes) -> None:
    with BrokerClient(broker) as client:
        client.publish(TOPICS.discovery, payload, retain=True)
        client.publish(TOPICS.shared_discovery, payload, retain=True)
        with running_service(broker):
            wait_until(lambda: client.state(TOPICS) != {})
            wait_until(lambda: (client.last_payload(TOPICS.discovery) or b"").startswith(b'{"dev"'))


# Commands


@pytest.mark.parametrize(
    ("topic", "payload", "change"),
    [
        (TOPICS.mode_command, "held", SetMode(Mode.HELD)),
        (TOPICS.limit_command, "3", SetLimit(3)),
        (TOPICS.resume_all_command, "PRESS", SetMode(Mode.OPEN)),
        (TOPICS.queue_command("ocr"), "run next", SetQueue("ocr", Override.NEXT)),
    ],
)
def test_a_command_reaches_the_loop(
    broker: Mosquitto, topic: str, payload: str, change: object
) -> None:
    with running_service(broker) as hub, BrokerClient(broker) as client:
        wait_until(lambda: client.state(TOPICS) != {})
        client.publish(topic, payload)
        assert wait_for_changes(hub) == [change]


def test_an_invalid_command_is_rejected_with_one_line(broker: Mosquitto, log: io.StringIO) -> None:
    with running_service(broker) as hub, BrokerClient(broker) as client:
        wait_until(lambda: client.state(TOPICS) != {})
        client.publish(TOPICS.mode_command, "\u202e\n[20:00:00] INFO: all is well")
        client.publish(TOPICS.queue_command("search"), "held")
        client.publish(f"{TOPICS.base}/a\u202eb/set", "held")
        client.publish(TOPICS.mode_command, "open")
        assert wait_for_changes(hub) == [SetMode(Mode.OPEN)]
    start = "WARNING: Rejected an MQTT command on immich_job_daemon/1a2b3c4d/"
    unmanaged = "search is not managed: it is protected, or Immich does not allow pausing it"
    assert [line for line in lines(log) if "Rejected" in line] == [
        f"{start}mode/set: expected automatic, open or held.",
        f"{start}queue/search/set: {unmanaged}.",
        f"{start}a\\u202eb/set: this is not a command topic.",
    ]


def test_commands_are_rejected_while_too_many_changes_are_waiting(
    broker: Mosquitto, log: io.StringIO
) -> None:
    with running_service(broker) as hub, BrokerClient(broker) as client:
        wait_until(lambda: client.state(TOPICS) != {})
        for _ in range(2 * MAX_PENDING_CHANGES):
            client.publish_without_waiting(TOPICS.mode_command, b"open")
        wait_until(lambda: "too many changes are waiting; try again later." in log.getvalue())
        assert len(hub.take_changes()) == MAX_PENDING_CHANGES


def test_a_retained_command_is_rejected(broker: Mosquitto, log: io.StringIO) -> None:
    with BrokerClient(broker) as client:
        client.publish(TOPICS.mode_command, "held", retain=True)
        with running_service(broker) as hub:
            wait_until(lambda: client.state(TOPICS) != {})
            client.publish(TOPICS.mode_command, "open")
            assert wait_for_changes(hub) == [SetMode(Mode.OPEN)]
    assert "it was retained; publish commands without the retain flag." in log.getvalue()


def test_a_flood_of_invalid_messages_does_no_harm(broker: Mosquitto, log: io.StringIO) -> None:
    with running_service(broker) as hub, BrokerClient(broker) as client:
        wait_until(lambda: client.state(TOPICS) != {})
        topics = [
            *(topic.replace("+", "ocr") for topic in TOPICS.command_filters),
            TOPICS.mode_command,
            TOPICS.limit_command,
            TOPICS.resume_all_command,
            TOPICS.home_assistant_status,
            TOPICS.discovery,
            TOPICS.shared_discovery,
        ]
        for number in range(40):
            for topic in topics:
                client.publish_without_waiting(topic, os.urandom(number * 100))
        client.publish(TOPICS.limit_command, b"1" * (MAX_MESSAGE_BYTES * 3))
        client.publish(TOPICS.mode_command, "open")
        assert wait_for_changes(hub) == [SetMode(Mode.OPEN)]
        assert len([line for line in lines(log) if "Rejected an" in line]) == MAX_LINES


def test_rejected_commands_without_a_line_are_summed_up(
    broker: Mosquitto, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_service(broker), BrokerClient(broker) as client:
        wait_until(lambda: client.state(TOPICS) != {})
        for _ in range(MAX_LINES + 37):
            client.publish(TOPICS.mode_command, b"?")
        monkeypatch.setattr(log_limit, "PERIOD", 0.0)
        wait_until(lambda: "more MQTT commands" in log.getvalue())
    assert "WARNING: Rejected 37 more MQTT commands within 60 s." in log.getvalue()


def test_a_message_that_is_too_long_does_not_end_the_connection(broker: Mosquitto) -> None:
    """The broker drops it because of the client's maximum packet size."""
    with running_service(broker) as hub, BrokerClient(broker) as client:
        wait_until(lambda: client.state(TOPICS) != {})
        client.publish(TOPICS.mode_command, b"x" * (MAX_MESSAGE_BYTES * 20))
        client.publish(TOPICS.mode_command, "held")
        assert wait_for_changes(hub) == [SetMode(Mode.HELD)]
        assert b"offline" not in client.payloads(TOPICS.availability)
