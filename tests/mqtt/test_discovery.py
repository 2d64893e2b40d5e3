"""The discovery message: complete, valid for Home Assistant, with permanent IDs.

The schema follows Home Assistant Core 2026.11.0. script/homeassistant sends the same message to a
real one.
"""

import json
import re
from typing import Any, Final

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon import __version__
from immich_job_daemon.model.queue import MAX_QUEUES, PRIORITY
from immich_job_daemon.mqtt import discovery
from immich_job_daemon.mqtt.discovery import (
    MAX_MESSAGE_BYTES,
    announces_instance,
    build_components,
    discovery_message,
    queues_with_components,
    read_platforms,
)
from immich_job_daemon.mqtt.topics import Topics

TOPICS: Final = Topics("1a2b3c4d")
QUEUES: Final = [*PRIORITY, "ocr", "library", "x-ray_2.b"]
COMPONENTS: Final = build_components(TOPICS, QUEUES, max_limit=12)

# What Home Assistant accepts

text = vol.All(str, vol.Length(min=1))
topic = vol.All(text, vol.Match(r"[^#+\0]+\Z"))
template = vol.All(text, vol.Match(r"\{\{ .+ \}\}\Z"))
AVAILABILITY: Final = vol.Schema(
    [{"t": topic, "pl_avail": text, "pl_not_avail": text}], required=True
)
COMMON: Final[dict[Any, Any]] = {
    vol.Required("p"): str,
    vol.Required("uniq_id"): vol.Match(r"[0-9a-f]{8}_\w"),
    vol.Required("def_ent_id"): vol.Match(r"[a-z_]+\.[a-z0-9]+(_[a-z0-9]+)*\Z"),
    vol.Optional("name"): text,
    vol.Optional("ic"): vol.Match(r"mdi:[a-z-]+\Z"),
    vol.Optional("en"): bool,
    vol.Optional("ent_cat"): vol.In(["config", "diagnostic"]),
    vol.Optional("avty"): AVAILABILITY,
    vol.Optional("avty_mode"): vol.In(["all", "any", "latest"]),
}
WITH_STATE: Final[dict[Any, Any]] = {
    vol.Required("stat_t"): topic,
    vol.Required("val_tpl"): template,
    vol.Optional("json_attr_t"): topic,
    vol.Optional("json_attr_tpl"): template,
}
WITH_COMMAND: Final[dict[Any, Any]] = {vol.Required("cmd_t"): topic}
SENSOR: Final[dict[Any, Any]] = {
    **COMMON,
    **WITH_STATE,
    vol.Optional("ent_cat"): "diagnostic",
    vol.Optional("dev_cla"): vol.In(["enum", "timestamp"]),
    vol.Optional("stat_cla"): "measurement",
    vol.Optional("unit_of_meas"): text,
    vol.Optional("ops"): [text],
}


def consistent(sensor: dict[str, Any]) -> dict[str, Any]:
    """Reject fields that a sensor must not have together."""
    if ("ops" in sensor) != (sensor.get("dev_cla") == "enum"):
        raise vol.Invalid("only an enum has options, and it needs them")
    if "dev_cla" in sensor and {"stat_cla", "unit_of_meas"} & sensor.keys():
        raise vol.Invalid("an enum or a timestamp has no unit")
    return sensor


PLATFORMS: Final[dict[str, vol.Schema]] = {
    "sensor": vol.Schema(vol.All(SENSOR, consistent)),
    "binary_sensor": vol.Schema(
        {
            **COMMON,
            **WITH_STATE,
            vol.Optional("ent_cat"): "diagnostic",
            vol.Optional("dev_cla"): vol.In(["connectivity", "problem"]),
        }
    ),
    "select": vol.Schema(
        {
            **COMMON,
            **WITH_STATE,
            **WITH_COMMAND,
            vol.Optional("ent_cat"): "config",
            vol.Required("ops"): vol.All([text], vol.Length(min=2), vol.Unique()),
        }
    ),
    "number": vol.Schema(
        {
            **COMMON,
            **WITH_STATE,
            **WITH_COMMAND,
            vol.Optional("ent_cat"): "config",
            vol.Required("min"): 1,
            vol.Required("max"): vol.All(int, vol.Range(min=1)),
            vol.Required("step"): 1,
            vol.Required("mode"): vol.In(["auto", "box", "slider"]),
        }
    ),
    "button": vol.Schema({**COMMON, **WITH_COMMAND, vol.Required("pl_prs"): text}),
}


def component(value: dict[str, Any]) -> dict[str, Any]:
    validated: dict[str, Any] = PLATFORMS[value["p"]](value)
    return validated


