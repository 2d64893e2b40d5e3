"""Turns a response into its body, or into the error that it stands for.

Statuses and messages as seen on Immich 3.1.0.
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
from immich_job_daemon.immich.apis import MAX_QUOTE_LENGTH, QueueApi, parse_message
from immich_job_daemon.immich.transport import Response

_API_KEYS_PAGE: Final = "user icon > Account Settings > API Keys"

_GATEWAY_ERRORS: Final = (
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


class NoSuchApiError(UnexpectedError):
    """Immich does not have this path (404): this version has another API."""


def body_or_raise(response: Response, method: str, path: str) -> bytes:
    """Return the body of a successful response to this request.

    Raises:
        ImmichError: the subclass that matches the status, content type and message.
    """
    if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES and not _is_html(response):
        return response.body
    raise _error_for(response, method, path)


def not_immich_error(reason: str) -> NotImmichError:
    """Return the error for a server that is not Immich; ``reason`` is the evidence."""
    return NotImmichError(
        f"the server at IMMICH_URL is not Immich ({reason}): set IMMICH_URL to the address and "
        "port of Immich itself, not of a login page in front of it"
    )


def missing_permission_error(missing: Iterable[str], api: QueueApi) -> PermissionMissingError:
    """Return the error for a key that lacks permissions which the API needs."""
    names = ", ".join(sorted(missing))
    return PermissionMissingError(
        f"the API key lacks the permission {names}: in Immich, under {_API_KEYS_PAGE}, grant "
        f"{api.read_permission} and {api.write_permission} to the key",
        missing,
    )


def _error_for(response: Response, method: str, path: str) -> ImmichError:
    status = response.status
    message = parse_message(response.body)
    summary = f"{status} {message}" if message else f"{status}"
    error: ImmichError = UnexpectedError(
        f"Immich responded to {method} {path} with {summary}: if this continues, check its log"
    )
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST and response.location:
        error = _redirect_error(one_line(response.location, longest=MAX_QUOTE_LENGTH), path)
    elif status in _GATEWAY_ERRORS:
        error = UnreachableError(
            f"a proxy responds, but Immich behind it does not ({summary}): check whether Immich "
            "runs"
        )
    elif status < HTTPStatus.INTERNAL_SERVER_ERROR and _is_html(response):
        error = not_immich_error(f"it sent an HTML page with status {status}")
    elif status == HTTPStatus.UNAUTHORIZED:
        error = KeyRejectedError(
            f"Immich does not accept the API key ({summary}): create a key in Immich, under "
            f"{_API_KEYS_PAGE}, and set API_KEY to it"
        )
    elif status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND) and message is None:
        error = not_immich_error(f"it sent {status} without a message")
    elif status == HTTPStatus.FORBIDDEN:
        error = _forbidden_error(summary)
    elif status == HTTPStatus.NOT_FOUND:
        error = NoSuchApiError(f"Immich has no {method} {path} ({summary}): check its version")
    elif status == HTTPStatus.BAD_REQUEST and message == "Job is already running":
        error = AlreadyRunningError(f"Immich refuses {method} {path}: {message}")
    elif status == HTTPStatus.BAD_REQUEST and message is not None:
        error = RefusedError(
            f"Immich refuses {method} {path}: {message}. If it always refuses, add the queue to "
            "PROTECTED_QUEUES"
        )
    return error


def _is_html(response: Response) -> bool:
    return (
        response.content_type.lower().startswith("text/html") or response.body.lstrip()[:1] == b"<"
    )


def _redirect_error(location: str, path: str) -> NotImmichError:
    """Suggest the address of the target, without the API path if the target ends with it."""
    target = location.split("?", maxsplit=1)[0].rstrip("/").removesuffix(path) or location
    return NotImmichError(
        f"Immich redirects to {target}: set IMMICH_URL to {target}, or to Immich's own address if "
        "that is a login page"
    )


def _forbidden_error(summary: str) -> PermissionMissingError:
    match = re.search(r"Missing required permission: ([\w.]+)", summary)
    if match:
        return PermissionMissingError(
            f"the API key lacks the permission {match[1]}: in Immich, under {_API_KEYS_PAGE}, "
            "grant it to the key",
            match.groups(),
        )
    return PermissionMissingError(
        f"the API key belongs to a user who is not an administrator ({summary}): create a key in "
        f"Immich as an administrator, under {_API_KEYS_PAGE}, and set API_KEY to it"
    )
