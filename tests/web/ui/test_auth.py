"""Which requests are answered, which clients may use the controls, and CSRF protection."""

import base64
import logging

import pytest
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.web.ui.auth import (
    CSRF_HEADER,
    GATEWAY,
    INGRESS_PATH,
    Access,
    AccessControl,
    TooManyAttempts,
    is_path,
)

FROM_PAGE = {"Content-Type": "application/json", CSRF_HEADER: "page", "Host": "box:8099"}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def access_control(
    password: str = "", clock: Clock | None = None, *, ingress: bool = False
) -> AccessControl:
    return AccessControl(Secret(password), clock or Clock(), behind_ingress=ingress)


def a_request(
    headers: dict[str, str] | None = None,
    *,
    address: str = "192.0.2.7",
    password: str | None = None,
) -> Request:
    all_headers = dict(headers or {})
    if password is not None:
        credentials = base64.b64encode(f"user:{password}".encode()).decode()
        all_headers["Authorization"] = f"Basic {credentials}"
    builder = EnvironBuilder(
        method="POST", headers=Headers(all_headers), environ_overrides={"REMOTE_ADDR": address}
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
def test_the_add_on_answers_only_the_ingress_gateway(address: str, *, expected: bool) -> None:
    assert access_control(ingress=True).admits(a_request(address=address)) is expected


def test_no_header_overrides_the_address_of_the_connection() -> None:
    headers = {
        "X-Forwarded-For": GATEWAY,
        "X-Real-IP": GATEWAY,
        "Forwarded": f"for={GATEWAY}",
        "Remote-Addr": GATEWAY,
    }
    assert not access_control(ingress=True).admits(a_request(headers, address="192.0.2.7"))


def test_without_ingress_every_client_is_answered() -> None:
    assert access_control().admits(a_request(address="203.0.113.9"))


def test_behind_ingress_the_controls_need_no_password() -> None:
    assert access_control(ingress=True).access(a_request(address=GATEWAY)) is Access.FULL


def test_without_ui_password_the_page_is_view_only() -> None:
    assert access_control().access(a_request()) is Access.VIEW_ONLY
    assert access_control().access(a_request(password="")) is Access.VIEW_ONLY


def test_with_ui_password_the_controls_need_it() -> None:
    control = access_control("pässword")
    assert control.access(a_request()) is Access.SIGN_IN
    assert control.access(a_request(password="pässword")) is Access.FULL


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
def test_an_invalid_authorization_header_is_no_password(header: str) -> None:
    control = access_control("pw")
    assert control.access(a_request({"Authorization": header})) is Access.SIGN_IN


def test_after_a_wrong_password_even_the_right_one_is_rejected_for_a_while() -> None:
    clock = Clock()
    control = access_control("pw", clock)
    assert control.access(a_request(password="a")) is Access.SIGN_IN
    with pytest.raises(TooManyAttempts) as raised:
        control.access(a_request(password="pw"))
    assert raised.value.seconds == 1
    clock.now = 1.0
    assert control.access(a_request(password="b")) is Access.SIGN_IN
    clock.now = 2.9
    with pytest.raises(TooManyAttempts):
        control.access(a_request(password="pw"))
    clock.now = 3.0
    assert control.access(a_request(password="pw")) is Access.FULL


def test_other_clients_have_no_delay() -> None:
    control = access_control("pw")
    control.access(a_request(password="a"))
    assert control.access(a_request(password="pw", address="192.0.2.8")) is Access.FULL


def test_a_wrong_password_is_logged_without_the_password(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        access_control("pw").access(a_request(password="my-other-password"))
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
def test_only_a_clean_path_is_accepted(path: str, *, expected: bool) -> None:
    assert is_path(path) is expected


def test_the_ingress_path_is_used_only_in_the_add_on() -> None:
    headers = a_request({INGRESS_PATH: "/api/hassio_ingress/abc"}).headers
    assert access_control(ingress=True).base_path(headers) == "/api/hassio_ingress/abc"
    assert access_control().base_path(headers) == ""
    assert access_control(ingress=True).base_path(a_request({INGRESS_PATH: "//evil"}).headers) == ""


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (FROM_PAGE, True),
        ({**FROM_PAGE, "Sec-Fetch-Site": "same-origin"}, True),
        ({**FROM_PAGE, "Origin": "http://box:8099"}, True),
        ({**FROM_PAGE, "Origin": "https://BOX:8099"}, True),
        ({**FROM_PAGE, "Content-Type": "application/json; charset=utf-8"}, True),
        ({**FROM_PAGE, "Content-Type": "text/plain"}, False),
        ({**FROM_PAGE, "Content-Type": "application/x-www-form-urlencoded"}, False),
        ({key: value for key, value in FROM_PAGE.items() if key != CSRF_HEADER}, False),
        ({**FROM_PAGE, "Sec-Fetch-Site": "cross-site"}, False),
        ({**FROM_PAGE, "Sec-Fetch-Site": "same-site"}, False),
        ({**FROM_PAGE, "Sec-Fetch-Site": "none"}, False),
        ({**FROM_PAGE, "Origin": "http://evil.example"}, False),
        ({**FROM_PAGE, "Origin": "http://box:80990"}, False),
        ({**FROM_PAGE, "Origin": "null"}, False),
        ({**FROM_PAGE, "Origin": "http://["}, False),
        ({**FROM_PAGE, "Origin": ""}, False),
    ],
)
def test_a_change_must_come_from_the_daemons_own_page(
    headers: dict[str, str], *, expected: bool
) -> None:
    assert access_control("pw").is_from_page(a_request(headers)) is expected


def test_behind_ingress_the_origin_may_be_home_assistants() -> None:
    headers = {**FROM_PAGE, "Origin": "https://home.example"}
    assert access_control(ingress=True).is_from_page(a_request(headers))
    assert not access_control(ingress=True).is_from_page(
        a_request({**headers, "Sec-Fetch-Site": "cross-site"})
    )
