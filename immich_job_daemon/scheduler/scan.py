"""Scans for missing files (rule 20): each queue is asked once, one after the other. Pure.

A ``Scan`` is the setting; a ``ScanProgress`` tells how far the current scan has come. It survives
in the ledger, so a request to start is never repeated, whatever became of it.
"""

from collections.abc import Container
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from immich_job_daemon.model.queue import Snapshot
from immich_job_daemon.model.settings import Scan
from immich_job_daemon.model.windows import Window

SCANNED: Final = (
    "sidecar",
    "metadataExtraction",
    "thumbnailGeneration",
    "smartSearch",
    "duplicateDetection",
    "faceDetection",
    "facialRecognition",
    "ocr",
    "videoConversion",
)
"""The queues that can scan for missing files, in the order in which they are asked."""

LONGEST: Final = timedelta(hours=23)
"""How long a scan that begins at a time of day may go on: until shortly before the next one."""


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How far the current scan has come.

    Attributes:
        began: when its window opened, in seconds since 1970; 0 before the first scan.
        asked: the queues that have been asked.
        latest: the queue that was asked last, while its jobs are not done.
    """

    began: float = 0.0
    asked: frozenset[str] = field(default_factory=frozenset)
    latest: str | None = None


def next_to_scan(
    scan: Scan,
    progress: ScanProgress,
    snapshot: Snapshot,
    may_start: Container[str],
    local: datetime,
) -> tuple[str | None, ScanProgress]:
    """Return the queue to ask now, None if there is none, and the progress after that.

    Args:
        scan: the setting.
        progress: the progress so far.
        snapshot: every queue.
        may_start: the queues in which jobs may start now.
        local: the local time.
    """
    opened = _opened(scan.window, local)
    if opened is not None and opened.timestamp() != progress.began:
        progress = ScanProgress(began=opened.timestamp())
    if opened is None and not _goes_on(scan, progress, local):
        return None, progress
    latest = snapshot.get(progress.latest or "")
    if latest is not None and not latest.is_drained:
        return None, progress
    for name in SCANNED:
        queue = snapshot.get(name)
        if queue is None or name in progress.asked or name not in may_start:
            continue
        # A queue with jobs is asked once it is drained; no other one goes before it.
        if not queue.is_drained:
            return None, progress
        return name, replace(progress, asked=progress.asked | {name}, latest=name)
    return None, progress


def _opened(window: Window, local: datetime) -> datetime | None:
    now = local.timestamp()
    spans = window.around(local)
    return next((a for a, b in spans if a.timestamp() <= now < b.timestamp()), None)


def _goes_on(scan: Scan, progress: ScanProgress, local: datetime) -> bool:
    age = local.timestamp() - progress.began
    return not scan.ends_with_window and 0 <= age < LONGEST.total_seconds()
