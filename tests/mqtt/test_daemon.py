"""End to end: the daemon as a separate process, a real broker and a simulated Immich."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from immich_job_daemon.config.schema import SETTINGS
from immich_job_daemon.mqtt.topics import Topics
from tests.mqtt.broker_client import BrokerClient
from tests.mqtt.installation import SECRETS, Installation
from tests.mqtt.mosquitto import PASSWORD, Mosquitto, mosquitto
from tests.support.immich_server import MANAGED, is_idle, paused, simulated_immich_server
from tests.support.waiting import TIMEOUT, wait_until


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with simulated_immich_server() as server, mosquitto(tmp_path / "broker") as broker:
        yield Installation(server, broker, tmp_path)


@contextmanager
def connected_client(installation: Installation) -> Iterator[tuple[BrokerClient, Topics]]:
    """Yield a client that has received job counts, and check that no message holds a secret."""
    topics = installation.topics()
    with BrokerClient(installation.broker) as client:
        wait_until(lambda: client.state(topics).get("pending") is not None)
        yield client, topics
        payloads = b"\n".join(message.payload for message in client.messages)
        assert not [secret for secret in SECRETS if secret.encode() in payloads]


def sum_pending(state: Any) -> int:  # noqa: ANN401 - JSON
    """Return the pending jobs of all queues that have entities."""
    return sum(queue["pending"] or 0 for queue in state["queues"].values())


def test_the_states_follow_immich_until_everything_is_done(installation: Installation) -> None:
    with installation.daemon() as process, connected_client(installation) as (client, topics):
        wait_until(lambda: client.state(topics)["state"] == "idle")
        with installation.server.present() as engine:
            engine.upload(photos=10)
        wait_until(lambda: client.state(topics)["state"] == "running")
        device = client.device(topics)["cmps"]
        assert {key.split("_")[1] for key in device if key.startswith("queue_")} == MANAGED
        wait_until(lambda: client.state(topics)["state"] == "idle")
        all_states = [json.loads(payload) for payload in client.payloads(topics.state)]
        states = [state for state in all_states if state["pending"] is not None]
        assert {state["state"] for state in states} == {"running", "idle"}
        assert {state["connected"] for state in states} == {True}
        assert all(state["pending"] == sum_pending(state) for state in states)
        assert states[-1]["pending"] == 0
        assert states[-1]["running"] == "none"
        working = [state for state in states if state["state"] == "running"]
        assert all(state["running"] != "none" and state["pending"] for state in working)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
        client.wait_for(topics.availability, b"offline")
        client.wait_for(topics.immich_availability, b"offline")
    assert "Connected to the MQTT broker" in installation.log


def test_a_daemon_that_searches_for_immich_is_available_under_its_permanent_id(
    installation: Installation,
) -> None:
    with BrokerClient(installation.broker) as client:
        first = instance_while_searching(installation, client)
        assert instance_while_searching(installation, client) == first


def instance_while_searching(installation: Installation, client: BrokerClient) -> str:
    """Run a daemon until it publishes that it searches for Immich; return its instance ID."""
    with installation.daemon(IMMICH_URL="") as process:
        topics = installation.topics()
        client.wait_for(topics.availability, b"online")
        wait_until(lambda: (client.state(topics).get("problem") or {}).get("kind") == "searching")
        assert "problem" in client.device(topics)["cmps"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
        client.wait_for(topics.availability, b"offline")
        return topics.instance


def test_every_command_works(installation: Installation) -> None:
    with installation.server.present() as engine:
        engine.upload(photos=2000)
    with installation.daemon() as process, connected_client(installation) as (client, topics):
        client.publish(topics.mode_command, "held")
        wait_until(lambda: paused(installation.server) == MANAGED)
        wait_until(lambda: client.state(topics)["state"] == client.state(topics)["mode"] == "held")

        client.publish(topics.resume_all_command, "PRESS")
        wait_until(lambda: paused(installation.server) == set())
        wait_until(lambda: client.state(topics)["mode"] == "open")

        client.publish(topics.mode_command, "automatic")
        wait_until(lambda: len(paused(installation.server)) == len(MANAGED) - 1)
        client.publish(topics.limit_command, "3")
        wait_until(lambda: len(paused(installation.server)) == len(MANAGED) - 3)
        wait_until(lambda: client.state(topics)["limit"] == 3)
        client.publish(topics.limit_command, "1.0")
        wait_until(lambda: client.state(topics)["limit"] == 1)

        # Another queue occupies the only slot, so the state "run next" is visible for a while.
        client.publish(topics.queue_command("ocr"), "run next")
        wait_until(lambda: client.state(topics)["queues"]["ocr"]["mode"] == "run next")
        client.publish(topics.queue_command("metadataExtraction"), "held")
        wait_until(lambda: "metadataExtraction" in paused(installation.server))
        wait_until(lambda: client.state(topics)["queues"]["metadataExtraction"]["mode"] == "held")
        wait_until(lambda: "ocr" in client.state(topics)["running_attributes"]["queues"])
        client.publish(topics.queue_command("metadataExtraction"), "automatic")
        wait_until(
            lambda: client.state(topics)["queues"]["metadataExtraction"]["mode"] == "automatic"
        )
        assert process.poll() is None


def test_controls_survive_a_restart(installation: Installation) -> None:
    with installation.daemon() as process, connected_client(installation) as (client, topics):
        client.publish(topics.mode_command, "held")
        wait_until(lambda: client.state(topics)["mode"] == "held")
        process.kill()
        process.wait()
    with installation.daemon(), connected_client(installation) as (client, again):
        assert again == topics
        wait_until(lambda: client.state(topics)["mode"] == "held")
        wait_until(lambda: paused(installation.server) == MANAGED)


def test_a_killed_daemon_becomes_unavailable_and_returns(installation: Installation) -> None:
    with installation.daemon() as process, connected_client(installation) as (client, topics):
        process.kill()
        client.wait_for(topics.availability, b"offline")
        # Only the last will was published, not the messages of a regular stop.
        assert client.last_payload(topics.immich_availability) == b"online"
    with installation.daemon(), connected_client(installation) as (client, topics):
        client.wait_for(topics.availability, b"online")


def test_queues_run_while_the_broker_is_down(installation: Installation) -> None:
    with installation.daemon() as process:
        with connected_client(installation):
            installation.broker.kill()
        with installation.server.present() as engine:
            engine.upload(photos=2)
        wait_until(lambda: is_idle(installation.server))
        installation.broker.start()
        with connected_client(installation) as (client, topics):
            assert client.last_payload(topics.availability) == b"online"
            assert len(client.device(topics)["cmps"]) > len(MANAGED)
        assert process.poll() is None


def test_while_immich_is_away_controls_still_work(installation: Installation) -> None:
    with installation.daemon(), connected_client(installation) as (client, topics):
        installation.server.close()
        client.wait_for(topics.immich_availability, b"offline")
        wait_until(lambda: client.state(topics)["state"] == "waiting for Immich")
        assert not client.state(topics)["connected"]
        assert client.state(topics)["problem"]["kind"] == "unreachable"
        assert installation.server.url in client.state(topics)["problem"]["text"]
        assert client.last_payload(topics.availability) == b"online"
        client.publish(topics.mode_command, "held")
        wait_until(lambda: client.state(topics)["mode"] == "held")
        installation.server.start()
        client.wait_for(topics.immich_availability, b"online")
        wait_until(lambda: paused(installation.server) == MANAGED)
        wait_until(lambda: client.state(topics)["state"] == "held")


def test_entities_of_a_queue_that_became_protected_are_removed(installation: Installation) -> None:
    with installation.daemon(), connected_client(installation) as (client, topics):
        wait_until(lambda: "queue_ocr_pending" in client.device(topics)["cmps"])
    protected = f"{SETTINGS['PROTECTED_QUEUES'].default},ocr"
    with (
        installation.daemon(PROTECTED_QUEUES=protected),
        connected_client(installation) as (client, topics),
    ):
        wait_until(lambda: "queue_ocr_pending" not in client.device(topics)["cmps"])
        removing = json.loads(client.payloads(topics.discovery)[-2])["cmps"]
        assert removing["queue_ocr_pending"] == {"p": "sensor"}
        assert client.device(topics)["cmps"]["limit"]["max"] == len(MANAGED) - 1


def test_the_daemon_works_without_a_broker(installation: Installation) -> None:
    installation.broker.kill()
    with installation.daemon():
        with installation.server.present() as engine:
            engine.upload(photos=3)
        wait_until(lambda: is_idle(installation.server))
        wait_until(lambda: "refused the connection" in installation.log)


def create_certificate(folder: Path) -> Path:
    """Create a self-signed certificate with its key beside it."""
    path = folder / "broker.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    output = ["-keyout", str(path.with_suffix(".key")), "-out", str(path)]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *output]
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_mqtts_requires_a_trusted_certificate(installation: Installation) -> None:
    certificate = create_certificate(installation.folder)
    folder = installation.folder / "encrypted"
    folder.mkdir()
    with Mosquitto(folder, certificate=certificate) as encrypted:
        url = f"mqtts://ha:{PASSWORD}@localhost:{encrypted.port}"
        with installation.daemon(MQTT_URL=url):
            wait_until(lambda: "uses a certificate that is not trusted" in installation.log)
        assert "Connected to the MQTT broker" not in installation.log
        with installation.daemon(MQTT_URL=url, SSL_CERT_FILE=str(certificate)):
            wait_until(lambda: "Connected to the MQTT broker" in installation.log)


@pytest.fixture(scope="module")
def shared_daemon(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Installation, BrokerClient, Topics]]:
    """Yield a daemon that all examples of the test below share."""
    folder = tmp_path_factory.mktemp("fuzzed")
    with simulated_immich_server() as server, mosquitto(folder / "broker") as broker:
        installation = Installation(server, broker, folder)
        with (
            installation.daemon() as process,
            connected_client(installation) as (client, topics),
        ):
            yield installation, client, topics
            assert process.poll() is None


@hypothesis_settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    name=st.sampled_from(["mode", "limit", "resume_all", "queue/ocr", "queue/search", "other"]),
    payload=st.binary(max_size=2000)
    | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.sampled_from([b"held", b"open", b"automatic", b"run next", b"PRESS", b"2", b"1e9"])
    | st.integers(0, 10_000_000).map(lambda length: b"9" * length),
)
def test_no_payload_on_a_command_topic_does_harm(
    shared_daemon: tuple[Installation, BrokerClient, Topics], name: str, payload: bytes
) -> None:
    _, client, topics = shared_daemon
    client.publish(f"{topics.base}/{name}/set", payload)


def test_commands_still_work_after_that(
    shared_daemon: tuple[Installation, BrokerClient, Topics],
) -> None:
    installation, client, topics = shared_daemon
    client.publish(topics.mode_command, "held")
    wait_until(lambda: client.state(topics)["mode"] == "held")
    wait_until(lambda: paused(installation.server) == MANAGED)
    assert b"offline" not in client.payloads(topics.availability)
    assert "Traceback" not in installation.log
