"""What no message about the settings may show: the secrets among them, wherever they stand."""

import re
from collections.abc import Mapping
from typing import Final

from immich_job_daemon.base.redaction import redactor
from immich_job_daemon.config import parsers
from immich_job_daemon.config.broker import passwords_in
from immich_job_daemon.model.settings import MIN_PASSWORD_LENGTH

SECRETS: Final = frozenset({"API_KEY", "UI_PASSWORD", "MQTT_URL"})
"""The settings whose values are never shown."""


class Hiding:
    """Knows what was given as the key and as passwords, and so what must not be shown."""

    def __init__(self, *sources: Mapping[str, object]) -> None:
        def given(name: str) -> list[str]:
            texts = parsers.texts_in([source.get(name) for source in sources])
            return [text.strip() for text in texts if not parsers.is_unset(text)]

        # What is too short to be a password may stand anywhere by chance.
        passwords = (text for text in given("UI_PASSWORD") if len(text) >= MIN_PASSWORD_LENGTH)
        of_broker = (
            password
            for address in given("MQTT_URL")
            for password in passwords_in(address)
            if len(password) >= MIN_PASSWORD_LENGTH
        )
        self._secrets = {
            "holds the API key": redactor(*given("API_KEY")),
            "holds the password of the page": redactor(*passwords),
            "holds the password of MQTT_URL": redactor(*of_broker),
        }

    def found_in(self, value: object) -> str | None:
        """Say which secret is anywhere in a value, None if there is none."""
        for what, redact in self._secrets.items():
            if any(redact(text) != text for text in parsers.texts_in(value)):
                return what
        return None

    def name(self, name: str) -> str:
        """Return the name of an option as it may be shown."""
        if self.found_in(name):
            return "a hidden name"
        return name if re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", name) else parsers.show(name)
