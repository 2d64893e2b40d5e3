"""Keeps secrets out of messages about the settings, wherever the user entered them."""

import re
from collections.abc import Mapping
from typing import Final

from immich_job_daemon.base.redaction import redactor
from immich_job_daemon.config import parsers, url_parsers
from immich_job_daemon.model.settings import MIN_PASSWORD_LENGTH

SECRETS: Final = frozenset({"API_KEY", "UI_PASSWORD", "MQTT_URL"})
"""Settings whose values are never shown."""


class SecretScanner:
    """Finds the key and the passwords of the user in other values.

    People paste the key into the wrong field. The message about that field must not show it.
    A secret that another source overrides counts as well.
    """

    def __init__(self, *sources: Mapping[str, object]) -> None:
        def texts_of(name: str) -> list[str]:
            texts = parsers.iterate_texts([source.get(name) for source in sources])
            return [text.strip() for text in texts if not parsers.is_unset(text)]

        # A text too short for a password may occur in any value by chance.
        page_passwords = (
            text for text in texts_of("UI_PASSWORD") if len(text) >= MIN_PASSWORD_LENGTH
        )
        broker_passwords = (
            password
            for url in texts_of("MQTT_URL")
            for password in url_parsers.find_passwords(url)
            if len(password) >= MIN_PASSWORD_LENGTH
        )
        self._redactors = {
            "contains the API key": redactor(*texts_of("API_KEY")),
            "contains the password for the page": redactor(*page_passwords),
            "contains the password from MQTT_URL": redactor(*broker_passwords),
        }

    def find(self, value: object) -> str | None:
        """Return a phrase that says which secret the value contains, or None."""
        for phrase, redact in self._redactors.items():
            if any(redact(text) != text for text in parsers.iterate_texts(value)):
                return phrase
        return None

    def show_name(self, name: str) -> str:
        """Return the name of an option, made safe for a message."""
        if self.find(name):
            return "a hidden name"
        return name if re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", name) else parsers.show(name)
