"""Where the daemon begins to show itself: what the settings ask for, opened, and closed again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.web.application import Face, application
from immich_job_daemon.web.server import listening
from immich_job_daemon.web.ui.app import Wanted


class Ports(Wanted, Protocol):
    """The settings that are needed here."""

    @property
    def status_port(self) -> int:
        """Where machines ask; 0: nowhere."""
        ...

    @property
    def ui_port(self) -> int:
        """Where people look; 0: nowhere."""
        ...


@contextmanager
def serving(hub: StatusHub, settings: Ports, *, behind_ingress: bool) -> Iterator[None]:
    """Show the board at the ports of the settings as long as the context lasts.

    Args:
        hub: where the loop leaves its pictures and finds what is wished for.
        settings: what the user wants.
        behind_ingress: whether this is the add-on, with Home Assistant in front of the page.
    """
    ports = {Face.MACHINES: settings.status_port, Face.PEOPLE: settings.ui_port}
    with listening(application(hub, settings, behind_ingress=behind_ingress), ports):
        yield
