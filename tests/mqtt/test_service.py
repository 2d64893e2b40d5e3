"""The MQTT service: which broker it uses, and how it connects, retries and reconnects."""

import io
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.model.controls import Controls, Mode, SetMode
from immich_job_daemon.model.settings import Broker, Settings
from immich_job_daemon.mqtt import connection, supervisor
from immich_job_daemon.mqtt.discovery import MAX_MESSAGE_BYTES
from immich_job_daemon.mqtt.service import MqttService, mqtt_service
from immich_job_daemon.mqtt.supervisor import NoBrokerError
from immich_job_daemon.mqtt.topics import Topics
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Problem, ProblemKind
from simulator.immich.ports import free_port
from tests.mqtt.broker_client import BrokerClient
from tests.mqtt.fake_supervisor import TOKEN, fake_supervisor
from tests.mqtt.mosquitto import PASSWORD, RESTRICTED_USER, USER, Mosquitto
from tests.mqtt.mqtt3_proxy import mqtt3_proxy
from tests.mqtt.running_service import TOPICS, current, lines, running_service, wait_for_changes
from tests.support.immich_server import KEY
from tests.support.settings import settings_with
from tests.support.waiting import wait_until
from tests.web.sample_statuses import BUSY, LOST

pytestmark = pytest.mark.usefixtures("short_delays")

# The choice of the broker


def hub_with_secret() -> StatusHub:
    problem = Problem(ProblemKind.UNEXPECTED, f"it says {KEY}", time.time())
    return StatusHub(replace(current(BUSY), problem=problem))


def settings(mqtt_url: Broker | None) -> Settings:
    return replace(settings_with(), mqtt_url=mqtt_url, api_key=Secret(KEY))


def test_with_a_broker_in_the_settings_the_supervisor_gets_no_request(broker: Mosquitto) -> None:
    requests: list[str] = []
    with (
        fake_supervisor(400, b"", requests) as url,
        mqtt_service(hub_with_secret(), settings(broker.broker), TOKEN, url),
        BrokerClient(broker) as client,
    ):
        wait_until(lambda: client.state(TOPICS) != {})
        assert client.state(TOPICS)["problem"]["text"] == "it says (hidden)"
    assert requests == []


def test_without_a_broker_in_the_settings_the_supervisor_names_it(broker: Mosquitto) -> None:
    data = {"host": "127.0.0.1", "port": broker.port, "username": USER, "password": PASSWORD}
    with (
        fake_supervisor(200, json.dumps({"data": data}).encode()) as url,
        mqtt_service(hub_with_secret(), settings(None), TOKEN, url),
        BrokerClient(broker) as client,
    ):
        wait_until(lambda: client.state(TOPICS) != {})


def test_a_missing_broker_is_logged_once_at_info_and_the_request_repeated(
    log: io.StringIO, broker: Mosquitto
) -> None:
    requests: list[str] = []
    missing = b'{"result": "error", "message": "Service not enabled"}'
    data = {"host": "127.0.0.1", "port": broker.port, "username": USER, "password": PASSWORD}
    with fake_supervisor(400, missing, requests) as without_broker:
        urls = [without_broker]
        with running_service(lambda: supervisor.find_broker(TOKEN, urls[0])):
            wait_until(lambda: len(requests) > 2)
            with fake_supervisor(200, json.dumps({"data": data}).encode()) as with_broker:
                urls[0] = with_broker
                with BrokerClient(broker) as client:
                    wait_until(lambda: client.state(TOPICS) != {})
    assert lines(log)[0] == (
        "INFO: There are no entities in Home Assistant because no MQTT broker is known: the "
        "Supervisor responded with 400: Service not enabled. Install the Mosquitto broker add-on, "
        "or set MQTT_URL. The daemon runs without MQTT."
    )
    assert lines(log)[1].startswith("INFO: Connected to the MQTT broker at 127.0.0.1:")


def test_a_supervisor_that_does_not_respond_is_logged_at_info(log: io.StringIO) -> None:
    def find_broker() -> Broker:
        raise NoBrokerError("the Supervisor did not respond")

    with running_service(find_broker):
        wait_until(lambda: bool(lines(log)))
    assert [line.partition(":")[0] for line in lines(log)] == ["INFO"]


# Retries and reconnects


def test_a_broker_that_starts_later_is_found(tmp_path: Path, log: io.StringIO) -> None:
    broker = Mosquitto(tmp_path)
    with running_service(broker):
        wait_until(lambda: "refused the connection" in log.getvalue())
        with broker, BrokerClient(broker) as client:
            wait_until(lambda: client.state(TOPICS) != {})
    warning, connected = lines(log)[:2]
    assert warning == (
        f"WARNING: The MQTT broker at 127.0.0.1:{broker.port} refused the connection: check that "
        "it is running and that the port is correct. The daemon runs without MQTT."
    )
    assert connected == f"INFO: Connected to the MQTT broker at 127.0.0.1:{broker.port}."


