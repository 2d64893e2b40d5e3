"""A real daemon with a server that sends hostile responses: it reports them and recovers.

Every request ends in time, no response costs much memory, and no text of a response can forge a log
line or become markup on the page.
"""

import gzip
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import requests

from immich_job_daemon.model.queue import MAX_QUEUES
from tests.cli.test_main import daemon, stop
from tests.support.immich_server import paused, simulated_immich_server
from tests.support.intercepting_server import (
    ALL_REQUESTS,
    POLLS,
    InterceptingServer,
    RawResponse,
    http_response,
)
from tests.support.observed_process import ObservedProcess
from tests.support.waiting import wait_until
from tests.web.daemon_process import DaemonProcess, real_daemon

MIB: Final = 1 << 20
MAX_MEMORY_GROWTH: Final = 40.0
"""MiB that a response may cost for a while: a MiB of the smallest JSON objects takes forty."""
BASE_MEMORY: Final = 60.0
"""Most MiB of the process before its first request."""
MAX_CPU_TIME: Final = 10.0
"""Seconds of CPU time for one hostile response: as long as a request may take."""

FORGED: Final = "all is in order"
FORGING_TEXT: Final = f"x\n[19:07:31] INFO: {FORGED}\r\x1b[2K\u202e<b>bold</b>"
MARKUP: Final = "<img src=x onerror=alert(1)>"


class Scenario(NamedTuple):
    """A daemon that controls a simulated Immich through an intercepting server."""

    real: DaemonProcess
    intercepting: InterceptingServer
    watched: ObservedProcess


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    folder = tmp_path_factory.mktemp("hostile")
    with simulated_immich_server() as server, closing(InterceptingServer(server)) as intercepting:
        options = {"IMMICH_URL": intercepting.url, "POLL_INTERVAL": 1}
        with real_daemon(server, folder, **options) as real:
            yield Scenario(real, intercepting, ObservedProcess(real.process.pid, folder))


def run_scenario(scenario: Scenario, requests: str, say: RawResponse, *words: str) -> None:
    """Send hostile responses; the daemon must log one of these messages and recover."""
    watched, start = scenario.watched, len(scenario.watched.log)
    watched.reset_peak_memory()
    memory, processor = watched.peak_memory, watched.cpu_seconds
    with scenario.intercepting.intercept(requests, say):
        wait_until(lambda: any(one in watched.log[start:] for one in words))
        assert fetch_page(scenario.real.page_port)
        assert watched.peak_memory - memory < MAX_MEMORY_GROWTH
    wait_until(lambda: "All is well again" in watched.log[start:])
    assert watched.cpu_seconds - processor < MAX_CPU_TIME
    assert scenario.real.process.poll() is None
    watched.log_since(start)


def fetch_page(port: int) -> str:
    response = requests.get(f"http://127.0.0.1:{port}/", timeout=90)
    assert response.status_code == 200
    return response.text


