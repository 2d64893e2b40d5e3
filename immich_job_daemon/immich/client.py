"""The Immich client: lists, pauses and resumes the queues, over whichever queue API works.

A command counts as done only when the response shows its effect. Every failure is an `ImmichError`
that says what to do next.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Final, Protocol, TypeVar

from immich_job_daemon.base.errors import (
    ImmichError,
    KeyRejectedError,
    PermissionMissingError,
    RefusedError,
    UnexpectedError,
    UnreachableError,
)
from immich_job_daemon.immich.apis import (
    APIS,
    JOBS_API,
    START_BODY,
    QueueApi,
    parse_permissions,
    parse_version,
)
from immich_job_daemon.immich.responses import (
    NoSuchApiError,
    body_or_raise,
    missing_permission_error,
    not_immich_error,
)
from immich_job_daemon.immich.transport import Transport
from immich_job_daemon.model.queue import MAX_QUEUES, Queue, Snapshot

_T = TypeVar("_T")

RETRY_DELAY: Final = 0.2
"""Seconds between two attempts to resume a queue when the daemon exits."""

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """What is known about Immich after connecting.

    The key's permissions may be ``all``; they are None if Immich does not tell them.
    """

    version: str
    api: str
    permissions: frozenset[str] | None

    def __str__(self) -> str:
        return f"Immich {self.version}, through its {self.api}"


class ImmichServer(Protocol):
    """What the loop needs from Immich. Every method but ``resume_all`` may raise an ImmichError."""

    def connect(self) -> Connection:
        """Check the server and the key, and choose an API."""

    def fetch_version(self) -> str:
        """Return Immich's version, such as 3.1.0."""

    def fetch_queues(self) -> Snapshot:
        """Return all queues."""

    def pause(self, name: str) -> Queue:
        """Pause a queue and return its new state."""

    def resume(self, name: str) -> Queue:
        """Resume a queue and return its new state."""

    def start(self, name: str) -> Queue:
        """Let a queue scan for assets without its result, and return its new state."""

    def resume_all(
        self, names: Iterable[str], *, within: float
    ) -> Mapping[str, ImmichError | None]:
        """Resume several queues within so many seconds.

        Returns:
            For each queue None if a response showed it resumed, otherwise the error.
        """


