"""The Immich client: looks at the queues, pauses and resumes them, over whichever API works.

Nothing is believed but an answer that shows it, and every failure is an `ImmichError` that says
what to do next.
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
    START,
    QueueApi,
    parse_permissions,
    parse_version,
)
from immich_job_daemon.immich.responses import NoSuchApiError, body_of, lacking, not_immich
from immich_job_daemon.immich.transport import Transport
from immich_job_daemon.model.queue import MAX_QUEUES, Queue, Snapshot

_T = TypeVar("_T")

RETRY_AFTER: Final = 0.2
"""Seconds between two tries to resume a queue at the daemon's end."""

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """What Immich said when it was first asked.

    Attributes:
        version: such as ``3.1.0``.
        api: the name of the API in use, ``queues API`` or ``jobs API``.
        permissions: those of the key, ``all`` among them; None where Immich does not tell.
    """

    version: str
    api: str
    permissions: frozenset[str] | None

    def __str__(self) -> str:
        return f"Immich {self.version}, through its {self.api}"


class ImmichServer(Protocol):
    """What the loop needs of an Immich server; every method may raise an ImmichError."""

    def connect(self) -> Connection:
        """Find out how to speak to the server."""
        ...

    def fetch_version(self) -> str:
        """Return Immich's version, such as 3.1.0."""
        ...

    def fetch_queues(self) -> Snapshot:
        """Return every queue as it is now."""
        ...

    def pause(self, name: str) -> Queue:
        """Pause a queue and return it as it is after that."""
        ...

    def resume(self, name: str) -> Queue:
        """Resume a queue and return it as it is after that."""
        ...

    def start(self, name: str) -> Queue:
        """Let a queue look for what is missing and return it as it is after that."""
        ...

    def resume_all(
        self, names: Iterable[str], *, within: float
    ) -> Mapping[str, ImmichError | None]:
        """Resume all these queues within so many seconds; None for each that is seen open."""
        ...


