"""docs/home-assistant.md lists all entities with their IDs, states and options."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from immich_job_daemon.mqtt.discovery import build_components
from immich_job_daemon.mqtt.topics import Topics
from immich_job_daemon.status.status import OverallState

DOCUMENT: Final = (Path(__file__).parents[2] / "docs" / "home-assistant.md").read_text()
COMPONENTS: Final = build_components(Topics("1a2b3c4d"), ["videoConversion"], 12)
ROWS: Final = re.findall(r"^\| ([^|]+) \| `(\w+\.\w+)` \| (.+) \|$", DOCUMENT, re.MULTILINE)
AUTOMATIONS: Final = re.findall(r"```yaml\n(.+?)```", DOCUMENT, re.DOTALL)


def test_every_entity_is_listed_with_its_name_and_id() -> None:
    # Home Assistant names these two after their device class.
    names = {"connected": "Connectivity", "problem": "Problem"}
    assert {entity: name for name, entity, _ in ROWS} == {
        component["def_ent_id"]: names.get(key) or component["name"]
        for key, component in COMPONENTS.items()
    }


def test_disabled_entities_are_marked() -> None:
    disabled = {
        component["def_ent_id"] for component in COMPONENTS.values() if component.get("en") is False
    }
    assert {entity for _, entity, text in ROWS if text.endswith("disabled")} == disabled


def test_every_state_and_option_is_listed() -> None:
    listed = {entity: set(re.findall(r"`([^`]+)`", text)) for _, entity, text in ROWS}
    assert listed["sensor.immich_job_daemon_state"] == {str(state) for state in OverallState}
    for key in ("mode", "queue_videoConversion_mode"):
        assert listed[COMPONENTS[key]["def_ent_id"]] == set(COMPONENTS[key]["ops"])


def daemon_entities(node: Any) -> set[str]:  # noqa: ANN401 - YAML
    """Return the IDs of the daemon's entities in an automation."""
    return set(re.findall(r"\w+\.immich_job_daemon_\w+", yaml.safe_dump(node, width=1000)))


@pytest.mark.parametrize("text", AUTOMATIONS, ids=lambda text: text.splitlines()[0])
def test_automations_refer_to_existing_entities(text: str) -> None:
    automation = yaml.safe_load(text)
    assert {"alias", "triggers", "actions"} <= automation.keys()
    assert daemon_entities(automation)
    assert daemon_entities(automation) <= {
        component["def_ent_id"] for component in COMPONENTS.values()
    }


def test_there_are_three_automations() -> None:
    assert len(AUTOMATIONS) == 3
