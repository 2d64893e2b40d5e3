"""Why there is no connection, in words for a person."""

import re
import socket
import ssl

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from immich_job_daemon.mqtt.errors import NO_ANSWER, REFUSED, TOO_NEW, reason, said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "x"), "refuses the connection"),
        (TimeoutError(), "does not answer"),
        (socket.gaierror(-2, "x"), "is not found"),
        (ssl.SSLCertVerificationError(1, "x"), "a certificate that is not trusted"),
        (ssl.SSLError(1, "x"), "does not speak TLS as expected"),
        (OSError(113, "No route to host"), r"cannot be reached \(No route to host\)"),
        (ValueError("what was sent"), r"cannot be reached \(ValueError\)"),
    ],
)
def test_an_error_is_explained_and_its_own_words_are_not_passed_on(
    error: Exception, words: str
) -> None:
    assert re.search(words, reason(error))
    assert "what was sent" not in reason(error)


def test_what_a_broker_says_is_explained() -> None:
    assert said("Bad user name or password") == "does not know the user or the password"
    assert said(NO_ANSWER).startswith("ends the connection without a word")
    assert said("Quota exceeded") == "ends the connection (Quota exceeded)"


@pytest.mark.parametrize("name", [*sorted(REFUSED), TOO_NEW, "Server busy", "Server unavailable"])
def test_the_names_are_mqtts_own(name: str) -> None:
    assert ReasonCode(PacketTypes.CONNACK, name).getName() == name
