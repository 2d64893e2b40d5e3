"""Serves the page with the real web server and a hub that the test fills."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.web.server import App, Listener, create_dispatcher
from immich_job_daemon.web.ui.app import create_ui
from tests.support.settings import settings_with
from tests.web.ui.sample_statuses import NOW


@contextmanager
def page(hub: StatusHub, *, password: str = "", gateway: str = "") -> Iterator[str]:
    """Serve the page and yield its URL; with a gateway, as the add-on does."""
    settings = replace(settings_with(), ui_password=Secret(password))
    app = create_ui(hub, settings, behind_ingress=bool(gateway), gateway=gateway, clock=lambda: NOW)
    listener = Listener(App.UI, 0, create_dispatcher({App.UI: app}))
    try:
        yield f"http://127.0.0.1:{listener.port}/"
    finally:
        listener.close()
