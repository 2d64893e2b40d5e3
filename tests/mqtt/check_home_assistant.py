"""Check the daemon with a real Home Assistant, a real broker and a simulated Immich.

Run by script/homeassistant. The argument is a program that runs a command where Home Assistant is
installed. Each check prints a line; the first one that fails ends the run.
"""

import re
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import Environment

from immich_job_daemon import __version__
from immich_job_daemon.config.schema import SETTINGS
from immich_job_daemon.model.conflict import CONFLICT_THRESHOLD
from immich_job_daemon.mqtt.topics import Topics
from simulator.immich.server import SimulatedServer
from tests.mqtt.broker_client import BrokerClient
from tests.mqtt.home_assistant_core import Core, wait_until
from tests.mqtt.installation import Installation
from tests.mqtt.mosquitto import mosquitto
from tests.support.immich_server import MANAGED, paused, simulated_immich_server

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "home-assistant.md"
TEMPLATES: Final = Environment(autoescape=False)  # noqa: S701 - it renders states, not HTML
ENTITY: Final = "immich_job_daemon"
MODE: Final = f"select.{ENTITY}_mode"
LIMIT: Final = f"number.{ENTITY}_concurrent_queues"
PENDING: Final = f"sensor.{ENTITY}_pending_jobs"
VIDEO: Final = f"select.{ENTITY}_video_conversion_mode"
PROTECTED: Final = SETTINGS["PROTECTED_QUEUES"].default
UNAVAILABLE: Final = "unavailable"
IMPORT_THRESHOLD: Final = 100
"""Pending jobs above which the document's example assumes an import."""

DEFAULT_IDS_SINCE: Final = (2025, 10)
"""The first version of Home Assistant that reads a default entity ID from the discovery message."""


