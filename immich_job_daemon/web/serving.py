"""Where the daemon begins to show itself: what the settings ask for, opened, and closed again."""

from collections.abc import Iterator
from contextlib import contextmanager

from immich_job_daemon.model.settings import Settings
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.web.application import Face, application
from immich_job_daemon.web.server import listening


@contextmanager
def serving(hub: StatusHub, settings: Settings, *, behind_ingress: bool) -> Iterator[None]:
    """Show the board at the ports of the settings as long as the context lasts.

    Args:
        hub: where the loop leaves its pictures and finds what is wished for.
        settings: what the user wants.
        behind_ingress: whether this is the add-on, with Home Assistant in front of the page.
    """
    ports = {Face.MACHINES: settings.status_port, Face.PEOPLE: settings.ui_port}
    with listening(application(hub, settings, behind_ingress=behind_ingress), ports):
        yield
