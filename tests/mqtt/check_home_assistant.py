"""A real Home Assistant, a real broker, the daemon and a simulated Immich: do they get on?

Run by script/homeassistant; the argument is a program that runs a command where Home Assistant is
installed. Each thing that is checked is a line; the first that does not hold ends it.
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
TEMPLATES: Final = Environment(autoescape=False)  # noqa: S701 - it makes states, not pages
ENTITY: Final = "immich_job_daemon"
MODE: Final = f"select.{ENTITY}_mode"
LIMIT: Final = f"number.{ENTITY}_concurrent_queues"
PENDING: Final = f"sensor.{ENTITY}_pending_jobs"
VIDEO: Final = f"select.{ENTITY}_video_conversion_mode"
PROTECTED: Final = SETTINGS["PROTECTED_QUEUES"].default
UNAVAILABLE: Final = "unavailable"
MANY: Final = 100
"""More pending jobs than this are an import, in the document's example."""

Components = dict[str, dict[str, Any]]


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Trial:
    """What is tried, one thing after the other.

    Args:
        core: Home Assistant.
        house: Immich, the broker and the daemon's settings.
        ears: hear what the broker says.
        topics: where the daemon speaks.
    """

    def __init__(self, core: Core, house: Installation, ears: BrokerClient, topics: Topics) -> None:
        self.core = core
        self.house = house
        self.ears = ears
        self.topics = topics

    @property
    def components(self) -> Components:
        """What the daemon has announced."""
        found: Components = self.ears.device(self.topics)["cmps"]
        return found

    @property
    def registry(self) -> dict[str, dict[str, Any]]:
        """The entities that Home Assistant knows of the daemon, by their unique ids."""
        every = self.core.ask(type="config/entity_registry/list")
        mine = f"{self.topics.instance}_"
        return {one["unique_id"]: one for one in every if one["unique_id"].startswith(mine)}

    def there_is_one_device(self) -> None:
        (device,) = [
            one
            for one in self.core.ask(type="config/device_registry/list")
            if ["mqtt", f"{ENTITY}_{self.topics.instance}"] in one["identifiers"]
        ]
        assert device["name"] == "Immich Job Daemon"
        assert device["sw_version"] == __version__

    def every_entity_is_known_under_its_id(self) -> None:
        registry = self.registry
        announced = {one["uniq_id"]: one for one in self.components.values()}
        assert registry.keys() == announced.keys()
        for unique, component in announced.items():
            entity = registry[unique]
            assert entity["entity_id"] == component["def_ent_id"], entity
            assert (entity["disabled_by"] == "integration") == (component.get("en") is False)
            assert entity["entity_category"] == component.get("ent_cat"), entity
            # A name of its own is the user's; without one it is the device class's.
            assert entity["name"] is None, entity

    def every_enabled_entity_has_the_right_state(self) -> None:
        self._until_right()

    def disabled_entities_have_the_right_state_once_they_are_enabled(self) -> None:
        for entity in self.registry.values():
            if entity["disabled_by"]:
                self.core.ask(
                    type="config/entity_registry/update",
                    entity_id=entity["entity_id"],
                    disabled_by=None,
                )
        wait_until(lambda: self._shown().keys() == self.components.keys(), "all are enabled")
        self._until_right()

    def attributes_tell_the_reasons(self) -> None:
        running = self.core.states()[f"sensor.{ENTITY}_running_queues"]["attributes"]
        assert running["reasons"].keys() >= MANAGED
        assert running["reasons"]["backupDatabase"] == "protected"

    def the_mode_holds_everything_and_the_button_resumes_it(self) -> None:
        self.core.call("select.select_option", MODE, option="held")
        wait_until(lambda: paused(self.house.server) == MANAGED, "everything is paused")
        self._until_state(f"sensor.{ENTITY}_state", "held")
        self.core.call("button.press", f"button.{ENTITY}_resume_all")
        wait_until(lambda: paused(self.house.server) == set(), "everything is open")
        self._until_state(MODE, "open")
        self._until_state(f"sensor.{ENTITY}_state", "open")
        self.core.call("select.select_option", MODE, option="automatic")
        wait_until(lambda: len(paused(self.house.server)) == len(MANAGED) - 1, "one is open")

    def the_number_lets_more_queues_run(self) -> None:
        with self.house.server.present() as engine:
            engine.upload(photos=40)
        self.core.call("number.set_value", LIMIT, value=3)
        wait_until(lambda: len(paused(self.house.server)) == len(MANAGED) - 3, "three are open")
        self._until_state(LIMIT, "3")
        self.core.call("number.set_value", LIMIT, value=1)
        self._until_state(LIMIT, "1")

    def a_queue_is_held_and_let_go(self) -> None:
        # While nothing is started, one that is to run next stays so.
        self.core.call("select.select_option", MODE, option="held")
        entity = f"select.{ENTITY}_ocr_mode"
        for option in ("run next", "held", "automatic"):
            self.core.call("select.select_option", entity, option=option)
            wait_until(lambda option=option: self._wish("ocr") == option, f"ocr is {option}")  # type: ignore[misc]
            self._until_state(entity, option)
        self.core.call("select.select_option", MODE, option="automatic")
        self._until_state(MODE, "automatic")

    def while_immich_is_away_only_what_depends_on_it_is_unavailable(self) -> None:
        self.house.server.close()
        self._until_state(PENDING, UNAVAILABLE)
        self._until_state(f"binary_sensor.{ENTITY}_connectivity", "off")
        self._until_state(f"binary_sensor.{ENTITY}_problem", "on")
        self._until_state(f"sensor.{ENTITY}_state", "waiting for Immich")
        problem = self.core.states()[f"binary_sensor.{ENTITY}_problem"]["attributes"]
        assert self.house.server.url in problem["text"]
        self.core.call("select.select_option", MODE, option="held")
        self._until_state(MODE, "held")
        self.house.server.start()
        wait_until(lambda: paused(self.house.server) == MANAGED, "everything is paused")
        self.core.call("select.select_option", MODE, option="automatic")
        self._until_right()

    def after_a_restart_of_home_assistant_all_is_there_again(self) -> None:
        self.core.restart()
        self._until_right()

    def after_a_restart_of_the_broker_all_is_there_again(self) -> None:
        self.house.broker.kill()
        self._until_state(PENDING, UNAVAILABLE)
        self.house.broker.start()
        wait_until(
            lambda: self.core.state(PENDING) not in {None, UNAVAILABLE}, "the state is there"
        )

    def video_conversion_runs_at_night_only(self) -> None:
        """The times are moved, so that they come."""
        soon = datetime.now(UTC) + timedelta(seconds=10)
        later = soon + timedelta(seconds=10)
        moved = example("at night only").replace("22:00:00", f"{later:%H:%M:%S}")
        self.core.automate(as_list(moved.replace("06:00:00", f"{soon:%H:%M:%S}")))
        self._until_state(VIDEO, "held")
        assert self._wish("videoConversion") == "held"
        wait_until(lambda: "videoConversion" in paused(self.house.server), "it is paused")
        self._until_state(VIDEO, "automatic")
        assert self._wish("videoConversion") == "automatic"

    def nothing_new_is_started_while_a_film_plays(self) -> None:
        player = "media_player.living_room"
        self.core.pretend(player, "idle")
        self.core.automate(as_list(shortened(example("while a film plays"))))
        self.core.pretend(player, "playing")
        wait_until(lambda: paused(self.house.server) == MANAGED, "everything is paused")
        self.core.pretend(player, "paused")
        wait_until(lambda: len(paused(self.house.server)) == len(MANAGED) - 1, "one is open")

    def it_is_told_when_the_import_is_done(self) -> None:
        wait_until(lambda: self.core.state(PENDING) == "0", "nothing is pending")
        self.core.automate(as_list(shortened(example("when the import is done"))))
        with self.house.server.present() as engine:
            engine.upload(photos=60)
        wait_until(lambda: float(self.core.state(PENDING) or 0) > MANY, "the import is seen")
        wait_until(lambda: self.core.state(PENDING) == "0", "it is done", timeout=600)
        wait_until(lambda: bool(self._told()), "it is told")
        assert self.core.state(PENDING) == "0"
        (told,) = self._told()
        assert told["title"] == "Immich"
        assert told["message"] == "All photos are processed. Failed jobs: 0."

    def who_works_against_it_is_the_problem(self) -> None:
        server, problem = self.house.server, f"binary_sensor.{ENTITY}_problem"
        for _ in range(CONFLICT_THRESHOLD):
            wait_until(lambda: "ocr" in paused(server), "ocr is held")
            with server.present() as engine:
                engine.resume("ocr", by="another tool")
        self._until_state(problem, "on")
        text = self.core.states()[problem]["attributes"]["text"]
        assert text.startswith("Something else keeps resuming ocr: ")

    def nothing_about_it_is_in_home_assistants_log(self) -> None:
        lines = [line for line in self.core.log.splitlines() if re.search(r"WARN|ERROR", line)]
        about = [line for line in lines if re.search(r"mqtt|immich|automation", line)]
        # The broker was killed on purpose.
        assert [line for line in about if "onnect" not in line] == [], about

    def all_but_the_last(self) -> list[Callable[[], None]]:
        """Return what is tried while the daemon runs, in order."""
        return [
            self.there_is_one_device,
            self.every_entity_is_known_under_its_id,
            self.every_enabled_entity_has_the_right_state,
            self.disabled_entities_have_the_right_state_once_they_are_enabled,
            self.attributes_tell_the_reasons,
            self.the_mode_holds_everything_and_the_button_resumes_it,
            self.the_number_lets_more_queues_run,
            self.a_queue_is_held_and_let_go,
            self.while_immich_is_away_only_what_depends_on_it_is_unavailable,
            self.after_a_restart_of_home_assistant_all_is_there_again,
            self.video_conversion_runs_at_night_only,
            self.nothing_new_is_started_while_a_film_plays,
            self.it_is_told_when_the_import_is_done,
            self.who_works_against_it_is_the_problem,
        ]

    def a_killed_daemon_makes_everything_unavailable(self) -> None:
        shown = set(self._shown())
        wait_until(lambda: self._in_state(UNAVAILABLE) == shown, "all is unavailable")

    def what_an_option_takes_away_is_gone(self) -> None:
        wait_until(
            lambda: not [one for one in self.registry if "_queue_ocr_" in one], "ocr is gone"
        )
        self._until_right()

    def _shown(self) -> dict[str, dict[str, Any]]:
        """Return the states that Home Assistant has, by the key of the component."""
        states, registry = self.core.states(), self.registry
        entities = {
            key: registry[one["uniq_id"]]["entity_id"]
            for key, one in self.components.items()
            if one["uniq_id"] in registry
        }
        return {key: states[entity] for key, entity in entities.items() if entity in states}

    def _in_state(self, state: str) -> set[str]:
        return {key for key, one in self._shown().items() if one["state"] == state}

    def _states_are_right(self) -> bool:
        shown = self._shown()
        return bool(shown) and not self._wrong(shown)

    def _wrong(self, shown: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
        """Return what Home Assistant shows and what it should, where these differ."""
        value, components = self.ears.state(self.topics), self.components
        # A button shows when it was pressed last.
        showing = shown.keys() - {"resume_all"}
        right = {key: expected(components[key], value) for key in showing}
        return {
            key: (one["state"], right[key])
            for key, one in shown.items()
            if key in right and one["state"] != right[key]
        }

    def _until_right(self) -> None:
        try:
            wait_until(self._states_are_right, "the states are right")
        except AssertionError:
            say(f"Shown, and what it should be: {self._wrong(self._shown())}")
            raise

    def _until_state(self, entity: str, state: str) -> None:
        wait_until(lambda: self.core.state(entity) == state, f"{entity} is {state}")

    def _wish(self, queue: str) -> str:
        return str(self.ears.state(self.topics)["queues"][queue]["mode"])

    def _told(self) -> list[dict[str, Any]]:
        every: list[dict[str, Any]] = self.core.ask(type="persistent_notification/get")
        return [one for one in every if one["title"] == "Immich"]


def expected(component: dict[str, Any], value: dict[str, Any]) -> str:
    """Return the state that an entity should have when this is what the daemon said last."""
    told = TEMPLATES.from_string(component["val_tpl"]).render(value_json=value)
    if component["p"] == "binary_sensor":
        return told.lower()
    return "unknown" if told == "None" else told


def example(words: str) -> str:
    """Return the automation of the document whose heading ends in these words."""
    found = re.search(
        rf"^### [^\n]*{words}\n.*?```yaml\n(.+?)```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found, words
    return found[1]


def shortened(automation: str) -> str:
    """Return an automation that waits for two seconds where it would for minutes."""
    return re.sub(r'for: "[0-9:]+"', 'for: "00:00:02"', automation)


def as_list(automation: str) -> str:
    """Return the automation as it stands in Home Assistant's file of all automations."""
    return yaml.safe_dump([{"id": "example", **yaml.safe_load(automation)}])


def tried(what: Callable[[], None]) -> None:
    """Try one thing and say so."""
    began = time.monotonic()
    what()
    say(f"  ok  {what.__name__.replace('_', ' ')} ({time.monotonic() - began:.0f} s)")


def run(inside: Path, folder: Path, server: SimulatedServer) -> None:
    """Try everything."""
    with mosquitto(folder / "broker") as broker, Core(inside, folder / "core") as core:
        say(f"Home Assistant {core.get('config')['version']}")
        core.connect(broker)
        house = Installation(server, broker, folder)
        with house.daemon() as process:
            topics = house.topics()
            with BrokerClient(broker) as ears:
                wait_until(
                    lambda: ears.state(topics).get("pending") is not None, "the daemon is heard"
                )
                trial = Trial(core, house, ears, topics)
                wait_until(lambda: bool(trial.registry), "the device is there")
                for what in trial.all_but_the_last():
                    tried(what)
                process.kill()
                tried(trial.a_killed_daemon_makes_everything_unavailable)
                with house.daemon(PROTECTED_QUEUES=f"{PROTECTED},ocr"):
                    tried(trial.what_an_option_takes_away_is_gone)
            with house.daemon():
                tried(trial.after_a_restart_of_the_broker_all_is_there_again)
                tried(trial.nothing_about_it_is_in_home_assistants_log)


def main() -> None:
    """Try everything in a folder that is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="immich-job-daemon-") as made,
        simulated_immich_server() as server,
    ):
        run(Path(sys.argv[1]), Path(made), server)
    say("All of it holds.")


if __name__ == "__main__":
    main()
