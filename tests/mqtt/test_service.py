"""The link to a real broker: what it says, what it hears, and what happens when it is cut."""

import io
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from immich_job_daemon.base.logging import set_up
from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.model.controls import Controls, Mode, Override, SetLimit, SetMode, SetQueue
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.model.settings import Broker
from immich_job_daemon.mqtt import connection, publisher, refusals, service, supervisor
from immich_job_daemon.mqtt.discovery import MOST_BYTES
from immich_job_daemon.mqtt.refusals import MOST_LINES
from immich_job_daemon.mqtt.service import Link
from immich_job_daemon.mqtt.supervisor import NoBrokerError
from immich_job_daemon.mqtt.topics import Topics
from immich_job_daemon.status.hub import MAX_PENDING_CHANGES, StatusHub
from immich_job_daemon.status.status import Status
from simulator.immich.ports import free_port
from tests.mqtt.broker_client import BrokerClient
from tests.mqtt.fake_supervisor import TOKEN, standing_in
from tests.mqtt.mosquitto import PASSWORD, STRANGER, Mosquitto, mosquitto
from tests.mqtt.mqtt3_proxy import knowing_no_mqtt_5
from tests.support.waiting import wait_until
from tests.web.sample_statuses import BUSY, LOST, NOTHING

TOPICS: Final = Topics("1a2b3c4d")
KEY: Final = "a-secret-key-of-tests"


def of_now(status: Status) -> Status:
    """Return a picture as if the loop had just published it."""
    return replace(status, instance=TOPICS.instance, next_due=time.monotonic() + 1000)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Give what the daemon writes, as it does with LOG_LEVEL=info."""
    stream = io.StringIO()
    set_up("info", stream, secrets=(KEY, PASSWORD))
    yield stream
    assert PASSWORD not in stream.getvalue()
    logger = logging.getLogger("immich_job_daemon")
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let come at once what would come a little later, and tests last."""
    monkeypatch.setattr(service, "LONGEST_RETRY", 1)
    monkeypatch.setattr(service, "REFUSED_RETRY", 0.1)
    monkeypatch.setattr(service, "ASK_AGAIN", 0.1)
    monkeypatch.setattr(publisher, "BETWEEN", 0.1)
    monkeypatch.setattr(connection, "TICK", 0.05)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker") as running:
        yield running


@contextmanager
def linked(find: Mosquitto | Callable[[], Broker], status: Status = BUSY) -> Iterator[StatusHub]:
    """Give a board that is shown through the broker."""
    hub = StatusHub(of_now(status))
    named = find.broker if isinstance(find, Mosquitto) else None
    finder = find if callable(find) else lambda: named or find.broker
    running = Link(finder, hub)
    before = talking()
    running.start()
    try:
        yield hub
    finally:
        running.close()
        assert talking() == before


def talking() -> int:
    """Return how many threads there are that keep a link."""
    return len([thread for thread in threading.enumerate() if thread.name == "mqtt"])


def lines(written: io.StringIO) -> list[str]:
    return [line[11:] for line in written.getvalue().splitlines()]


def asked(hub: StatusHub) -> list[object]:
    """Return what was asked for, as soon as something was."""
    found: list[object] = []

    def is_asked() -> bool:
        found.extend(hub.take_changes())
        return bool(found)

    wait_until(is_asked)
    return found


# What is said


def test_the_device_and_all_that_it_shows_is_there_for_whoever_comes_later(
    broker: Mosquitto,
) -> None:
    with linked(broker):
        with BrokerClient(broker) as early:
            early.until_said(TOPICS.immich, b"online")
            wait_until(lambda: early.state(TOPICS) != {})
        with BrokerClient(broker) as late:
            wait_until(lambda: late.state(TOPICS) != {})
            assert late.device(TOPICS)["dev"]["ids"] == ["immich_job_daemon_1a2b3c4d"]
            assert late.last(TOPICS.availability) == b"online"
            assert late.state(TOPICS)["pending"] == BUSY.pending
            assert all(one.kept for one in late.said)


