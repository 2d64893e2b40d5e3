"""The two APIs of Immich that speak of queues, side by side, and the shapes of their answers.

Whatever Immich sends is checked here, once. Past this border a `Queue` is what it says it is.
Paths, bodies, permissions and shapes: seen on Immich 3.1.0.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import quote

import voluptuous as vol

from immich_job_daemon.base.errors import UnexpectedError
from immich_job_daemon.base.text import one_line
from immich_job_daemon.model.queue import MAX_QUEUES, Queue, Snapshot, is_queue_name

_T = TypeVar("_T")

_COUNTS: Final = ("active", "waiting", "paused", "delayed", "failed")
_MOST_PERMISSIONS: Final = 1000
_LARGEST_COUNT: Final = 2**53
LONGEST_QUOTE: Final = 200
"""Characters of a message of Immich's that an error quotes."""
_LONGEST_VALUE: Final = 60


def _count(value: object) -> int:
    if type(value) is int and 0 <= value <= _LARGEST_COUNT:
        return value
    raise vol.Invalid(f"expected a whole number from 0, got {_quoted(value)}")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise vol.Invalid(f"expected true or false, got {_quoted(value)}")


def _name(value: object) -> str:
    if is_queue_name(value):
        return str(value)
    raise vol.Invalid(f"expected the name of a queue, got {_quoted(value)}")


def _quoted(value: object) -> str:
    """Show a value of Immich's in a message: short, printable, on one line."""
    if isinstance(value, str | int | float | None):
        return one_line(ascii(value), longest=_LONGEST_VALUE)
    return "a list" if isinstance(value, list) else "an object"


