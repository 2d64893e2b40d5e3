"""What can go wrong between the daemon and Immich: one hierarchy of errors for users to read.

A message says what happened, to what, and what to do next. It never contains the API key.
"""

from collections.abc import Iterable


class ImmichError(Exception):
    """A request to Immich failed."""


class UnreachableError(ImmichError):
    """No response: refused, timed out, cut off, or a gateway without Immich behind it (502 to 504).

    Immich may or may not have carried out the request.
    """


class NotImmichError(ImmichError):
    """The server that responded is not Immich: a login page, a router, another program."""


class KeyRejectedError(ImmichError):
    """Immich does not know the API key (401)."""


class PermissionMissingError(ImmichError):
    """The API key lacks a permission, or its owner is not an administrator (403).

    ``missing`` holds the names of the permissions; it is empty if the owner is no administrator.
    """

    def __init__(self, message: str, missing: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.missing = frozenset(missing)


class RefusedError(ImmichError):
    """Immich understood the request and refuses it (400): backgroundTask cannot be paused."""


class AlreadyRunningError(RefusedError):
    """A scan for missing assets was requested in a queue with active jobs (400)."""


class UnexpectedError(ImmichError):
    """Immich sent an unexpected response: a wrong shape, a wrong type, or an internal error.

    Also a response to a pause or resume that does not show the queue paused or resumed.
    """