DEVICE: Final = vol.Schema(
    {
        "dev": {"ids": [text], "name": text, "mf": text, "mdl": text, "sw": text},
        "o": {"name": text, "sw": text, "url": vol.Url()},
        "avty": AVAILABILITY,
        "cmps": {vol.Match(r"[A-Za-z0-9_.-]+\Z"): component},
    },
    required=True,
)


def parsed_message(queues: list[str] = QUEUES) -> dict[str, Any]:
    """Return the discovery message for these queues."""
    components = build_components(TOPICS, queues, 12)
    message: dict[str, Any] = json.loads(discovery_message(TOPICS, components, {}))
    return message


def test_the_message_is_complete_and_has_no_unknown_keys() -> None:
    assert DEVICE(parsed_message()) == parsed_message()
    assert DEVICE(parsed_message([])) == parsed_message([])
    assert parsed_message()["dev"]["sw"] == __version__


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("state", {"unit_of_meas": "jobs"}),
        ("mode", {"cmd_t": None}),
        ("pending", {"dev_cla": "data_size"}),
        ("pending", {"obj_id": "pending"}),
        ("limit", {"max": 0}),
        ("resume_all", {"stat_t": "x"}),
        ("state", {"uniq_id": None}),
        ("state", {"p": "switch"}),
    ],
)
def test_the_schema_rejects_what_home_assistant_rejects(key: str, wrong: object) -> None:
    broken = parsed_message()
    broken["cmps"][key] |= wrong
    with pytest.raises((vol.Invalid, KeyError)):
        DEVICE(broken)


def test_all_entities_are_announced() -> None:
    assert {
        key: component["p"] for key, component in COMPONENTS.items() if not key.startswith("queue_")
    } == {
        "state": "sensor",
        "connected": "binary_sensor",
        "problem": "binary_sensor",
        "dry_run": "binary_sensor",
        "mode": "select",
        "limit": "number",
        "resume_all": "button",
        "running": "sensor",
        "pending": "sensor",
        "active": "sensor",
        "failed": "sensor",
        "done_at": "sensor",
    }
    for name in QUEUES:
        assert {key: COMPONENTS[f"queue_{name}_{key}"]["p"] for key in ("pending", "failed")} == {
            "pending": "sensor",
            "failed": "sensor",
        }
        assert COMPONENTS[f"queue_{name}_done_at"]["dev_cla"] == "timestamp"
        assert COMPONENTS[f"queue_{name}_mode"]["ops"] == ["automatic", "run next", "held"]


def test_ids_are_unique_and_begin_with_the_instance() -> None:
    unique_ids = [component["uniq_id"] for component in COMPONENTS.values()]
    assert len(set(unique_ids)) == len(unique_ids)
    assert all(one.startswith("1a2b3c4d_") for one in unique_ids)
    entities = [component["def_ent_id"] for component in COMPONENTS.values()]
    assert len(set(entities)) == len(entities)
    assert all(
        component["def_ent_id"].split(".")[0] == component["p"] for component in COMPONENTS.values()
    )


def test_default_entity_ids_are_permanent() -> None:
    """Dashboards and automations of users refer to them."""
    entities = {key: component["def_ent_id"] for key, component in COMPONENTS.items()}
    prefix = "immich_job_daemon_"
    assert {key: entities[key] for key in list(entities)[:12]} == {
        "state": f"sensor.{prefix}state",
        "connected": f"binary_sensor.{prefix}connectivity",
        "problem": f"binary_sensor.{prefix}problem",
        "dry_run": f"binary_sensor.{prefix}dry_run",
        "mode": f"select.{prefix}mode",
        "limit": f"number.{prefix}concurrent_queues",
        "resume_all": f"button.{prefix}resume_all",
        "running": f"sensor.{prefix}running_queues",
        "pending": f"sensor.{prefix}pending_jobs",
        "active": f"sensor.{prefix}active_jobs",
        "failed": f"sensor.{prefix}failed_jobs",
        "done_at": f"sensor.{prefix}done_at",
    }
    name = "queue_thumbnailGeneration_"
    assert {key: entities[key] for key in entities if key.startswith(name)} == {
        f"{name}pending": f"sensor.{prefix}thumbnail_generation_pending",
        f"{name}failed": f"sensor.{prefix}thumbnail_generation_failed",
        f"{name}done_at": f"sensor.{prefix}thumbnail_generation_done_at",
        f"{name}mode": f"select.{prefix}thumbnail_generation_mode",
    }


def test_entity_names_do_not_repeat_the_device_name() -> None:
    assert not [one for one in COMPONENTS.values() if "immich" in one.get("name", "").lower()]


def test_rarely_needed_entities_are_disabled_by_default() -> None:
    off = {
        key.rpartition("_")[2]
        for key, component in COMPONENTS.items()
        if component.get("en") is False
    }
    assert off == {"failed", "at", "mode"}
    on = [
        key
        for key, component in COMPONENTS.items()
        if key.startswith("queue_") and "en" not in component
    ]
    assert on == [f"queue_{name}_pending" for name in QUEUES]


