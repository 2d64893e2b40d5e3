"""A queue of Immich: its name, whether it is paused, and how many jobs are in which state.

The terms are those of Immich and BullMQ.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

PRIORITY: Final = (
    "sidecar",
    "metadataExtraction",
    "storageTemplateMigration",
    "thumbnailGeneration",
    "smartSearch",
    "duplicateDetection",
    "faceDetection",
    "facialRecognition",
    "videoConversion",
)
"""The default priorities: what users see first comes first. Other queues follow after these."""

PROTECTED: Final = (
    "backgroundTask",
    "notifications",
    "backupDatabase",
    "search",
    "workflow",
    "editor",
)
"""Immich's internal queues: pausing them stops backups, the trash, mail or a user's own edits."""

ENTRY: Final = "metadataExtraction"
"""The queue where every upload starts, and the one that Immich resumes at its own start.

Source: both seen on Immich 3.1.0.
"""


MAX_QUEUES: Final = 100
"""Most queues that an Immich server may have; 3.1.0 has 19. Each costs memory, lines, entities."""

LONGEST_NAME: Final = 64
_NAME: Final = re.compile(rf"(?!\.)[A-Za-z0-9_.-]{{1,{LONGEST_NAME}}}")


def is_queue_name(value: object) -> bool:
    """Whether a value can be the name of a queue, in a URL, an MQTT topic, a file and a log line.

    >>> is_queue_name("thumbnailGeneration"), is_queue_name("two words"), is_queue_name("../x")
    (True, False, False)
    """
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def label(name: str) -> str:
    """Return the name of a queue for people, in English.

    >>> label("thumbnailGeneration"), label("ocr"), label("x-ray_2")
    ('Thumbnail generation', 'OCR', 'X-ray 2')
    """
    if name == "ocr":
        return "OCR"
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).strip().lower()
    return words[:1].upper() + words[1:] or name


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue as Immich reported it. All counts are numbers of jobs.

    ``waiting`` and ``paused`` jobs are both ready to run: BullMQ 5 counts the ready jobs of a
    paused queue as ``paused``, BullMQ 6 leaves them ``waiting``. ``delayed`` jobs become ready
    when they are due. ``failed`` jobs stay until a user clears them.
    """

    name: str
    is_paused: bool
    active: int = 0
    waiting: int = 0
    paused: int = 0
    delayed: int = 0
    failed: int = 0

    @property
    def backlog(self) -> int:
        """Jobs that are ready to run but not active.

        >>> Queue("ocr", is_paused=True, waiting=1, paused=2, delayed=4).backlog
        3
        """
        return self.waiting + self.paused

    @property
    def pending(self) -> int:
        """Jobs that are active or ready to run."""
        return self.active + self.waiting + self.paused

    @property
    def is_busy(self) -> bool:
        """Whether a job is active."""
        return self.active > 0

    @property
    def is_drained(self) -> bool:
        """Whether no job is active and none is visibly ready to run."""
        return self.pending == 0


Snapshot = Mapping[str, Queue]
"""Every queue by name, in Immich's order, as one poll returned them."""


def by_priority(snapshot: Snapshot, priority: Iterable[str]) -> list[Queue]:
    """Return all queues: those named in ``priority`` first, in that order, then the others.

    >>> queues = {name: Queue(name, is_paused=False) for name in ("ocr", "library", "sidecar")}
    >>> [queue.name for queue in by_priority(queues, ("sidecar", "unknown"))]
    ['sidecar', 'ocr', 'library']
    """
    first = {name: snapshot[name] for name in priority if name in snapshot}
    return [*first.values(), *(queue for name, queue in snapshot.items() if name not in first)]
