"""What is fuzzed: any bytes go in, and either something sound comes out or an error for a person.

Each target raises where that does not hold. ``script/fuzz`` searches for such bytes, guided by the
lines that they reach; ``test_corpus`` replays those in tests/corpus, which reached one each.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import fields
from http import HTTPStatus
from typing import Final

from immich_job_daemon.base.errors import ImmichError
from immich_job_daemon.config.schema import SETTINGS, SettingsError, read_options, read_settings
from immich_job_daemon.daemon.ledger import decode, encode
from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.immich.apis import (
    JOBS_API,
    QUEUES_API,
    parse_message,
    parse_permissions,
    parse_version,
)
from immich_job_daemon.immich.responses import body_or_raise
from immich_job_daemon.immich.transport import Response
from immich_job_daemon.model.queue import MAX_QUEUES, Queue
from immich_job_daemon.model.settings import Settings
from immich_job_daemon.scheduler.state import SchedulerState

LONGEST_MESSAGE: Final = 1000
KEY: Final = "the-key-of-the-fuzzer"
NAMES: Final = tuple(SETTINGS)


def answers(data: bytes) -> None:
    """Take the bytes for an answer of Immich; the first one says to which request."""
    kind, body = data[:1], data[1:]
    said = ""
    try:
        _READERS[kind[0] % len(_READERS) if kind else 0](body)
    except ImmichError as error:
        said = str(error)
    _is_readable(said)


def _is_readable(line: str) -> None:
    assert line.isprintable(), line
    assert len(line) < LONGEST_MESSAGE, line


def _listing(read: Callable[[bytes], Mapping[str, Queue]]) -> Callable[[bytes], None]:
    def listed(body: bytes) -> None:
        queues = read(body)
        assert 0 < len(queues) <= MAX_QUEUES
        for name, queue in queues.items():
            assert name == queue.name
            _is_sound(queue)
        kept = decode(encode(DaemonState(SchedulerState(paused_by_daemon=frozenset(queues)))))
        assert kept.scheduler.paused_by_daemon == queues.keys()

    return listed


def _is_sound(queue: Queue) -> None:
    assert queue.name.isprintable()
    assert "/" not in QUEUES_API.queue_path(queue.name).removeprefix("/api/queues/")
    assert type(queue.is_paused) is bool
    counts = (queue.active, queue.waiting, queue.paused, queue.delayed, queue.failed)
    assert all(type(count) is int and count >= 0 for count in counts)


def _version(body: bytes) -> None:
    assert parse_version(body).count(".") == 2


def _permissions(body: bytes) -> None:
    found = parse_permissions(body)
    QUEUES_API.missing_permissions(found)


def _message(body: bytes) -> None:
    message = parse_message(body)
    assert message is None or message.isprintable()


def _meaning(body: bytes) -> None:
    """Take lines for the status, the type and the location, and what follows for the body."""
    head, _, rest = body.partition(b"\n\n")
    status, kind, location, *_ = *head.decode("latin-1").split("\n"), "", "", ""
    statuses = tuple(HTTPStatus)
    number = statuses[len(status) % len(statuses)] if not status.isdecimal() else int(status[:4])
    body_or_raise(Response(number, kind, rest, location or None), "GET", "/api/queues")


_READERS: Final[tuple[Callable[[bytes], None], ...]] = (
    _listing(QUEUES_API.parse_queues),
    _listing(JOBS_API.parse_queues),
    lambda body: _is_sound(QUEUES_API.parse_queue("ocr", body)),
    lambda body: _is_sound(JOBS_API.parse_queue("ocr", body)),
    _version,
    _permissions,
    _message,
    _meaning,
)


def options(data: bytes) -> None:
    """Take the bytes for the options, or for the value of one; the first one says for which."""
    kind, rest = data[:1], data[1:]
    name = NAMES[kind[0] % len(NAMES)] if kind else ""
    try:
        if kind and kind[0] < len(NAMES):
            text = rest.decode("utf-8", "surrogateescape")
            settings, said = read_settings({"API_KEY": KEY, name: text}, None)
        elif kind and kind[0] < 2 * len(NAMES):
            value = read_options("-", io.BytesIO(b'{"value":' + rest + b"}")).get("value")
            settings, said = read_settings({"API_KEY": KEY}, {name: value})
        else:
            settings, said = read_settings({"API_KEY": KEY}, read_options("-", io.BytesIO(rest)))
    except SettingsError as error:
        said = error.problems or [""]
    else:
        _are_sound(settings)
    for line in said:
        _is_readable(line)
        assert KEY not in line


def _are_sound(settings: Settings) -> None:
    hour = 3600
    assert 1 <= settings.poll_interval <= hour
    assert settings.max_concurrent_jobs >= 1
    assert settings.unrestricted_below >= 0
    assert settings.immich_url == "" or settings.immich_url.startswith(("http://", "https://"))
    assert settings.status_port != settings.ui_port or settings.ui_port == 0
    assert len(set(settings.queue_priority)) == len(settings.queue_priority)
    assert {field.name.upper() for field in fields(settings)} == set(NAMES)


TARGETS: Final = {"answers": answers, "options": options}
