"""Who is answered, who may change something, and which request is the page's own."""

import base64
import logging

import pytest
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.web.ui.auth import (
    GATEWAY,
    INGRESS_PATH,
    OWN_HEADER,
    Door,
    Patience,
    Right,
    is_path,
)

OWN = {"Content-Type": "application/json", OWN_HEADER: "page", "Host": "box:8099"}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def door(password: str = "", clock: Clock | None = None, *, ingress: bool = False) -> Door:
    return Door(Secret(password), clock or Clock(), behind_ingress=ingress)


def a_request(
    headers: dict[str, str] | None = None, *, address: str = "192.0.2.7", secret: str | None = None
) -> Request:
    given = dict(headers or {})
    if secret is not None:
        pair = base64.b64encode(f"anybody:{secret}".encode()).decode()
        given["Authorization"] = f"Basic {pair}"
    builder = EnvironBuilder(
        method="POST", headers=Headers(given), environ_overrides={"REMOTE_ADDR": address}
    )
    return Request(builder.get_environ())


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (GATEWAY, True),
        (f"::ffff:{GATEWAY}", True),
        ("172.30.32.1", False),
        ("172.30.32.22", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("", False),
    ],
)
def test_in_the_add_on_the_gateway_alone_is_answered(address: str, *, expected: bool) -> None:
    assert door(ingress=True).admits(a_request(address=address)) is expected


def test_no_header_makes_another_address_of_it() -> None:
    headers = {
        "X-Forwarded-For": GATEWAY,
        "X-Real-IP": GATEWAY,
        "Forwarded": f"for={GATEWAY}",
        "Remote-Addr": GATEWAY,
    }
    assert not door(ingress=True).admits(a_request(headers, address="192.0.2.7"))


def test_outside_everybody_is_answered() -> None:
    assert door().admits(a_request(address="203.0.113.9"))


def test_behind_ingress_whoever_is_let_in_may_change_something() -> None:
    assert door(ingress=True).right(a_request(address=GATEWAY)) is Right.CHANGE


def test_without_a_password_in_the_settings_nobody_may() -> None:
    assert door().right(a_request()) is Right.NOTHING
    assert door().right(a_request(secret="")) is Right.NOTHING


def test_with_one_it_takes_that() -> None:
    locked = door("pässword")
    assert locked.right(a_request()) is Right.SIGN_IN
    assert locked.right(a_request(secret="pässword")) is Right.CHANGE


@pytest.mark.parametrize(
    "header",
    [
        "Bearer pw",
        "Basic",
        "Basic %%%",
        "Basic cHc=",
        "Basic /////w==",
        "Digest username=a",
        "\xff",
    ],
)
def test_what_is_no_password_is_not_taken_for_one(header: str) -> None:
    locked = door("pw")
    assert locked.right(a_request({"Authorization": header})) is Right.SIGN_IN


def test_after_a_wrong_password_not_even_the_right_one_counts_for_a_while() -> None:
    clock = Clock()
    locked = door("pw", clock)
    assert locked.right(a_request(secret="a")) is Right.SIGN_IN
    with pytest.raises(Patience) as refused:
        locked.right(a_request(secret="pw"))
    assert refused.value.seconds == 1
    clock.now = 1.0
    assert locked.right(a_request(secret="b")) is Right.SIGN_IN
    clock.now = 2.9
    with pytest.raises(Patience):
        locked.right(a_request(secret="pw"))
    clock.now = 3.0
    assert locked.right(a_request(secret="pw")) is Right.CHANGE


def test_others_are_not_kept_waiting() -> None:
    locked = door("pw")
    locked.right(a_request(secret="a"))
    assert locked.right(a_request(secret="pw", address="192.0.2.8")) is Right.CHANGE


def test_a_wrong_password_is_told_in_the_log_without_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        door("pw").right(a_request(secret="my-other-password"))
    assert "192.0.2.7" in caplog.text
    assert "my-other-password" not in caplog.text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/hassio_ingress/a-b_C.d~9", True),
        ("/x", True),
        ("", False),
        ("/", False),
        ("/x/", False),
        ("x", False),
        ("//evil.example", False),
        ("/a//b", False),
        ("/..", False),
        ("/a/../b", False),
        ("/a/.", False),
        ("/a?b", False),
        ("/a#b", False),
        ('/a"onload=', False),
        ("/a<b>", False),
        ("/a b", False),
        ("/a\\b", False),
        ("/a%2e", False),
        ("/ä", False),
        ("/a\n", False),
        ("http://evil.example/a", False),
        ("/" + "a" * 200, False),
    ],
)
def test_only_a_clean_path_is_taken_for_one(path: str, *, expected: bool) -> None:
    assert is_path(path) is expected


def test_the_path_of_ingress_counts_in_the_add_on_only() -> None:
    headers = a_request({INGRESS_PATH: "/api/hassio_ingress/abc"}).headers
    assert door(ingress=True).base(headers) == "/api/hassio_ingress/abc"
    assert door().base(headers) == ""
    assert door(ingress=True).base(a_request({INGRESS_PATH: "//evil"}).headers) == ""


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (OWN, True),
        ({**OWN, "Sec-Fetch-Site": "same-origin"}, True),
        ({**OWN, "Origin": "http://box:8099"}, True),
        ({**OWN, "Origin": "https://BOX:8099"}, True),
        ({**OWN, "Content-Type": "application/json; charset=utf-8"}, True),
        ({**OWN, "Content-Type": "text/plain"}, False),
        ({**OWN, "Content-Type": "application/x-www-form-urlencoded"}, False),
        ({key: value for key, value in OWN.items() if key != OWN_HEADER}, False),
        ({**OWN, "Sec-Fetch-Site": "cross-site"}, False),
        ({**OWN, "Sec-Fetch-Site": "same-site"}, False),
        ({**OWN, "Sec-Fetch-Site": "none"}, False),
        ({**OWN, "Origin": "http://evil.example"}, False),
        ({**OWN, "Origin": "http://box:80990"}, False),
        ({**OWN, "Origin": "null"}, False),
        ({**OWN, "Origin": "http://["}, False),
        ({**OWN, "Origin": ""}, False),
    ],
)
def test_a_change_must_come_from_the_page_itself(
    headers: dict[str, str], *, expected: bool
) -> None:
    assert door("pw").is_own(a_request(headers)) is expected


def test_behind_ingress_the_origin_is_home_assistants() -> None:
    headers = {**OWN, "Origin": "https://home.example"}
    assert door(ingress=True).is_own(a_request(headers))
    assert not door(ingress=True).is_own(a_request({**headers, "Sec-Fetch-Site": "cross-site"}))
