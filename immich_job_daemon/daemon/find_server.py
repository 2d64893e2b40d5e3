"""Finds Immich when IMMICH_URL is empty.

Probes well-known addresses in order and takes the first at which Immich answers the ping. That one
is saved in DATA_DIR and probed first at the next start. The search sends the API key to no server.
"""

import json
import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

import voluptuous as vol
from tempora.timing import BackoffDelay

from immich_job_daemon.base.clock import Clock
from immich_job_daemon.base.errors import NotImmichError, UnreachableError
from immich_job_daemon.base.files import write_atomically
from immich_job_daemon.config.url_parsers import immich_url
from immich_job_daemon.immich.transport import HttpTransport

CANDIDATE_URLS: Final = (
    # This machine first: it accepts or refuses the connection at once.
    "http://127.0.0.1:2283",
    # Add-ons for Immich, the most popular one first.
    "http://db21ed7f-immich:8080",
    "http://db21ed7f-immich-noml:8080",
    "http://db21ed7f-immich-cuda:8080",
    "http://db21ed7f-immich-openvino:8080",
    # The host of Home Assistant, as its add-ons see it.
    "http://172.30.32.1:2283",
    "http://172.30.32.1:8181",
    "http://homeassistant.local:2283",
    "http://homeassistant.local:8181",
    # The service name in Immich's own docker-compose file.
    "http://immich-server:2283",
)

FILE_NAME: Final = "server.json"
MAX_BYTES: Final = 4096
PROBE_TIMEOUT: Final = 2.0
"""Seconds for one probe. All candidates are on the same machine or in the same network."""
LONGEST_RETRY: Final = 60.0
"""Longest delay in seconds between two searches."""

_PONG: Final = vol.Schema({vol.Required("res"): "pong"}, extra=vol.ALLOW_EXTRA)
_LAST_SERVER: Final = vol.Schema({vol.Required("url"): immich_url}, extra=vol.ALLOW_EXTRA)

log = logging.getLogger(__name__)


def is_immich(url: str) -> bool:
    """Return whether Immich answers the ping at a URL. Any other outcome counts as no."""
    transport = HttpTransport(url, "", connect_timeout=PROBE_TIMEOUT, read_timeout=PROBE_TIMEOUT)
    try:
        response = transport.send("GET", "/api/server/ping")
        _PONG(json.loads(response.body))
    except (UnreachableError, ValueError, RecursionError, vol.Invalid):
        return False
    finally:
        transport.close()
    return response.status == 200  # noqa: PLR2004 - OK


def find(
    data_dir: Path,
    *,
    candidates: Iterable[str] = CANDIDATE_URLS,
    is_immich: Callable[[str], bool] = is_immich,
) -> str:
    """Return the URL of the first server that is an Immich, and save it for the next start.

    The last URL in ``data_dir`` is probed before the candidates.

    Raises:
        NotImmichError: Immich answers at none of the URLs. The message lists them.
    """
    last = load_last_url(data_dir)
    urls = list(dict.fromkeys([*([last] if last else []), *candidates]))
    for url in urls:
        if is_immich(url):
            log.info("Found Immich at %s.", url)
            if url != last:
                _save_url(data_dir, url)
            return url
        log.debug("No Immich at %s.", url)
    raise NotImmichError(
        "IMMICH_URL is empty, and Immich answers at none of the usual addresses "
        f"({', '.join(url.partition('://')[2] for url in urls)}). Start Immich, or set IMMICH_URL "
        "to its address, for example http://192.168.1.5:2283"
    )


def wait_for(
    data_dir: Path,
    clock: Clock,
    search: Callable[[Path], str] = find,
    on_failure: Callable[[str, float], None] = lambda *_: None,
) -> str:
    """Search until Immich is found, however long that takes; return its URL.

    ``on_failure`` gets the reason of each failed search and the seconds until the next.

    Raises:
        StopRequested: the daemon was stopped meanwhile.
    """
    delays = BackoffDelay(1, factor=2, limit=LONGEST_RETRY)
    while True:
        try:
            return clock.run_interruptibly(partial(search, data_dir))
        except NotImmichError as error:
            delay = next(delays)
            log.warning("%s. Trying again in %d s.", error, delay)
            on_failure(str(error), delay)
            clock.wait(delay)


def load_last_url(data_dir: Path) -> str | None:
    """Return the URL at which Immich was last found, or None if it is unknown."""
    try:
        with (data_dir / FILE_NAME).open("rb") as file:
            server = _LAST_SERVER(json.loads(file.read(MAX_BYTES)))
    except (OSError, ValueError, RecursionError, vol.Invalid):
        # The file is only a shortcut: without it, the search probes all candidates.
        return None
    return str(server["url"])


def _save_url(data_dir: Path, url: str) -> None:
    try:
        write_atomically(data_dir / FILE_NAME, json.dumps({"url": url}))
    except OSError as error:
        log.debug("The address of Immich cannot be saved (%s).", error.strerror or error)