def test_the_state_follows_the_picture(broker: Mosquitto) -> None:
    with linked(broker) as hub, BrokerClient(broker) as ears:
        wait_until(lambda: ears.state(TOPICS).get("mode") == "automatic")
        hub.publish(of_now(replace(BUSY, controls=Controls(Mode.HELD))))
        wait_until(lambda: ears.state(TOPICS).get("mode") == "held")


def test_pictures_that_come_fast_are_said_as_one_and_the_last_one_always(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "BETWEEN", 3.0)
    with linked(broker) as hub, BrokerClient(broker) as ears:
        wait_until(lambda: ears.state(TOPICS) != {})
        began, number = time.monotonic(), 0
        while time.monotonic() - began < 1.0:
            number += 1
            queue = Queue("ocr", is_paused=True, paused=number)
            hub.publish(of_now(replace(BUSY, queues={**BUSY.queues, "ocr": queue})))
        wait_until(lambda: ears.state(TOPICS)["queues"]["ocr"]["pending"] == number)
        said = len(ears.every(TOPICS.state))
        assert number > 100
        assert said <= 2 + (time.monotonic() - began) / 3.0


def test_the_same_picture_is_said_once(broker: Mosquitto) -> None:
    with linked(broker) as hub, BrokerClient(broker) as ears:
        wait_until(lambda: ears.state(TOPICS) != {})
        hub.publish(of_now(BUSY))
        hub.publish(of_now(replace(BUSY, controls=Controls(Mode.OPEN))))
        wait_until(lambda: ears.state(TOPICS)["mode"] == "open")
        assert len(ears.every(TOPICS.state)) == 2
        assert len([one for one in ears.said if one.topic == TOPICS.discovery]) == 1


def test_while_immich_is_away_what_depends_on_it_is_unavailable_and_the_daemon_is_not(
    broker: Mosquitto,
) -> None:
    with linked(broker) as hub, BrokerClient(broker) as ears:
        ears.until_said(TOPICS.immich, b"online")
        hub.publish(of_now(LOST))
        ears.until_said(TOPICS.immich, b"offline")
        wait_until(lambda: not ears.state(TOPICS)["connected"])
        assert ears.last(TOPICS.availability) == b"online"
        hub.publish(of_now(BUSY))
        ears.until_said(TOPICS.immich, b"online")


def test_when_the_loop_stands_still_what_depends_on_immich_is_unavailable(
    broker: Mosquitto,
) -> None:
    with linked(broker) as hub, BrokerClient(broker) as ears:
        ears.until_said(TOPICS.immich, b"online")
        hub.publish(replace(of_now(BUSY), next_due=time.monotonic() - 1))
        ears.until_said(TOPICS.immich, b"offline")


def test_before_the_daemon_has_its_name_nothing_is_said(broker: Mosquitto) -> None:
    with BrokerClient(broker) as ears:
        hub = StatusHub(NOTHING)
        running = Link(lambda: broker.broker, hub)
        running.start()
        running.close()
        ears.say("end", b"")
        ears.until_said("end", b"")
        assert [one.topic for one in ears.said] == ["end"]


def test_a_stop_says_goodbye(broker: Mosquitto) -> None:
    with BrokerClient(broker) as ears:
        with linked(broker):
            ears.until_said(TOPICS.immich, b"online")
        ears.until_said(TOPICS.availability, b"offline")
        ears.until_said(TOPICS.immich, b"offline")


def test_when_home_assistant_starts_it_is_told_everything_again(broker: Mosquitto) -> None:
    with linked(broker), BrokerClient(broker) as ears:
        wait_until(lambda: ears.state(TOPICS) != {})
        before = len(ears.said)
        ears.say(TOPICS.home_assistant, b"offline")
        ears.say(TOPICS.home_assistant, b"online")
        every = {TOPICS.discovery, TOPICS.availability, TOPICS.immich, TOPICS.state}
        wait_until(lambda: {one.topic for one in ears.said[before:]} >= every)


# What is not there any more


