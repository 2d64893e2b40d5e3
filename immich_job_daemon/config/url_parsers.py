"""Parsers for the URLs among the settings: IMMICH_URL and MQTT_URL.

Each takes a raw value and returns the parsed one, or raises ``vol.Invalid``. The message does not
repeat the value, which may contain a password.

>>> optional_broker("mqtt://ha:pass%40word@192.168.1.5")
Broker(host='192.168.1.5', port=1883, username='ha', password=Secret(hidden), is_encrypted=False)
"""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import voluptuous as vol

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.config.parsers import text
from immich_job_daemon.model.settings import Broker

BROKER_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
"""The default port of each scheme."""

_MAX_LENGTH: Final = 2048
_IPV6_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.]+\](:[0-9]+)?")


def immich_url(value: object) -> str:
    """Return a base URL of Immich, to which ``/api/...`` can be appended.

    >>> immich_url("192.168.1.5:2283"), immich_url("HTTPS://home.example/photos/api/")
    ('http://192.168.1.5:2283', 'https://home.example/photos')
    """
    given = text(value)
    parts = _split(given, ("http", "https"), allow_credentials=False)
    # Not parts.query and parts.fragment: they are empty for a trailing ? or #.
    if "?" in given or "#" in given:
        raise vol.Invalid("contains ? or #")
    path = parts.path.rstrip("/")
    if path.endswith("/api"):
        path = path.removesuffix("/api").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def optional_immich_url(value: object) -> str:
    """Return a base URL of Immich, or an empty text for an empty value."""
    return "" if value == "" else immich_url(value)


def optional_broker(value: object) -> Broker | None:
    """Return the MQTT broker at a URL, or None for an empty value."""
    given = text(value)
    if not given:
        return None
    parts = _split(given, ("mqtt", "mqtts"), allow_credentials=True)
    if parts.password and not parts.username:
        raise vol.Invalid("has a password but no username")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise vol.Invalid(
            "has text after the host and port; in a password, write / ? # as %2F %3F %23"
        )
    return Broker(
        host=parts.hostname or "",
        port=parts.port or BROKER_PORTS[parts.scheme],
        username=unquote(parts.username or ""),
        password=Secret(unquote(parts.password or "")),
        is_encrypted=parts.scheme == "mqtts",
    )


def find_passwords(url: str) -> Iterator[str]:
    """Yield what may be the password in a URL, whether the URL is valid or not.

    >>> sorted(find_passwords("mqtt://ha:pass%40word@192.168.1.5"))
    ['pass%40word', 'pass@word']
    """
    credentials = url.rpartition("@")[0]
    password = credentials.rpartition("//")[2].partition(":")[2]
    yield from {form for form in (password, unquote(password)) if form}


def _split(url: str, schemes: tuple[str, str], *, allow_credentials: bool) -> SplitResult:
    """Return the parts of a valid URL. The first of the schemes is assumed if it has none."""
    if len(url) > _MAX_LENGTH:
        raise vol.Invalid("is too long")
    if not url.isprintable() or " " in url or "\\" in url:
        raise vol.Invalid("contains a space, a backslash or an invisible character")
    try:
        parts = urlsplit(url if "://" in url else f"{schemes[0]}://{url}")
        # Reading the port validates it.
        port = parts.port
    except ValueError:
        raise vol.Invalid("is not an address or has an invalid port") from None
    if parts.scheme not in schemes:
        raise vol.Invalid(f"is not an {schemes[0]} or {schemes[1]} address")
    if not allow_credentials and parts.username is not None:
        raise vol.Invalid("contains a username or password, which Immich does not accept")
    if not parts.hostname:
        raise vol.Invalid("has no host")
    if port == 0 or parts.netloc.endswith(":"):
        raise vol.Invalid("has an invalid port")
    host_and_port = parts.netloc.rpartition("@")[2]
    if not (_IPV6_HOST.fullmatch(host_and_port) or _is_host_name(parts.hostname)):
        raise vol.Invalid("has an invalid host name")
    return parts


def _is_host_name(name: str) -> bool:
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return re.fullmatch(r"[\w.-]+", name) is not None
