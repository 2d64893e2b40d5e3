"""The page over real HTTP: what it answers, with which headers, and what it never does."""

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
from tests.web.ui.sample_statuses import AT, NOW, busy, held, idle, rehearsed, troubled, unknown

OWN: Final = {"X-Immich-Job-Daemon": "page"}
PASSWORD: Final = "the-password"
SIGNED_IN: Final = ("anybody", PASSWORD)
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


def ask(url: str, change: object, **more: Any) -> requests.Response:  # noqa: ANN401 - the same
    given = {"auth": SIGNED_IN, "headers": OWN, "json": change, **more}
    return requests.post(url + "ask", timeout=TIMEOUT, **given)


class Tags(HTMLParser):
    """What a browser would make of a text: its tags, their attributes, and the text between."""

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
    """Return what a server sends that means harm; its answers have passed the schema by then."""
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


# Looking


@pytest.mark.parametrize("language", PLURALS)
@pytest.mark.parametrize(
    "status",
    [busy(), idle(), held(), unknown(), troubled(), rehearsed(), hostile()],
    ids=["busy", "idle", "held", "unknown", "troubled", "rehearsed", "hostile"],
)
def test_every_state_has_a_page_in_every_language(
    hub: StatusHub, url: str, status: Status, language: str
) -> None:
    hub.publish(status)
    for auth in (None, SIGNED_IN):
        answer = get(url, params={"lang": language}, auth=auth)
        assert answer.status_code == 200
        assert f'<html lang="{language}">' in answer.text
        assert "None" not in answer.text
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_rehearsal_says_in_words_that_nothing_is_sent(hub: StatusHub, url: str) -> None:
    assert "DRY_RUN" not in get(url).text
    hub.publish(rehearsed())
    assert "nothing is sent to Immich. The setting DRY_RUN says so." in get(url).text


def test_a_queue_outside_its_hours_tells_the_time_at_which_they_begin(
    hub: StatusHub, url: str
) -> None:
    assert "It may run again from" not in get(url).text
    hub.publish(rehearsed())
    found = re.findall(
        r"It may run again from <time datetime=\"(.+?)\">(.+?)</time>\.", get(url).text
    )
    assert found == [("2026-11-25T21:00:00Z", "25 Nov, 21:00 UTC")]


def test_the_browser_chooses_the_language_and_the_address_overrides_it(url: str) -> None:
    german = {"Accept-Language": "de-CH, de;q=0.9"}
    assert "Vorschaubilder" in get(url, headers=german).text
    text = get(url, params={"lang": "ru"}, headers=german).text
    assert "Миниатюры" in text
    assert 'data-now="now?lang=ru"' in text
    assert 'data-ask="ask?lang=ru"' in text


def test_without_a_script_the_page_is_loaded_anew_now_and_then(url: str) -> None:
    head = get(url).text.partition("</head>")[0]
    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in head


def test_the_part_that_changes_is_the_same_as_in_the_page(url: str) -> None:
    whole, part = get(url).text, get(url, "now").text
    assert part.strip() in whole
    assert part.strip().startswith('<div id="live"')


def test_what_has_not_changed_is_not_sent_again(hub: StatusHub, url: str) -> None:
    first = get(url, "now")
    again = {"If-None-Match": first.headers["ETag"]}
    assert get(url, "now", headers=again).status_code == 304
    hub.publish(idle())
    assert get(url, "now", headers=again).status_code == 200


def test_a_name_from_a_hostile_server_is_text_and_nothing_else(hub: StatusHub, url: str) -> None:
    hub.publish(hostile())
    for path in ("", "now"):
        text = get(url, path, auth=SIGNED_IN).text
        found = Tags()
        found.feed(text)
        assert "<script>alert(1)</script>" in found.text
        assert "{{ 7 * 7 }}" in found.text
        assert "<b>bold</b> & more" in found.text
        assert {"b", "em", "iframe"} & found.names == set()
        assert [name for name in found.attributes if name.startswith("on")] == []
        assert all(source.startswith("static/") for source in found.sources)
        assert re.search("[\x00\x1b\u202e]", found.text) is None
        assert "x" * 3000 not in found.text


def test_thousands_of_queues_do_not_make_a_page_of_thousands(hub: StatusHub, url: str) -> None:
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


