"""The daemon as a user runs it, a real broker, and a simulated Immich: everything together."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from immich_job_daemon.config.schema import SETTINGS
from immich_job_daemon.mqtt.topics import Topics
from simulator.immich.engine import Engine
from tests.mqtt.broker_client import BrokerClient
from tests.mqtt.installation import SECRETS, Installation
from tests.mqtt.mosquitto import PASSWORD, Mosquitto, mosquitto
from tests.support.immich_server import MANAGED, paused, simulated_immich_server
from tests.support.waiting import TIMEOUT, wait_until


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Installation]:
    with simulated_immich_server() as server, mosquitto(tmp_path / "broker") as broker:
        yield Installation(server, broker, tmp_path)


@contextmanager
def listening(house: Installation) -> Iterator[tuple[BrokerClient, Topics]]:
    """Give ears that have heard a whole picture of a running daemon."""
    topics = house.topics()
    with BrokerClient(house.broker) as ears:
        wait_until(lambda: ears.state(topics).get("pending") is not None)
        yield ears, topics
        said = b"\n".join(one.payload for one in ears.said)
        assert not [secret for secret in SECRETS if secret.encode() in said]


def engine_says(house: Installation, question: Callable[[Engine], bool]) -> Callable[[], bool]:
    """Return what asks the simulated Immich something."""

    def ask() -> bool:
        with house.server.present() as engine:
            return question(engine)

    return ask


def pending(found: Any) -> int:  # noqa: ANN401 - a part of a JSON object
    """Return the sum over the queues that have entities."""
    return sum(queue["pending"] or 0 for queue in found["queues"].values())


def test_the_states_follow_immich_until_everything_is_done(house: Installation) -> None:
    with house.daemon() as process, listening(house) as (ears, topics):
        wait_until(lambda: ears.state(topics)["state"] == "idle")
        with house.server.present() as engine:
            engine.upload(photos=10)
        wait_until(lambda: ears.state(topics)["state"] == "running")
        device = ears.device(topics)["cmps"]
        assert {key.split("_")[1] for key in device if key.startswith("queue_")} == MANAGED
        wait_until(lambda: ears.state(topics)["state"] == "idle")
        every = [json.loads(payload) for payload in ears.every(topics.state)]
        states = [state for state in every if state["pending"] is not None]
        assert {state["state"] for state in states} == {"running", "idle"}
        assert {state["connected"] for state in states} == {True}
        assert all(state["pending"] == pending(state) for state in states)
        assert states[-1]["pending"] == 0
        assert states[-1]["running"] == "none"
        working = [state for state in states if state["state"] == "running"]
        assert all(state["running"] != "none" and state["pending"] for state in working)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
        ears.until_said(topics.availability, b"offline")
        ears.until_said(topics.immich, b"offline")
    assert "Connected to the MQTT broker" in house.log


def test_while_immich_is_looked_for_it_is_there_and_says_so_under_one_name(
    house: Installation,
) -> None:
    with BrokerClient(house.broker) as ears:
        assert name_while_looking(house, ears) == name_while_looking(house, ears)


def name_while_looking(house: Installation, ears: BrokerClient) -> str:
    """Return the name of a daemon that says that it looks for Immich, until it is stopped."""
    with house.daemon(IMMICH_URL="") as process:
        topics = house.topics()
        ears.until_said(topics.availability, b"online")
        wait_until(lambda: (ears.state(topics).get("problem") or {}).get("kind") == "searching")
        assert "problem" in ears.device(topics)["cmps"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
        ears.until_said(topics.availability, b"offline")
        return topics.instance


def test_every_command_works(house: Installation) -> None:
    with house.server.present() as engine:
        engine.upload(photos=2000)
    with house.daemon() as process, listening(house) as (ears, topics):
        ears.say(topics.mode, "held")
        wait_until(lambda: paused(house.server) == MANAGED)
        wait_until(lambda: ears.state(topics)["state"] == ears.state(topics)["mode"] == "held")

        ears.say(topics.resume_all, "PRESS")
        wait_until(lambda: paused(house.server) == set())
        wait_until(lambda: ears.state(topics)["mode"] == "open")

        ears.say(topics.mode, "automatic")
        wait_until(lambda: len(paused(house.server)) == len(MANAGED) - 1)
        ears.say(topics.limit, "3")
        wait_until(lambda: len(paused(house.server)) == len(MANAGED) - 3)
        wait_until(lambda: ears.state(topics)["limit"] == 3)
        ears.say(topics.limit, "1.0")
        wait_until(lambda: ears.state(topics)["limit"] == 1)

        # The only slot is taken by another queue: this one has to be seen to be wanted.
        ears.say(topics.of_queue("ocr"), "run next")
        wait_until(lambda: ears.state(topics)["queues"]["ocr"]["mode"] == "run next")
        ears.say(topics.of_queue("metadataExtraction"), "held")
        wait_until(engine_says(house, lambda engine: engine.queues["metadataExtraction"].is_paused))
        wait_until(lambda: ears.state(topics)["queues"]["metadataExtraction"]["mode"] == "held")
        wait_until(lambda: "ocr" in ears.state(topics)["running_attributes"]["queues"])
        ears.say(topics.of_queue("metadataExtraction"), "automatic")
        wait_until(
            lambda: ears.state(topics)["queues"]["metadataExtraction"]["mode"] == "automatic"
        )
        assert process.poll() is None


def test_what_was_asked_for_survives_a_restart(house: Installation) -> None:
    with house.daemon() as process, listening(house) as (ears, topics):
        ears.say(topics.mode, "held")
        wait_until(lambda: ears.state(topics)["mode"] == "held")
        process.kill()
        process.wait()
    with house.daemon(), listening(house) as (ears, again):
        assert again == topics
        wait_until(lambda: ears.state(topics)["mode"] == "held")
        wait_until(lambda: paused(house.server) == MANAGED)


def test_a_killed_daemon_is_seen_to_be_gone_and_comes_back(house: Installation) -> None:
    with house.daemon() as process, listening(house) as (ears, topics):
        process.kill()
        ears.until_said(topics.availability, b"offline")
        assert ears.last(topics.immich) == b"online", "nobody said goodbye: that was the last will"
    with house.daemon(), listening(house) as (ears, topics):
        ears.until_said(topics.availability, b"online")


def test_a_killed_broker_does_not_keep_the_queues_from_running(house: Installation) -> None:
    with house.daemon() as process:
        with listening(house):
            house.broker.kill()
        with house.server.present() as engine:
            engine.upload(photos=2)
        wait_until(engine_says(house, lambda engine: engine.is_idle))
        house.broker.start()
        with listening(house) as (ears, topics):
            assert ears.last(topics.availability) == b"online"
            assert len(ears.device(topics)["cmps"]) > len(MANAGED)
        assert process.poll() is None


def test_while_immich_is_away_it_is_seen_and_controls_still_work(house: Installation) -> None:
    with house.daemon(), listening(house) as (ears, topics):
        house.server.close()
        ears.until_said(topics.immich, b"offline")
        wait_until(lambda: ears.state(topics)["state"] == "waiting for Immich")
        assert not ears.state(topics)["connected"]
        assert ears.state(topics)["problem"]["kind"] == "unreachable"
        assert house.server.url in ears.state(topics)["problem"]["text"]
        assert ears.last(topics.availability) == b"online"
        ears.say(topics.mode, "held")
        wait_until(lambda: ears.state(topics)["mode"] == "held")
        house.server.start()
        ears.until_said(topics.immich, b"online")
        wait_until(lambda: paused(house.server) == MANAGED)
        wait_until(lambda: ears.state(topics)["state"] == "held")


def test_what_an_option_takes_away_is_removed(house: Installation) -> None:
    with house.daemon(), listening(house) as (ears, topics):
        wait_until(lambda: "queue_ocr_pending" in ears.device(topics)["cmps"])
    protected = f"{SETTINGS['PROTECTED_QUEUES'].default},ocr"
    with house.daemon(PROTECTED_QUEUES=protected), listening(house) as (ears, topics):
        wait_until(lambda: "queue_ocr_pending" not in ears.device(topics)["cmps"])
        removing = json.loads(ears.every(topics.discovery)[-2])["cmps"]
        assert removing["queue_ocr_pending"] == {"p": "sensor"}
        assert ears.device(topics)["cmps"]["limit"]["max"] == len(MANAGED) - 1


def test_without_a_broker_the_daemon_does_its_work(house: Installation) -> None:
    house.broker.kill()
    with house.daemon():
        with house.server.present() as engine:
            engine.upload(photos=3)
        wait_until(engine_says(house, lambda engine: engine.is_idle))
        wait_until(lambda: "refuses the connection" in house.log)


def certificate(folder: Path) -> Path:
    """Make a certificate that vouches for itself; its key is beside it."""
    made = folder / "broker.pem"
    for_whom = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    to = ["-keyout", str(made.with_suffix(".key")), "-out", str(made)]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *for_whom, *to]
    subprocess.run(command, check=True, capture_output=True)
    return made


def test_mqtts_is_encrypted_and_only_a_trusted_certificate_is_believed(house: Installation) -> None:
    made = certificate(house.folder)
    folder = house.folder / "encrypted"
    folder.mkdir()
    with Mosquitto(folder, certificate=made) as encrypted:
        url = f"mqtts://ha:{PASSWORD}@localhost:{encrypted.port}"
        with house.daemon(MQTT_URL=url):
            wait_until(lambda: "shows a certificate that is not trusted" in house.log)
        assert "Connected to the MQTT broker" not in house.log
        with house.daemon(MQTT_URL=url, SSL_CERT_FILE=str(made)):
            wait_until(lambda: "Connected to the MQTT broker" in house.log)


@pytest.fixture(scope="module")
def heard(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Installation, BrokerClient, Topics]]:
    """Give a daemon that somebody talks to all the time."""
    folder = tmp_path_factory.mktemp("fuzzed")
    with simulated_immich_server() as server, mosquitto(folder / "broker") as broker:
        house = Installation(server, broker, folder)
        with house.daemon() as process, listening(house) as (ears, topics):
            yield house, ears, topics
            assert process.poll() is None


@hypothesis_settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    where=st.sampled_from(["mode", "limit", "resume_all", "queue/ocr", "queue/search", "else"]),
    payload=st.binary(max_size=2000)
    | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.sampled_from([b"held", b"open", b"automatic", b"run next", b"PRESS", b"2", b"1e9"])
    | st.integers(0, 10_000_000).map(lambda length: b"9" * length),
)
def test_no_payload_on_a_command_topic_does_any_harm(
    heard: tuple[Installation, BrokerClient, Topics], where: str, payload: bytes
) -> None:
    _, ears, topics = heard
    ears.say(f"{topics.base}/{where}/set", payload)


def test_after_all_that_it_still_obeys(heard: tuple[Installation, BrokerClient, Topics]) -> None:
    house, ears, topics = heard
    ears.say(topics.mode, "held")
    wait_until(lambda: ears.state(topics)["mode"] == "held")
    wait_until(lambda: paused(house.server) == MANAGED)
    assert b"offline" not in ears.every(topics.availability)
    assert "Traceback" not in house.log
