"""What a queue of Immich is: its name, whether it is paused, and how many jobs are in which state.

The words are Immich's and BullMQ's own. Nothing in here knows of HTTP, of scheduling or of time.
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
"""The default order: what a person sees first comes first. Queues not named follow in Immich's."""

PROTECTED: Final = (
    "backgroundTask",
    "notifications",
    "backupDatabase",
    "search",
    "workflow",
    "editor",
)
"""Immich's internal queues: pausing them stops backups, the trash, mail or a person's own edit."""

ENTRY: Final = "metadataExtraction"
"""The queue at which every upload starts, and the one that Immich itself reopens at its start.

Both seen on Immich 3.1.0.
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

    ``waiting`` and ``paused`` are both ready to run: BullMQ 5 counts the ready jobs of a paused
    queue as ``paused``, BullMQ 6 leaves them ``waiting``. ``delayed`` jobs are ready only when
    they fall due. ``failed`` ones stay where they are until a person clears them.
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
        """Jobs ready to run but not running.

        >>> Queue("ocr", is_paused=True, waiting=1, paused=2, delayed=4).backlog
        3
        """
        return self.waiting + self.paused

    @property
    def pending(self) -> int:
        """Jobs that run or are ready to."""
        return self.active + self.waiting + self.paused

    @property
    def is_busy(self) -> bool:
        """Whether a job is running in it."""
        return self.active > 0

    @property
    def is_drained(self) -> bool:
        """Whether nothing runs and nothing that can be seen is ready to."""
        return self.pending == 0


Snapshot = Mapping[str, Queue]
"""Every queue by its name, in Immich's own order, as one look at the server saw them."""


def by_priority(snapshot: Snapshot, priority: Iterable[str]) -> list[Queue]:
    """Return the snapshot's queues, the named ones first in the order given, then the others.

    >>> queues = {name: Queue(name, is_paused=False) for name in ("ocr", "library", "sidecar")}
    >>> [queue.name for queue in by_priority(queues, ("sidecar", "unknown"))]
    ['sidecar', 'ocr', 'library']
    """
    first = {name: snapshot[name] for name in priority if name in snapshot}
    return [*first.values(), *(queue for name, queue in snapshot.items() if name not in first)]