def test_a_new_queue_gets_its_entities_and_one_that_is_protected_now_loses_them(
    broker: Mosquitto,
) -> None:
    with linked(broker) as hub, BrokerClient(broker) as ears:
        wait_until(lambda: "queue_ocr_mode" in ears.device(TOPICS).get("cmps", {}))
        new = Queue("library", is_paused=True)
        hub.publish(
            of_now(
                replace(
                    BUSY,
                    queues={**BUSY.queues, "library": new},
                    order=(*BUSY.order, "library"),
                    reasons={**BUSY.reasons, "ocr": Reason.PROTECTED, "library": Reason.IDLE},
                )
            )
        )
        wait_until(lambda: "queue_ocr_mode" not in ears.device(TOPICS)["cmps"])
        assert "queue_library_pending" in ears.device(TOPICS)["cmps"]
        first, removing, last = map(json.loads, ears.every(TOPICS.discovery))
        kinds = ("pending", "failed", "done_at", "mode")
        gone = {f"queue_ocr_{kind}": first["cmps"][f"queue_ocr_{kind}"]["p"] for kind in kinds}
        assert {key: removing["cmps"][key] for key in gone} == {
            key: {"p": platform} for key, platform in gone.items()
        }
        assert last["cmps"].keys() == removing["cmps"].keys() - gone.keys()


def test_what_an_earlier_run_announced_and_this_one_has_not_is_removed(broker: Mosquitto) -> None:
    with BrokerClient(broker) as ears:
        earlier = {"cmps": {"old": {"p": "switch", "uniq_id": "x"}, "state": {"p": "sensor"}}}
        ears.say(TOPICS.discovery, json.dumps(earlier), retain=True)
        with linked(broker):
            wait_until(lambda: len(ears.every(TOPICS.discovery)) == 3)
        _, removing, last = map(json.loads, ears.every(TOPICS.discovery))
        assert removing["cmps"]["old"] == {"p": "switch"}
        assert "old" not in last["cmps"]


def test_until_immich_answers_the_queues_of_an_earlier_run_stay(broker: Mosquitto) -> None:
    with BrokerClient(broker) as ears:
        with linked(broker):
            wait_until(lambda: "queue_ocr_mode" in ears.device(TOPICS).get("cmps", {}))
        said = len(ears.said)
        with linked(broker, NOTHING) as hub:
            wait_until(
                lambda: bool(ears.said[said:]) and ears.last(TOPICS.availability) == b"online"
            )
            wait_until(lambda: ears.state(TOPICS)["queues"]["ocr"]["pending"] is None)
            assert "queue_ocr_mode" in ears.device(TOPICS)["cmps"]
            hub.publish(of_now(BUSY))
            wait_until(lambda: ears.state(TOPICS)["queues"]["ocr"]["pending"] == 234)
        kept = [one for one in ears.every(TOPICS.discovery) if b'"queue_ocr_mode":{"p"' in one]
        assert len(kept) == len(ears.every(TOPICS.discovery))


def test_what_this_daemon_left_where_only_one_has_room_is_taken_away(broker: Mosquitto) -> None:
    with BrokerClient(broker) as ears:
        mine = json.dumps({"dev": {"ids": ["immich_job_daemon_1a2b3c4d"]}})
        ears.say(TOPICS.shared_discovery, mine, retain=True)
        with linked(broker):
            ears.until_said(TOPICS.shared_discovery, b"")


def test_what_another_daemon_left_there_stays(broker: Mosquitto) -> None:
    with BrokerClient(broker) as ears:
        ears.say(TOPICS.shared_discovery, b'{"dev": {"ids": ["another"]}}', retain=True)
        with linked(broker):
            wait_until(lambda: ears.state(TOPICS) != {})
        assert len(ears.every(TOPICS.shared_discovery)) == 1


@pytest.mark.parametrize("rubbish", [b"\xff\xfe", b"{", b"[]", b"x" * 300_000])
def test_rubbish_that_the_broker_kept_for_us_does_no_harm(
    broker: Mosquitto, rubbish: bytes
) -> None:
    with BrokerClient(broker) as ears:
        ears.say(TOPICS.discovery, rubbish, retain=True)
        ears.say(TOPICS.shared_discovery, rubbish, retain=True)
        with linked(broker):
            wait_until(lambda: ears.state(TOPICS) != {})
            wait_until(lambda: (ears.last(TOPICS.discovery) or b"").startswith(b'{"dev"'))


# What is heard


