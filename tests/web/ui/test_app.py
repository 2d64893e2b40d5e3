"""The page over real HTTP: responses, headers, access and changes."""

import html
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import requests

from immich_job_daemon.forecast.estimate import Forecast
from immich_job_daemon.forecast.rates import Rate, Rates
from immich_job_daemon.model.controls import Mode, Override, SetLimit, SetMode, SetQueue
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.history import BUCKET_SECONDS, MAX_BUCKETS, Bucket, History
from immich_job_daemon.status.hub import MAX_PENDING_CHANGES, StatusHub
from immich_job_daemon.status.status import Problem, ProblemKind, Status
from immich_job_daemon.web.ui.i18n import PLURALS
from tests.web.ui.page_server import page
from tests.web.ui.sample_statuses import (
    AT,
    NOW,
    all_paused,
    busy,
    dry_run,
    empty,
    starting,
    with_problem,
)

FROM_PAGE: Final = {"X-Immich-Job-Daemon": "page"}
PASSWORD: Final = "the-password"
SIGNED_IN: Final = ("user", PASSWORD)
TIMEOUT: Final = 20
INGRESS: Final = "/api/hassio_ingress/Zm9vYmFy"


@pytest.fixture
def hub() -> StatusHub:
    return StatusHub(busy())


@pytest.fixture
def url(hub: StatusHub) -> Iterator[str]:
    with page(hub, password=PASSWORD) as address:
        yield address


def get(url: str, path: str = "", **more: Any) -> requests.Response:  # noqa: ANN401 - requests' own
    return requests.get(url + path, timeout=TIMEOUT, **more)


def send_change(url: str, change: object, **more: Any) -> requests.Response:  # noqa: ANN401 - the same
    options = {"auth": SIGNED_IN, "headers": FROM_PAGE, "json": change, **more}
    return requests.post(url + "ask", timeout=TIMEOUT, **options)


