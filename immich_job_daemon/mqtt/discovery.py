"""What Home Assistant is told that there is: one device, and its components as data. Pure.

The keys are Home Assistant's abbreviations; what it takes was seen on its Core 2026.11.0. A
component's key, which its unique id ends in, never changes: entities are known by it for ever.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from immich_job_daemon import __version__
from immich_job_daemon.model.controls import Mode
from immich_job_daemon.model.queue import MAX_QUEUES, is_queue_name, label
from immich_job_daemon.mqtt.commands import PRESS, WISHES
from immich_job_daemon.mqtt.topics import OFFLINE, ONLINE, Topics
from immich_job_daemon.status.status import OverallState

NAME: Final = "Immich Job Daemon"
ADDRESS: Final = "https://github.com/immich-job-daemon/immich-job-daemon"
MOST_BYTES: Final = 1 << 20
"""The longest message of our own that is read back, or taken from the broker at all."""

Component = dict[str, Any]

_COUNT: Final[Component] = {"p": "sensor", "unit_of_meas": "jobs", "stat_cla": "measurement"}
_TIME: Final[Component] = {"p": "sensor", "dev_cla": "timestamp", "ic": "mdi:clock-check-outline"}

# Without a name Home Assistant calls an entity by its device class, in the user's language.
_OF_DAEMON: Final[Mapping[str, Component]] = {
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
    "rehearsal": {
        "p": "binary_sensor",
        "name": "Rehearsal",
        "val_tpl": "{{ 'ON' if value_json.rehearsal else 'OFF' }}",
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
"""What is there whether or not Immich answers."""

_OF_IMMICH: Final[Mapping[str, Component]] = {
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
"""What depends on what Immich tells."""

_OF_QUEUE: Final[Mapping[str, Component]] = {
    "pending": {**_COUNT, "name": "pending", "ic": "mdi:tray-full"},
    "failed": {**_COUNT, "name": "failed", "ic": "mdi:alert-circle-outline", "en": False},
    "done_at": {**_TIME, "name": "done at", "en": False},
    "mode": {
        "p": "select",
        "name": "mode",
        "ops": list(WISHES.values()),
        "ent_cat": "config",
        "ic": "mdi:tune",
        "en": False,
    },
}
"""What there is for each queue; its label comes before the name."""


def components(topics: Topics, queues: Iterable[str], most: int) -> dict[str, Component]:
    """Return every component of the device by its key.

    Args:
        topics: where the daemon speaks and listens.
        queues: the names of those that have entities of their own.
        most: how many queues may run at once at most.
    """
    found: dict[str, Component] = {}
    for key, component in _OF_DAEMON.items():
        found[key] = _whole(topics, key, component)
    found["mode"]["cmd_t"] = topics.mode
    found["limit"] |= {"cmd_t": topics.limit, "max": max(1, most)}
    # A button shows nothing.
    del found["resume_all"]["stat_t"]
    found["resume_all"]["cmd_t"] = topics.resume_all
    for key, component in _OF_IMMICH.items():
        found[key] = _whole(topics, key, component) | _while_both(topics)
    for name in queues:
        for kind, component in _OF_QUEUE.items():
            key = f"queue_{name}_{kind}"
            found[key] = _whole(topics, key, component) | _named(name, kind)
            found[key] |= (
                {"cmd_t": topics.of_queue(name)} if kind == "mode" else _while_both(topics)
            )
    return found


def message(topics: Topics, found: Mapping[str, Component], gone: Mapping[str, str]) -> str:
    """Return the text of the discovery message.

    Args:
        topics: where the daemon speaks and listens.
        found: every component there is, by its key.
        gone: what Home Assistant is to remove: its platform, by its key. Once that is sent, a
            message that leaves it out has to follow, or it would come back as nothing.
    """
    return json.dumps(
        {
            "dev": {
                "ids": [f"immich_job_daemon_{topics.instance}"],
                "name": NAME,
                "mf": NAME,
                "mdl": "Queues of Immich",
                "sw": __version__,
            },
            "o": {"name": NAME, "sw": __version__, "url": ADDRESS},
            "avty": [_available(topics.availability)],
            "cmps": {**found, **{key: {"p": platform} for key, platform in gone.items()}},
        },
        separators=(",", ":"),
    )


def announced(text: bytes) -> dict[str, str]:
    r"""Return what a discovery message of ours announces: the platforms, by the components' keys.

    One that cannot be understood announces nothing.

    >>> announced(b'{"cmps": {"state": {"p": "sensor"}}}'), announced(b"[]"), announced(b"\xff")
    ({'state': 'sensor'}, {}, {})
    """
    if len(text) > MOST_BYTES:
        return {}
    try:
        found = json.loads(text)
        every = found["cmps"].items()
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return {}
    return {
        key: one["p"]
        for key, one in every
        if isinstance(one, dict) and isinstance(one.get("p"), str) and one["p"].isidentifier()
    }


def is_of(instance: str, text: bytes) -> bool:
    """Whether a discovery message announces this daemon's device."""
    return len(text) <= MOST_BYTES and f'"immich_job_daemon_{instance}"'.encode() in text


def queues_in(found: Iterable[str]) -> list[str]:
    """Return the names of the queues that have components among these keys.

    >>> queues_in(["state", "queue_ocr_pending", "queue_ocr_mode", "queue_x_y_done_at"])
    ['ocr', 'x_y']
    """
    kinds = "|".join(_OF_QUEUE)
    matches = (re.fullmatch(rf"queue_(.+)_(?:{kinds})", key) for key in found)
    names = dict.fromkeys(match[1] for match in matches if match)
    return [name for name in names if is_queue_name(name)][:MAX_QUEUES]


def _whole(topics: Topics, key: str, component: Component) -> Component:
    """Return a component with what every one has."""
    whole = {
        **component,
        "uniq_id": f"{topics.instance}_{key}",
        # What versions that do not know this key make of the names by themselves.
        "def_ent_id": _entity_id(component["p"], component.get("name") or component["dev_cla"]),
        "stat_t": topics.state,
    }
    if "json_attr_tpl" in component:
        whole["json_attr_t"] = topics.state
    return whole


def _named(name: str, kind: str) -> Component:
    """Return what a component of a queue has of its name."""
    words = f"{label(name)} {_OF_QUEUE[kind]['name']}"
    return {
        "name": words,
        "def_ent_id": _entity_id(_OF_QUEUE[kind]["p"], words),
        # One of which nothing is told is unknown, not an error in Home Assistant's log.
        "val_tpl": f"{{{{ value_json.queues.get('{name}', {{}}).get('{kind}') }}}}",
    }


def _entity_id(platform: str, name: str) -> str:
    """Return the id that an entity has unless the user gives it another.

    >>> _entity_id("sensor", "X-ray done at")
    'sensor.immich_job_daemon_x_ray_done_at'
    """
    return f"{platform}.immich_job_daemon_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}"


def _while_both(topics: Topics) -> Component:
    """Return what keeps a component available only while Immich is, too."""
    both = [_available(topics.availability), _available(topics.immich)]
    return {"avty": both, "avty_mode": "all"}


def _available(topic: str) -> Component:
    return {"t": topic, "pl_avail": ONLINE, "pl_not_avail": OFFLINE}
