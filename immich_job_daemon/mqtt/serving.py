"""Where the daemon begins to show itself to Home Assistant, if there is a broker to do it through.

What takes a while to load is loaded only then.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from immich_job_daemon.base.redaction import redactor
from immich_job_daemon.model.settings import Broker
from immich_job_daemon.mqtt import supervisor
from immich_job_daemon.mqtt.service import Link
from immich_job_daemon.status.hub import StatusHub


class Wanted(Protocol):
    """The settings that are needed here."""

    @property
    def mqtt_url(self) -> Broker | None:
        """The broker; None: the one that the Supervisor knows."""
        ...

    @property
    def secrets(self) -> list[str]:
        """What nobody may see."""
        ...


@contextmanager
def linked(
    hub: StatusHub, settings: Wanted, token: str, address: str = supervisor.ADDRESS
) -> Iterator[Link]:
    """Show the board to Home Assistant as long as the context lasts.

    Args:
        hub: where the loop leaves its pictures and finds what is wished for.
        settings: what the user wants.
        token: SUPERVISOR_TOKEN, for a broker that the settings do not name.
        address: where the Supervisor is.
    """
    link = Link(_finder(settings, token, address), hub, hide=redactor(*settings.secrets))
    link.start()
    try:
        yield link
    finally:
        link.close()


def _finder(settings: Wanted, token: str, address: str) -> Callable[[], Broker]:
    named = settings.mqtt_url
    if named is not None:
        return lambda: named
    return lambda: supervisor.ask(token, address)
