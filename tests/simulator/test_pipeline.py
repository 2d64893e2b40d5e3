import pytest

from simulator.immich.engine import Engine, EventKind
from simulator.immich.pipeline import QUEUES, REINDEX, Asset

ORDER = (
    "sidecar",
    "metadataExtraction",
    "storageTemplateMigration",
    "thumbnailGeneration",
    "smartSearch",
    "duplicateDetection",
    "faceDetection",
    "facialRecognition",
    "videoConversion",
    "ocr",
    "library",
    "migration",
    "integrityCheck",
)
SEEDS = range(5)


def seconds_until_done(asset: Asset) -> tuple[float, float]:
    """Return the seconds from the upload to the thumbnail and to the end of the last job."""
    assert asset.thumbnail_done is not None
    assert asset.all_done is not None
    return asset.thumbnail_done - asset.uploaded, asset.all_done - asset.uploaded


@pytest.mark.parametrize("seed", SEEDS)
def test_one_photo_takes_as_long_as_measured(seed: int) -> None:
    engine = Engine(seed=seed, start=50.0)
    (photo,) = engine.upload(photos=1)
    engine.settle()
    thumbnail, everything = seconds_until_done(photo)
    assert 0.2 <= thumbnail <= 0.6
    assert 0.4 <= everything <= 0.9


@pytest.mark.parametrize("seed", SEEDS)
def test_one_video_takes_as_long_as_measured(seed: int) -> None:
    engine = Engine(seed=seed)
    (video,) = engine.upload(videos=1)
    engine.settle()
    thumbnail, everything = seconds_until_done(video)
    assert 0.6 <= thumbnail <= 1.0
    assert 2.0 <= everything <= 2.6


@pytest.mark.parametrize("seed", SEEDS)
def test_300_photos_and_3_videos_take_as_long_as_measured(seed: int) -> None:
    engine = Engine(seed=seed)
    engine.upload(photos=300, videos=3)
    assert 70.0 <= engine.settle() <= 90.0


@pytest.mark.parametrize("seed", SEEDS)
def test_one_queue_at_a_time_takes_as_long_as_measured(seed: int) -> None:
    engine = Engine(seed=seed)
    for name in ORDER:
        engine.pause(name)
    engine.upload(photos=300, videos=3)
    while not engine.is_idle:
        queue = next(engine.queues[name] for name in ORDER if not engine.queues[name].is_empty)
        engine.resume(queue.name)
        while not queue.is_empty:
            next_event = engine.next_event()
            assert next_event is not None
            engine.advance(next_event)
        engine.pause(queue.name)
    assert 171.0 <= engine.now <= 181.0


def started_queues(*, photos: int = 0, videos: int = 0) -> list[str]:
    engine = Engine()
    queues: list[str] = []
    engine.observers.append(
        lambda event: queues.append(event.queue) if event.kind is EventKind.STARTED else None
    )
    engine.upload(photos=photos, videos=videos)
    engine.settle()
    return queues


def test_a_photo_goes_through_the_queues_in_immichs_order() -> None:
    queues = started_queues(photos=1)
    assert queues[:3] == ["metadataExtraction", "storageTemplateMigration", "thumbnailGeneration"]
    assert set(queues[3:6]) == {"smartSearch", "faceDetection", "ocr"}
    assert queues.index("duplicateDetection") > queues.index("smartSearch")
    assert queues.index("facialRecognition") > queues.index("faceDetection")
    assert "videoConversion" not in queues
    assert "sidecar" not in queues


def test_a_video_is_also_converted() -> None:
    queues = started_queues(videos=1)
    assert queues.count("videoConversion") == 1
    assert {"smartSearch", "faceDetection", "ocr"} <= set(queues)


def test_queueing_all_faces_lasts_until_thumbnails_and_face_detection_are_inactive() -> None:
    engine = Engine()
    engine.upload(photos=60)
    queue = engine.queues["facialRecognition"]
    engine.settle(limit=5.0)
    assert queue.active == 1
    assert queue.ready > 3
    others = [engine.queues[name] for name in ("thumbnailGeneration", "faceDetection")]
    before = queue.ready
    while any(other.active for other in others):
        assert queue.ready >= before
        before = queue.ready
        next_event = engine.next_event()
        assert next_event is not None
        engine.advance(next_event)
    engine.settle()
    assert engine.is_idle


def test_every_tenth_photo_adds_the_thumbnail_of_a_new_person() -> None:
    queues = started_queues(photos=40)
    assert queues.count("thumbnailGeneration") == 40 + 4


@pytest.mark.parametrize(
    ("queue", "reached"),
    [
        ("smartSearch", {"smartSearch", "duplicateDetection"}),
        ("faceDetection", {"faceDetection", "facialRecognition", "thumbnailGeneration"}),
        ("thumbnailGeneration", {"thumbnailGeneration"}),
    ],
)
def test_a_run_on_all_assets_starts_the_jobs_that_follow_it(queue: str, reached: set[str]) -> None:
    engine = Engine()
    started: set[str] = set()
    engine.observers.append(lambda event: started.add(event.queue))
    engine.reindex(queue, 50)
    assert engine.queues[queue].active + engine.queues[queue].ready == 50
    engine.settle()
    assert started == reached


def test_every_run_on_all_assets_completes() -> None:
    assert set(REINDEX) <= set(QUEUES)
    engine = Engine()
    for queue in REINDEX:
        engine.reindex(queue, 30)
    engine.settle()
    assert engine.is_idle


def test_the_repr_of_an_asset_shows_its_type_and_its_remaining_jobs() -> None:
    engine = Engine()
    photo, video = engine.upload(photos=1, videos=1)
    assert repr(photo) == "<Asset 0: photo, 1 jobs left>"
    assert repr(video) == "<Asset 1: video, 1 jobs left>"
    assert photo.all_done is None
