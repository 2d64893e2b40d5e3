"""Connection errors as text for users."""

import re
import socket
import ssl

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from immich_job_daemon.mqtt.errors import (
    BAD_CREDENTIALS,
    CLOSED_WITHOUT_REPLY,
    UNSUPPORTED_VERSION,
    describe_error,
    describe_reason_code,
)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "x"), "refused the connection"),
        (TimeoutError(), "did not respond"),
        (socket.gaierror(-2, "x"), "was not found"),
        (ssl.SSLCertVerificationError(1, "x"), "a certificate that is not trusted"),
        (ssl.SSLError(1, "x"), "did not complete the TLS handshake"),
        (OSError(113, "No route to host"), r"cannot be reached \(No route to host\)"),
        (ValueError("what was sent"), r"cannot be reached \(ValueError\)"),
    ],
)
def test_an_error_is_described_without_its_own_message(error: Exception, text: str) -> None:
    assert re.search(text, describe_error(error))
    assert "what was sent" not in describe_error(error)


def test_a_reason_code_is_described() -> None:
    assert describe_reason_code("Bad user name or password") == (
        "rejected the user name or the password: check the user name and the password"
    )
    assert describe_reason_code(CLOSED_WITHOUT_REPLY).startswith(
        "closed the connection without a reply"
    )
    assert describe_reason_code("Quota exceeded") == "closed the connection (Quota exceeded)"


@pytest.mark.parametrize(
    "name", [*sorted(BAD_CREDENTIALS), UNSUPPORTED_VERSION, "Server busy", "Server unavailable"]
)
def test_the_names_are_those_of_mqtt(name: str) -> None:
    assert ReasonCode(PacketTypes.CONNACK, name).getName() == name
