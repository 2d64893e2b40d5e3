"""Immich's job pipeline as data: which jobs an upload starts, in which queues, and their costs.

The costs were measured on Immich 3.1.0 on two cores, with a machine-learning service that responds
in 150 ms. The order of the queues and their concurrency are Immich's defaults (seen on 3.1.0).
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
"""Default number of workers of the queues that have more than one.

The first four and the queues with one worker were seen on Immich 3.1.0. The other numbers have no
effect on the simulated workloads.
"""

CORES: Final = 2
"""Cores of the machine on which the costs were measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A kind of job: what it costs and which jobs follow it.

    Attributes:
        name: display name.
        cpu: core-seconds; they take longer if more jobs compute than there are cores.
        wait: seconds of waiting for I/O: machine learning, a disk, a network.
        then: jobs added just before one of this kind completes, as (queue, kind).
        sometimes: jobs added after every ``every``-th job of this kind, as (queue, kind).
        every: period of ``sometimes``; 0 means never.
        waits_for: the job completes only when none of these queues has an active job.
        is_unique: a queue holds at most one of this kind; duplicates are ignored.
        makes_thumbnail: the asset has its thumbnail when the job completes.
    """

    name: str
    cpu: float = 0.0
    wait: float = 0.0
    then: "tuple[tuple[str, Kind], ...]" = ()
    sometimes: "tuple[tuple[str, Kind], ...]" = ()
    every: int = 0
    waits_for: tuple[str, ...] = ()
    is_unique: bool = False
    makes_thumbnail: bool = False

    @property
    def load(self) -> float:
        """Fraction of a core that a job keeps busy while it runs, 0 to 1.

        >>> Kind("half and half", cpu=0.5, wait=0.5).load
        0.5
        """
        return self.cpu / (self.cpu + self.wait) if self.cpu else 0.0


def lasting(seconds: float, name: str = "generic") -> Kind:
    """Return a kind of job that takes ``seconds``, uses no CPU and adds no other jobs."""
    return Kind(name, wait=seconds)


RECHECK: Final = 1.0
"""Seconds between the checks of a job that waits for other queues (source of Immich 3.1.0)."""

PERSON_EVERY: Final = 10
"""Photos with recognized faces per new person; the real number depends on the photos."""

_PERSON = Kind("person thumbnail", cpu=0.05)
_DUPLICATE = Kind("duplicate detection", cpu=0.01)
_RECOGNITION = Kind(
    "facial recognition",
    cpu=0.02,
    sometimes=(("thumbnailGeneration", _PERSON),),
    every=PERSON_EVERY,
)
# A worker takes this job some milliseconds after it was added, when the face detection that added
# it has completed. Otherwise a single photo would take a second longer than on a real server.
_QUEUE_ALL_RECOGNITION = Kind(
    "queue all for facial recognition",
    wait=0.01,
    waits_for=("thumbnailGeneration", "faceDetection"),
    is_unique=True,
)
_SMART_SEARCH = Kind(
    "smart search", cpu=0.06, wait=0.14, then=(("duplicateDetection", _DUPLICATE),)
)
_FACES = Kind(
    "face detection",
    cpu=0.06,
    wait=0.14,
    then=(
        ("facialRecognition", _QUEUE_ALL_RECOGNITION),
        ("facialRecognition", _RECOGNITION),
    ),
)
_OCR = Kind("text recognition", cpu=0.06, wait=0.11)
_CONVERSION = Kind("video conversion", cpu=1.0)
_AFTER_THUMBNAIL = (("smartSearch", _SMART_SEARCH), ("faceDetection", _FACES), ("ocr", _OCR))


def _upload(name: str, thumbnail_cpu: float, after_thumbnail: tuple[tuple[str, Kind], ...]) -> Kind:
    """Return the first job of an upload, with the jobs that follow it."""
    thumbnail = Kind(
        f"thumbnail of a {name}", cpu=thumbnail_cpu, then=after_thumbnail, makes_thumbnail=True
    )
    # The job exists, and takes milliseconds, even if the storage template is switched off.
    template = Kind("storage template", cpu=0.005, then=(("thumbnailGeneration", thumbnail),))
    return Kind(f"metadata of a {name}", cpu=0.1, then=(("storageTemplateMigration", template),))


PHOTO: Final = _upload("photo", 0.2, _AFTER_THUMBNAIL)
"""The job of metadataExtraction that starts the pipeline of a photo."""

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
"""The job that "run on all assets" adds per asset, by queue; other queues cannot be run so."""

QUEUE_ALL: Final = Kind("queue all", wait=0.02)
"""The first job of such a run (seen on Immich 3.1.0: active is 1 right after the start)."""


class Asset:
    """One photo or video in the pipeline. Times are seconds on the engine's clock."""

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
