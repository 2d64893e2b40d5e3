"""The two queue APIs of Immich: paths, permissions, request bodies and response schemas.

Every response is validated here, once, so the rest of the program can trust a `Queue`. All paths,
bodies, permissions and schemas are as seen on Immich 3.1.0.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import quote

import voluptuous as vol

from immich_job_daemon.base.errors import UnexpectedError
from immich_job_daemon.base.text import one_line
from immich_job_daemon.model.queue import MAX_QUEUES, Queue, Snapshot, is_queue_name

_T = TypeVar("_T")

_COUNTS: Final = ("active", "waiting", "paused", "delayed", "failed")
_MAX_PERMISSIONS: Final = 1000
_MAX_COUNT: Final = 2**53
MAX_QUOTE_LENGTH: Final = 200
"""Longest part of a response that an error message quotes, in characters."""
_MAX_VALUE_LENGTH: Final = 60


def _count(value: object) -> int:
    if type(value) is int and 0 <= value <= _MAX_COUNT:
        return value
    raise vol.Invalid(f"expected a whole number from 0, got {_quote_value(value)}")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise vol.Invalid(f"expected true or false, got {_quote_value(value)}")


def _name(value: object) -> str:
    if is_queue_name(value):
        return str(value)
    raise vol.Invalid(f"expected a queue name, got {_quote_value(value)}")


def _quote_value(value: object) -> str:
    """Return a value from a response as one short printable line."""
    if isinstance(value, str | int | float | None):
        return one_line(ascii(value), longest=_MAX_VALUE_LENGTH)
    return "a list" if isinstance(value, list) else "an object"


def _counts(value: object) -> dict[str, int]:
    """Validate the counts of a queue and drop all other fields.

    A nested schema does the same at three times the cost, and each poll validates 19 queues.
    """
    if not isinstance(value, dict):
        raise vol.Invalid("expected an object")
    counts = {}
    for name in _COUNTS:
        if name not in value:
            raise vol.RequiredFieldInvalid("required key not provided", [name])
        try:
            counts[name] = _count(value[name])
        except vol.Invalid as error:
            error.prepend([name])
            raise
    return counts


# Makes the schema of a JSON object. Every field is required; others are removed.
_object: Final = partial(vol.Schema, required=True, extra=vol.REMOVE_EXTRA)

_QUEUE: Final = _object({"name": _name, "isPaused": _flag, "statistics": _counts})

_QUEUES: Final = vol.Schema(vol.All(list, vol.Length(min=1, max=MAX_QUEUES), [_QUEUE]))

_JOB: Final = _object({"queueStatus": {"isPaused": _flag}, "jobCounts": _counts})

_JOBS: Final = vol.Schema(vol.All(dict, vol.Length(min=1, max=MAX_QUEUES), {str: _JOB}))

_VERSION: Final = _object(dict.fromkeys(("major", "minor", "patch"), _count))

# Check the length first: voluptuous creates an error for every invalid item.
_PERMISSIONS: Final = vol.All(list, vol.Length(max=_MAX_PERMISSIONS), [str])

_API_KEY: Final = _object({"permissions": _PERMISSIONS})


@dataclass(frozen=True, slots=True)
class QueueApi:
    """One of Immich's queue APIs.

    The list of all queues is at ``path``. ``decode_queues`` makes the queues, in Immich's order,
    from its decoded JSON, and ``decode_queue`` the queue with the given name from its own. Both
    raise vol.Invalid.
    """

    name: str
    path: str
    read_permission: str
    write_permission: str
    pause_payload: Mapping[str, object]
    resume_payload: Mapping[str, object]
    decode_queues: Callable[[object], list[Queue]]
    decode_queue: Callable[[str, object], Queue]

    def queue_path(self, name: str) -> str:
        """Return the path of a queue.

        >>> JOBS_API.queue_path("face detection")
        '/api/jobs/face%20detection'
        """
        return f"{self.path}/{quote(name, safe='')}"

    def pause_body(self, *, paused: bool) -> bytes:
        """Return the JSON body of the request that pauses or resumes a queue.

        >>> QUEUES_API.pause_body(paused=True), JOBS_API.pause_body(paused=False)
        (b'{"isPaused": true}', b'{"command": "resume"}')
        """
        return json.dumps(self.pause_payload if paused else self.resume_payload).encode()

    def parse_queues(self, body: bytes) -> Snapshot:
        """Return all queues from the response to a ``GET`` of the list, in Immich's order.

        Raises:
            UnexpectedError: the response is invalid; the message names the field.
        """
        request = f"GET {self.path}"
        snapshot: dict[str, Queue] = {}
        for queue in _parse(request, self.decode_queues, body):
            if queue.name in snapshot:
                raise _invalid_response(request, f"{queue.name} occurs twice")
            snapshot[queue.name] = queue
        return snapshot

    def parse_queue(self, name: str, body: bytes) -> Queue:
        """Return a queue from the response to a ``PUT`` of its path.

        Raises:
            UnexpectedError: the response is invalid or shows another queue.
        """
        request = f"PUT {self.queue_path(name)}"
        return _parse(request, lambda data: self.decode_queue(name, data), body)

    def missing_permissions(self, permissions: frozenset[str] | None) -> frozenset[str]:
        """Return the permissions that a key lacks; none if its permissions are unknown (None).

        >>> sorted(QUEUES_API.missing_permissions(frozenset({"queue.read"})))
        ['queue.update']
        >>> QUEUES_API.missing_permissions(frozenset({"all"}))
        frozenset()
        >>> QUEUES_API.missing_permissions(None)
        frozenset()
        """
        if permissions is None or "all" in permissions:
            return frozenset()
        return frozenset({self.read_permission, self.write_permission}) - permissions


def parse_version(body: bytes) -> str:
    """Return the version, such as ``3.1.0``, from the response to ``GET /api/server/version``.

    Raises:
        UnexpectedError: the response holds no version in Immich's format.
    """
    version = _parse("GET /api/server/version", _VERSION, body)
    return "{major}.{minor}.{patch}".format(**version)


def parse_permissions(body: bytes) -> frozenset[str]:
    """Return the permissions of the key from the response to ``GET /api/api-keys/me``.

    Raises:
        UnexpectedError: the response is invalid.
    """
    return frozenset(_parse("GET /api/api-keys/me", _API_KEY, body)["permissions"])


def parse_message(body: bytes) -> str | None:
    """Return the message of an error response as one line; None if the response has none.

    >>> parse_message(b'{"message": "Invalid API key"}'), parse_message(b"<html>")
    ('Invalid API key', None)
    """
    try:
        data = _decode(body)
    except (ValueError, RecursionError, vol.Invalid):
        return None
    message = data.get("message") if isinstance(data, dict) else None
    if isinstance(message, list):  # in older versions
        message = "; ".join(part for part in message if isinstance(part, str))
    return one_line(message.strip(), longest=MAX_QUOTE_LENGTH) if isinstance(message, str) else None


def _queue(data: Mapping[str, Any]) -> Queue:
    return Queue(data["name"], is_paused=data["isPaused"], **data["statistics"])


def _queue_named(name: str, data: object) -> Queue:
    queue = _queue(_QUEUE(data))
    if queue.name != name:
        raise vol.Invalid(
            f"expected {_quote_value(name)}, got {_quote_value(queue.name)}", ["name"]
        )
    return queue


def _queue_from_job(name: str, data: Mapping[str, Any]) -> Queue:
    return Queue(name, is_paused=data["queueStatus"]["isPaused"], **data["jobCounts"])


QUEUES_API: Final = QueueApi(
    name="queues API",
    path="/api/queues",
    read_permission="queue.read",
    write_permission="queue.update",
    pause_payload={"isPaused": True},
    resume_payload={"isPaused": False},
    decode_queues=lambda data: [_queue(queue) for queue in _QUEUES(data)],
    decode_queue=_queue_named,
)
"""The API of Immich 2.4 and later."""

JOBS_API: Final = QueueApi(
    name="jobs API",
    path="/api/jobs",
    read_permission="job.read",
    write_permission="job.create",
    pause_payload={"command": "pause"},
    resume_payload={"command": "resume"},
    decode_queues=lambda data: [
        _queue_from_job(_name(name), job) for name, job in _JOBS(data).items()
    ],
    decode_queue=lambda name, data: _queue_from_job(name, _JOB(data)),
)
"""The API of every version of Immich, deprecated since 2.4."""

APIS: Final = (QUEUES_API, JOBS_API)
"""All known APIs, the preferred one first. A new API of Immich is one more entry."""


START_BODY: Final = json.dumps({"command": "start", "force": False}).encode()
"""Makes a queue scan for assets without its result. Only the jobs API has this command.

