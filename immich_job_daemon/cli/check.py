"""The command ``check``: could the daemon do its work? Says so, and changes nothing."""

import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

from immich_job_daemon.base.clock import local_zone
from immich_job_daemon.base.errors import ImmichError
from immich_job_daemon.config.warnings import conflicting_settings, unknown_queues
from immich_job_daemon.immich.apis import APIS, JOBS_API, QueueApi
from immich_job_daemon.immich.client import ImmichClient
from immich_job_daemon.model.queue import Queue, Snapshot, by_priority
from immich_job_daemon.model.settings import Settings


def check(settings: Settings, immich: ImmichClient, out: TextIO) -> bool:
    """Write down, line by line, what the daemon would find.

    Args:
        settings: read and valid.
        immich: the server they name.
        out: where to write.

    Returns:
        Whether the daemon could do its work.

    Raises:
        ImmichError: it could not, and why.
    """
    out.write(f"Settings     valid; at most {settings.max_concurrent_jobs} at once\n")
    is_kept = _data_dir(settings.data_dir, out)
    out.write(f"Server       {settings.immich_url}\n")
    out.flush()
    try:
        connection = immich.connect()
    except ImmichError:
        _permissions(_told(immich), out)
        raise
    out.write(f"Immich       {connection.version}, through its {connection.api}\n")
    _permissions(connection.permissions, out)
    if settings.scan is not None:
        out.write(f"Scan         {_may_scan(connection.permissions)}\n")
    if settings.scan is not None or settings.schedule:
        zone = local_zone()
        out.write(f"Local time   {datetime.now(zone):%a %H:%M}, zone {zone}\n")
    began = time.monotonic()
    snapshot = immich.fetch_queues()
    took = time.monotonic() - began
    out.write(f"Looking      takes {took * 1000:.0f} ms\n\n")
    out.writelines(f"{line}\n" for line in _table(snapshot, settings))
    warnings = [*conflicting_settings(settings), *unknown_queues(settings, frozenset(snapshot))]
    out.writelines(f"\n{warning}\n" for warning in warnings)
    verdict = "The daemon can do its work." if is_kept else "The daemon would run without a ledger."
    out.write(f"\n{verdict}\n")
    return is_kept


def _told(immich: ImmichClient) -> frozenset[str] | None:
    """Return the key's permissions if Immich tells them though it could not be worked with."""
    try:
        return immich.fetch_permissions()
    except ImmichError:
        return None


def _permissions(permissions: frozenset[str] | None, out: TextIO) -> None:
    lines = (f"{dialect.name:<12} {_may(permissions, dialect)}\n" for dialect in APIS)
    out.writelines(lines)


def _may(permissions: frozenset[str] | None, dialect: QueueApi) -> str:
    needed = (dialect.read_permission, dialect.write_permission)
    if permissions is None:
        return f"needs {' and '.join(needed)}; which of them the key has, Immich does not tell"
    missing = dialect.missing_permissions(permissions)
    has = [name for name in needed if name not in missing]
    lacks = [name for name in needed if name in missing]
    return "; ".join(
        f"the key {verb} {' and '.join(names)}"
        for verb, names in (("has", has), ("lacks", lacks))
        if names
    )


def _may_scan(permissions: frozenset[str] | None) -> str:
    if permissions is None:
        return f"needs {JOBS_API.write_permission}; whether the key has it, Immich does not tell"
    if JOBS_API.write_permission in JOBS_API.missing_permissions(permissions):
        return (
            f"the key lacks {JOBS_API.write_permission}: without it SCAN has no effect, and all "
            "else works. In Immich, under user icon > Account Settings > API Keys, give it to the "
            "key"
        )
    return f"the key has {JOBS_API.write_permission}"


def _data_dir(folder: Path, out: TextIO) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        out.write(
            f"Data folder  {folder} cannot be written ({error.strerror or error}): after a crash "
            "the daemon would not know what it holds. Set DATA_DIR to a folder it may write to.\n"
        )
        return False
    out.write(f"Data folder  {folder} can be written\n")
    return True


def _table(snapshot: Snapshot, settings: Settings) -> Iterable[str]:
    yield f"{'queue':<26}{'state':<20}{'active':>8}{'backlog':>9}{'delayed':>9}{'failed':>8}"
    for queue in by_priority(snapshot, settings.queue_priority):
        yield (
            f"{queue.name:<26}{_state(queue, settings):<20}{queue.active:>8,}{queue.backlog:>9,}"
            f"{queue.delayed:>9,}{queue.failed:>8,}"
        )


def _state(queue: Queue, settings: Settings) -> str:
    state = "paused" if queue.is_paused else "open"
    return f"{state}, protected" if queue.name in settings.protected_queues else state
