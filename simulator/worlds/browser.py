"""Serves the page with a fixed status, and how to start Chromium for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.server import App, Listener, create_dispatcher
from immich_job_daemon.web.ui.app import create_ui
from simulator.worlds.virtual_daemon import settings

CHROMIUM: Final = "/usr/bin/chromium"
"""Debian's; script/packages installs it."""

ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_LOCALHOST: Final = "127.0.0.1"


@contextmanager
def serving_page(status: Status, now: float) -> Iterator[str]:
    """Serve the page to this machine as the add-on does, and yield its URL.

    Args:
        status: what the page shows.
        now: the fixed time, in seconds of the daemon's clock.
    """
    app = create_ui(
        StatusHub(status), settings(), behind_ingress=True, gateway=_LOCALHOST, clock=lambda: now
    )
    listener = Listener(App.UI, 0, create_dispatcher({App.UI: app}))
    try:
        yield f"http://{_LOCALHOST}:{listener.port}/"
    finally:
        listener.close()
