"""What can go wrong between the daemon and Immich: one hierarchy, every message for a person.

A message says what happened, to what, and what to do next. None ever holds the API key.
"""

from collections.abc import Iterable


class ImmichError(Exception):
    """Something went wrong with a request to Immich."""


class UnreachableError(ImmichError):
    """No answer: refused, timed out, cut off, or a gateway (502 to 504) that found nobody behind.

    Whether the request was carried out is not known.
    """


class NotImmichError(ImmichError):
    """Something answered, but not Immich: a login page, a router, another program."""


class KeyRejectedError(ImmichError):
    """Immich does not know the API key (401)."""


class PermissionMissingError(ImmichError):
    """The API key lacks a permission, or its owner is no administrator (403).

    ``missing`` names the permissions; it is empty where the owner is no administrator.
    """

    def __init__(self, message: str, missing: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.missing = frozenset(missing)


class RefusedError(ImmichError):
    """Immich understood the request and refuses it (400): backgroundTask cannot be paused."""


class AlreadyRunningError(RefusedError):
    """Immich was asked to look for what is missing in a queue in which something runs (400)."""


class UnexpectedError(ImmichError):
    """Immich answered, but not what it should: a wrong shape, a wrong type, an error of its own.

    Also a pause or a resume whose answer does not show the queue paused or resumed.
    """
