"""The JSON bodies of the simulated Immich, as recorded from Immich 3.1.0, and its body checks.

The JSON of the queues is formatted by hand, because a simulated day needs it many thousand times.
"""

import json
from collections.abc import Callable, Iterable
from typing import Final

from simulator.immich.simulated_queue import SimulatedQueue


class Undefined:
    """JavaScript's undefined: no value was sent, not even null."""


UNDEFINED: Final[object] = Undefined()

COMMANDS: Final = ["start", "pause", "resume", "empty", "clear-failed"]
"""The commands of the jobs API."""

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

_TIMESTAMP: Final = "2026-11-01T12:00:00.000Z"

Check = Callable[[object, str], object | None]
"""Takes the value and the name of a field; returns Immich's error about it, or None."""


def _counts(queue: SimulatedQueue) -> str:
    active, completed, failed, delayed, waiting, paused = queue.counts()
    return (
        f'{{"active":{active},"completed":{completed},"failed":{failed},'
        f'"delayed":{delayed},"waiting":{waiting},"paused":{paused}}}'
    )


def queue(queue: SimulatedQueue) -> str:
    """Return a queue in the format of the queues API."""
    is_paused = "true" if queue.is_paused else "false"
    return f'{{"name":"{queue.name}","isPaused":{is_paused},"statistics":{_counts(queue)}}}'


def all_queues(queues: Iterable[SimulatedQueue]) -> str:
    """Return all queues in the format of the queues API."""
    return f"[{','.join(map(queue, queues))}]"


def job(queue: SimulatedQueue) -> str:
    """Return a queue in the format of the jobs API."""
    is_paused = "true" if queue.is_paused else "false"
    is_active = "true" if queue.active else "false"
    status = f'{{"isPaused":{is_paused},"isActive":{is_active}}}'
    return f'{{"queueStatus":{status},"jobCounts":{_counts(queue)}}}'


def all_jobs(queues: Iterable[SimulatedQueue]) -> str:
    """Return all queues in the format of the jobs API."""
    return "{" + ",".join(f'"{queue.name}":{job(queue)}' for queue in queues) + "}"


def version(numbers: tuple[int, int, int]) -> str:
    """Return the body of ``/api/server/version``."""
    major, minor, patch = numbers
    return json.dumps({"major": major, "minor": minor, "patch": patch, "prerelease": None})


def about(numbers: tuple[int, int, int]) -> str:
    """Return the body of ``/api/server/about``."""
    text = "v" + ".".join(map(str, numbers))
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
    """Return the body of ``/api/api-keys/me``."""
    return json.dumps(
        {
            "id": "00000000-0000-4000-8000-000000000000",
            "name": name,
            "createdAt": _TIMESTAMP,
            "updatedAt": _TIMESTAMP,
            "permissions": sorted(permissions),
        }
    )


def parse(body: bytes) -> object:
    """Parse the JSON in the body of a request.

    Raises:
        ValueError: it is not valid JSON; the text is Immich's error message.
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
    """Return Immich's error about a value that is not one of the options."""
    listed = "|".join(f'"{option}"' for option in options)
    return {
        "code": "invalid_value",
        "values": options,
        "path": [*path],
        "message": f"Invalid option: expected one of {listed}",
    }


def is_optional_boolean(value: object, name: str) -> object | None:
    """Check that the value is a boolean or missing."""
    if value is UNDEFINED or isinstance(value, bool):
        return None
    return invalid_type("boolean", value, name)


def is_command(value: object, name: str) -> object | None:
    """Check that the value is a command of the jobs API."""
    return None if value in COMMANDS else invalid_option(COMMANDS, name)


def _type_of(value: object) -> str:
    """Return JavaScript's name for the type of a JSON value.

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
