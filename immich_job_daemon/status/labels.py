"""What every reader of the published picture has to tell: names of queues, and whether it holds.

Pure: no I/O, no clock.
"""

import re
from typing import Final

from immich_job_daemon.status.status import AWAY, Status, Trouble

BLIND: Final = AWAY | {Trouble.KEY_REJECTED, Trouble.PERMISSION_MISSING}
"""The troubles in which no look succeeds, whatever the last one showed."""


def is_stale(status: Status, now: float) -> bool:
    """Whether the counts are older than they should be.

    Args:
        status: the picture.
        now: seconds of the clock that ``status.updated`` is of.
    """
    if status.updated is None or now > status.due:
        return True
    problem = status.problem
    if problem is None or status.updated_at is None:
        return False
    # Any other problem may be one of a command only: it began after the last good look, or not.
    return problem.trouble in BLIND or problem.since > status.updated_at


def label(name: str) -> str:
    """Return a queue's name as a person reads it, in English.

    >>> label("thumbnailGeneration"), label("ocr"), label("x-ray_2")
    ('Thumbnail generation', 'OCR', 'X-ray 2')
    """
    if name == "ocr":
        return "OCR"
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).strip().lower()
    return words[:1].upper() + words[1:] or name