def _counts(value: object) -> dict[str, int]:
    """Accept an object with all the counts; return these and no others.

    A nested schema would say the same at three times the cost, 19 times a look.
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


_QUEUE: Final = vol.Schema(
    {
        vol.Required("name"): _name,
        vol.Required("isPaused"): _flag,
        vol.Required("statistics"): _counts,
    },
    extra=vol.REMOVE_EXTRA,
)

_QUEUES: Final = vol.Schema(vol.All(list, vol.Length(min=1, max=MAX_QUEUES), [_QUEUE]))

_JOB: Final = vol.Schema(
    {
        vol.Required("queueStatus"): {vol.Required("isPaused"): _flag},
        vol.Required("jobCounts"): _counts,
    },
    extra=vol.REMOVE_EXTRA,
)

_JOBS: Final = vol.Schema(vol.All(dict, vol.Length(min=1, max=MAX_QUEUES), {str: _JOB}))

_VERSION: Final = vol.Schema(
    {vol.Required(part): _count for part in ("major", "minor", "patch")}, extra=vol.REMOVE_EXTRA
)

# The length first: voluptuous makes an error for every item that is wrong.
_PERMISSIONS: Final = vol.All(list, vol.Length(max=_MOST_PERMISSIONS), [str])

_KEY: Final = vol.Schema({vol.Required("permissions"): _PERMISSIONS}, extra=vol.REMOVE_EXTRA)


@dataclass(frozen=True, slots=True)
class QueueApi:
    """One API of Immich: where it is, what it needs, how it says what.

    Attributes:
        name: for a person, such as ``queues API``.
        path: of the request that reads all queues; a queue's own is below it.
        read: the permission that reading needs.
        write: the permission that pausing and resuming needs.
        change: makes the body that pauses (True) or resumes (False).
        read_all: makes queues in Immich's order of a decoded answer, or raises vol.Invalid.
        read_one: makes the named queue of a decoded answer, or raises vol.Invalid.
    """

    name: str
    path: str
    read: str
    write: str
    change: Callable[[bool], Mapping[str, object]]
    read_all: Callable[[object], list[Queue]]
    read_one: Callable[[str, object], Queue]

    def path_of(self, name: str) -> str:
        """Return the path of the named queue.

        >>> JOBS_API.path_of("face detection")
        '/api/jobs/face%20detection'
        """
        return f"{self.path}/{quote(name, safe='')}"

    def body(self, *, paused: bool) -> bytes:
        """Return the JSON that pauses a queue or resumes it.

        >>> QUEUES_API.body(paused=True), JOBS_API.body(paused=False)
        (b'{"isPaused": true}', b'{"command": "resume"}')
        """
        return json.dumps(self.change(paused)).encode()

    def parse_all(self, body: bytes) -> Snapshot:
        """Return every queue of an answer to ``GET`` of the path, in Immich's order.

        Raises:
            UnexpectedError: the answer makes no sense; the message names the field.
        """
        request = f"GET {self.path}"
        snapshot: dict[str, Queue] = {}
        for queue in _validated(request, self.read_all, body):
            if queue.name in snapshot:
                raise UnexpectedError(_nonsense(request, f"{queue.name} is there twice"))
            snapshot[queue.name] = queue
        return snapshot

    def parse_one(self, name: str, body: bytes) -> Queue:
        """Return the named queue of an answer to ``PUT`` of its path.

        Raises:
            UnexpectedError: the answer makes no sense or is about another queue.
        """
        request = f"PUT {self.path_of(name)}"
        return _validated(request, lambda data: self.read_one(name, data), body)

    def missing(self, permissions: frozenset[str] | None) -> frozenset[str]:
        """Return what a key with these permissions lacks; nothing where they are not known.

        >>> sorted(QUEUES_API.missing(frozenset({"queue.read"})))
        ['queue.update']
        >>> QUEUES_API.missing(frozenset({"all"})), QUEUES_API.missing(None)
        (frozenset(), frozenset())
        """
        if permissions is None or "all" in permissions:
            return frozenset()
        return frozenset({self.read, self.write}) - permissions


def parse_version(body: bytes) -> str:
    """Return the version, such as ``3.1.0``, of an answer to ``GET /api/server/version``.

    Raises:
        UnexpectedError: this is not how Immich tells its version.
    """
    version = _validated("GET /api/server/version", _VERSION, body)
    return "{major}.{minor}.{patch}".format(**version)


def parse_permissions(body: bytes) -> frozenset[str]:
    """Return the permissions of an answer to ``GET /api/api-keys/me``.

    Raises:
        UnexpectedError: the answer makes no sense.
    """
    return frozenset(_validated("GET /api/api-keys/me", _KEY, body)["permissions"])


def parse_message(body: bytes) -> str | None:
    """Return what an answer that carries an error says, on one line; None if it is not Immich's.

    >>> parse_message(b'{"message": "Invalid API key"}'), parse_message(b"<html>")
    ('Invalid API key', None)
    """
    try:
        data = _decoded(body)
    except (ValueError, RecursionError, vol.Invalid):
        return None
    message = data.get("message") if isinstance(data, dict) else None
    if isinstance(message, list):  # a list in the older versions
        message = "; ".join(part for part in message if isinstance(part, str))
    return one_line(message.strip(), longest=LONGEST_QUOTE) if isinstance(message, str) else None


def _from_queue(data: Mapping[str, Any]) -> Queue:
    return Queue(data["name"], is_paused=data["isPaused"], **data["statistics"])


def _from_job(name: str, data: Mapping[str, Any]) -> Queue:
    return Queue(name, is_paused=data["queueStatus"]["isPaused"], **data["jobCounts"])


def _one_queue(name: str, data: object) -> Queue:
    queue = _from_queue(_QUEUE(data))
    if queue.name != name:
        raise vol.Invalid(f"expected {_quoted(name)}, got {_quoted(queue.name)}", ["name"])
    return queue


QUEUES_API: Final = QueueApi(
    name="queues API",
    path="/api/queues",
    read="queue.read",
    write="queue.update",
    change=lambda paused: {"isPaused": paused},
    read_all=lambda data: [_from_queue(queue) for queue in _QUEUES(data)],
    read_one=_one_queue,
)
"""The API of Immich 2.4 and later."""

JOBS_API: Final = QueueApi(
    name="jobs API",
    path="/api/jobs",
    read="job.read",
    write="job.create",
    change=lambda paused: {"command": "pause" if paused else "resume"},
    read_all=lambda data: [_from_job(_name(name), job) for name, job in _JOBS(data).items()],
    read_one=lambda name, data: _from_job(name, _JOB(data)),
)
"""The API of every version of Immich, deprecated since 2.4."""

APIS: Final = (QUEUES_API, JOBS_API)
"""Every known API, the preferred one first. A new API of Immich is one more entry."""


START: Final = json.dumps({"command": "start", "force": False}).encode()
"""What makes a queue look for assets that miss what it makes; only the jobs API knows it."""


def _decoded(body: bytes) -> object:
    """Return the JSON of an answer, without what JSON does not know and Python lets pass."""
    return json.loads(body, object_pairs_hook=_distinct, parse_constant=_refuse_constant)


def _distinct(fields: list[tuple[str, object]]) -> dict[str, object]:
    by_name = dict(fields)
    if len(by_name) != len(fields):
        raise vol.Invalid("a field is there twice")
    return by_name


def _refuse_constant(constant: str) -> NoReturn:
    raise vol.Invalid(f"{constant} is no JSON")


def _validated(request: str, read: Callable[[object], _T], body: bytes) -> _T:
    try:
        return read(_decoded(body))
    except vol.MultipleInvalid as error:
        reason = _told(error.errors[0])
    except vol.Invalid as error:
        reason = _told(error)
    except RecursionError:
        reason = "it is nested too deeply"
    except (json.JSONDecodeError, UnicodeDecodeError):
        reason = f"it is no complete JSON ({len(body)} bytes)"
    except ValueError:
        # Python reads no whole number of more than 4300 digits.
        reason = "it holds a number of thousands of digits"
    raise UnexpectedError(_nonsense(request, reason))


def _told(error: vol.Invalid) -> str:
    path = "".join(
        f".{part}" if str(part).isidentifier() else f"[{_quoted(part)}]" for part in error.path
    )
    what = "missing" if isinstance(error, vol.RequiredFieldInvalid) else str(error.msg)
    return f"{path.lstrip('.')}: {what}" if path else what


def _nonsense(request: str, reason: str) -> str:
    return (
        f"Immich's answer to {request} makes no sense: {reason}. If this goes on, look whether "
        "this Immich is newer than the daemon"
    )