def test_job_counts_depend_on_immich_and_controls_do_not() -> None:
    both = [one["t"] for one in COMPONENTS["pending"]["avty"]]
    assert both == [TOPICS.availability, TOPICS.immich_availability]
    with_both = {key for key, component in COMPONENTS.items() if "avty" in component}
    assert all(COMPONENTS[key]["avty_mode"] == "all" for key in with_both)
    assert {key for key in COMPONENTS.keys() - with_both if not key.startswith("queue_")} == {
        "state",
        "connected",
        "problem",
        "dry_run",
        "mode",
        "limit",
        "resume_all",
    }
    assert all(key.endswith("_mode") for key in COMPONENTS.keys() - with_both if "queue_" in key)
    assert [one["t"] for one in parsed_message()["avty"]] == [TOPICS.availability]


def test_two_daemons_share_no_topic_and_no_id() -> None:
    other = Topics("ffffffff")
    message = json.loads(discovery_message(other, build_components(other, QUEUES, 12), {}))
    assert message["dev"]["ids"] != parsed_message()["dev"]["ids"]
    assert other.discovery != TOPICS.discovery
    unique_ids = {component["uniq_id"] for component in COMPONENTS.values()}
    assert unique_ids.isdisjoint(component["uniq_id"] for component in message["cmps"].values())


def test_home_assistant_subscribes_to_the_discovery_topics() -> None:
    pattern = r"homeassistant/device/([a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config"
    assert re.fullmatch(pattern, TOPICS.discovery)
    assert re.fullmatch(pattern, TOPICS.shared_discovery)


def test_the_limit_has_a_range_before_any_queue_is_known() -> None:
    assert build_components(TOPICS, [], 0)["limit"]["max"] == 1
    assert COMPONENTS["limit"]["max"] == 12


def test_a_removed_component_has_only_a_platform() -> None:
    message = json.loads(discovery_message(TOPICS, COMPONENTS, {"old": "switch"}))
    assert message["cmps"]["old"] == {"p": "switch"}
    assert message["cmps"]["state"] == COMPONENTS["state"]


def test_the_longest_message_can_be_read_back() -> None:
    names = [f"{'q' * 60}{number:04}" for number in range(MAX_QUEUES)]
    components = build_components(TOPICS, names, 100)
    payload = discovery_message(TOPICS, components, {}).encode()
    assert len(payload) < MAX_MESSAGE_BYTES
    assert len(read_platforms(payload)) == len(components)


# Reading a message back


def test_a_message_can_be_read_back() -> None:
    payload = discovery_message(TOPICS, COMPONENTS, {}).encode()
    platforms = read_platforms(payload)
    assert platforms == {key: component["p"] for key, component in COMPONENTS.items()}
    assert queues_with_components(platforms) == QUEUES
    assert announces_instance("1a2b3c4d", payload)
    assert not announces_instance("ffffffff", payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"null",
        b"[1]",
        b'{"cmps": []}',
        b'{"cmps": {"a": 1, "b": {}, "c": {"p": 1}, "d": {"p": "no platform"}}}',
        b"[" * 100_000,
        b"\xff" * 10,
        b'{"cmps": {"a": {"p": "sensor"}}}' + b" " * MAX_MESSAGE_BYTES,
    ],
)
def test_an_invalid_message_announces_nothing(payload: bytes) -> None:
    assert read_platforms(payload) == {}


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_any_retained_payload_can_be_read(payload: bytes) -> None:
    assert isinstance(read_platforms(payload), dict)
    assert isinstance(announces_instance("1a2b3c4d", payload), bool)


def test_the_number_of_queues_with_entities_is_limited() -> None:
    keys = [f"queue_q{number}_pending" for number in range(2 * MAX_QUEUES)]
    assert len(queues_with_components(keys)) == MAX_QUEUES
    assert queues_with_components(["queue_a b_pending", "queue_a/b_mode"]) == []


def test_keys_are_home_assistants_abbreviations() -> None:
    """Keys without an abbreviation in Home Assistant's list are written in full."""
    used = {key for component in COMPONENTS.values() for key in component}
    assert used == {
        *("p", "uniq_id", "def_ent_id", "name", "ic", "en", "ent_cat", "avty", "avty_mode"),
        *("stat_t", "val_tpl", "json_attr_t", "json_attr_tpl", "cmd_t", "ops", "dev_cla"),
        *("stat_cla", "unit_of_meas", "min", "max", "step", "mode", "pl_prs"),
    }
    assert parsed_message()["dev"]["name"] == discovery.NAME
