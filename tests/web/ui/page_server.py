"""The page as a browser meets it: real waitress, real sockets, a board filled by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.web.server import App, Listener, create_dispatcher
from immich_job_daemon.web.ui.app import create_people
from tests.web.ui.sample_statuses import NOW


@dataclass
class Wanted:
    max_concurrent_jobs: int = 1
    ui_password: Secret = field(default_factory=lambda: Secret(""))


@contextmanager
def page(hub: StatusHub, *, password: str = "", gateway: str = "") -> Iterator[str]:
    """Serve the page and give its address; with a gateway, as the add-on does."""
    settings = Wanted(ui_password=Secret(password))
    app = create_people(
        hub, settings, behind_ingress=bool(gateway), gateway=gateway, clock=lambda: NOW
    )
    listener = Listener(App.UI, 0, create_dispatcher({App.UI: app}))
    try:
        yield f"http://127.0.0.1:{listener.port}/"
    finally:
        listener.close()
