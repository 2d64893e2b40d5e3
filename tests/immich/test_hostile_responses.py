"""A real daemon before a server that answers what none should: it says so, and is well again.

Every request's time has an end, no answer makes the process much larger, and nothing of what comes
can forge a line of the log or become markup on the page.
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
MORE_MEMORY: Final = 40.0
"""MiB that an answer may cost for a while: a MiB of the smallest objects is forty times that."""
ITS_MEMORY: Final = 60.0
"""MiB that the process has before it asks anything, at most."""
MORE_TIME: Final = 10.0
"""Seconds of the processor for one hostility: as long as an answer may take."""

FORGED: Final = "all is in order"
FORGING: Final = f"x\n[19:07:31] INFO: {FORGED}\r\x1b[2K\u202e<b>bold</b>"
MARKUP: Final = "<img src=x onerror=alert(1)>"


class Scenario(NamedTuple):
    """A daemon that has a simulated Immich in hand, through an impostor that is still honest."""

    real: DaemonProcess
    impostor: InterceptingServer
    watched: ObservedProcess


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    folder = tmp_path_factory.mktemp("hostile")
    with simulated_immich_server() as server, closing(InterceptingServer(server)) as impostor:
        options = {"IMMICH_URL": impostor.url, "POLL_INTERVAL": 1}
        with real_daemon(server, folder, **options) as real:
            yield Scenario(real, impostor, ObservedProcess(real.process.pid, folder))


def suffer(scenario: Scenario, requests: str, say: RawResponse, *words: str) -> None:
    """Let the daemon meet it, tell of it in one of these ways, and be well again."""
    watched, start = scenario.watched, len(scenario.watched.log)
    watched.reset_peak_memory()
    memory, processor = watched.peak_memory, watched.cpu_seconds
    with scenario.impostor.intercept(requests, say):
        wait_until(lambda: any(one in watched.log[start:] for one in words))
        assert requests_to(scenario.real.page_port)
        assert watched.peak_memory - memory < MORE_MEMORY
    wait_until(lambda: "All is well again" in watched.log[start:])
    assert watched.cpu_seconds - processor < MORE_TIME
    assert scenario.real.process.poll() is None
    watched.log_since(start)


def requests_to(port: int) -> str:
    answer = requests.get(f"http://127.0.0.1:{port}/", timeout=90)
    assert answer.status_code == 200
    return answer.text


def endless(start: bytes, again: bytes) -> RawResponse:
    """Return what starts so and goes on so, in blocks, for ever."""
    block = again * max(1, (64 << 10) // len(again))
    return lambda: itertools.chain([start], itertools.repeat(block))


OK: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED: Final = OK + b"transfer-encoding: chunked\r\n\r\n"


def of_100_mb() -> Iterable[bytes]:
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


def said(body: bytes, status: str = "200 OK", headers: str = "connection: close") -> RawResponse:
    return lambda: [http_response(body, status, headers)]


def queues(*queues: object) -> RawResponse:
    return said(json.dumps(queues).encode())


def a_count(text: str) -> RawResponse:
    return said(json.dumps([queue("ocr", active="COUNT")]).replace('"COUNT"', text).encode())


def of_a_mib(item: bytes) -> RawResponse:
    return said(b"[" + item * ((MIB - 2) // len(item) - 1) + item.rstrip(b",") + b"]")


PACKED: Final = gzip.compress(bytes(100 * MIB), compresslevel=1)
TOO_MUCH: Final = "sent an answer of more than 1 MiB"
TOO_LONG: Final = "gave no complete answer within"
NO_COUNT: Final = "[0].statistics.active: expected a whole number from 0, got "
NO_NAME: Final = "[0].name: expected the name of a queue, got "

LARGE: Final[dict[str, tuple[RawResponse, str]]] = {
    "100 MB": (of_100_mb, TOO_MUCH),
    "a million queues": (a_million_queues, TOO_MUCH),
    "100 MB, packed": (
        said(PACKED, headers="content-encoding: gzip\r\nconnection: close"),
        TOO_MUCH,
    ),
    "endless chunks": (endless(CHUNKED, b"10\r\n" + b" " * 16 + b"\r\n"), TOO_MUCH),
    "an endless length of a chunk": (endless(CHUNKED, b"0"), "cut the connection off"),
    "endless headers": (endless(OK, b"x: y\r\n"), "does not answer in HTTP"),
    "endless interim answers": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), TOO_MUCH),
    "endless lines after the last chunk": (endless(CHUNKED + b"0\r\n", b"x: y\r\n"), TOO_MUCH),
    "lists in lists": (said(b"[" * (MIB - 1)), "it is nested too deeply"),
    "objects in objects": (said(b'{"a":' * 200_000), "it is nested too deeply"),
    "a MiB of lists": (of_a_mib(b"[],"), "length of value must be at most"),
    "a MiB of objects": (of_a_mib(b"{},"), "length of value must be at most"),
    "a MiB of numbers": (of_a_mib(b"0,"), "length of value must be at most"),
}
WRONG: Final[dict[str, tuple[RawResponse, str]]] = {
    "a count of NaN": (a_count("NaN"), "NaN is no JSON"),
    "a count of infinity": (a_count("-Infinity"), "-Infinity is no JSON"),
    "a count below 0": (a_count("-1"), NO_COUNT + "-1"),
    "a count of 2 to the 64th": (a_count(str(2**64)), NO_COUNT + str(2**64)),
    "a count that is no whole number": (a_count("1e400"), NO_COUNT + "inf"),
    "a count of many digits": (a_count("9" * 100_000), "a number of thousands of digits"),
    "a name that forges a line": (queues(queue(FORGING)), NO_NAME + "'x\\n[19:07:31] INFO"),
    "a name with colours": (queues(queue("\x1b[31mred")), NO_NAME),
    "a name that turns the text around": (queues(queue("ocr\u202e")), NO_NAME),
    "a name that leaves its place": (queues(queue("../../etc")), NO_NAME),
    "a name of a MiB": (queues(queue("o" * (MIB - 200))), NO_NAME),
    "an error that forges a line": (
        said(json.dumps({"message": FORGING}).encode(), "500 Any"),
        "with 500 x [19:07:31] INFO: all is in order",
    ),
    "a redirect with markup": (
        said(b"", "302 Any", f"location: http://x/{MARKUP}\x1b[2K"),
        "Immich redirects to http://x/<img",
    ),
}


@pytest.mark.parametrize("case", LARGE)
def test_however_much_a_look_brings_it_is_told_and_costs_little(
    scenario: Scenario, case: str
) -> None:
    say, words = LARGE[case]
    suffer(scenario, POLLS, say, words)


def test_chunks_of_a_byte_without_an_end_cost_no_more_than_their_time(scenario: Scenario) -> None:
    """They cost the most: on a slow machine the time of an answer is over before its size is."""
    suffer(scenario, POLLS, endless(CHUNKED, b"1\r\n \r\n"), TOO_MUCH, TOO_LONG)


def test_whatever_is_wrong_with_a_look_is_told_and_forges_nothing(scenario: Scenario) -> None:
    watched, start = scenario.watched, len(scenario.watched.log)
    for say, words in WRONG.values():
        with scenario.impostor.intercept(POLLS, say):
            wait_until(lambda words=words: words in watched.log[start:])  # type: ignore[misc]
            page = requests_to(scenario.real.page_port)
            assert "<b>" not in page
            assert "<img src=x" not in page
    wait_until(lambda: "All is well again" in watched.log[start:])
    assert not re.search(rf"INFO: {FORGED}$", watched.log_since(start), re.MULTILINE)


def test_rubbish_instead_of_every_answer_is_no_end_either(scenario: Scenario) -> None:
    suffer(scenario, ALL_REQUESTS, endless(OK + b"\r\n", b"\xff\x00<"), TOO_MUCH)


def test_names_without_an_end_are_not_all_remembered(scenario: Scenario) -> None:
    """Each look names 70 queues that none has named before."""
    numbers = itertools.count()

    def say() -> Iterable[bytes]:
        yield http_response(
            json.dumps([queue(f"q{next(numbers)}", active=1) for _ in range(70)]).encode()
        )

    suffer(scenario, POLLS, say, f"has named more than {MAX_QUEUES} different queues")
    assert len(json.loads((scenario.real.folder / "ledger.json").read_text())["held"]) < MAX_QUEUES


def test_markup_in_a_name_is_text_on_the_page_and_everywhere(scenario: Scenario) -> None:
    start = len(scenario.watched.log)
    with scenario.impostor.intercept(
        POLLS, queues(queue(MARKUP, active=1), queue("\"&'", failed=3))
    ):
        wait_until(
            lambda: "&lt;img src=x onerror=alert(1)&gt;" in requests_to(scenario.real.page_port)
        )
        page = requests_to(scenario.real.page_port)
        assert "<img src=x" not in page.lower()
        metrics = requests.get(f"http://127.0.0.1:{scenario.real.status_port}/metrics", timeout=90)
        assert f'queue="{MARKUP}"' in metrics.text
        assert 'queue="\\"&\'"' in metrics.text
    scenario.watched.log_since(start)


PERMISSIONS: Final = b'{"permissions":[' + b"0," * ((MIB - 20) // 2) + b"0]}"


@pytest.mark.parametrize(
    ("requests", "say", "words"),
    [
        (r"GET /api/server/version", said(b'{"major":' + b"9" * 9000 + b"}"), "tells no version"),
        (r"GET /api/server/version", of_100_mb, TOO_MUCH),
        (r"GET /api/api-keys/me", said(PERMISSIONS), "permissions: length of value must be at"),
    ],
    ids=["a version of many digits", "a version of 100 MB", "a MiB of permissions"],
)
def test_what_comes_at_the_start_is_bounded_too(
    tmp_path: Path, requests: str, say: RawResponse, words: str
) -> None:
    with (
        simulated_immich_server() as server,
        closing(InterceptingServer(server)) as impostor,
        impostor.intercept(requests, say),
        daemon(server, tmp_path, IMMICH_URL=impostor.url) as process,
    ):
        watched = ObservedProcess(process.pid, tmp_path)
        wait_until(lambda: words in watched.log)
        assert watched.peak_memory < ITS_MEMORY + MORE_MEMORY
        assert watched.cpu_seconds < MORE_TIME
        watched.log_since(0)
        stop(process)
        assert paused(server) == set()
