"""Where the MQTT broker is, as a person writes it in MQTT_URL. Pure.

>>> broker_or_nothing("mqtt://ha:pass%40word@192.168.1.5")
Broker(host='192.168.1.5', port=1883, username='ha', password=Secret(hidden), is_encrypted=False)
"""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import voluptuous as vol

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.model.settings import Broker

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
"""Where a broker listens if nothing else is said, by the scheme of its address."""

LONGEST: Final = 2048
_LARGEST_PORT: Final = 65535


def broker_or_nothing(value: object) -> Broker | None:
    """Return the broker at an address, or None where nothing is given.

    Raises:
        vol.Invalid: it is no address of a broker; says why, without the address.
    """
    if not isinstance(value, str):
        raise vol.Invalid("is not a text")
    given = value.strip()
    if not given:
        return None
    if len(given) > LONGEST:
        raise vol.Invalid("is too long")
    if not given.isprintable() or " " in given or "\\" in given:
        raise vol.Invalid("holds a space, a backslash or a character that cannot be seen")
    try:
        parts = urlsplit(given if "://" in given else f"mqtt://{given}")
        # Only asking for the port checks it.
        port = parts.port
    except ValueError:
        raise vol.Invalid("has a wrong port or is not an address") from None
    _check(parts, port)
    return Broker(
        host=parts.hostname or "",
        port=port or PORTS[parts.scheme],
        username=unquote(parts.username or ""),
        password=Secret(unquote(parts.password or "")),
        is_encrypted=parts.scheme == "mqtts",
    )


def passwords_in(text: str) -> Iterator[str]:
    """Yield what may be a password in a text that was meant as an address, right or wrong.

    >>> sorted(passwords_in("mqtt://ha:pass%40word@192.168.1.5"))
    ['pass%40word', 'pass@word']
    """
    before = text.rpartition("@")[0]
    password = before.rpartition("//")[2].partition(":")[2]
    yield from {found for found in (password, unquote(password)) if found}


def _check(parts: SplitResult, port: int | None) -> None:
    if parts.scheme not in PORTS:
        raise vol.Invalid("is neither mqtt nor mqtts")
    if not parts.hostname:
        raise vol.Invalid("has no host")
    if port == 0 or parts.netloc.endswith(":"):
        raise vol.Invalid("has a wrong port")
    host = parts.netloc.rpartition("@")[2]
    if not re.fullmatch(r"([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?", host):
        raise vol.Invalid("has a host that no machine is called")
    if parts.password and not parts.username:
        raise vol.Invalid("has a password without a user")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise vol.Invalid(
            "has something after the host and its port; in a password, / ? # are %2F %3F %23"
        )
