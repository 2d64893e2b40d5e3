"""The discovery message: complete, valid by Home Assistant's rules, the same for ever.

The schema is written from what Home Assistant Core 2026.11.0 accepts; script/homeassistant shows
the same message to a real one.
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
    MOST_BYTES,
    announced,
    components,
    is_of,
    message,
    queues_in,
)
from immich_job_daemon.mqtt.topics import Topics

TOPICS: Final = Topics("1a2b3c4d")
QUEUES: Final = [*PRIORITY, "ocr", "library", "x-ray_2.b"]
FOUND: Final = components(TOPICS, QUEUES, most=12)

# What Home Assistant takes.

text = vol.All(str, vol.Length(min=1))
topic = vol.All(text, vol.Match(r"[^#+\0]+\Z"))
template = vol.All(text, vol.Match(r"\{\{ .+ \}\}\Z"))
AVAILABLE: Final = vol.Schema([{"t": topic, "pl_avail": text, "pl_not_avail": text}], required=True)
COMMON: Final[dict[Any, Any]] = {
    vol.Required("p"): str,
    vol.Required("uniq_id"): vol.Match(r"[0-9a-f]{8}_\w"),
    vol.Required("def_ent_id"): vol.Match(r"[a-z_]+\.[a-z0-9]+(_[a-z0-9]+)*\Z"),
    vol.Optional("name"): text,
    vol.Optional("ic"): vol.Match(r"mdi:[a-z-]+\Z"),
    vol.Optional("en"): bool,
    vol.Optional("ent_cat"): vol.In(["config", "diagnostic"]),
    vol.Optional("avty"): AVAILABLE,
    vol.Optional("avty_mode"): vol.In(["all", "any", "latest"]),
}
SHOWING: Final[dict[Any, Any]] = {
    vol.Required("stat_t"): topic,
    vol.Required("val_tpl"): template,
    vol.Optional("json_attr_t"): topic,
    vol.Optional("json_attr_tpl"): template,
}
COMMANDED: Final[dict[Any, Any]] = {vol.Required("cmd_t"): topic}
SENSOR: Final[dict[Any, Any]] = {
    **COMMON,
    **SHOWING,
    vol.Optional("ent_cat"): "diagnostic",
    vol.Optional("dev_cla"): vol.In(["enum", "timestamp"]),
    vol.Optional("stat_cla"): "measurement",
    vol.Optional("unit_of_meas"): text,
    vol.Optional("ops"): [text],
}


def sensible(sensor: dict[str, Any]) -> dict[str, Any]:
    """Refuse what no sensor may have together."""
    if ("ops" in sensor) != (sensor.get("dev_cla") == "enum"):
        raise vol.Invalid("options belong to an enum")
    if "dev_cla" in sensor and {"stat_cla", "unit_of_meas"} & sensor.keys():
        raise vol.Invalid("an enum or a time has no unit")
    return sensor


PLATFORMS: Final[dict[str, vol.Schema]] = {
    "sensor": vol.Schema(vol.All(SENSOR, sensible)),
    "binary_sensor": vol.Schema(
        {
            **COMMON,
            **SHOWING,
            vol.Optional("ent_cat"): "diagnostic",
            vol.Optional("dev_cla"): vol.In(["connectivity", "problem"]),
        }
    ),
    "select": vol.Schema(
        {
            **COMMON,
            **SHOWING,
            **COMMANDED,
            vol.Optional("ent_cat"): "config",
            vol.Required("ops"): vol.All([text], vol.Length(min=2), vol.Unique()),
        }
    ),
    "number": vol.Schema(
        {
            **COMMON,
            **SHOWING,
            **COMMANDED,
            vol.Optional("ent_cat"): "config",
            vol.Required("min"): 1,
            vol.Required("max"): vol.All(int, vol.Range(min=1)),
            vol.Required("step"): 1,
            vol.Required("mode"): vol.In(["auto", "box", "slider"]),
        }
    ),
    "button": vol.Schema({**COMMON, **COMMANDED, vol.Required("pl_prs"): text}),
}


def component(found: dict[str, Any]) -> dict[str, Any]:
    checked: dict[str, Any] = PLATFORMS[found["p"]](found)
    return checked


DEVICE: Final = vol.Schema(
    {
        "dev": {"ids": [text], "name": text, "mf": text, "mdl": text, "sw": text},
        "o": {"name": text, "sw": text, "url": vol.Url()},
        "avty": AVAILABLE,
        "cmps": {vol.Match(r"[A-Za-z0-9_.-]+\Z"): component},
    },
    required=True,
)


def sent(queues: list[str] = QUEUES) -> dict[str, Any]:
    """Return the message as Home Assistant reads it."""
    read: dict[str, Any] = json.loads(message(TOPICS, components(TOPICS, queues, 12), {}))
    return read


def test_the_message_is_complete_and_has_no_key_that_home_assistant_does_not_know() -> None:
    assert DEVICE(sent()) == sent()
    assert DEVICE(sent([])) == sent([])
    assert sent()["dev"]["sw"] == __version__


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
def test_the_schema_finds_what_home_assistant_would_refuse(key: str, wrong: object) -> None:
    broken = sent()
    broken["cmps"][key] |= wrong
    with pytest.raises((vol.Invalid, KeyError)):
        DEVICE(broken)


def test_every_entity_is_there() -> None:
    assert {key: found["p"] for key, found in FOUND.items() if not key.startswith("queue_")} == {
        "state": "sensor",
        "connected": "binary_sensor",
        "problem": "binary_sensor",
        "rehearsal": "binary_sensor",
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
        assert {key: FOUND[f"queue_{name}_{key}"]["p"] for key in ("pending", "failed")} == {
            "pending": "sensor",
            "failed": "sensor",
        }
        assert FOUND[f"queue_{name}_done_at"]["dev_cla"] == "timestamp"
        assert FOUND[f"queue_{name}_mode"]["ops"] == ["automatic", "run next", "held"]


def test_no_two_entities_share_an_id_and_each_id_begins_with_the_instance() -> None:
    unique = [found["uniq_id"] for found in FOUND.values()]
    assert len(set(unique)) == len(unique)
    assert all(one.startswith("1a2b3c4d_") for one in unique)
    entities = [found["def_ent_id"] for found in FOUND.values()]
    assert len(set(entities)) == len(entities)
    assert all(found["def_ent_id"].split(".")[0] == found["p"] for found in FOUND.values())


def test_ids_are_what_they_were() -> None:
    """People's dashboards and automations name them: a change here breaks those."""
    entities = {key: found["def_ent_id"] for key, found in FOUND.items()}
    before = "immich_job_daemon_"
    assert {key: entities[key] for key in list(entities)[:12]} == {
        "state": f"sensor.{before}state",
        "connected": f"binary_sensor.{before}connectivity",
        "problem": f"binary_sensor.{before}problem",
        "rehearsal": f"binary_sensor.{before}rehearsal",
        "mode": f"select.{before}mode",
        "limit": f"number.{before}concurrent_queues",
        "resume_all": f"button.{before}resume_all",
        "running": f"sensor.{before}running_queues",
        "pending": f"sensor.{before}pending_jobs",
        "active": f"sensor.{before}active_jobs",
        "failed": f"sensor.{before}failed_jobs",
        "done_at": f"sensor.{before}done_at",
    }
    name = "queue_thumbnailGeneration_"
    assert {key: entities[key] for key in entities if key.startswith(name)} == {
        f"{name}pending": f"sensor.{before}thumbnail_generation_pending",
        f"{name}failed": f"sensor.{before}thumbnail_generation_failed",
        f"{name}done_at": f"sensor.{before}thumbnail_generation_done_at",
        f"{name}mode": f"select.{before}thumbnail_generation_mode",
    }


