"""The settings as data: read and checked by ``config``, passed to whatever needs them."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.model.windows import Window

MIN_PASSWORD_LENGTH: Final = 8
"""Characters of the shortest password for the page. A shorter text may occur in any message by
chance, so it is not redacted either."""


class OnExit(Enum):
    """What happens to the queues that the daemon has paused when it stops."""

    RELEASE = "release"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Broker:
    """An MQTT broker and the credentials for it.

    An empty ``username`` connects anonymously. If the connection is encrypted, the broker's
    certificate is verified.
    """

    host: str
    port: int
    username: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))
    is_encrypted: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Scan:
    """When Immich is asked to look for missing thumbnails, faces and so on.

    A scan begins in the window. With ``ends_with_window`` no further queue is asked after it.
    """

    window: Window
    ends_with_window: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. DOCS.md describes each one; durations and intervals are in seconds.

    An empty ``immich_url`` means that the daemon searches for Immich. Port 0 opens no port. An
    empty ``ui_password`` makes the page read-only. Without ``mqtt_url`` the daemon uses the broker
    that the Supervisor knows, if there is one.
    """

    immich_url: str
    api_key: Secret
    max_concurrent_jobs: int
    poll_interval: float
    queue_priority: tuple[str, ...]
    protected_queues: frozenset[str]
    unrestricted_below: int
    schedule: tuple[Window, ...]
    exclusive: tuple[frozenset[str], ...]
    yield_after: float | None
    max_wait: float | None
    pause_above_load: float | None
    scan: Scan | None
    dry_run: bool
    on_exit: OnExit
    log_level: str
    status_port: int
    ui_port: int
    ui_password: Secret
    mqtt_url: Broker | None
    data_dir: Path

    @property
    def secrets(self) -> list[str]:
        """Values that must not appear in any output."""
        broker = self.mqtt_url.password.reveal() if self.mqtt_url else ""
        redacted = [broker] if len(broker) >= MIN_PASSWORD_LENGTH else []
        return [self.api_key.reveal(), self.ui_password.reveal(), *redacted]


def rivals(groups: Iterable[AbstractSet[str]], name: str) -> set[str]:
    """Return the queues that must not run together with ``name``.

    >>> sorted(rivals([{"ocr", "smartSearch"}, {"ocr", "library"}, {"sidecar"}], "ocr"))
    ['library', 'smartSearch']
    """
    return {rival for group in groups if name in group for rival in group} - {name}
