"""What an upload makes Immich do: which job goes to which queue, what follows it, what it costs.

All of it is data, measured on Immich 3.1.0 on two cores with a machine learning that answers in
150 ms. The queues' order and their concurrency are Immich's own (seen on Immich 3.1.0).
"""

from dataclasses import dataclass
from typing import Final

QUEUES: Final = (
    "thumbnailGeneration",
    "metadataExtraction",
    "videoConversion",
    "faceDetection",
    "facialRecognition",
    "smartSearch",
    "duplicateDetection",
    "backgroundTask",
    "storageTemplateMigration",
    "migration",
    "search",
    "sidecar",
    "library",
    "notifications",
    "backupDatabase",
    "ocr",
    "workflow",
    "integrityCheck",
    "editor",
)
"""Every queue, in the order in which both APIs list them."""

CONCURRENCY: Final = {
    "metadataExtraction": 5,
    "thumbnailGeneration": 3,
    "smartSearch": 2,
    "faceDetection": 2,
    "backgroundTask": 5,
    "migration": 5,
    "search": 5,
    "sidecar": 5,
    "library": 5,
    "notifications": 5,
    "workflow": 5,
    "editor": 2,
}
"""Jobs that a queue runs at once by default; 1 where not named.

The first four and the ones that are 1 were seen on Immich 3.1.0, the others do not matter here.
"""

CORES: Final = 2
"""Cores of the machine on which everything in here was measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A kind of job: what it costs and what follows it.

    Attributes:
        name: for people.
        cpu: core-seconds; they take longer when more jobs compute than there are cores.
        wait: seconds of waiting for something else: machine learning, a disk, a network.
        then: jobs added just before one of this kind completes, as (queue, kind).
        sometimes: one more of these each ``every`` jobs of this kind, as (queue, kind).
        every: after how many jobs of this kind ``sometimes`` is added; 0 is never.
        waits_for: it ends only when none of these queues has an active job.
        is_single: at most one of this kind is in a queue; more are dropped.
        makes_thumbnail: the asset has its thumbnail when this completes.
    """

    name: str
    cpu: float = 0.0
    wait: float = 0.0
    then: "tuple[tuple[str, Kind], ...]" = ()
    sometimes: "tuple[tuple[str, Kind], ...]" = ()
    every: int = 0
    waits_for: tuple[str, ...] = ()
    is_single: bool = False
    makes_thumbnail: bool = False

    @property
    def load(self) -> float:
        """How much of a core it keeps busy while it runs, 0 to 1.

        >>> Kind("half and half", cpu=0.5, wait=0.5).load
        0.5
        """
        return self.cpu / (self.cpu + self.wait) if self.cpu else 0.0


def lasting(seconds: float, name: str = "generic") -> Kind:
    """Return a kind of job that takes so many seconds, computes nothing and leads to nothing."""
    return Kind(name, wait=seconds)


RECHECK: Final = 1.0
"""Seconds between two looks of a job that waits for other queues (source of Immich 3.1.0)."""

PERSON_EVERY: Final = 10
"""Every how many recognized photos a new person is found; how often it is depends on the photos."""

_PERSON = Kind("person thumbnail", cpu=0.05)
_DUPLICATE = Kind("duplicate detection", cpu=0.01)
_RECOGNITION = Kind(
    "facial recognition",
    cpu=0.02,
    sometimes=(("thumbnailGeneration", _PERSON),),
    every=PERSON_EVERY,
)
# It is taken up some milliseconds after it was added: by then the face detection that added it
# is over, or one photo alone would take a second longer than it does.
_RECOGNITION_OF_ALL = Kind(
    "queue all for facial recognition",
    wait=0.01,
    waits_for=("thumbnailGeneration", "faceDetection"),
    is_single=True,
)
_SMART_SEARCH = Kind(
    "smart search", cpu=0.06, wait=0.14, then=(("duplicateDetection", _DUPLICATE),)
)
_FACES = Kind(
    "face detection",
    cpu=0.06,
    wait=0.14,
    then=(
        ("facialRecognition", _RECOGNITION_OF_ALL),
        ("facialRecognition", _RECOGNITION),
    ),
)
_OCR = Kind("text recognition", cpu=0.06, wait=0.11)
_CONVERSION = Kind("video conversion", cpu=1.0)
_AFTER_THUMBNAIL = (("smartSearch", _SMART_SEARCH), ("faceDetection", _FACES), ("ocr", _OCR))


def _upload(name: str, thumbnail_cpu: float, after_thumbnail: tuple[tuple[str, Kind], ...]) -> Kind:
    """Return an upload's first job, with the whole chain behind it."""
    thumbnail = Kind(
        f"thumbnail of a {name}", cpu=thumbnail_cpu, then=after_thumbnail, makes_thumbnail=True
    )
    # It is a job of milliseconds also where the storage template is switched off.
    template = Kind("storage template", cpu=0.005, then=(("thumbnailGeneration", thumbnail),))
    return Kind(f"metadata of a {name}", cpu=0.1, then=(("storageTemplateMigration", template),))


PHOTO: Final = _upload("photo", 0.2, _AFTER_THUMBNAIL)
"""The job of metadataExtraction with which a photo's way begins."""

VIDEO: Final = _upload("video", 0.7, (*_AFTER_THUMBNAIL, ("videoConversion", _CONVERSION)))
"""The same for a video of six seconds."""

REINDEX: Final = {
    "thumbnailGeneration": Kind("thumbnail", cpu=0.2),
    "metadataExtraction": Kind("metadata", cpu=0.1),
    "videoConversion": _CONVERSION,
    "faceDetection": _FACES,
    "facialRecognition": _RECOGNITION,
    "smartSearch": _SMART_SEARCH,
    "duplicateDetection": _DUPLICATE,
    "storageTemplateMigration": Kind("storage template", cpu=0.005),
    "ocr": _OCR,
    "sidecar": Kind("sidecar", cpu=0.01),
    "library": Kind("library file", cpu=0.02),
    "migration": Kind("migration", cpu=0.005),
    "integrityCheck": Kind("integrity check", cpu=0.02, wait=0.03),
}
"""What "run on all assets" does for one asset, by queue. The queues not named know no such run."""

QUEUE_ALL: Final = Kind("queue all", wait=0.02)
"""The job that such a run begins with (seen on Immich 3.1.0: active 1 right after the start)."""


class Asset:
    """One photo or video on its way through the queues. Times are seconds on the engine's clock."""

    __slots__ = ("all_done", "id", "is_video", "jobs_left", "thumbnail_done", "uploaded")

    def __init__(self, number: int, *, is_video: bool, uploaded: float) -> None:
        self.id = number
        self.is_video = is_video
        self.uploaded = uploaded
        self.jobs_left = 0
        self.thumbnail_done: float | None = None
        self.all_done: float | None = None

    def __repr__(self) -> str:
        what = "video" if self.is_video else "photo"
        return f"<Asset {self.id}: {what}, {self.jobs_left} jobs left>"
