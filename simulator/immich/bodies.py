"""The JSON of the simulated Immich: the shapes recorded from Immich 3.1.0.

The queues' text is put together by hand: a simulated day asks for it many thousand times.
"""

import json
from collections.abc import Callable, Iterable
from typing import Final

from simulator.immich.simulated_queue import SimulatedQueue


class Undefined:
    """What JavaScript calls undefined: no value was sent, not even null."""


UNDEFINED: Final[object] = Undefined()

COMMANDS: Final = ["start", "pause", "resume", "empty", "clear-failed"]
"""What the jobs API can be told."""

PING: Final = '{"res":"pong"}'

CONFIG: Final = json.dumps(
    {
        "loginPageMessage": "",
        "trashDays": 30,
        "userDeleteDelay": 7,
        "oauthButtonText": "Login with OAuth",
        "isInitialized": True,
        "isOnboarded": True,
        "externalDomain": "",
        "publicUsers": True,
        "mapDarkStyleUrl": "https://tiles.immich.cloud/v1/style/dark.json",
        "mapLightStyleUrl": "https://tiles.immich.cloud/v1/style/light.json",
        "maintenanceMode": False,
        "minFaces": 3,
    }
)

_MOMENT: Final = "2026-11-01T12:00:00.000Z"

Check = Callable[[object, str], object | None]
"""Looks at the value of a field and returns Immich's error about it, or None."""


def _counts(queue: SimulatedQueue) -> str:
    active, completed, failed, delayed, waiting, paused = queue.counts()
    return (
        f'{{"active":{active},"completed":{completed},"failed":{failed},'
        f'"delayed":{delayed},"waiting":{waiting},"paused":{paused}}}'
    )


def queue(queue: SimulatedQueue) -> str:
    """Return a queue as the queues API shows it."""
    is_paused = "true" if queue.is_paused else "false"
    return f'{{"name":"{queue.name}","isPaused":{is_paused},"statistics":{_counts(queue)}}}'


def all_queues(queues: Iterable[SimulatedQueue]) -> str:
    """Return all queues as the queues API shows them."""
    return f"[{','.join(map(queue, queues))}]"


def job(queue: SimulatedQueue) -> str:
    """Return a queue as the jobs API shows it."""
    is_paused = "true" if queue.is_paused else "false"
    is_active = "true" if queue.active else "false"
    status = f'{{"isPaused":{is_paused},"isActive":{is_active}}}'
    return f'{{"queueStatus":{status},"jobCounts":{_counts(queue)}}}'


def all_jobs(queues: Iterable[SimulatedQueue]) -> str:
    """Return all queues as the jobs API shows them."""
    return "{" + ",".join(f'"{queue.name}":{job(queue)}' for queue in queues) + "}"


def version(figures: tuple[int, int, int]) -> str:
    """Return what ``/api/server/version`` answers."""
    major, minor, patch = figures
    return json.dumps({"major": major, "minor": minor, "patch": patch, "prerelease": None})


def about(figures: tuple[int, int, int]) -> str:
    """Return what ``/api/server/about`` answers."""
    text = "v" + ".".join(map(str, figures))
    return json.dumps(
        {
            "version": text,
            "versionUrl": f"https://github.com/immich-app/immich/releases/tag/{text}",
            "licensed": False,
            "nodejs": "v24.21.0",
            "exiftool": "13.59",
            "ffmpeg": "5.1.9",
            "libvips": "8.17.3",
            "imagemagick": "",
        }
    )


def api_key(name: str, permissions: Iterable[str]) -> str:
    """Return what ``/api/api-keys/me`` answers."""
    return json.dumps(
        {
            "id": "00000000-0000-4000-8000-000000000000",
            "name": name,
            "createdAt": _MOMENT,
            "updatedAt": _MOMENT,
            "permissions": sorted(permissions),
        }
    )


def parse(body: bytes) -> object:
    """Return the document in a request's body.

    Raises:
        ValueError: it is none; the text is what Immich answers.
    """
    try:
        text = body.decode()
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()):
            raise ValueError("Unexpected end of JSON input") from None
        found = text[error.pos]
        raise ValueError(f'Unexpected token {found!r}, "{text}" is not valid JSON') from None


def invalid_type(expected: str, value: object, *path: str) -> object:
    """Return Immich's error about a value of the wrong type."""
    return {
        "expected": expected,
        "code": "invalid_type",
        "path": [*path],
        "message": f"Invalid input: expected {expected}, received {_type_of(value)}",
    }


def invalid_option(options: list[str], *path: str) -> object:
    """Return Immich's error about a value that is none of the options."""
    listed = "|".join(f'"{option}"' for option in options)
    return {
        "code": "invalid_value",
        "values": options,
        "path": [*path],
        "message": f"Invalid option: expected one of {listed}",
    }


def is_optional_boolean(value: object, name: str) -> object | None:
    """Check for true, false or nothing at all."""
    if value is UNDEFINED or isinstance(value, bool):
        return None
    return invalid_type("boolean", value, name)


def is_command(value: object, name: str) -> object | None:
    """Check for one of the commands of the jobs API."""
    return None if value in COMMANDS else invalid_option(COMMANDS, name)


def _type_of(value: object) -> str:
    """Return what JavaScript calls the type of a JSON value.

    >>> [_type_of(value) for value in (UNDEFINED, None, True, 1.5, "", [], {})]
    ['undefined', 'null', 'boolean', 'number', 'string', 'array', 'object']
    """
    if value is None:
        return "null"
    names: dict[type, str] = {
        Undefined: "undefined",
        bool: "boolean",
        int: "number",
        float: "number",
        str: "string",
        list: "array",
    }
    return names.get(type(value), "object")
