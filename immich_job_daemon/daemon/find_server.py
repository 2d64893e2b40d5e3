"""Where is Immich? Asked only when IMMICH_URL is empty: the well-known places are tried in order.

The first that answers ``/api/server/ping`` as Immich does is taken, and remembered in DATA_DIR, so
that the next start asks there first. No key is sent anywhere in the search.
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
from immich_job_daemon.config import parsers
from immich_job_daemon.immich.transport import HttpTransport

USUAL_ADDRESSES: Final = (
    "http://127.0.0.1:2283",
    "http://db21ed7f-immich:8080",
    "http://db21ed7f-immich-noml:8080",
    "http://db21ed7f-immich-cuda:8080",
    "http://db21ed7f-immich-openvino:8080",
    "http://172.30.32.1:2283",
    "http://172.30.32.1:8181",
    "http://homeassistant.local:2283",
    "http://homeassistant.local:8181",
    "http://immich-server:2283",
)
"""This machine first, for it answers or refuses at once; the add-on that most people have and its
variants; the machine below Home Assistant as its add-ons see it; Immich's own name in its
docker-compose file."""

FILE_NAME: Final = "server.json"
MOST_BYTES: Final = 4096
ASK_FOR: Final = 2.0
"""Seconds that one place gets to answer: all of them are on the same machine or next to it."""
LONGEST_RETRY: Final = 60.0

_PONG: Final = vol.Schema({vol.Required("res"): "pong"}, extra=vol.ALLOW_EXTRA)
_REMEMBERED: Final = vol.Schema({vol.Required("url"): parsers.address}, extra=vol.ALLOW_EXTRA)

log = logging.getLogger(__name__)


def is_immich(url: str) -> bool:
    """Return whether Immich answers at this address; nothing else is told apart."""
    transport = HttpTransport(url, "", connect_timeout=ASK_FOR, read_timeout=ASK_FOR)
    try:
        answer = transport.send("GET", "/api/server/ping")
        _PONG(json.loads(answer.body))
    except (UnreachableError, ValueError, RecursionError, vol.Invalid):
        return False
    finally:
        transport.close()
    return answer.status == 200  # noqa: PLR2004 - HTTP's number for all is well


def find(
    folder: Path,
    *,
    places: Iterable[str] = USUAL_ADDRESSES,
    is_immich: Callable[[str], bool] = is_immich,
) -> str:
    """Return the address of the first place at which Immich answers, and remember it.

    Args:
        folder: DATA_DIR.
        places: addresses, the first ones first; the remembered one is asked before all of them.
        is_immich: asks one address.

    Raises:
        NotImmichError: nobody answers as Immich does; the message says what was tried.
    """
    remembered = recall(folder)
    tried = list(dict.fromkeys([*([remembered] if remembered else []), *places]))
    for url in tried:
        if is_immich(url):
            log.info("Found Immich at %s.", url)
            if url != remembered:
                _remember(folder, url)
            return url
        log.debug("No Immich at %s.", url)
    raise NotImmichError(
        "IMMICH_URL is empty and Immich answers at none of the usual places "
        f"({', '.join(url.partition('://')[2] for url in tried)}): start Immich, or set "
        "IMMICH_URL to its address, for example http://192.168.1.5:2283"
    )


def wait_for(
    folder: Path,
    clock: Clock,
    look: Callable[[Path], str] = find,
    tell: Callable[[str, float], None] = lambda *_: None,
) -> str:
    """Return the address of Immich, however long it takes until it is there.

    Args:
        folder: DATA_DIR.
        clock: how to wait.
        look: looks for it once.
        tell: called each time it is not there, with the reason and the seconds until the next try.

    Raises:
        StopRequested: somebody asked for it meanwhile.
    """
    delays = BackoffDelay(1, factor=2, limit=LONGEST_RETRY)
    while True:
        try:
            return clock.run_interruptibly(partial(look, folder))
        except NotImmichError as error:
            delay = next(delays)
            log.warning("%s. Trying again in %d s.", error, delay)
            tell(str(error), delay)
            clock.wait(delay)


def recall(folder: Path) -> str | None:
    """Return the address that answered the last time, None if that is not known."""
    try:
        with (folder / FILE_NAME).open("rb") as file:
            found = _REMEMBERED(json.loads(file.read(MOST_BYTES)))
    except (OSError, ValueError, RecursionError, vol.Invalid):
        # It is only a shortcut: without it all the places are asked.
        return None
    return str(found["url"])


def _remember(folder: Path, url: str) -> None:
    new = folder / f"{FILE_NAME}.new"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps({"url": url}))
        new.replace(folder / FILE_NAME)
    except OSError as error:
        log.debug("Where Immich is cannot be remembered (%s).", error.strerror or error)