def test_after_an_outage_of_the_broker_only_the_current_state_is_published(
    broker: Mosquitto, log: io.StringIO
) -> None:
    with running_service(broker) as hub:
        with BrokerClient(broker) as client:
            wait_until(lambda: client.state(TOPICS) != {})
        broker.kill()
        wait_until(lambda: "WARNING" in log.getvalue())
        for limit in range(1, 200):
            hub.publish(current(replace(BUSY, limit=limit % 4 + 1)))
        hub.publish(current(replace(BUSY, controls=Controls(Mode.HELD))))
        broker.start()
        with BrokerClient(broker) as client:
            wait_until(lambda: client.state(TOPICS).get("mode") == "held")
            assert "cmps" in client.device(TOPICS)
            assert client.last_payload(TOPICS.availability) == b"online"
            assert len(client.payloads(TOPICS.state)) == 1, "no state was queued"
            client.publish(TOPICS.mode_command, "open")
            assert wait_for_changes(hub) == [SetMode(Mode.OPEN)]
    assert f"NOTICE: Reconnected to the MQTT broker at 127.0.0.1:{broker.port}" in log.getvalue()


def test_the_same_failure_is_logged_once(log: io.StringIO) -> None:
    tries = []

    def find_broker() -> Broker:
        tries.append(1)
        return Broker("127.0.0.1", port)

    port = free_port()
    with running_service(find_broker):
        wait_until(lambda: len(tries) > 2)
    assert len(lines(log)) == 1


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_wrong_password_is_logged_once_with_what_to_do(
    broker: Mosquitto, log: io.StringIO, protocol: str
) -> None:
    tries = []
    wrong = Broker("127.0.0.1", broker.port, USER, Secret("a-wrong-password"))

    def find_broker() -> Broker:
        tries.append(1)
        return wrong

    start = f"WARNING: The MQTT broker at 127.0.0.1:{broker.port} "
    if protocol == "3.1.1":
        with mqtt3_proxy(broker.port) as port:
            wrong = replace(wrong, port=port)
            start = f"WARNING: The MQTT broker at 127.0.0.1:{port} "
            with running_service(find_broker):
                wait_until(lambda: len(tries) > 3)
    else:
        with running_service(find_broker):
            wait_until(lambda: len(tries) > 2)
    (line,) = lines(log)
    assert line == (
        f"{start}did not authorize the user, or the password is wrong: check the user name and "
        "the password. The daemon runs without MQTT."
    )
    assert "a-wrong-password" not in log.getvalue()


def test_missing_permissions_are_logged_once(broker: Mosquitto, log: io.StringIO) -> None:
    restricted = Broker("127.0.0.1", broker.port, RESTRICTED_USER, Secret(PASSWORD))
    with running_service(lambda: restricted) as hub:
        wait_until(lambda: "permissions" in log.getvalue())
        hub.publish(current(LOST))
    _, line = lines(log)
    assert line == (
        f"WARNING: The MQTT broker at 127.0.0.1:{broker.port} does not give its user restricted "
        "all permissions that the daemon needs. Allow the user to read and write "
        "immich_job_daemon/# and homeassistant/#."
    )


def test_a_server_that_is_no_broker_does_no_harm(log: io.StringIO) -> None:
    def send_garbage(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(os.urandom(2000))

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=send_garbage, args=(listener,))
        thread.start()
        port = listener.getsockname()[1]
        with running_service(lambda: Broker("127.0.0.1", port)):
            wait_until(lambda: "WARNING" in log.getvalue())
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def silent_server() -> Iterator[socket.socket]:
    """Yield the socket of a server that accepts connections and sends nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener


def test_a_stop_does_not_wait_for_a_silent_broker() -> None:
    with silent_server() as silent:
        port = silent.getsockname()[1]
        with running_service(lambda: Broker("127.0.0.1", port)):
            connection, _ = silent.accept()
        connection.close()


def test_a_silent_broker_is_logged(log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNACK_TIMEOUT", 0.1)
    with silent_server() as silent:
        port = silent.getsockname()[1]
        with running_service(lambda: Broker("127.0.0.1", port)):
            wait_until(lambda: "did not respond: check that it is running" in log.getvalue())


@pytest.mark.parametrize("sends_connack", [True, False])
def test_a_broker_without_mqtt_5_is_used_with_mqtt_3_1_1(
    broker: Mosquitto, log: io.StringIO, *, sends_connack: bool
) -> None:
    with (
        mqtt3_proxy(broker.port, sends_connack=sends_connack) as port,
        BrokerClient(broker) as client,
    ):
        old_broker = replace(broker.broker, port=port)
        with running_service(lambda: old_broker) as hub:
            wait_until(lambda: client.state(TOPICS) != {})
            client.publish(TOPICS.mode_command, "held")
            assert wait_for_changes(hub) == [SetMode(Mode.HELD)]
            client.publish(TOPICS.mode_command, b"x" * MAX_MESSAGE_BYTES * 2)
            client.publish(TOPICS.mode_command, "open")
            assert wait_for_changes(hub) == [SetMode(Mode.OPEN)]
        client.wait_for(TOPICS.availability, b"offline")
    assert lines(log)[0].startswith("INFO: Connected to the MQTT broker")


def test_two_daemons_at_one_broker_are_independent(broker: Mosquitto) -> None:
    other = Topics("ffffffff")
    other_hub = StatusHub(replace(current(BUSY), instance=other.instance))
    other_service = MqttService(lambda: broker.broker, other_hub)
    other_service.start()
    try:
        with running_service(broker) as hub, BrokerClient(broker) as client:
            wait_until(lambda: client.state(TOPICS) != {} and client.state(other) != {})
            client.publish(other.mode_command, "held")
            assert wait_for_changes(other_hub) == [SetMode(Mode.HELD)]
            assert hub.take_changes() == []
    finally:
        other_service.close()
