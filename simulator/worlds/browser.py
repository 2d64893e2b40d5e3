"""A page that shows one picture for good, and Chromium to look at it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.server import App, Listener, create_dispatcher
from immich_job_daemon.web.ui.app import create_people

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

_HERE: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class _Wanted:
    max_concurrent_jobs: int = 1
    ui_password: Secret = field(default_factory=lambda: Secret(""))


@contextmanager
def showing(status: Status, now: float) -> Iterator[str]:
    """Serve the page as the add-on does, to this machine, and give its address.

    Args:
        status: what it shows.
        now: the time at which it does, of the daemon's clock.
    """
    app = create_people(
        StatusHub(status), _Wanted(), behind_ingress=True, gateway=_HERE, clock=lambda: now
    )
    listener = Listener(App.UI, 0, create_dispatcher({App.UI: app}))
    try:
        yield f"http://{_HERE}:{listener.port}/"
    finally:
        listener.close()