@pytest.mark.parametrize(
    ("topic", "payload", "change"),
    [
        (TOPICS.mode, "held", SetMode(Mode.HELD)),
        (TOPICS.limit, "3", SetLimit(3)),
        (TOPICS.resume_all, "PRESS", SetMode(Mode.OPEN)),
        (TOPICS.of_queue("ocr"), "run next", SetQueue("ocr", Override.NEXT)),
    ],
)
def test_what_is_asked_for_reaches_the_loop(
    broker: Mosquitto, topic: str, payload: str, change: object
) -> None:
    with linked(broker) as hub, BrokerClient(broker) as ears:
        wait_until(lambda: ears.state(TOPICS) != {})
        ears.say(topic, payload)
        assert asked(hub) == [change]


def test_what_means_nothing_is_refused_with_one_line(
    broker: Mosquitto, written: io.StringIO
) -> None:
    with linked(broker) as hub, BrokerClient(broker) as ears:
        wait_until(lambda: ears.state(TOPICS) != {})
        ears.say(TOPICS.mode, "\u202e\n[20:00:00] INFO: all is well")
        ears.say(TOPICS.of_queue("search"), "held")
        ears.say(f"{TOPICS.base}/a\u202eb/set", "held")
        ears.say(TOPICS.mode, "open")
        assert asked(hub) == [SetMode(Mode.OPEN)]
    before = "WARNING: A command over MQTT, immich_job_daemon/1a2b3c4d/"
    alone = "search is left alone: it is protected, or Immich lets nobody pause it"
    assert [line for line in lines(written) if "refused" in line] == [
        f"{before}mode/set, is refused: expected automatic, open or held.",
        f"{before}queue/search/set, is refused: {alone}.",
        f"{before}a\\u202eb/set, is refused: nothing can be asked for there.",
    ]


def test_more_than_the_loop_can_be_asked_for_is_refused(
    broker: Mosquitto, written: io.StringIO
) -> None:
    with linked(broker) as hub, BrokerClient(broker) as ears:
        wait_until(lambda: ears.state(TOPICS) != {})
        for _ in range(2 * MAX_PENDING_CHANGES):
            ears.shout(TOPICS.mode, b"open")
        wait_until(lambda: "is refused: too much is asked for at once." in written.getvalue())
        assert len(hub.take_changes()) == MAX_PENDING_CHANGES


def test_a_command_that_the_broker_has_kept_is_not_carried_out_again(
    broker: Mosquitto, written: io.StringIO
) -> None:
    with BrokerClient(broker) as ears:
        ears.say(TOPICS.mode, "held", retain=True)
        with linked(broker) as hub:
            wait_until(lambda: ears.state(TOPICS) != {})
            ears.say(TOPICS.mode, "open")
            assert asked(hub) == [SetMode(Mode.OPEN)]
    assert "is refused: it was sent to be retained, which none may be." in written.getvalue()


def test_a_flood_of_rubbish_does_no_harm(broker: Mosquitto, written: io.StringIO) -> None:
    with linked(broker) as hub, BrokerClient(broker) as ears:
        wait_until(lambda: ears.state(TOPICS) != {})
        topics = [*(topic.replace("+", "ocr") for topic in TOPICS.commands)]
        topics += [TOPICS.mode, TOPICS.limit, TOPICS.resume_all, TOPICS.home_assistant]
        topics += [TOPICS.discovery, TOPICS.shared_discovery]
        for number in range(40):
            for topic in topics:
                ears.shout(topic, os.urandom(number * 100))
        ears.say(TOPICS.limit, b"1" * (MOST_BYTES * 3))
        ears.say(TOPICS.mode, "open")
        assert asked(hub) == [SetMode(Mode.OPEN)]
        assert len([line for line in lines(written) if "is refused" in line]) == MOST_LINES


