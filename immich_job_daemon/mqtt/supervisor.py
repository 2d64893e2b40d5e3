"""The MQTT broker that Home Assistant's Supervisor knows: an add-on needs no setting for it.

The endpoint, the token and the responses were observed on a Supervisor of August 2026.
"""

from typing import Any, Final

import requests
import voluptuous as vol

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.model.settings import Broker

SUPERVISOR_URL: Final = "http://supervisor"
TIMEOUT: Final = (5.0, 10.0)
"""Seconds to connect, and to wait for each part of the response."""

_MAX_MESSAGE_LENGTH: Final = 100
_TEXT: Final = vol.Any(str, vol.All(None, lambda _: ""))
_RESPONSE: Final = vol.Schema(
    {
        vol.Required("data"): {
            vol.Required("host"): vol.All(str, vol.Length(min=1, max=255)),
            vol.Required("port"): vol.All(vol.Coerce(int), vol.Range(min=1, max=65535)),
            vol.Optional("ssl", default=False): bool,
            vol.Optional("username", default=""): _TEXT,
            vol.Optional("password", default=""): _TEXT,
        }
    },
    extra=vol.REMOVE_EXTRA,
)


class NoBrokerError(Exception):
    """The Supervisor named no broker; the message says why."""


def find_broker(token: str, supervisor_url: str = SUPERVISOR_URL) -> Broker:
    """Return the broker that the Supervisor knows; ``token`` is the value of SUPERVISOR_TOKEN.

    Raises:
        NoBrokerError: no broker is installed, which is normal, or the request failed.
    """
    with requests.Session() as session:
        # The Supervisor is on this machine; a proxy from the environment cannot reach it.
        session.trust_env = False
        try:
            response = session.get(
                f"{supervisor_url}/services/mqtt",
                headers={"Authorization": f"Bearer {token}"},
                timeout=TIMEOUT,
                allow_redirects=False,
            )
        except (requests.RequestException, ValueError):
            # The error's own message may quote the token.
            raise NoBrokerError("the Supervisor did not respond") from None
        return _parse(response)


def _parse(response: requests.Response) -> Broker:
    try:
        body: Any = response.json()
    except ValueError:
        body = None
    if response.status_code != requests.codes.ok:
        message = body.get("message") if isinstance(body, dict) else None
        detail = f": {message[:_MAX_MESSAGE_LENGTH]}" if isinstance(message, str) else ""
        raise NoBrokerError(f"the Supervisor responded with {response.status_code}{detail}")
    try:
        data = _RESPONSE(body)["data"]
    except vol.Invalid:
        raise NoBrokerError("the Supervisor sent an invalid response") from None
    return Broker(
        host=data["host"],
        port=data["port"],
        username=data["username"],
        password=Secret(data["password"]),
        is_encrypted=data["ssl"],
    )