class ImmichClient:
    """One Immich server. `connect` is the thorough way to begin; the rest works without it too.

    Args:
        transport: carries the requests; `close` closes it.
        log: gets one warning when an API is lost at run time and the other takes over.
    """

    def __init__(self, transport: Transport, *, log: logging.Logger = _LOG) -> None:
        self._transport = transport
        self._log = log
        self._dialect: QueueApi | None = None
        self._names: set[str] = set()
        self._told: set[str] = set()
        self._telling = Lock()

    def __repr__(self) -> str:
        return f"Immich({self._transport!r})"

    @property
    def api(self) -> str | None:
        """The name of the API in use; None before the first request."""
        return self._dialect.name if self._dialect else None

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        self._transport.close()

    def connect(self) -> Connection:
        """Find out what answers, what the key may do, and which API to use.

        Raises:
            UnreachableError: nothing answers, or a proxy without Immich behind it.
            NotImmichError: something else answers.
            KeyRejectedError: Immich does not know the key.
            PermissionMissingError: neither API can be used; names what the better one lacks.
            UnexpectedError: Immich answers, but neither API as it should.
        """
        version = self.fetch_version()
        permissions = self.permissions()
        self._told.clear()
        self._dialect = self._choose(permissions)
        return Connection(version, self._dialect.name, permissions)

    def permissions(self) -> frozenset[str] | None:
        """Return the key's permissions; None where an older Immich does not tell them.

        Raises:
            ImmichError: the key is rejected, or no answer.
        """
        try:
            body = _send(self._transport, "GET", "/api/api-keys/me")
        except (PermissionMissingError, RefusedError, NoSuchApiError):
            return None
        return parse_permissions(body)

    def fetch_queues(self) -> Snapshot:
        """Return every queue as it is now, in Immich's order.

        Raises:
            ImmichError: no answer, or none that makes sense; nothing is known then.
        """
        snapshot = self._ask(partial(_look, self._transport), self._known())
        # What is held is remembered by name: names without an end would fill every memory.
        if len(self._names | snapshot.keys()) > MAX_QUEUES:
            raise UnexpectedError(
                f"Immich has named more than {MAX_QUEUES} different queues since the daemon's "
                "start, which none has: look what answers at IMMICH_URL, and start the daemon again"
            )
        self._names |= snapshot.keys()
        return snapshot

    def pause(self, name: str) -> Queue:
        """Pause a queue and return it as Immich's answer shows it: paused.

        Raises:
            RefusedError: Immich does not let this queue be paused.
            UnexpectedError: the answer does not show the queue paused.
            ImmichError: anything else; whether the queue is paused is not known then.
        """
        change = partial(_change, self._transport, name=name, paused=True)
        return self._ask(change, self._known())

    def resume(self, name: str) -> Queue:
        """Resume a queue and return it as Immich's answer shows it: open.

        Raises:
            UnexpectedError: the answer does not show the queue open.
            ImmichError: anything else; whether the queue is open is not known then.
        """
        change = partial(_change, self._transport, name=name, paused=False)
        return self._ask(change, self._known())

    def start(self, name: str) -> Queue:
        """Let a queue look for assets that miss what it makes; return it as it is after that.

        Raises:
            AlreadyRunningError: something is active in it.
            RefusedError: it knows no such run.
            PermissionMissingError: the key lacks job.create, whichever API is in use.
            ImmichError: anything else; whether it was started is not known then, and as it must
                not be done twice, it is not sent again.
        """
        # Over a connection of its own: on a kept one it would be sent again when that was closed.
        with closing(self._transport.new_connection()) as transport:
            return JOBS_API.parse_one(name, _send(transport, "PUT", JOBS_API.path_of(name), START))

    def resume_all(self, names: Iterable[str], *, within: float) -> dict[str, ImmichError | None]:
        """Resume queues all at the same time, each over a connection of its own.

        What fails for a reason that may pass is tried again until the time is over.

        Args:
            names: of the queues.
            within: seconds after which this returns, whatever Immich does.

        Returns:
            For every name None, if an answer showed the queue open in time, else the error.
        """
        until = time.monotonic() + within
        results: dict[str, ImmichError | None] = {
            name: UnreachableError(
                f"Immich did not say within {within:g} s that {name} is resumed: look at it in "
                "Immich under Administration, and resume it there if it is still paused"
            )
            for name in names
        }
        done: SimpleQueue[tuple[str, ImmichError | None]] = SimpleQueue()
        for name in results:
            # Daemonic, so that a server that hangs cannot keep the process alive.
            Thread(
                target=self._resume,
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

    def _resume(
        self,
        transport: Transport,
        name: str,
        until: float,
        done: SimpleQueue[tuple[str, ImmichError | None]],
    ) -> None:
        def request(dialect: QueueApi) -> Queue:
            left = until - time.monotonic()
            return _change(transport, dialect, name=name, paused=False, timeout=left)

        with closing(transport):
            while True:
                try:
                    self._ask(request, self._dialect or APIS[0])
                except ImmichError as error:
                    # It is the last chance: what may pass is tried again as long as there is time.
                    may_pass = isinstance(error, UnreachableError | UnexpectedError)
                    if may_pass and time.monotonic() + RETRY_AFTER < until:
                        time.sleep(RETRY_AFTER)
                        continue
                    done.put((name, error))
                else:
                    done.put((name, None))
                return

    def _ask(self, request: Callable[[QueueApi], _T], dialect: QueueApi) -> _T:
        """Make a request in this dialect, or in the other one when its API is lost."""
        try:
            return request(dialect)
        except (PermissionMissingError, NoSuchApiError) as error:
            lost = error
        for other in APIS:
            if other is dialect:
                continue
            try:
                result = request(other)
            except ImmichError:
                continue
            was_in_use = self._dialect is dialect
            self._dialect = other
            if was_in_use:
                self._tell(other, lost)
            return result
        raise lost

    def _tell(self, chosen: QueueApi, reason: ImmichError) -> None:
        # Once each: a key that reads in one dialect and writes in the other goes to and fro.
        with self._telling:
            is_told = chosen.name in self._told
            self._told.add(chosen.name)
        if not is_told:
            self._log.warning("Using Immich's %s, the other one fails: %s", chosen.name, reason)

    def _known(self) -> QueueApi:
        if self._dialect is None:
            self._dialect = self._choose(None)
        return self._dialect

    def _choose(self, permissions: frozenset[str] | None) -> QueueApi:
        """Return the first dialect that answers and that a key with these permissions may use."""
        failures: list[ImmichError] = []
        for dialect in APIS:
            missing = dialect.missing(permissions)
            try:
                _look(self._transport, dialect)
            except PermissionMissingError as error:
                # Without a permission named it is the key's owner who may not, whatever the key.
                more = missing or error.missing
                failures.append(lacking(more, dialect) if error.missing else error)
            except UnexpectedError as error:
                failures.append(error)
            else:
                if not missing:
                    for failure in failures:
                        if type(failure) is UnexpectedError:
                            self._tell(dialect, failure)
                    return dialect
                failures.append(lacking(missing, dialect))
        there = [error for error in failures if not isinstance(error, NoSuchApiError)]
        if there:
            raise there[0]
        raise UnexpectedError(
            "this Immich has none of the known APIs for queues: look for a newer version of the "
            "daemon"
        )

    def fetch_version(self) -> str:
        """Return Immich's version, such as 3.1.0.

        Raises:
            NotImmichError: asking needs no key, so whoever refuses is not Immich.
            ImmichError: no answer.
        """
        path = "/api/server/version"
        answer = self._transport.send("GET", path)
        try:
            body = body_of(answer, "GET", path)
        except (KeyRejectedError, PermissionMissingError, RefusedError, NoSuchApiError) as error:
            raise not_immich(f"{answer.status} instead of its version") from error
        try:
            return parse_version(body)
        except UnexpectedError as error:
            raise not_immich("it tells no version") from error


def _look(transport: Transport, dialect: QueueApi) -> Snapshot:
    return dialect.parse_all(_send(transport, "GET", dialect.path))


def _change(
    transport: Transport,
    dialect: QueueApi,
    *,
    name: str,
    paused: bool,
    timeout: float | None = None,
) -> Queue:
    path = dialect.path_of(name)
    body = _send(transport, "PUT", path, dialect.body(paused=paused), timeout=timeout)
    queue = dialect.parse_one(name, body)
    if queue.is_paused is not paused:
        raise UnexpectedError(
            f"Immich answered the request to {'pause' if paused else 'resume'} {name} but does "
            "not show it done: if this goes on, read Immich's log"
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
    return body_of(transport.send(method, path, body, timeout=timeout), method, path)
