"""The command ``check``: reports whether the daemon could work, and changes nothing."""

import time
from collections.abc import Iterable
from contextlib import suppress
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
    """Write a report to ``out``.

    Returns:
        Whether the daemon could work and save its state.

    Raises:
        ImmichError: the daemon could not work with this server or this key.
    """
    out.write(f"Settings     valid; MAX_CONCURRENT_JOBS is {settings.max_concurrent_jobs}\n")
    is_writable = _check_data_dir(settings.data_dir, out)
    out.write(f"Address      {settings.immich_url}\n")
    out.flush()
    try:
        connection = immich.connect()
    except ImmichError:
        permissions: frozenset[str] | None = None
        with suppress(ImmichError):
            permissions = immich.fetch_permissions()
        _write_permissions(permissions, out)
        raise
    out.write(f"Immich       {connection.version}, through its {connection.api}\n")
    _write_permissions(connection.permissions, out)
    if settings.scan is not None:
        out.write(f"Scan         {_describe_scan(connection.permissions)}\n")
    if settings.scan is not None or settings.schedule:
        zone = local_zone()
        out.write(f"Local time   {datetime.now(zone):%a %H:%M}, time zone {zone}\n")
    began = time.monotonic()
    snapshot = immich.fetch_queues()
    took = time.monotonic() - began
    out.write(f"Poll         took {took * 1000:.0f} ms\n\n")
    out.writelines(f"{line}\n" for line in _format_table(snapshot, settings))
    warnings = [*conflicting_settings(settings), *unknown_queues(settings, frozenset(snapshot))]
    out.writelines(f"\n{warning}\n" for warning in warnings)
    verdict = (
        "The daemon can run." if is_writable else "The daemon can run, but cannot save its state."
    )
    out.write(f"\n{verdict}\n")
    return is_writable


def _write_permissions(permissions: frozenset[str] | None, out: TextIO) -> None:
    out.writelines(f"{api.name:<12} {_describe_permissions(permissions, api)}\n" for api in APIS)


def _describe_permissions(permissions: frozenset[str] | None, api: QueueApi) -> str:
    needed = (api.read_permission, api.write_permission)
    if permissions is None:
        return f"needs {' and '.join(needed)}; Immich does not say whether the key has them"
    missing = api.missing_permissions(permissions)
    has = [name for name in needed if name not in missing]
    lacks = [name for name in needed if name in missing]
    return "; ".join(
        f"the key {verb} {' and '.join(names)}"
        for verb, names in (("has", has), ("lacks", lacks))
        if names
    )


def _describe_scan(permissions: frozenset[str] | None) -> str:
    if permissions is None:
        return f"needs {JOBS_API.write_permission}; Immich does not say whether the key has it"
    if JOBS_API.write_permission in JOBS_API.missing_permissions(permissions):
        return (
            f"the key lacks {JOBS_API.write_permission}, so SCAN has no effect; everything else "
            "works. To add it, go to user icon > Account Settings > API Keys in Immich"
        )
    return f"the key has {JOBS_API.write_permission}"


def _check_data_dir(folder: Path, out: TextIO) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        out.write(
            f"Data folder  {folder} is not writable ({error.strerror or error}). After a crash, "
            "the daemon would not know which queues it has paused. Set DATA_DIR to a writable "
            "folder.\n"
        )
        return False
    out.write(f"Data folder  {folder} is writable\n")
    return True


def _format_table(snapshot: Snapshot, settings: Settings) -> Iterable[str]:
    yield f"{'queue':<26}{'state':<20}{'active':>8}{'backlog':>9}{'delayed':>9}{'failed':>8}"
    for queue in by_priority(snapshot, settings.queue_priority):
        yield (
            f"{queue.name:<26}{_describe_state(queue, settings):<20}{queue.active:>8,}"
            f"{queue.backlog:>9,}{queue.delayed:>9,}{queue.failed:>8,}"
        )


def _describe_state(queue: Queue, settings: Settings) -> str:
    state = "paused" if queue.is_paused else "open"
    return f"{state}, protected" if queue.name in settings.protected_queues else state