def test_no_name_repeats_the_devices() -> None:
    assert not [f for f in FOUND.values() if "immich" in f.get("name", "").lower()]


def test_what_few_people_want_is_off_by_default() -> None:
    off = {key.rpartition("_")[2] for key, found in FOUND.items() if found.get("en") is False}
    assert off == {"failed", "at", "mode"}
    on = [key for key, found in FOUND.items() if key.startswith("queue_") and "en" not in found]
    assert on == [f"queue_{name}_pending" for name in QUEUES]


def test_what_depends_on_immich_needs_it_to_be_there_and_controls_do_not() -> None:
    both = [one["t"] for one in FOUND["pending"]["avty"]]
    assert both == [TOPICS.availability, TOPICS.immich]
    with_both = {key for key, found in FOUND.items() if "avty" in found}
    assert all(FOUND[key]["avty_mode"] == "all" for key in with_both)
    assert {key for key in FOUND.keys() - with_both if not key.startswith("queue_")} == {
        "state",
        "connected",
        "problem",
        "rehearsal",
        "mode",
        "limit",
        "resume_all",
    }
    assert all(key.endswith("_mode") for key in FOUND.keys() - with_both if "queue_" in key)
    assert [one["t"] for one in sent()["avty"]] == [TOPICS.availability]