class ImmichClient:
    """A client of one Immich server. Calling `connect` first is optional, but it checks more."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._api: QueueApi | None = None
        self._names: set[str] = set()
        self._warned: set[str] = set()
        self._warned_lock = Lock()

    def __repr__(self) -> str:
        return f"Immich({self._transport!r})"

    @property
    def api(self) -> str | None:
        """The name of the API in use; None before the first request."""
        return self._api.name if self._api else None

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        self._transport.close()

    def connect(self) -> Connection:
        """Check the server and the key's permissions, and choose an API.

        Raises:
            UnreachableError: no server responds, or a proxy without Immich behind it.
            NotImmichError: another program responds.
            KeyRejectedError: Immich does not know the key.
            PermissionMissingError: the key can use neither API; names what the preferred one needs.
            UnexpectedError: both APIs send invalid responses.
        """
        version = self.fetch_version()
        permissions = self.fetch_permissions()
        self._warned.clear()
        self._api = self._choose_api(permissions)
        return Connection(version, self._api.name, permissions)

    def fetch_version(self) -> str:
        """Return Immich's version, such as 3.1.0.

        Raises:
            NotImmichError: the request needs no key, so a server that refuses it is not Immich.
            ImmichError: no response.
        """
        path = "/api/server/version"
        response = self._transport.send("GET", path)
        try:
            body = body_or_raise(response, "GET", path)
        except (KeyRejectedError, PermissionMissingError, RefusedError, NoSuchApiError) as error:
            raise not_immich_error(f"it sent {response.status} instead of a version") from error
        try:
            return parse_version(body)
        except UnexpectedError as error:
            raise not_immich_error("it sent no version") from error

    def fetch_permissions(self) -> frozenset[str] | None:
        """Return the key's permissions; None if this version of Immich does not tell them.

        Raises:
            ImmichError: the key is rejected, or there is no valid response.
        """
        try:
            body = _send(self._transport, "GET", "/api/api-keys/me")
        except (PermissionMissingError, RefusedError, NoSuchApiError):
            return None
        return parse_permissions(body)

    def fetch_queues(self) -> Snapshot:
        """Return all queues in Immich's order.

        Raises:
            ImmichError: there is no valid response.
        """
        snapshot = self._request(partial(_fetch_queues, self._transport), self._current_api())
        # The daemon keeps state for each name, so an endless supply of names would fill the memory.
        if len(self._names | snapshot.keys()) > MAX_QUEUES:
            raise UnexpectedError(
                f"Immich has named more than {MAX_QUEUES} different queues since the daemon "
                "started, more than any Immich has: check which server IMMICH_URL points to, then "
                "restart the daemon"
            )
        self._names |= snapshot.keys()
        return snapshot

    def pause(self, name: str) -> Queue:
        """Pause a queue and return it as the response shows it, paused.

        Raises:
            RefusedError: Immich does not allow this queue to be paused.
            UnexpectedError: the response does not show the queue paused.
            ImmichError: any other failure; the queue may or may not be paused.
        """
        request = partial(_set_paused, self._transport, name=name, paused=True)
        return self._request(request, self._current_api())

    def resume(self, name: str) -> Queue:
        """Resume a queue and return it as the response shows it, not paused.

        Raises:
            UnexpectedError: the response still shows the queue paused.
            ImmichError: any other failure; the queue may or may not be paused.
        """
        request = partial(_set_paused, self._transport, name=name, paused=False)
        return self._request(request, self._current_api())

    def start(self, name: str) -> Queue:
        """Let a queue scan for assets without its result; return its new state.

        This is the only request that does harm when it is repeated: a second scan can queue the
        same assets again. So it is sent once. The ledger records the scan before the request is
        sent, and after a failure only the next poll can show whether the scan began.

        Raises:
            AlreadyRunningError: the queue has active jobs.
            RefusedError: this queue has no such scan.
            PermissionMissingError: the key lacks job.create, which both APIs need here.
            ImmichError: any other failure; the scan may or may not have begun.
        """
        # A new connection: on a kept-alive one the transport repeats a request that met a closed
        # connection.
        with closing(self._transport.new_connection()) as transport:
            body = _send(transport, "PUT", JOBS_API.queue_path(name), START_BODY)
            return JOBS_API.parse_queue(name, body)

    def resume_all(self, names: Iterable[str], *, within: float) -> dict[str, ImmichError | None]:
        """Resume several queues in parallel, each over its own connection.

        Errors that may be temporary are retried until ``within`` seconds are over. Then this
        returns, even without a response; see `ImmichServer.resume_all`.
        """
        until = time.monotonic() + within
        results: dict[str, ImmichError | None] = {
            name: UnreachableError(
                f"Immich did not confirm within {within:g} s that {name} is resumed: check the "
                "queue in Immich under Administration, and resume it there if it is still paused"
            )
            for name in names
        }
        done: SimpleQueue[tuple[str, ImmichError | None]] = SimpleQueue()
        for name in results:
            # Daemon threads, so that a server that hangs cannot keep the process alive.
            Thread(
                target=self._resume_until,
                args=(self._transport.new_connection(), name, until, done),
                name=f"resume {name}",
                daemon=True,
            ).start()
        for _ in results:
            try:
                name, error = done.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                break
            results[name] = error
        return results

    def _resume_until(
        self,
        transport: Transport,
        name: str,
        until: float,
        done: SimpleQueue[tuple[str, ImmichError | None]],
    ) -> None:
        def request(api: QueueApi) -> Queue:
            left = until - time.monotonic()
            return _set_paused(transport, api, name=name, paused=False, timeout=left)

        with closing(transport):
            while True:
                try:
                    self._request(request, self._api or APIS[0])
                except ImmichError as error:
                    may_be_temporary = isinstance(error, UnreachableError | UnexpectedError)
                    if may_be_temporary and time.monotonic() + RETRY_DELAY < until:
                        time.sleep(RETRY_DELAY)
                        continue
                    done.put((name, error))
                else:
                    done.put((name, None))
                return

    def _request(self, request: Callable[[QueueApi], _T], api: QueueApi) -> _T:
        """Make a request over an API; if that API is gone or forbidden, try the other one."""
        try:
            return request(api)
        except (PermissionMissingError, NoSuchApiError) as error:
            failure = error
        for other in APIS:
            if other is api:
                continue
            try:
                result = request(other)
            except ImmichError:
                continue
            if self._api is api:
                self._warn_once(other, failure)
            self._api = other
            return result
        raise failure

    def _warn_once(self, api: QueueApi, reason: ImmichError) -> None:
        # Once for each API: a key that may read over one and write over the other keeps switching.
        with self._warned_lock:
            is_warned = api.name in self._warned
            self._warned.add(api.name)
        if not is_warned:
            _LOG.warning("Using Immich's %s because the other one fails: %s", api.name, reason)

    def _current_api(self) -> QueueApi:
        if self._api is None:
            self._api = self._choose_api(None)
        return self._api

    def _choose_api(self, permissions: frozenset[str] | None) -> QueueApi:
        """Return the first API that works and that a key with these permissions may use."""
        failures: list[ImmichError] = []
        for api in APIS:
            missing = api.missing_permissions(permissions)
            try:
                _fetch_queues(self._transport, api)
            except PermissionMissingError as error:
                # If the error names no permission, the key's owner is not an administrator, and no
                # permission of the key would help.
                named = missing or error.missing
                failures.append(missing_permission_error(named, api) if error.missing else error)
            except UnexpectedError as error:
                failures.append(error)
            else:
                if not missing:
                    for failure in failures:
                        if type(failure) is UnexpectedError:
                            self._warn_once(api, failure)
                    return api
                failures.append(missing_permission_error(missing, api))
        of_existing_apis = [error for error in failures if not isinstance(error, NoSuchApiError)]
        if of_existing_apis:
            raise of_existing_apis[0]
        raise UnexpectedError(
            "this version of Immich has no API for queues that the daemon knows: update the daemon"
        )


def _fetch_queues(transport: Transport, api: QueueApi) -> Snapshot:
    return api.parse_queues(_send(transport, "GET", api.path))


def _set_paused(
    transport: Transport,
    api: QueueApi,
    *,
    name: str,
    paused: bool,
    timeout: float | None = None,
) -> Queue:
    path = api.queue_path(name)
    body = _send(transport, "PUT", path, api.pause_body(paused=paused), timeout=timeout)
    queue = api.parse_queue(name, body)
    if queue.is_paused is not paused:
        raise UnexpectedError(
            f"Immich's response to the request to {'pause' if paused else 'resume'} {name} does "
            "not show it done: if this continues, check Immich's log"
        )
    return queue


def _send(
    transport: Transport,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    timeout: float | None = None,
) -> bytes:
    return body_or_raise(transport.send(method, path, body, timeout=timeout), method, path)