def test_the_page_and_all_that_it_loads_is_under_60_kb(hub: StatusHub, url: str) -> None:
    """All languages, signed in, a problem, all queues at work, on and off for the whole day."""
    usual = troubled(text="x" * 200)
    names = usual.managed
    queues = {
        name: replace(queue, active=5, waiting=54321, paused=0, failed=1234)
        for name, queue in usual.queues.items()
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
            usual,
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
        answer = get(url, params={"lang": language}, auth=SIGNED_IN)
        size = len(answer.content)
        loaded = set(re.findall(r'(?:href|src)="(static/[^"]+)"', answer.text))
        assert len(loaded) == 3
        for path in loaded:
            size += len(get(url, path).content)
        assert size < 60_000, language


def test_files_are_kept_for_good_under_an_address_that_tells_their_version(url: str) -> None:
    (path,) = re.findall(r'src="(static/[^"]+\.js)"', get(url).text)
    answer = get(url, path)
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    other = re.sub(r"/\w+/", "/000000000000/", path)
    assert get(url, other).status_code == 404
    assert get(url, path.replace("page.js", "../page.py")).status_code == 404


def test_no_answer_leaves_the_reader_without_protection(url: str) -> None:
    answers = [get(url), get(url, "now"), get(url, "nothing"), ask(url, {}), get(url, "sign-in")]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_there_is_nothing_that_the_policy_forbids(url: str) -> None:
    text = get(url, auth=SIGNED_IN).text
    assert re.search(r"<script(?![^>]* src=)", text) is None
    assert "<style" not in text
    assert " style=" not in text
    for address in re.findall(r'(?:src|href|action)="([^"]+)"', text):
        assert not urlsplit(address).netloc, address


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_looking_is_a_get(url: str, method: str) -> None:
    answer = requests.request(method, url, timeout=TIMEOUT)
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_a_mistake_of_our_own_is_a_line_and_no_traceback(hub: StatusHub, url: str) -> None:
    hub.publish(replace(busy(), queues={}))
    answer = get(url)
    assert answer.status_code == 500
    assert answer.text == "The daemon's own mistake: see its log.\n"


# Who may


def test_everybody_may_look_and_nobody_is_offered_what_they_may_not(url: str) -> None:
    text = get(url).text
    assert "<button" not in re.sub(r"<template.*?</template>", "", text, flags=re.DOTALL)
    assert 'href="sign-in"' in text
    assert "<button" in get(url, auth=SIGNED_IN).text.partition("<template")[0]


def test_without_a_password_in_the_settings_it_says_how_to_get_controls(hub: StatusHub) -> None:
    with page(hub) as url:
        text = get(url).text
        assert "set UI_PASSWORD" in text
        assert "sign-in" not in text
        answer = ask(url, {"mode": "held"})
        assert (answer.status_code, hub.take_changes()) == (403, [])
        assert "UI_PASSWORD" in answer.json()["error"]
        assert get(url, "sign-in", allow_redirects=False).headers["Location"] == "./"


def test_signing_in_makes_the_browser_ask_and_leads_back(url: str) -> None:
    answer = get(url, "sign-in")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert answer.headers["Content-Type"].startswith("text/html")
    answer = get(url, "sign-in", auth=SIGNED_IN, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "./")


def test_a_change_without_the_password_is_not_made(hub: StatusHub, url: str) -> None:
    answer = ask(url, {"mode": "held"}, auth=None)
    assert (answer.status_code, hub.take_changes()) == (401, [])
    assert "WWW-Authenticate" in answer.headers
    assert ask(url, {"mode": "held"}, auth=("anybody", "wrong")).status_code == 401
    answer = ask(url, {"mode": "held"})
    assert (answer.status_code, hub.take_changes()) == (429, [])
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "Try again in" in answer.json()["error"]
    assert get(url, auth=SIGNED_IN).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {**OWN, "Sec-Fetch-Site": "cross-site"},
        {**OWN, "Origin": "http://evil.example"},
        {**OWN, "Content-Type": "text/plain"},
    ],
)
def test_another_page_cannot_change_anything(
    hub: StatusHub, url: str, headers: dict[str, str]
) -> None:
    answer = ask(url, {"mode": "held"}, headers=headers)
    assert (answer.status_code, hub.take_changes()) == (403, [])


# Asking


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
def test_a_change_is_left_for_the_loop_and_the_answer_says_what_will_happen(
    hub: StatusHub, url: str, body: object, change: object, undo: object
) -> None:
    answer = ask(url, body)
    assert answer.status_code == 202
    assert answer.json()["undo"] == undo
    assert answer.json()["says"].endswith(".")
    assert hub.take_changes() == [change]