class ParsedPage(HTMLParser):
    """Parses a page as a browser does: its tags, their attributes and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources += [value or "" for name, value in attrs if name == "src"]

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile() -> Status:
    """Return a status from a malicious server whose responses have passed the schema."""
    names = [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7 * 7 }}",
        "a\x00b\x1b[31m\nc\u202egnp.exe",
        "x" * 3000,
        "' onclick='alert(1)",
        "ocr</title><script>alert(1)</script>",
    ]
    queues = {
        name: Queue(name, is_paused=False, active=1, waiting=2**63, failed=10**18) for name in names
    }
    return replace(
        busy(),
        immich_version="<em>3</em>",
        queues=queues,
        order=tuple(names),
        reasons=dict.fromkeys(names, Reason.RUNNING),
        problem=Problem(ProblemKind.REFUSED, "<b>bold</b> & more", AT),
        undo=SetQueue(names[1], Override.HELD),
    )


# Viewing


@pytest.mark.parametrize("language", PLURALS)
@pytest.mark.parametrize(
    "status",
    [busy(), empty(), all_paused(), starting(), with_problem(), dry_run(), hostile()],
    ids=["busy", "empty", "paused", "starting", "problem", "dry run", "hostile"],
)
def test_every_status_has_a_page_in_every_language(
    hub: StatusHub, url: str, status: Status, language: str
) -> None:
    hub.publish(status)
    for auth in (None, SIGNED_IN):
        response = get(url, params={"lang": language}, auth=auth)
        assert response.status_code == 200
        assert f'<html lang="{language}">' in response.text
        assert "None" not in response.text
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_dry_run_says_that_no_commands_are_sent(hub: StatusHub, url: str) -> None:
    assert "DRY_RUN" not in get(url).text
    hub.publish(dry_run())
    assert "no commands are sent to Immich. To end the dry run, turn off DRY_RUN." in get(url).text


def test_a_scheduled_queue_shows_when_its_next_window_opens(hub: StatusHub, url: str) -> None:
    assert "Next window:" not in get(url).text
    hub.publish(dry_run())
    found = re.findall(r"Next window: <time datetime=\"(.+?)\">(.+?)</time>\.", get(url).text)
    assert found == [("2026-11-25T21:00:00Z", "25 Nov, 21:00 UTC")]


def test_the_browser_chooses_the_language_and_the_url_overrides_it(url: str) -> None:
    german = {"Accept-Language": "de-CH, de;q=0.9"}
    assert "Vorschaubilder" in get(url, headers=german).text
    text = get(url, params={"lang": "ru"}, headers=german).text
    assert "Миниатюры" in text
    assert 'data-poll-url="now?lang=ru"' in text
    assert 'data-change-url="ask?lang=ru"' in text


def test_without_javascript_the_page_reloads_itself(url: str) -> None:
    head = get(url).text.partition("</head>")[0]
    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in head


def test_the_live_part_is_the_same_as_in_the_page(url: str) -> None:
    whole, part = get(url).text, get(url, "now").text
    assert part.strip() in whole
    assert part.strip().startswith('<div id="live"')


def test_an_unchanged_page_is_not_sent_again(hub: StatusHub, url: str) -> None:
    first = get(url, "now")
    again = {"If-None-Match": first.headers["ETag"]}
    assert get(url, "now", headers=again).status_code == 304
    hub.publish(empty())
    assert get(url, "now", headers=again).status_code == 200


def test_names_from_a_malicious_server_are_only_text(hub: StatusHub, url: str) -> None:
    hub.publish(hostile())
    for path in ("", "now"):
        text = get(url, path, auth=SIGNED_IN).text
        found = ParsedPage()
        found.feed(text)
        assert "<script>alert(1)</script>" in found.text
        assert "{{ 7 * 7 }}" in found.text
        assert "<b>bold</b> & more" in found.text
        assert {"b", "em", "iframe"} & found.names == set()
        assert [name for name in found.attributes if name.startswith("on")] == []
        assert all(source.startswith("static/") for source in found.sources)
        assert re.search("[\x00\x1b\u202e]", found.text) is None
        assert "x" * 3000 not in found.text


def test_thousands_of_queues_do_not_make_the_page_large(hub: StatusHub, url: str) -> None:
    names = [f"queue{number}" for number in range(5000)]
    hub.publish(
        replace(
            busy(),
            queues={name: Queue(name, is_paused=True, paused=5) for name in names},
            order=tuple(names),
            reasons=dict.fromkeys(names, Reason.WAITING),
        )
    )
    text = get(url).text
    assert "4,960 more queues are not shown." in text
    assert len(text) < 100_000


def test_the_page_and_its_assets_are_under_60_kb(hub: StatusHub, url: str) -> None:
    """With the controls, a problem, work in all queues, and slots that change all day."""
    problem = with_problem(text="x" * 200)
    names = problem.managed
    queues = {
        name: replace(queue, active=5, waiting=54321, paused=0, failed=1234)
        for name, queue in problem.queues.items()
    }
    parts = [
        Bucket(
            (1_000_001 - MAX_BUCKETS + number) * BUCKET_SECONDS,
            number % 7 * 1000,
            dict.fromkeys(names, 60.0) if number % 2 else {},
        )
        for number in range(MAX_BUCKETS)
    ]
    hub.publish(
        replace(
            problem,
            queues=queues,
            reasons={
                **dict.fromkeys(names, Reason.WAITING),
                **{name: Reason.PROTECTED for name in queues if name not in names},
            },
            undo=SetQueue("storageTemplateMigration", Override.AUTOMATIC),
            forecast=Forecast(dict.fromkeys(names, 5000.0), 1e6),
            rates=Rates(dict.fromkeys(names, Rate(12345.0, 60.0))),
            history=History(tuple(parts), NOW, (), 10**6),
        )
    )
    for language in PLURALS:
        response = get(url, params={"lang": language}, auth=SIGNED_IN)
        size = len(response.content)
        loaded = set(re.findall(r'(?:href|src)="(static/[^"]+)"', response.text))
        assert len(loaded) == 3
        for path in loaded:
            size += len(get(url, path).content)
        assert size < 60_000, language


def test_assets_are_cached_for_good_under_urls_with_their_version(url: str) -> None:
    (path,) = re.findall(r'src="(static/[^"]+\.js)"', get(url).text)
    response = get(url, path)
    assert "immutable" in response.headers["Cache-Control"]
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    other = re.sub(r"/\w+/", "/000000000000/", path)
    assert get(url, other).status_code == 404
    assert get(url, path.replace("page.js", "../page.py")).status_code == 404


def test_every_response_has_the_security_headers(url: str) -> None:
    responses = [
        get(url),
        get(url, "now"),
        get(url, "nothing"),
        send_change(url, {}),
        get(url, "sign-in"),
    ]
    for response in responses:
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "same-origin"
        assert response.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in response.headers


def test_the_page_complies_with_its_own_content_security_policy(url: str) -> None:
    text = get(url, auth=SIGNED_IN).text
    assert re.search(r"<script(?![^>]* src=)", text) is None
    assert "<style" not in text
    assert " style=" not in text
    for address in re.findall(r'(?:src|href|action)="([^"]+)"', text):
        assert not urlsplit(address).netloc, address


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_the_page_allows_only_get(url: str, method: str) -> None:
    response = requests.request(method, url, timeout=TIMEOUT)
    assert response.status_code == 405
    assert "GET" in response.headers["Allow"]


def test_an_internal_error_is_one_line_and_no_traceback(hub: StatusHub, url: str) -> None:
    hub.publish(replace(busy(), queues={}))
    response = get(url)
    assert response.status_code == 500
    assert response.text == "Internal error. See the daemon's log for details.\n"


# Access


def test_a_client_that_may_not_use_the_controls_does_not_see_them(url: str) -> None:
    text = get(url).text
    assert "<button" not in re.sub(r"<template.*?</template>", "", text, flags=re.DOTALL)
    assert 'href="sign-in"' in text
    assert "<button" in get(url, auth=SIGNED_IN).text.partition("<template")[0]


def test_without_ui_password_the_page_says_how_to_get_the_controls(hub: StatusHub) -> None:
    with page(hub) as url:
        text = get(url).text
        assert "set UI_PASSWORD" in text
        assert "sign-in" not in text
        response = send_change(url, {"mode": "held"})
        assert (response.status_code, hub.take_changes()) == (403, [])
        assert "UI_PASSWORD" in response.json()["error"]
        assert get(url, "sign-in", allow_redirects=False).headers["Location"] == "./"


def test_signing_in_makes_the_browser_ask_for_the_password_and_redirects(url: str) -> None:
    response = get(url, "sign-in")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert response.headers["Content-Type"].startswith("text/html")
    response = get(url, "sign-in", auth=SIGNED_IN, allow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (303, "./")


def test_a_change_without_the_password_is_rejected(hub: StatusHub, url: str) -> None:
    response = send_change(url, {"mode": "held"}, auth=None)
    assert (response.status_code, hub.take_changes()) == (401, [])
    assert "WWW-Authenticate" in response.headers
    assert send_change(url, {"mode": "held"}, auth=("user", "wrong")).status_code == 401
    response = send_change(url, {"mode": "held"})
    assert (response.status_code, hub.take_changes()) == (429, [])
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert "Try again in" in response.json()["error"]
    assert get(url, auth=SIGNED_IN).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {**FROM_PAGE, "Sec-Fetch-Site": "cross-site"},
        {**FROM_PAGE, "Origin": "http://evil.example"},
        {**FROM_PAGE, "Content-Type": "text/plain"},
    ],
)
def test_a_foreign_page_cannot_change_anything(
    hub: StatusHub, url: str, headers: dict[str, str]
) -> None:
    response = send_change(url, {"mode": "held"}, headers=headers)
    assert (response.status_code, hub.take_changes()) == (403, [])


# Changes


@pytest.mark.parametrize(
    ("body", "change", "undo"),
    [
        ({"mode": "held"}, SetMode(Mode.HELD), {"mode": "automatic"}),
        ({"limit": 3}, SetLimit(3), {"limit": 2}),
        ({"limit": None}, SetLimit(None), {"limit": 2}),
        (
            {"queue": "ocr", "override": "next"},
            SetQueue("ocr", Override.NEXT),
            {"queue": "ocr", "override": "automatic"},
        ),
    ],
)
def test_a_change_is_submitted_and_the_response_says_what_it_will_do(
    hub: StatusHub, url: str, body: object, change: object, undo: object
) -> None:
    response = send_change(url, body)
    assert response.status_code == 202
    assert response.json()["undo"] == undo
    assert response.json()["message"].endswith(".")
    assert hub.take_changes() == [change]


def test_the_response_is_in_the_readers_language(url: str) -> None:
    response = requests.post(
        url + "ask?lang=de",
        json={"queue": "thumbnailGeneration", "override": "held"},
        headers=FROM_PAGE,
        auth=SIGNED_IN,
        timeout=TIMEOUT,
    )
    assert response.json()["message"] == (
        "Immich beendet die 3 laufenden Aufgaben von „Vorschaubilder“; danach starten dort keine "
        "neuen."
    )


def test_the_last_change_can_be_undone(hub: StatusHub, url: str) -> None:
    assert send_change(url, {"undo": True}).status_code == 409
    hub.publish(replace(busy(), undo=SetLimit(4)))
    response = send_change(url, {"undo": True})
    assert (response.status_code, hub.take_changes()) == (202, [SetLimit(4)])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"limit": 14}, 409),
        ({"queue": "nothing", "override": "held"}, 409),
        ({"queue": "notifications", "override": "held"}, 409),
        ({"limit": 0}, 400),
        ({"limit": True}, 400),
        ({"limit": 1.5}, 400),
        ({"mode": "off"}, 400),
        ({"queue": "ocr"}, 400),
        ({"queue": "ocr", "override": "next", "more": 1}, 400),
        ({"undo": False}, 400),
        ({}, 400),
        ([], 400),
        (None, 400),
        ("held", 400),
    ],
)
def test_an_invalid_or_impossible_change_is_rejected_with_a_reason(
    hub: StatusHub, url: str, body: object, status: int
) -> None:
    response = requests.post(
        url + "ask",
        data=json.dumps(body),
        headers={**FROM_PAGE, "Content-Type": "application/json"},
        auth=SIGNED_IN,
        timeout=TIMEOUT,
    )
    assert response.status_code == status
    assert response.json()["error"].endswith(".")
    assert hub.take_changes() == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[" * 4000, b"1" * 4000, b'{"mode": "held"', b"NaN", b'"\\ud800"'],
)
def test_a_body_that_is_not_json_is_rejected(hub: StatusHub, url: str, body: bytes) -> None:
    headers = {**FROM_PAGE, "Content-Type": "application/json"}
    response = send_change(url, None, json=None, data=body, headers=headers)
    assert (response.status_code, hub.take_changes()) == (400, [])


def test_a_body_that_is_too_large_is_rejected(hub: StatusHub, url: str) -> None:
    headers = {**FROM_PAGE, "Content-Type": "application/json"}
    response = send_change(url, None, json=None, data=b" " * 5000, headers=headers)
    assert (response.status_code, hub.take_changes()) == (413, [])


def test_a_change_is_rejected_while_too_many_are_pending(hub: StatusHub, url: str) -> None:
    for _ in range(MAX_PENDING_CHANGES):
        hub.submit(SetLimit(1))
    response = send_change(url, {"mode": "held"})
    assert response.status_code == 503
    assert response.json()["error"] == "Too many changes are pending. Try again in a moment."


# Behind ingress


def from_gateway(url: str, path: str = "", headers: dict[str, str] | None = None) -> str:
    """Request a page from the gateway's own address, and return the whole response."""
    parts = urlsplit(url)
    with socket.create_connection(
        (str(parts.hostname), int(parts.port or 0)), TIMEOUT, source_address=("127.0.0.2", 0)
    ) as connection:
        lines = {"Host": "a0d7b954-app:8099", "Connection": "close", **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.sendall(f"GET /{path} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
        response = b""
        while chunk := connection.recv(65536):
            response += chunk
    return response.decode()


def test_clients_other_than_the_gateway_get_403(hub: StatusHub) -> None:
    with page(hub, gateway="127.0.0.2") as url:
        for path in ("", "now", "ask", "nothing", "static/0/page.js"):
            response = get(url, path, headers={"X-Forwarded-For": "127.0.0.2"})
            assert response.status_code == 403
            assert response.text == "This page can only be opened through Home Assistant.\n"
        assert send_change(url, {"mode": "held"}).status_code == 403
        assert hub.take_changes() == []
        assert from_gateway(url).startswith("HTTP/1.1 200")


def test_every_url_starts_with_the_ingress_path(hub: StatusHub) -> None:
    with page(hub, gateway="127.0.0.2") as url:
        response = from_gateway(url, "?lang=de", {"X-Ingress-Path": INGRESS})
        head, _, text = response.partition("\r\n\r\n")
        assert "frame-ancestors 'self'" in head
        paths = re.findall(r'(?:href|src|data-poll-url|data-change-url)="(?!#|\{)([^"]+)"', text)
        assert len(paths) > 5
        assert [path for path in paths if not path.startswith(f"{INGRESS}/")] == []


@pytest.mark.parametrize("path", ["//evil.example", "/a/../..", '/"><script>', "javascript:a"])
def test_an_unsafe_ingress_path_is_ignored(hub: StatusHub, path: str) -> None:
    with page(hub, gateway="127.0.0.2") as url:
        text = from_gateway(url, headers={"X-Ingress-Path": path})
        assert html.escape(path) not in text
        assert path not in text
        assert 'href="static/' in text


def test_the_sample_statuses_use_the_same_clock_as_the_server() -> None:
    assert busy().polled_at == NOW - 1
