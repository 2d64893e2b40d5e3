"""docs/home-assistant.md tells of the entities that there are, under their ids."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from immich_job_daemon.mqtt.discovery import components
from immich_job_daemon.mqtt.topics import Topics
from immich_job_daemon.status.status import OverallState

DOCUMENT: Final = (Path(__file__).parents[2] / "docs" / "home-assistant.md").read_text()
FOUND: Final = components(Topics("1a2b3c4d"), ["videoConversion"], 12)
ROWS: Final = re.findall(r"^\| ([^|]+) \| `(\w+\.\w+)` \| (.+) \|$", DOCUMENT, re.MULTILINE)
AUTOMATIONS: Final = re.findall(r"```yaml\n(.+?)```", DOCUMENT, re.DOTALL)


def test_every_entity_is_told_of_by_name_and_id() -> None:
    # Home Assistant itself gives these two their names.
    own = {"connected": "Connectivity", "problem": "Problem"}
    assert {entity: name for name, entity, _ in ROWS} == {
        one["def_ent_id"]: own.get(key) or one["name"] for key, one in FOUND.items()
    }


def test_it_says_what_is_disabled() -> None:
    off = {one["def_ent_id"] for one in FOUND.values() if one.get("en") is False}
    assert {entity for _, entity, told in ROWS if told.endswith("disabled")} == off


def test_every_state_and_choice_is_told_of() -> None:
    told = {entity: set(re.findall(r"`([^`]+)`", words)) for _, entity, words in ROWS}
    assert told["sensor.immich_job_daemon_state"] == {str(state) for state in OverallState}
    for key in ("mode", "queue_videoConversion_mode"):
        assert told[FOUND[key]["def_ent_id"]] == set(FOUND[key]["ops"])


def entities_in(node: Any) -> set[str]:  # noqa: ANN401 - YAML
    """Return every entity of the daemon that an automation names."""
    return set(re.findall(r"\w+\.immich_job_daemon_\w+", yaml.safe_dump(node, width=1000)))


@pytest.mark.parametrize("text", AUTOMATIONS, ids=lambda text: text.splitlines()[0])
def test_every_automation_names_entities_that_there_are(text: str) -> None:
    automation = yaml.safe_load(text)
    assert {"alias", "triggers", "actions"} <= automation.keys()
    assert entities_in(automation)
    assert entities_in(automation) <= {one["def_ent_id"] for one in FOUND.values()}


def test_there_are_three_automations() -> None:
    assert len(AUTOMATIONS) == 3