def endless(start: bytes, repeated: bytes) -> RawResponse:
    """Return a response that repeats one part for ever."""
    block = repeated * max(1, (64 << 10) // len(repeated))
    return lambda: itertools.chain([start], itertools.repeat(block))


OK: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED: Final = OK + b"transfer-encoding: chunked\r\n\r\n"


def one_hundred_mb() -> Iterable[bytes]:
    yield OK + b"content-length: 100000000\r\n\r\n"
    yield from itertools.repeat(b" " * 100_000, 1000)


def a_million_queues() -> Iterable[bytes]:
    yield OK + b"\r\n["
    for number in range(1_000_000):
        yield json.dumps(queue(f"queue{number}")).encode() + b","
    yield json.dumps(queue("last")).encode() + b"]"


def queue(name: object, **counts: object) -> dict[str, object]:
    statistics = dict.fromkeys(("active", "waiting", "paused", "delayed", "failed"), 0)
    return {"name": name, "isPaused": False, "statistics": {**statistics, **counts}}


def respond_with(
    body: bytes, status: str = "200 OK", headers: str = "connection: close"
) -> RawResponse:
    return lambda: [http_response(body, status, headers)]


def queues(*queues: object) -> RawResponse:
    return respond_with(json.dumps(queues).encode())


def a_count(text: str) -> RawResponse:
    return respond_with(
        json.dumps([queue("ocr", active="COUNT")]).replace('"COUNT"', text).encode()
    )


def list_of_a_mib(item: bytes) -> RawResponse:
    return respond_with(b"[" + item * ((MIB - 2) // len(item) - 1) + item.rstrip(b",") + b"]")


COMPRESSED: Final = gzip.compress(bytes(100 * MIB), compresslevel=1)
TOO_LARGE: Final = "sent a response of more than 1 MiB"
TIMED_OUT: Final = "sent no complete response within"
INVALID_COUNT: Final = "[0].statistics.active: expected a whole number from 0, got "
INVALID_NAME: Final = "[0].name: expected a queue name, got "

LARGE: Final[dict[str, tuple[RawResponse, str]]] = {
    "100 MB": (one_hundred_mb, TOO_LARGE),
    "a million queues": (a_million_queues, TOO_LARGE),
    "100 MB, compressed": (
        respond_with(COMPRESSED, headers="content-encoding: gzip\r\nconnection: close"),
        TOO_LARGE,
    ),
    "endless chunks": (endless(CHUNKED, b"10\r\n" + b" " * 16 + b"\r\n"), TOO_LARGE),
    "an endless chunk size": (endless(CHUNKED, b"0"), "closed the connection before"),
    "endless headers": (endless(OK, b"x: y\r\n"), "does not speak HTTP"),
    "endless interim responses": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), TOO_LARGE),
    "endless trailers": (endless(CHUNKED + b"0\r\n", b"x: y\r\n"), TOO_LARGE),
    "lists in lists": (respond_with(b"[" * (MIB - 1)), "it is nested too deeply"),
    "objects in objects": (respond_with(b'{"a":' * 200_000), "it is nested too deeply"),
    "a MiB of lists": (list_of_a_mib(b"[],"), "length of value must be at most"),
    "a MiB of objects": (list_of_a_mib(b"{},"), "length of value must be at most"),
    "a MiB of numbers": (list_of_a_mib(b"0,"), "length of value must be at most"),
}
WRONG: Final[dict[str, tuple[RawResponse, str]]] = {
    "a count of NaN": (a_count("NaN"), "NaN is not valid JSON"),
    "a count of infinity": (a_count("-Infinity"), "-Infinity is not valid JSON"),
    "a count below 0": (a_count("-1"), INVALID_COUNT + "-1"),
    "a count of 2 to the 64th": (a_count(str(2**64)), INVALID_COUNT + str(2**64)),
    "a count that is not a whole number": (a_count("1e400"), INVALID_COUNT + "inf"),
    "a count of many digits": (a_count("9" * 100_000), "a number with thousands of digits"),
    "a name that forges a line": (
        queues(queue(FORGING_TEXT)),
        INVALID_NAME + "'x\\n[19:07:31] INFO",
    ),
    "a name with colours": (queues(queue("\x1b[31mred")), INVALID_NAME),
    "a name that changes the direction of writing": (queues(queue("ocr\u202e")), INVALID_NAME),
    "a name that is a path": (queues(queue("../../etc")), INVALID_NAME),
    "a name of a MiB": (queues(queue("o" * (MIB - 200))), INVALID_NAME),
    "an error that forges a line": (
        respond_with(json.dumps({"message": FORGING_TEXT}).encode(), "500 Any"),
        "with 500 x\\n[19:07:31] INFO: all is in order",
    ),
    "a redirect with markup": (
        respond_with(b"", "302 Any", f"location: http://x/{MARKUP}\x1b[2K"),
        "Immich redirects to http://x/<img",
    ),
}


@pytest.mark.parametrize("case", LARGE)
def test_a_large_response_is_reported_and_costs_little(scenario: Scenario, case: str) -> None:
    say, words = LARGE[case]
    run_scenario(scenario, POLLS, say, words)


def test_endless_chunks_of_one_byte_cost_no_more_than_the_timeout(scenario: Scenario) -> None:
    """They cost the most: a slow machine reaches the timeout before the size limit."""
    run_scenario(scenario, POLLS, endless(CHUNKED, b"1\r\n \r\n"), TOO_LARGE, TIMED_OUT)


def test_an_invalid_response_is_reported_and_forges_nothing(scenario: Scenario) -> None:
    watched, start = scenario.watched, len(scenario.watched.log)
    for say, words in WRONG.values():
        with scenario.intercepting.intercept(POLLS, say):
            wait_until(lambda words=words: words in watched.log[start:])  # type: ignore[misc]
            page = fetch_page(scenario.real.page_port)
            assert "<b>" not in page
            assert "<img src=x" not in page
    wait_until(lambda: "All is well again" in watched.log[start:])
    assert not re.search(rf"INFO: {FORGED}$", watched.log_since(start), re.MULTILINE)


def test_the_daemon_survives_garbage_in_place_of_every_response(scenario: Scenario) -> None:
    run_scenario(scenario, ALL_REQUESTS, endless(OK + b"\r\n", b"\xff\x00<"), TOO_LARGE)


def test_ever_new_queue_names_are_not_all_remembered(scenario: Scenario) -> None:
    """Each poll shows 70 new names."""
    numbers = itertools.count()

    def say() -> Iterable[bytes]:
        yield http_response(
            json.dumps([queue(f"q{next(numbers)}", active=1) for _ in range(70)]).encode()
        )

    run_scenario(scenario, POLLS, say, f"has named more than {MAX_QUEUES} different queues")
    assert (
        len(json.loads((scenario.real.folder / "ledger.json").read_text())["paused_by_daemon"])
        < MAX_QUEUES
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [(MARKUP, "&lt;img src=x onerror=alert(1)&gt;"), ('"&', "&#34;&amp;")],
    ids=["element", "quote"],
)
def test_markup_in_a_name_is_rejected_and_shown_as_text(
    scenario: Scenario, name: str, shown: str
) -> None:
    start = len(scenario.watched.log)
    with scenario.intercepting.intercept(POLLS, queues(queue(name, active=1))):
        wait_until(lambda: shown in fetch_page(scenario.real.page_port))
        page = fetch_page(scenario.real.page_port)
        assert "<img src=x" not in page.lower()
        metrics = requests.get(f"http://127.0.0.1:{scenario.real.status_port}/metrics", timeout=90)
        assert name not in metrics.text
    scenario.watched.log_since(start)


PERMISSIONS: Final = b'{"permissions":[' + b"0," * ((MIB - 20) // 2) + b"0]}"


@pytest.mark.parametrize(
    ("requests", "say", "words"),
    [
        (
            r"GET /api/server/version",
            respond_with(b'{"major":' + b"9" * 9000 + b"}"),
            "it sent no version",
        ),
        (r"GET /api/server/version", one_hundred_mb, TOO_LARGE),
        (
            r"GET /api/api-keys/me",
            respond_with(PERMISSIONS),
            "permissions: length of value must be at",
        ),
    ],
    ids=["a version of many digits", "a version of 100 MB", "a MiB of permissions"],
)
def test_responses_to_the_first_requests_are_limited_too(
    tmp_path: Path, requests: str, say: RawResponse, words: str
) -> None:
    with (
        simulated_immich_server() as server,
        closing(InterceptingServer(server)) as intercepting,
        intercepting.intercept(requests, say),
        daemon(server, tmp_path, IMMICH_URL=intercepting.url) as process,
    ):
        watched = ObservedProcess(process.pid, tmp_path)
        wait_until(lambda: words in watched.log)
        assert watched.peak_memory < BASE_MEMORY + MAX_MEMORY_GROWTH
        assert watched.cpu_seconds < MAX_CPU_TIME
        watched.log_since(0)
        stop(process)
        assert paused(server) == set()
