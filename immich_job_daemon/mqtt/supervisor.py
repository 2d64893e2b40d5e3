"""The broker that Home Assistant's Supervisor knows: what the add-on is told without a setting.

The address, the token and the answers: seen on a Supervisor of August 2026.
"""

from typing import Any, Final

import requests
import voluptuous as vol

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.model.settings import Broker

ADDRESS: Final = "http://supervisor"
WITHIN: Final = (5.0, 10.0)
"""Seconds for the connection, and for each part of the answer."""

_LONGEST_REASON: Final = 100
_PORT: Final = vol.All(vol.Coerce(int), vol.Range(min=1, max=65535))
_TEXT: Final = vol.Any(str, vol.All(None, lambda _: ""))
_ANSWER: Final = vol.Schema(
    {
        vol.Required("data"): vol.Schema(
            {
                vol.Required("host"): vol.All(str, vol.Length(min=1, max=255)),
                vol.Required("port"): _PORT,
                vol.Optional("ssl", default=False): bool,
                vol.Optional("username", default=""): _TEXT,
                vol.Optional("password", default=""): _TEXT,
            },
            extra=vol.REMOVE_EXTRA,
        )
    },
    extra=vol.REMOVE_EXTRA,
)


class NoBrokerError(Exception):
    """The Supervisor names no broker; says why."""


def ask(token: str, address: str = ADDRESS) -> Broker:
    """Return the broker that the Supervisor knows.

    Args:
        token: SUPERVISOR_TOKEN.
        address: where the Supervisor is.

    Raises:
        NoBrokerError: it knows none, which is normal, or does not tell.
    """
    with requests.Session() as session:
        # A proxy is for the internet, not for what is in this machine.
        session.trust_env = False
        try:
            answer = session.get(
                f"{address}/services/mqtt",
                headers={"Authorization": f"Bearer {token}"},
                timeout=WITHIN,
                allow_redirects=False,
            )
        except (requests.RequestException, ValueError):
            # Its words quote what was sent.
            raise NoBrokerError("the Supervisor does not answer") from None
        return _broker_in(answer)


def _broker_in(answer: requests.Response) -> Broker:
    try:
        found: Any = answer.json()
    except ValueError:
        found = None
    if answer.status_code != requests.codes.ok:
        message = found.get("message") if isinstance(found, dict) else None
        said = f": {message[:_LONGEST_REASON]}" if isinstance(message, str) else ""
        raise NoBrokerError(f"the Supervisor says {answer.status_code}{said}")
    try:
        data = _ANSWER(found)["data"]
    except vol.Invalid:
        raise NoBrokerError("the Supervisor's answer makes no sense") from None
    return Broker(
        host=data["host"],
        port=data["port"],
        username=data["username"],
        password=Secret(data["password"]),
        is_encrypted=data["ssl"],
    )
