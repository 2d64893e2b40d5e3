"""The MQTT discovery message: one device and its components. Pure.

The keys are Home Assistant's abbreviations. The accepted values were tested with Home Assistant
Core 2026.11.0. Component keys must never change: the unique IDs of the entities end in them.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from immich_job_daemon import __version__
from immich_job_daemon.model.controls import Mode
from immich_job_daemon.model.queue import MAX_QUEUES, is_queue_name, label
from immich_job_daemon.mqtt.commands import PRESS, QUEUE_OPTIONS
from immich_job_daemon.mqtt.topics import OFFLINE, ONLINE, Topics
from immich_job_daemon.status.status import OverallState

NAME: Final = "Immich Job Daemon"
PROJECT_URL: Final = "https://github.com/immich-job-daemon/immich-job-daemon"
MAX_MESSAGE_BYTES: Final = 1 << 20
"""Longest discovery message that is read back, and longest message accepted from the broker."""

Component = dict[str, Any]

_COUNT: Final[Component] = {"p": "sensor", "unit_of_meas": "jobs", "stat_cla": "measurement"}
_TIME: Final[Component] = {"p": "sensor", "dev_cla": "timestamp", "ic": "mdi:clock-check-outline"}

# Home Assistant names an entity without a name after its device class, in the user's language.
_DAEMON_COMPONENTS: Final[Mapping[str, Component]] = {
    "state": {
        "p": "sensor",
        "name": "State",
        "dev_cla": "enum",
        "ops": [str(state) for state in OverallState],
        "val_tpl": "{{ value_json.state }}",
        "ic": "mdi:tray-full",
    },
    "connected": {
        "p": "binary_sensor",
        "dev_cla": "connectivity",
        "val_tpl": "{{ 'ON' if value_json.connected else 'OFF' }}",
        "ent_cat": "diagnostic",
    },
    "problem": {
        "p": "binary_sensor",
        "dev_cla": "problem",
        "val_tpl": "{{ 'ON' if value_json.problem else 'OFF' }}",
        "json_attr_tpl": "{{ (value_json.problem or {}) | tojson }}",
        "ent_cat": "diagnostic",
    },
    "dry_run": {
        "p": "binary_sensor",
        "name": "Dry run",
        # Existing dashboards and automations use this ID.
        "def_ent_id": "binary_sensor.immich_job_daemon_dry_run",
        "val_tpl": "{{ 'ON' if value_json.dry_run else 'OFF' }}",
        "ent_cat": "diagnostic",
        "ic": "mdi:drama-masks",
    },
    "mode": {
        "p": "select",
        "name": "Mode",
        "ops": [str(mode) for mode in Mode],
        "val_tpl": "{{ value_json.mode }}",
        "ic": "mdi:tune",
    },
    "limit": {
        "p": "number",
        "name": "Concurrent queues",
        "min": 1,
        "step": 1,
        "mode": "box",
        "val_tpl": "{{ value_json.limit }}",
        "ent_cat": "config",
        "ic": "mdi:numeric",
    },
    "resume_all": {
        "p": "button",
        "name": "Resume all",
        "pl_prs": PRESS,
        "ic": "mdi:play-box-multiple-outline",
    },
}
"""Components that are available whenever the daemon is."""

_IMMICH_COMPONENTS: Final[Mapping[str, Component]] = {
    "running": {
        "p": "sensor",
        "name": "Running queues",
        "val_tpl": "{{ value_json.running }}",
        "json_attr_tpl": "{{ value_json.running_attributes | tojson }}",
        "ic": "mdi:play-circle-outline",
    },
    "pending": {
        **_COUNT,
        "name": "Pending jobs",
        "val_tpl": "{{ value_json.pending }}",
        "ic": "mdi:tray-full",
    },
    "active": {
        **_COUNT,
        "name": "Active jobs",
        "val_tpl": "{{ value_json.active }}",
        "ic": "mdi:cog-play-outline",
    },
    "failed": {
        **_COUNT,
        "name": "Failed jobs",
        "val_tpl": "{{ value_json.failed }}",
        "ic": "mdi:alert-circle-outline",
    },
    "done_at": {**_TIME, "name": "Done at", "val_tpl": "{{ value_json.done_at }}"},
}
"""Components that are unavailable while Immich is."""

_QUEUE_COMPONENTS: Final[Mapping[str, Component]] = {
    "pending": {**_COUNT, "name": "pending", "ic": "mdi:tray-full"},
    "failed": {**_COUNT, "name": "failed", "ic": "mdi:alert-circle-outline", "en": False},
    "done_at": {**_TIME, "name": "done at", "en": False},
    "mode": {
        "p": "select",
        "name": "mode",
        "ops": list(QUEUE_OPTIONS.values()),
        "ent_cat": "config",
        "ic": "mdi:tune",
        "en": False,
    },
}
"""Components of each queue; their names follow the label of the queue."""


def build_components(topics: Topics, queues: Iterable[str], max_limit: int) -> dict[str, Component]:
    """Return all components of the device by key; ``queues`` are those that get entities."""
    components: dict[str, Component] = {}
    for key, component in _DAEMON_COMPONENTS.items():
        components[key] = _complete(topics, key, component)
    components["mode"]["cmd_t"] = topics.mode_command
    components["limit"] |= {"cmd_t": topics.limit_command, "max": max(1, max_limit)}
    # A button has no state.
    del components["resume_all"]["stat_t"]
    components["resume_all"]["cmd_t"] = topics.resume_all_command
    for key, component in _IMMICH_COMPONENTS.items():
        components[key] = _complete(topics, key, component) | _immich_availability(topics)
    for name in queues:
        for kind, component in _QUEUE_COMPONENTS.items():
            key = f"queue_{name}_{kind}"
            components[key] = _complete(topics, key, component) | _queue_fields(name, kind)
            components[key] |= (
                {"cmd_t": topics.queue_command(name)}
                if kind == "mode"
                else _immich_availability(topics)
            )
    return components


def discovery_message(
    topics: Topics, components: Mapping[str, Component], removed: Mapping[str, str]
) -> str:
    """Return the payload of the discovery message.

    ``removed`` has the platforms, by key, of components that Home Assistant is to remove. Publish
    the message without them afterwards, as the broker retains the last one.
    """
    return json.dumps(
        {
            "dev": {
                "ids": [f"immich_job_daemon_{topics.instance}"],
                "name": NAME,
                "mf": NAME,
                "mdl": "Immich queues",
                "sw": __version__,
            },
            "o": {"name": NAME, "sw": __version__, "url": PROJECT_URL},
            "avty": [_availability(topics.availability)],
            "cmps": {**components, **{key: {"p": platform} for key, platform in removed.items()}},
        },
        separators=(",", ":"),
    )


def read_platforms(payload: bytes) -> dict[str, str]:
    r"""Return the platforms, by component key, in a discovery message; empty if it is invalid.

    >>> read_platforms(b'{"cmps": {"state": {"p": "sensor"}}}')
    {'state': 'sensor'}
    >>> read_platforms(b"[]"), read_platforms(b"\xff")
    ({}, {})
    """
    if len(payload) > MAX_MESSAGE_BYTES:
        return {}
    try:
        message = json.loads(payload)
        components = message["cmps"].items()
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return {}
    return {
        key: component["p"]
        for key, component in components
        if isinstance(component, dict)
        and isinstance(component.get("p"), str)
        and component["p"].isidentifier()
    }


def announces_instance(instance: str, payload: bytes) -> bool:
    """Whether a discovery message announces the device of this instance."""
    return (
        len(payload) <= MAX_MESSAGE_BYTES and f'"immich_job_daemon_{instance}"'.encode() in payload
    )


def queues_with_components(keys: Iterable[str]) -> list[str]:
    """Return the names of the queues that have components among these keys.

    >>> queues_with_components(["state", "queue_ocr_pending", "queue_ocr_mode", "queue_x_y_mode"])
    ['ocr', 'x_y']
    """
    kinds = "|".join(_QUEUE_COMPONENTS)
    matches = (re.fullmatch(rf"queue_(.+)_(?:{kinds})", key) for key in keys)
    names = dict.fromkeys(match[1] for match in matches if match)
    return [name for name in names if is_queue_name(name)][:MAX_QUEUES]


def _complete(topics: Topics, key: str, component: Component) -> Component:
    """Return a component with the fields that all components have."""
    name = component.get("name") or component["dev_cla"]
    complete = {
        **component,
        "uniq_id": f"{topics.instance}_{key}",
        # Home Assistant before 2025.10 ignores this field and derives the ID from the name.
        "def_ent_id": component.get("def_ent_id") or _entity_id(component["p"], name),
        "stat_t": topics.state,
    }
    if "json_attr_tpl" in component:
        complete["json_attr_t"] = topics.state
    return complete


def _queue_fields(name: str, kind: str) -> Component:
    """Return the fields of a queue's component that depend on the name of the queue."""
    component_name = f"{label(name)} {_QUEUE_COMPONENTS[kind]['name']}"
    return {
        "name": component_name,
        "def_ent_id": _entity_id(_QUEUE_COMPONENTS[kind]["p"], component_name),
        # get(): a queue that is missing in the state is unknown, not an error in the log.
        "val_tpl": f"{{{{ value_json.queues.get('{name}', {{}}).get('{kind}') }}}}",
    }


def _entity_id(platform: str, name: str) -> str:
    """Return the default entity ID.

    >>> _entity_id("sensor", "X-ray done at")
    'sensor.immich_job_daemon_x_ray_done_at'
    """
    return f"{platform}.immich_job_daemon_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}"


def _immich_availability(topics: Topics) -> Component:
    """Return the fields that make a component available only while Immich is, too."""
    both = [_availability(topics.availability), _availability(topics.immich_availability)]
    return {"avty": both, "avty_mode": "all"}


def _availability(topic: str) -> Component:
    return {"t": topic, "pl_avail": ONLINE, "pl_not_avail": OFFLINE}