def write_line(text: str) -> None:
    """Write a line to standard output at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Checks:
    """The checks, in the order of their methods.

    Args:
        core: Home Assistant.
        installation: Immich, the broker and the daemon.
        client: a client that receives what the daemon publishes.
        topics: the topics of the daemon.
    """

    def __init__(
        self, core: Core, installation: Installation, client: BrokerClient, topics: Topics
    ) -> None:
        self.core = core
        self.installation = installation
        self.client = client
        self.topics = topics

    @property
    def components(self) -> dict[str, dict[str, Any]]:
        """The components in the last discovery message."""
        components: dict[str, dict[str, Any]] = self.client.device(self.topics)["cmps"]
        return components

    @property
    def registry(self) -> dict[str, dict[str, Any]]:
        """The daemon's entries in Home Assistant's entity registry, by unique ID."""
        entities = self.core.send_command(type="config/entity_registry/list")
        prefix = f"{self.topics.instance}_"
        return {
            entity["unique_id"]: entity
            for entity in entities
            if entity["unique_id"].startswith(prefix)
        }

    def there_is_one_device(self) -> None:
        (device,) = [
            device
            for device in self.core.send_command(type="config/device_registry/list")
            if ["mqtt", f"{ENTITY}_{self.topics.instance}"] in device["identifiers"]
        ]
        assert device["name"] == "Immich Job Daemon"
        assert device["sw_version"] == __version__

    def every_entity_is_registered_under_its_id(self) -> None:
        registry = self.registry
        announced = {component["uniq_id"]: component for component in self.components.values()}
        assert registry.keys() == announced.keys()
        version = self.core.get("config")["version"]
        for unique_id, component in announced.items():
            entity = registry[unique_id]
            assert entity["entity_id"] == entity_id(component, version), entity
            assert (entity["disabled_by"] == "integration") == (component.get("en") is False)
            assert entity["entity_category"] == component.get("ent_cat"), entity
            # The registry holds a name only if the user has changed it.
            assert entity["name"] is None, entity

    def every_enabled_entity_has_the_right_state(self) -> None:
        self._wait_for_right_states()

    def disabled_entities_have_the_right_state_once_they_are_enabled(self) -> None:
        for entity in self.registry.values():
            if entity["disabled_by"]:
                self.core.send_command(
                    type="config/entity_registry/update",
                    entity_id=entity["entity_id"],
                    disabled_by=None,
                )
        wait_until(lambda: self._states().keys() == self.components.keys(), "all are enabled")
        self._wait_for_right_states()

    def attributes_contain_the_reasons(self) -> None:
        running = self.core.states()[f"sensor.{ENTITY}_running_queues"]["attributes"]
        assert running["reasons"].keys() >= MANAGED
        assert running["reasons"]["backupDatabase"] == "protected"

    def the_mode_pauses_everything_and_the_button_resumes_it(self) -> None:
        server = self.installation.server
        self.core.call("select.select_option", MODE, option="held")
        wait_until(lambda: paused(server) == MANAGED, "everything is paused")
        self._wait_for_state(f"sensor.{ENTITY}_state", "held")
        self.core.call("button.press", f"button.{ENTITY}_resume_all")
        wait_until(lambda: paused(server) == set(), "everything is resumed")
        self._wait_for_state(MODE, "open")
        self._wait_for_state(f"sensor.{ENTITY}_state", "open")
        self.core.call("select.select_option", MODE, option="automatic")
        wait_until(lambda: len(paused(server)) == len(MANAGED) - 1, "one queue is not paused")

    def the_number_lets_more_queues_run(self) -> None:
        server = self.installation.server
        with server.present() as engine:
            engine.upload(photos=40)
        self.core.call("number.set_value", LIMIT, value=3)
        wait_until(lambda: len(paused(server)) == len(MANAGED) - 3, "three queues are not paused")
        self._wait_for_state(LIMIT, "3")
        self.core.call("number.set_value", LIMIT, value=1)
        self._wait_for_state(LIMIT, "1")

    def the_mode_of_a_queue_sets_its_override(self) -> None:
        # While everything is held, a queue that is to run next stays in that mode.
        self.core.call("select.select_option", MODE, option="held")
        entity = f"select.{ENTITY}_ocr_mode"
        for option in ("run next", "held", "automatic"):
            self.core.call("select.select_option", entity, option=option)
            wait_until(lambda option=option: self._queue_mode("ocr") == option, f"ocr is {option}")  # type: ignore[misc]
            self._wait_for_state(entity, option)
        self.core.call("select.select_option", MODE, option="automatic")
        self._wait_for_state(MODE, "automatic")

    def while_immich_is_away_only_what_depends_on_it_is_unavailable(self) -> None:
        server = self.installation.server
        server.close()
        self._wait_for_state(PENDING, UNAVAILABLE)
        self._wait_for_state(f"binary_sensor.{ENTITY}_connectivity", "off")
        self._wait_for_state(f"binary_sensor.{ENTITY}_problem", "on")
        self._wait_for_state(f"sensor.{ENTITY}_state", "waiting for Immich")
        problem = self.core.states()[f"binary_sensor.{ENTITY}_problem"]["attributes"]
        assert server.url in problem["text"]
        self.core.call("select.select_option", MODE, option="held")
        self._wait_for_state(MODE, "held")
        server.start()
        wait_until(lambda: paused(server) == MANAGED, "everything is paused")
        self.core.call("select.select_option", MODE, option="automatic")
        self._wait_for_right_states()

    def after_a_restart_of_home_assistant_all_states_are_right(self) -> None:
        self.core.restart()
        self._wait_for_right_states()

    def after_a_restart_of_the_broker_the_entities_are_available(self) -> None:
        self.installation.broker.kill()
        self._wait_for_state(PENDING, UNAVAILABLE)
        self.installation.broker.start()
        wait_until(lambda: self.core.state(PENDING) not in {None, UNAVAILABLE}, "there is a state")

    def video_conversion_runs_at_night_only(self) -> None:
        """The times in the example are replaced by times a few seconds from now."""
        soon = datetime.now(UTC) + timedelta(seconds=10)
        later = soon + timedelta(seconds=10)
        moved = example("at night only").replace("22:00:00", f"{later:%H:%M:%S}")
        self.core.set_automations(as_list(moved.replace("06:00:00", f"{soon:%H:%M:%S}")))
        self._wait_for_state(VIDEO, "held")
        assert self._queue_mode("videoConversion") == "held"
        wait_until(lambda: "videoConversion" in paused(self.installation.server), "it is paused")
        self._wait_for_state(VIDEO, "automatic")
        assert self._queue_mode("videoConversion") == "automatic"

    def no_jobs_start_while_a_film_plays(self) -> None:
        server, player = self.installation.server, "media_player.living_room"
        self.core.set_state(player, "idle")
        self.core.set_automations(as_list(shorten(example("while a film plays"))))
        self.core.set_state(player, "playing")
        wait_until(lambda: paused(server) == MANAGED, "everything is paused")
        self.core.set_state(player, "paused")
        wait_until(lambda: len(paused(server)) == len(MANAGED) - 1, "one queue is not paused")

    def a_notification_comes_when_the_import_is_done(self) -> None:
        wait_until(lambda: self.core.state(PENDING) == "0", "nothing is pending")
        self.core.set_automations(as_list(shorten(example("when the import is done"))))
        with self.installation.server.present() as engine:
            engine.upload(photos=60)
        wait_until(
            lambda: float(self.core.state(PENDING) or 0) > IMPORT_THRESHOLD,
            "the import is noticed",
        )
        wait_until(lambda: self.core.state(PENDING) == "0", "it is done", timeout=600)
        wait_until(lambda: bool(self._notifications()), "there is a notification")
        assert self.core.state(PENDING) == "0"
        (notification,) = self._notifications()
        assert notification["title"] == "Immich"
        assert notification["message"] == "All photos are processed. Failed jobs: 0."

    def a_conflict_with_another_tool_is_a_problem(self) -> None:
        server, problem = self.installation.server, f"binary_sensor.{ENTITY}_problem"
        for _ in range(CONFLICT_THRESHOLD):
            wait_until(lambda: "ocr" in paused(server), "ocr is paused")
            with server.present() as engine:
                engine.resume("ocr", by="another tool")
        self._wait_for_state(problem, "on")
        text = self.core.states()[problem]["attributes"]["text"]
        assert text.startswith("Something else keeps resuming ocr: ")

    def home_assistants_log_has_no_warning_about_the_daemon(self) -> None:
        lines = [line for line in self.core.log.splitlines() if re.search(r"WARN|ERROR", line)]
        relevant = [line for line in lines if re.search(r"mqtt|immich|automation", line)]
        # The broker was killed on purpose.
        assert [line for line in relevant if "onnect" not in line] == [], relevant

    def with_a_running_daemon(self) -> list[Callable[[], None]]:
        """Return the checks that need the first daemon, in order."""
        return [
            self.there_is_one_device,
            self.every_entity_is_registered_under_its_id,
            self.every_enabled_entity_has_the_right_state,
            self.disabled_entities_have_the_right_state_once_they_are_enabled,
            self.attributes_contain_the_reasons,
            self.the_mode_pauses_everything_and_the_button_resumes_it,
            self.the_number_lets_more_queues_run,
            self.the_mode_of_a_queue_sets_its_override,
            self.while_immich_is_away_only_what_depends_on_it_is_unavailable,
            self.after_a_restart_of_home_assistant_all_states_are_right,
            self.video_conversion_runs_at_night_only,
            self.no_jobs_start_while_a_film_plays,
            self.a_notification_comes_when_the_import_is_done,
            self.a_conflict_with_another_tool_is_a_problem,
        ]

    def a_killed_daemon_makes_everything_unavailable(self) -> None:
        keys = set(self._states())
        wait_until(lambda: self._keys_in_state(UNAVAILABLE) == keys, "all are unavailable")

    def entities_of_a_queue_that_became_protected_are_removed(self) -> None:
        wait_until(
            lambda: not [unique_id for unique_id in self.registry if "_queue_ocr_" in unique_id],
            "the entities of ocr are gone",
        )
        self._wait_for_right_states()

    def _states(self) -> dict[str, dict[str, Any]]:
        """Return the states in Home Assistant by component key."""
        states, registry = self.core.states(), self.registry
        entities = {
            key: registry[component["uniq_id"]]["entity_id"]
            for key, component in self.components.items()
            if component["uniq_id"] in registry
        }
        return {key: states[entity] for key, entity in entities.items() if entity in states}

    def _keys_in_state(self, state: str) -> set[str]:
        return {key for key, entity in self._states().items() if entity["state"] == state}

    def _are_states_right(self) -> bool:
        states = self._states()
        return bool(states) and not self._wrong_states(states)

    def _wrong_states(self, states: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
        """Return pairs of the actual and the expected state, where they differ."""
        value, components = self.client.state(self.topics), self.components
        # The state of a button is the time when it was last pressed.
        keys = states.keys() - {"resume_all"}
        expected = {key: expected_state(components[key], value) for key in keys}
        return {
            key: (states[key]["state"], expected[key])
            for key in keys
            if states[key]["state"] != expected[key]
        }

    def _wait_for_right_states(self) -> None:
        try:
            wait_until(self._are_states_right, "the states are right")
        except AssertionError:
            write_line(f"Actual and expected states: {self._wrong_states(self._states())}")
            raise

    def _wait_for_state(self, entity: str, state: str) -> None:
        wait_until(lambda: self.core.state(entity) == state, f"{entity} is {state}")

    def _queue_mode(self, queue: str) -> str:
        return str(self.client.state(self.topics)["queues"][queue]["mode"])

    def _notifications(self) -> list[dict[str, Any]]:
        notifications: list[dict[str, Any]] = self.core.send_command(
            type="persistent_notification/get"
        )
        return [one for one in notifications if one["title"] == "Immich"]


def entity_id(component: dict[str, Any], version: str) -> str:
    """Return the ID that this version of Home Assistant gives to a new entity."""
    is_derived = tuple(map(int, version.split(".")[:2])) < DEFAULT_IDS_SINCE
    if is_derived and component.get("name") == "Dry run":
        return f"binary_sensor.{ENTITY}_dry_run"
    return str(component["def_ent_id"])


def expected_state(component: dict[str, Any], value: dict[str, Any]) -> str:
    """Return the state of an entity after the daemon has published ``value``."""
    state = TEMPLATES.from_string(component["val_tpl"]).render(value_json=value)
    if component["p"] == "binary_sensor":
        return state.lower()
    return "unknown" if state == "None" else state


def example(heading: str) -> str:
    """Return the automation in the document whose heading ends in these words."""
    found = re.search(
        rf"^### [^\n]*{heading}\n.*?```yaml\n(.+?)```",
        DOCUMENT.read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert found, heading
    return found[1]


def shorten(automation: str) -> str:
    """Return the automation with delays of two seconds."""
    return re.sub(r'for: "[0-9:]+"', 'for: "00:00:02"', automation)


def as_list(automation: str) -> str:
    """Return the automation as the content of automations.yaml."""
    return yaml.safe_dump([{"id": "example", **yaml.safe_load(automation)}])


def run_check(check: Callable[[], None]) -> None:
    """Run one check and print its name and duration."""
    began = time.monotonic()
    check()
    write_line(f"  ok  {check.__name__.replace('_', ' ')} ({time.monotonic() - began:.0f} s)")


def run(runner: Path, folder: Path, server: SimulatedServer) -> None:
    """Run all checks."""
    with mosquitto(folder / "broker") as broker, Core(runner, folder / "core") as core:
        write_line(f"Home Assistant {core.get('config')['version']}")
        core.set_up_mqtt(broker)
        installation = Installation(server, broker, folder)
        with installation.daemon() as process:
            topics = installation.topics()
            with BrokerClient(broker) as client:
                wait_until(
                    lambda: client.state(topics).get("pending") is not None,
                    "the daemon publishes job counts",
                )
                checks = Checks(core, installation, client, topics)
                wait_until(lambda: bool(checks.registry), "the device is registered")
                for check in checks.with_a_running_daemon():
                    run_check(check)
                process.kill()
                run_check(checks.a_killed_daemon_makes_everything_unavailable)
                with installation.daemon(PROTECTED_QUEUES=f"{PROTECTED},ocr"):
                    run_check(checks.entities_of_a_queue_that_became_protected_are_removed)
            with installation.daemon():
                run_check(checks.after_a_restart_of_the_broker_the_entities_are_available)
                run_check(checks.home_assistants_log_has_no_warning_about_the_daemon)


def main() -> None:
    """Run all checks in a temporary folder."""
    with (
        tempfile.TemporaryDirectory(prefix="immich-job-daemon-") as folder,
        simulated_immich_server() as server,
    ):
        run(Path(sys.argv[1]), Path(folder), server)
    write_line("All checks passed.")


if __name__ == "__main__":
    main()
