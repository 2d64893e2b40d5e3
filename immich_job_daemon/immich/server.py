"""What the loop needs of an Immich server: the real client has it, and so may a stand-in."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from immich_job_daemon.base.errors import ImmichError
from immich_job_daemon.model.queue import Queue, Snapshot


class Connected(Protocol):
    """What is known of a server that answered; in words with ``str``."""

    @property
    def version(self) -> str:
        """Immich's version, such as 3.1.0."""
        ...


class Server(Protocol):
    """What the loop needs of an Immich server; every method may raise an ImmichError."""

    def connect(self) -> Connected:
        """Find out how to speak to the server."""
        ...

    def tell_version(self) -> str:
        """Return Immich's version, such as 3.1.0."""
        ...

    def look(self) -> Snapshot:
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
