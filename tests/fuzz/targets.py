"""Fuzz targets: for any bytes a parser returns a valid value or raises a readable error.

A target raises if that is not true. ``script/fuzz`` searches for such bytes, guided by coverage;
``test_corpus`` replays the inputs in tests/corpus, each of which covered something new.
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


def responses(data: bytes) -> None:
    """Parse the bytes as a response of Immich; the first byte selects the request."""
    kind, body = data[:1], data[1:]
    message = ""
    try:
        _READERS[kind[0] % len(_READERS) if kind else 0](body)
    except ImmichError as error:
        message = str(error)
    _assert_readable(message)


def _assert_readable(line: str) -> None:
    assert line.isprintable(), line
    assert len(line) < LONGEST_MESSAGE, line


def _queue_list(read: Callable[[bytes], Mapping[str, Queue]]) -> Callable[[bytes], None]:
    def check(body: bytes) -> None:
        queues = read(body)
        assert 0 < len(queues) <= MAX_QUEUES
        for name, queue in queues.items():
            assert name == queue.name
            _assert_valid(queue)
        restored = decode(encode(DaemonState(SchedulerState(paused_by_daemon=frozenset(queues)))))
        assert restored.scheduler.paused_by_daemon == queues.keys()

    return check


def _assert_valid(queue: Queue) -> None:
    assert queue.name.isprintable()
    assert "/" not in QUEUES_API.queue_path(queue.name).removeprefix("/api/queues/")
    assert type(queue.is_paused) is bool
    counts = (queue.active, queue.waiting, queue.paused, queue.delayed, queue.failed)
    assert all(type(count) is int and count >= 0 for count in counts)


def _version(body: bytes) -> None:
    assert parse_version(body).count(".") == 2


def _permissions(body: bytes) -> None:
    permissions = parse_permissions(body)
    QUEUES_API.missing_permissions(permissions)


def _message(body: bytes) -> None:
    message = parse_message(body)
    assert message is None or message.isprintable()


def _status_and_headers(body: bytes) -> None:
    """Use the first lines as status, content type and location, and the rest as body."""
    head, _, rest = body.partition(b"\n\n")
    status, kind, location, *_ = *head.decode("latin-1").split("\n"), "", "", ""
    statuses = tuple(HTTPStatus)
    number = statuses[len(status) % len(statuses)] if not status.isdecimal() else int(status[:4])
    body_or_raise(Response(number, kind, rest, location or None), "GET", "/api/queues")


_READERS: Final[tuple[Callable[[bytes], None], ...]] = (
    _queue_list(QUEUES_API.parse_queues),
    _queue_list(JOBS_API.parse_queues),
    lambda body: _assert_valid(QUEUES_API.parse_queue("ocr", body)),
    lambda body: _assert_valid(JOBS_API.parse_queue("ocr", body)),
    _version,
    _permissions,
    _message,
    _status_and_headers,
)


def options(data: bytes) -> None:
    """Parse the bytes as options, or as the value of one; the first byte selects which."""
    kind, rest = data[:1], data[1:]
    name = NAMES[kind[0] % len(NAMES)] if kind else ""
    try:
        if kind and kind[0] < len(NAMES):
            text = rest.decode("utf-8", "surrogateescape")
            settings, lines = read_settings({"API_KEY": KEY, name: text}, None)
        elif kind and kind[0] < 2 * len(NAMES):
            value = read_options("-", io.BytesIO(b'{"value":' + rest + b"}")).get("value")
            settings, lines = read_settings({"API_KEY": KEY}, {name: value})
        else:
            settings, lines = read_settings({"API_KEY": KEY}, read_options("-", io.BytesIO(rest)))
    except SettingsError as error:
        lines = error.problems or [""]
    else:
        _assert_valid_settings(settings)
    for line in lines:
        _assert_readable(line)
        assert KEY not in line


def _assert_valid_settings(settings: Settings) -> None:
    hour = 3600
    assert 1 <= settings.poll_interval <= hour
    assert settings.max_concurrent_jobs >= 1
    assert settings.unrestricted_below >= 0
    assert settings.immich_url == "" or settings.immich_url.startswith(("http://", "https://"))
    assert settings.status_port != settings.ui_port or settings.ui_port == 0
    assert len(set(settings.queue_priority)) == len(settings.queue_priority)
    assert {field.name.upper() for field in fields(settings)} == set(NAMES)


TARGETS: Final = {"responses": responses, "options": options}