def test_the_answer_is_in_the_readers_language(url: str) -> None:
    answer = requests.post(
        url + "ask?lang=de",
        json={"queue": "thumbnailGeneration", "override": "held"},
        headers=OWN,
        auth=SIGNED_IN,
        timeout=TIMEOUT,
    )
    assert answer.json()["says"] == (
        "Immich beendet die 3 laufenden Aufgaben von „Vorschaubilder“ und beginnt darin nichts "
        "Neues."
    )


def test_the_last_change_can_be_taken_back(hub: StatusHub, url: str) -> None:
    assert ask(url, {"undo": True}).status_code == 409
    hub.publish(replace(busy(), undo=SetLimit(4)))
    answer = ask(url, {"undo": True})
    assert (answer.status_code, hub.take_changes()) == (202, [SetLimit(4)])


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
def test_what_cannot_be_is_refused_with_a_sentence(
    hub: StatusHub, url: str, body: object, status: int
) -> None:
    answer = requests.post(
        url + "ask",
        data=json.dumps(body),
        headers={**OWN, "Content-Type": "application/json"},
        auth=SIGNED_IN,
        timeout=TIMEOUT,
    )
    assert answer.status_code == status
    assert answer.json()["error"].endswith(".")
    assert hub.take_changes() == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[" * 4000, b"1" * 4000, b'{"mode": "held"', b"NaN", b'"\\ud800"'],
)
def test_a_body_that_is_no_json_is_refused(hub: StatusHub, url: str, body: bytes) -> None:
    headers = {**OWN, "Content-Type": "application/json"}
    answer = ask(url, None, json=None, data=body, headers=headers)
    assert (answer.status_code, hub.take_changes()) == (400, [])


def test_a_body_that_is_too_large_is_not_read(hub: StatusHub, url: str) -> None:
    headers = {**OWN, "Content-Type": "application/json"}
    answer = ask(url, None, json=None, data=b" " * 5000, headers=headers)
    assert (answer.status_code, hub.take_changes()) == (413, [])


def test_when_too_many_wait_already_it_says_so(hub: StatusHub, url: str) -> None:
    for _ in range(MAX_PENDING_CHANGES):
        hub.submit(SetLimit(1))
    answer = ask(url, {"mode": "held"})
    assert answer.status_code == 503
    assert answer.json()["error"] == (
        "Too many changes wait to be carried out. Try again in a moment."
    )


# Behind ingress


def from_gateway(url: str, path: str = "", headers: dict[str, str] | None = None) -> str:
    """Return a page as the gateway gets it: it asks from an address of its own."""
    parts = urlsplit(url)
    with socket.create_connection(
        (str(parts.hostname), int(parts.port or 0)), TIMEOUT, source_address=("127.0.0.2", 0)
    ) as connection:
        lines = {"Host": "a0d7b954-app:8099", "Connection": "close", **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.sendall(f"GET /{path} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.decode()


def test_foreign_addresses_get_403_whatever_they_say(hub: StatusHub) -> None:
    with page(hub, gateway="127.0.0.2") as url:
        for path in ("", "now", "ask", "nothing", "static/0/page.js"):
            answer = get(url, path, headers={"X-Forwarded-For": "127.0.0.2"})
            assert answer.status_code == 403
            assert answer.text == "Only Home Assistant may open this page.\n"
        assert ask(url, {"mode": "held"}).status_code == 403
        assert hub.take_changes() == []
        assert from_gateway(url).startswith("HTTP/1.1 200")


def test_every_path_begins_where_ingress_says(hub: StatusHub) -> None:
    with page(hub, gateway="127.0.0.2") as url:
        answer = from_gateway(url, "?lang=de", {"X-Ingress-Path": INGRESS})
        head, _, text = answer.partition("\r\n\r\n")
        assert "frame-ancestors 'self'" in head
        paths = re.findall(r'(?:href|src|data-now|data-ask)="(?!#|\{)([^"]+)"', text)
        assert len(paths) > 5
        assert [path for path in paths if not path.startswith(f"{INGRESS}/")] == []


@pytest.mark.parametrize("path", ["//evil.example", "/a/../..", '/"><script>', "javascript:a"])
def test_a_strange_path_is_ignored(hub: StatusHub, path: str) -> None:
    with page(hub, gateway="127.0.0.2") as url:
        text = from_gateway(url, headers={"X-Ingress-Path": path})
        assert html.escape(path) not in text
        assert path not in text
        assert 'href="static/' in text


def test_the_clock_of_the_scenes_is_used() -> None:
    assert busy().polled_at == NOW - 1