With ``force`` Immich would process every asset again.
"""


def _decode(body: bytes) -> object:
    """Decode JSON, strictly: Python accepts NaN, infinity and duplicate fields by default."""
    return json.loads(body, object_pairs_hook=_without_duplicates, parse_constant=_reject_constant)


def _without_duplicates(fields: list[tuple[str, object]]) -> dict[str, object]:
    by_name = dict(fields)
    if len(by_name) != len(fields):
        raise vol.Invalid("a field occurs twice")
    return by_name


def _reject_constant(constant: str) -> NoReturn:
    raise vol.Invalid(f"{constant} is not valid JSON")


def _parse(request: str, schema: Callable[[object], _T], body: bytes) -> _T:
    try:
        return schema(_decode(body))
    except vol.MultipleInvalid as error:
        reason = _describe(error.errors[0])
    except vol.Invalid as error:
        reason = _describe(error)
    except RecursionError:
        reason = "it is nested too deeply"
    except (json.JSONDecodeError, UnicodeDecodeError):
        reason = f"it is not complete JSON ({len(body)} bytes)"
    except ValueError:
        # Python does not convert integers of more than 4300 digits.
        reason = "it contains a number with thousands of digits"
    raise _invalid_response(request, reason)


def _describe(error: vol.Invalid) -> str:
    path = "".join(
        f".{part}" if str(part).isidentifier() else f"[{_quote_value(part)}]" for part in error.path
    )
    problem = "missing" if isinstance(error, vol.RequiredFieldInvalid) else str(error.msg)
    return f"{path.lstrip('.')}: {problem}" if path else problem


def _invalid_response(request: str, reason: str) -> UnexpectedError:
    return UnexpectedError(
        f"Immich's response to {request} is invalid: {reason}. If this continues, check whether "
        "this version of Immich needs a newer version of the daemon"
    )