def test_what_was_refused_without_a_line_is_summed_up(
    broker: Mosquitto, written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    with linked(broker), BrokerClient(broker) as ears:
        wait_until(lambda: ears.state(TOPICS) != {})
        for _ in range(MOST_LINES + 37):
            ears.say(TOPICS.mode, b"?")
        monkeypatch.setattr(refusals, "SPAN", 0.0)
        wait_until(lambda: "more commands over MQTT were refused" in written.getvalue())
    assert "WARNING: 37 more commands over MQTT were refused in 60 s." in written.getvalue()


def test_a_message_that_is_too_long_does_not_even_come(broker: Mosquitto) -> None:
    """The broker keeps it from us, and the connection lives on."""
    with linked(broker) as hub, BrokerClient(broker) as ears:
        wait_until(lambda: ears.state(TOPICS) != {})
        ears.say(TOPICS.mode, b"x" * (MOST_BYTES * 20))
        ears.say(TOPICS.mode, "held")
        assert asked(hub) == [SetMode(Mode.HELD)]
        assert b"offline" not in ears.every(TOPICS.availability)


# The broker away


def test_a_broker_that_starts_later_is_found(tmp_path: Path, written: io.StringIO) -> None:
    broker = Mosquitto(tmp_path)
    with linked(broker):
        wait_until(lambda: "refuses the connection" in written.getvalue())
        with broker, BrokerClient(broker) as ears:
            wait_until(lambda: ears.state(TOPICS) != {})
    warning, connected = lines(written)[:2]
    assert warning == (
        f"WARNING: The MQTT broker at 127.0.0.1:{broker.port} refuses the connection: see whether "
        "it runs, and whether that is its port. The daemon runs on without."
    )
    assert connected == (
        f"INFO: Connected to the MQTT broker at 127.0.0.1:{broker.port}, for Home Assistant."
    )


def test_after_a_broker_was_killed_everything_is_said_again_as_it_is_then(
    broker: Mosquitto, written: io.StringIO
) -> None:
    with linked(broker) as hub:
        with BrokerClient(broker) as ears:
            wait_until(lambda: ears.state(TOPICS) != {})
        broker.kill()
        wait_until(lambda: "WARNING" in written.getvalue())
        for limit in range(1, 200):
            hub.publish(of_now(replace(BUSY, limit=limit % 4 + 1)))
        hub.publish(of_now(replace(BUSY, controls=Controls(Mode.HELD))))
        broker.start()
        with BrokerClient(broker) as ears:
            wait_until(lambda: ears.state(TOPICS).get("mode") == "held")
            assert "cmps" in ears.device(TOPICS)
            assert ears.last(TOPICS.availability) == b"online"
            assert len(ears.every(TOPICS.state)) == 1, "nothing was kept for later"
            ears.say(TOPICS.mode, "open")
            assert asked(hub) == [SetMode(Mode.OPEN)]
    assert f"NOTICE: Connected again to the MQTT broker at 127.0.0.1:{broker.port}" in (
        written.getvalue()
    )


def test_the_same_failure_is_told_once(tmp_path: Path, written: io.StringIO) -> None:
    tries = []

    def find() -> Broker:
        tries.append(1)
        return Broker("127.0.0.1", port)

    port = free_port()
    with linked(find):
        wait_until(lambda: len(tries) > 2)
    assert len(lines(written)) == 1, tmp_path


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_wrong_password_is_told_once_with_what_to_do(
    broker: Mosquitto, written: io.StringIO, protocol: str
) -> None:
    tries = []
    wrong = Broker("127.0.0.1", broker.port, "ha", Secret("a-wrong-password"))

    def find() -> Broker:
        tries.append(1)
        return wrong

    before = f"WARNING: The MQTT broker at 127.0.0.1:{broker.port} "
    if protocol == "3.1.1":
        with knowing_no_mqtt_5(broker.port) as port:
            wrong = replace(wrong, port=port)
            before = f"WARNING: The MQTT broker at 127.0.0.1:{port} "
            with linked(find):
                wait_until(lambda: len(tries) > 3)
    else:
        with linked(find):
            wait_until(lambda: len(tries) > 2)
    (line,) = lines(written)
    assert line == (
        f"{before}does not let the user in, or does not know the password: correct the user and "
        "the password. The daemon runs on without."
    )
    assert "a-wrong-password" not in written.getvalue()


def test_a_user_who_may_not_do_what_is_needed_is_told_of_once(
    broker: Mosquitto, written: io.StringIO
) -> None:
    stranger = Broker("127.0.0.1", broker.port, STRANGER, Secret(PASSWORD))
    with linked(lambda: stranger) as hub:
        wait_until(lambda: "does not let its user" in written.getvalue())
        hub.publish(of_now(LOST))
    _, line = lines(written)
    assert line == (
        f"WARNING: The MQTT broker at 127.0.0.1:{broker.port} does not let its user stranger do "
        "all that is needed: let it read and write immich_job_daemon/# and homeassistant/#."
    )


def test_what_is_no_broker_does_no_harm(written: io.StringIO) -> None:
    def shout(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(os.urandom(2000))

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=shout, args=(listener,))
        thread.start()
        port = listener.getsockname()[1]
        with linked(lambda: Broker("127.0.0.1", port)):
            wait_until(lambda: "WARNING" in written.getvalue())
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_broker_that_never_answers_does_not_keep_a_stop_waiting() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        with linked(lambda: Broker("127.0.0.1", port)):
            connection, _ = silent.accept()
        connection.close()


def test_one_that_takes_the_connection_and_says_nothing_is_told_of(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LET_IN_WITHIN", 0.1)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        with linked(lambda: Broker("127.0.0.1", port)):
            wait_until(lambda: "does not answer: see whether it runs" in written.getvalue())


# An old broker


@pytest.mark.parametrize("politely", [True, False])
def test_with_a_broker_that_knows_no_mqtt_5_it_speaks_an_older_one(
    broker: Mosquitto, written: io.StringIO, *, politely: bool
) -> None:
    with knowing_no_mqtt_5(broker.port, politely=politely) as port, BrokerClient(broker) as ears:
        old = replace(broker.broker, port=port)
        with linked(lambda: old) as hub:
            wait_until(lambda: ears.state(TOPICS) != {})
            ears.say(TOPICS.mode, "held")
            assert asked(hub) == [SetMode(Mode.HELD)]
            ears.say(TOPICS.mode, b"x" * MOST_BYTES * 2)
            ears.say(TOPICS.mode, "open")
            assert asked(hub) == [SetMode(Mode.OPEN)]
        ears.until_said(TOPICS.availability, b"offline")
    assert lines(written)[0].startswith("INFO: Connected to the MQTT broker")


# The Supervisor


def test_a_missing_service_is_told_once_at_info_and_asked_for_again(
    written: io.StringIO, broker: Mosquitto
) -> None:
    asked_for: list[str] = []
    none = b'{"result": "error", "message": "Service not enabled"}'
    service = {
        "host": "127.0.0.1",
        "port": broker.port,
        "username": "ha",
        "password": PASSWORD,
    }
    with standing_in(400, none, asked_for) as without:
        address = [without]
        with linked(lambda: supervisor.ask(TOKEN, address[0])):
            wait_until(lambda: len(asked_for) > 2)
            with standing_in(200, json.dumps({"data": service}).encode()) as having:
                address[0] = having
                with BrokerClient(broker) as ears:
                    wait_until(lambda: ears.state(TOPICS) != {})
    assert lines(written)[0] == (
        "INFO: No MQTT broker, so no entities in Home Assistant (the Supervisor says 400: Service "
        "not enabled): to have them, install the Mosquitto broker there, or set MQTT_URL. The "
        "daemon runs on without."
    )
    assert lines(written)[1].startswith("INFO: Connected to the MQTT broker at 127.0.0.1:")


def test_a_supervisor_that_cannot_be_asked_is_no_more_than_that(written: io.StringIO) -> None:
    def find() -> Broker:
        raise NoBrokerError("the Supervisor does not answer")

    with linked(find):
        wait_until(lambda: bool(lines(written)))
    assert [line.partition(":")[0] for line in lines(written)] == ["INFO"]


def test_two_daemons_live_beside_each_other(broker: Mosquitto) -> None:
    other = Topics("ffffffff")
    theirs = StatusHub(replace(of_now(BUSY), instance=other.instance))
    running = Link(lambda: broker.broker, theirs)
    running.start()
    try:
        with linked(broker) as hub, BrokerClient(broker) as ears:
            wait_until(lambda: ears.state(TOPICS) != {} and ears.state(other) != {})
            ears.say(other.mode, "held")
            assert asked(theirs) == [SetMode(Mode.HELD)]
            assert hub.take_changes() == []
    finally:
        running.close()
