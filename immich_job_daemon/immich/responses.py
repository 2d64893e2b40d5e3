"""What an answer means: its body where Immich did what was asked, else the error that fits.

Statuses and messages: seen on Immich 3.1.0.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from immich_job_daemon.base.errors import (
    AlreadyRunningError,
    ImmichError,
    KeyRejectedError,
    NotImmichError,
    PermissionMissingError,
    RefusedError,
    UnexpectedError,
    UnreachableError,
)
from immich_job_daemon.base.text import one_line
from immich_job_daemon.immich.apis import LONGEST_QUOTE, QueueApi, parse_message
from immich_job_daemon.immich.transport import Response

_KEYS: Final = "user icon > Account Settings > API Keys"

_GATEWAY: Final = (
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


ALREADY_RUNNING: Final = "Job is already running"
"""What Immich says to a start while something is active in the queue (seen on 3.1.0)."""


class NoSuchApiError(UnexpectedError):
    """Immich knows no such path (404): this version has another API."""


def body_of(answer: Response, method: str, path: str) -> bytes:
    """Return the body of a good answer to this request.

    Raises:
        ImmichError: the kind that the status, the type and Immich's message stand for.
    """
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES and not _is_page(answer):
        return answer.body
    raise _meaning(answer, method, path)


def not_immich(reason: str) -> NotImmichError:
    """Return the error for a server that is another than Immich, with the sign of it."""
    return NotImmichError(
        f"what answers at IMMICH_URL is not Immich ({reason}): set IMMICH_URL to the address and "
        "port of Immich itself, without a login in front"
    )


def lacking(missing: Iterable[str], dialect: QueueApi) -> PermissionMissingError:
    """Return the error for a key that lacks these permissions of those the dialect needs."""
    names = ", ".join(sorted(missing))
    return PermissionMissingError(
        f"the API key lacks the permission {names}: in Immich, under {_KEYS}, give the key "
        f"{dialect.read} and {dialect.write}",
        missing,
    )


def _meaning(answer: Response, method: str, path: str) -> ImmichError:
    status = answer.status
    message = parse_message(answer.body)
    said = f"{status} {message}" if message else f"{status}"
    error: ImmichError = UnexpectedError(
        f"Immich answered {method} {path} with {said}: if this goes on, read Immich's log"
    )
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST and answer.location:
        error = _redirected(one_line(answer.location, longest=LONGEST_QUOTE), path)
    elif status in _GATEWAY:
        error = UnreachableError(
            f"a proxy answers, Immich behind it does not ({said}): see whether Immich runs"
        )
    elif status < HTTPStatus.INTERNAL_SERVER_ERROR and _is_page(answer):
        error = not_immich(f"it sends a page, with status {status}")
    elif status == HTTPStatus.UNAUTHORIZED:
        error = KeyRejectedError(
            f"Immich does not accept the API key ({said}): make one in Immich, under {_KEYS}, and "
            "set API_KEY to it"
        )
    elif status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND) and message is None:
        error = not_immich(f"{status} is all it says")
    elif status == HTTPStatus.FORBIDDEN:
        error = _forbidden(said)
    elif status == HTTPStatus.NOT_FOUND:
        error = NoSuchApiError(f"Immich has no {method} {path} ({said}): look at its version")
    elif status == HTTPStatus.BAD_REQUEST and message == ALREADY_RUNNING:
        error = AlreadyRunningError(f"Immich refuses {method} {path}: {message}")
    elif status == HTTPStatus.BAD_REQUEST and message is not None:
        error = RefusedError(
            f"Immich refuses {method} {path}: {message}. If it refuses always, add the queue to "
            "PROTECTED_QUEUES"
        )
    return error


def _is_page(answer: Response) -> bool:
    return answer.content_type.lower().startswith("text/html") or answer.body.lstrip()[:1] == b"<"


def _redirected(location: str, path: str) -> NotImmichError:
    """Name the address to use: without the path, where only the address before it differs."""
    target = location.split("?", maxsplit=1)[0].rstrip("/").removesuffix(path) or location
    return NotImmichError(
        f"Immich redirects to {target}: set IMMICH_URL to {target}, or to Immich's own address if "
        "that is a login"
    )


def _forbidden(said: str) -> PermissionMissingError:
    lacks = re.search(r"Missing required permission: ([\w.]+)", said)
    if lacks:
        return PermissionMissingError(
            f"the API key lacks the permission {lacks[1]}: in Immich, under {_KEYS}, give it to "
            "the key",
            lacks.groups(),
        )
    return PermissionMissingError(
        f"the API key belongs to a user who is no administrator ({said}): make a key in Immich as "
        f"an administrator, under {_KEYS}, and set API_KEY to it"
    )