def test_two_daemons_share_neither_a_topic_nor_an_id() -> None:
    other = Topics("ffffffff")
    theirs = json.loads(message(other, components(other, QUEUES, 12), {}))
    assert theirs["dev"]["ids"] != sent()["dev"]["ids"]
    assert other.discovery != TOPICS.discovery
    mine = {found["uniq_id"] for found in FOUND.values()}
    assert mine.isdisjoint(found["uniq_id"] for found in theirs["cmps"].values())


def test_a_discovery_topic_is_one_that_home_assistant_looks_at() -> None:
    looked_at = r"homeassistant/device/([a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config"
    assert re.fullmatch(looked_at, TOPICS.discovery)
    assert re.fullmatch(looked_at, TOPICS.shared_discovery)


def test_the_limit_has_a_range_even_before_a_queue_is_known() -> None:
    assert components(TOPICS, [], 0)["limit"]["max"] == 1
    assert FOUND["limit"]["max"] == 12


def test_what_is_to_be_removed_has_only_its_platform() -> None:
    removing = json.loads(message(TOPICS, FOUND, {"old": "switch"}))
    assert removing["cmps"]["old"] == {"p": "switch"}
    assert removing["cmps"]["state"] == FOUND["state"]


def test_a_message_is_short_enough_to_be_read_back() -> None:
    names = [f"{'q' * 60}{number:04}" for number in range(MAX_QUEUES)]
    text = message(TOPICS, components(TOPICS, names, 100), {}).encode()
    assert len(text) < MOST_BYTES
    assert len(announced(text)) == len(components(TOPICS, names, 100))


# What was announced before


def test_what_a_message_announced_is_read_back() -> None:
    read = announced(message(TOPICS, FOUND, {}).encode())
    assert read == {key: found["p"] for key, found in FOUND.items()}
    assert queues_in(read) == QUEUES
    assert is_of("1a2b3c4d", message(TOPICS, FOUND, {}).encode())
    assert not is_of("ffffffff", message(TOPICS, FOUND, {}).encode())


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"{}",
        b"null",
        b"[1]",
        b'{"cmps": []}',
        b'{"cmps": {"a": 1, "b": {}, "c": {"p": 1}, "d": {"p": "no platform"}}}',
        b"[" * 100_000,
        b"\xff" * 10,
        b'{"cmps": {"a": {"p": "sensor"}}}' + b" " * MOST_BYTES,
    ],
)
def test_what_is_no_message_announces_nothing(rubbish: bytes) -> None:
    assert announced(rubbish) == {}


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_whatever_the_broker_kept_is_read_without_harm(kept: bytes) -> None:
    assert isinstance(announced(kept), dict)
    assert isinstance(is_of("1a2b3c4d", kept), bool)


def test_no_more_queues_have_entities_than_anybody_has() -> None:
    keys = [f"queue_q{number}_pending" for number in range(2 * MAX_QUEUES)]
    assert len(queues_in(keys)) == MAX_QUEUES
    assert queues_in(["queue_a b_pending", "queue_a/b_mode"]) == []


def test_the_keys_are_those_of_home_assistants_own_list() -> None:
    """Every key that is used is in its list of abbreviations, or is short already."""
    used = {key for found in FOUND.values() for key in found}
    assert used == {
        *("p", "uniq_id", "def_ent_id", "name", "ic", "en", "ent_cat", "avty", "avty_mode"),
        *("stat_t", "val_tpl", "json_attr_t", "json_attr_tpl", "cmd_t", "ops", "dev_cla"),
        *("stat_cla", "unit_of_meas", "min", "max", "step", "mode", "pl_prs"),
    }
    assert sent()["dev"]["name"] == discovery.NAME
