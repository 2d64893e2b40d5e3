import time
from collections.abc import Callable

import pytest

from simulator.immich.engine import Engine, Event, EventKind
from simulator.immich.pipeline import QUEUES, Kind, lasting
from simulator.immich.simulated_queue import Counts

RunUntil = Callable[[Engine, Callable[[], bool]], None]


def counts(engine: Engine, queue: str) -> Counts:
    return engine.queues[queue].counts()


def test_queues_are_in_immichs_order_and_start_open_and_empty() -> None:
    engine = Engine()
    assert tuple(engine.queues) == QUEUES
    assert len(QUEUES) == 19
    assert all(not queue.is_paused and queue.is_empty for queue in engine.queues.values())
    assert engine.is_idle


def test_concurrency_defaults_to_immichs() -> None:
    engine = Engine(concurrency={"ocr": 4})
    found = {name: queue.concurrency for name, queue in engine.queues.items()}
    assert found["metadataExtraction"] == 5
    assert found["thumbnailGeneration"] == 3
    assert found["smartSearch"] == found["faceDetection"] == 2
    assert found["videoConversion"] == found["facialRecognition"] == 1
    assert found["ocr"] == 4


def test_concurrency_limits_the_active_jobs() -> None:
    engine = Engine(concurrency={"library": 2})
    engine.add("library", lasting(1.0), count=5)
    assert counts(engine, "library") == Counts(2, 0, 0, 0, 3, 0)


@pytest.mark.parametrize(("bullmq", "waiting", "paused"), [(5, 0, 4), (6, 4, 0)])
def test_a_paused_queue_finishes_its_active_jobs_and_starts_no_others(
    bullmq: int, waiting: int, paused: int
) -> None:
    engine = Engine(bullmq=5 if bullmq == 5 else 6, concurrency={"library": 2})
    engine.add("library", lasting(1.0), count=6)
    engine.pause("library")
    assert counts(engine, "library") == Counts(2, 0, 0, 0, waiting, paused)
    engine.advance(10.0)
    assert counts(engine, "library") == Counts(0, 0, 0, 0, waiting, paused)
    assert engine.queues["library"].ready == 4
    engine.resume("library")
    assert counts(engine, "library") == Counts(2, 0, 0, 0, 2, 0)
    engine.advance(20.0)
    assert engine.is_idle


@pytest.mark.parametrize(("bullmq", "waiting", "paused"), [(5, 0, 3), (6, 3, 0)])
def test_delayed_jobs_of_a_paused_queue_become_ready_when_due(
    bullmq: int, waiting: int, paused: int
) -> None:
    engine = Engine(bullmq=5 if bullmq == 5 else 6)
    engine.pause("ocr")
    engine.add("ocr", lasting(1.0), count=3, delay=30.0)
    engine.advance(29.0)
    assert counts(engine, "ocr") == Counts(0, 0, 0, 3, 0, 0)
    assert not engine.is_idle
    engine.advance(30.0)
    assert counts(engine, "ocr") == Counts(0, 0, 0, 0, waiting, paused)
    engine.resume("ocr")
    assert counts(engine, "ocr").active == 1


def test_no_count_includes_waiting_jobs_with_a_priority() -> None:
    engine = Engine()
    engine.pause("thumbnailGeneration")
    engine.add("thumbnailGeneration", lasting(1.0), count=50, priority=1)
    queue = engine.queues["thumbnailGeneration"]
    assert queue.counts() == Counts(0, 0, 0, 0, 0, 0)
    assert queue.prioritized == 50
    assert not queue.is_empty
    engine.resume("thumbnailGeneration")
    assert queue.counts() == Counts(3, 0, 0, 0, 0, 0)
    engine.settle()
    assert queue.is_empty


def test_ready_jobs_run_before_prioritized_ones_and_small_priorities_first() -> None:
    engine = Engine()
    order: list[str] = []
    engine.pause("ocr")
    for name, priority in (("later", 5), ("sooner", 1), ("ready", 0)):
        engine.add("ocr", lasting(1.0, name), priority=priority)
    engine.observers.append(
        lambda event: order.extend(
            job.kind.name
            for job in engine.queues["ocr"].running.values()
            if event.kind is EventKind.STARTED
        )
    )
    engine.resume("ocr")
    engine.settle()
    assert order == ["ready", "sooner", "later"]


def test_failed_jobs_stay_until_they_are_cleared_and_do_not_keep_immich_busy() -> None:
    engine = Engine()
    engine.fail("library", 3)
    engine.advance(1000.0)
    assert counts(engine, "library").failed == 3
    assert engine.is_idle
    engine.clear_failed("library")
    assert counts(engine, "library").failed == 0


def test_emptying_a_queue_removes_only_waiting_jobs() -> None:
    engine = Engine()
    engine.add("library", lasting(1.0), count=8)
    engine.add("library", lasting(1.0), count=2, priority=1)
    engine.add("library", lasting(1.0), delay=60.0)
    engine.empty("library")
    assert counts(engine, "library") == Counts(5, 0, 0, 1, 0, 0)
    assert engine.queues["library"].prioritized == 0


def test_a_queue_holds_a_unique_job_only_once() -> None:
    engine = Engine()
    unique = Kind("unique", wait=1.0, is_unique=True)
    engine.add("library", unique)
    engine.add("library", unique)
    assert counts(engine, "library").active == 1
    engine.settle()
    engine.add("library", unique)
    assert counts(engine, "library").active == 1


def test_actions_run_in_order_at_their_time_and_the_clock_stops_at_the_target() -> None:
    engine = Engine(start=100.0)
    seen: list[tuple[str, float]] = []
    engine.at(105.0, lambda: seen.append(("second", engine.now)))
    engine.at(103.0, lambda: seen.append(("first", engine.now)))
    engine.at(105.0, lambda: seen.append(("third", engine.now)))
    assert engine.next_event() == 103.0
    engine.advance(105.0)
    assert seen == [("first", 103.0), ("second", 105.0), ("third", 105.0)]
    assert engine.next_event() is None
    engine.advance(104.0)
    assert engine.now == 105.0


def test_observers_learn_who_paused_or_resumed_a_queue_if_that_changed_it() -> None:
    engine = Engine()
    events: list[Event] = []
    engine.observers.append(events.append)
    engine.pause("ocr", by="first")
    engine.pause("ocr", by="second")
    engine.add("ocr", lasting(1.0))
    engine.resume("ocr", by="daemon")
    engine.settle()
    assert [(event.kind, event.queue, event.by) for event in events] == [
        (EventKind.PAUSED, "ocr", "first"),
        (EventKind.RESUMED, "ocr", "daemon"),
        (EventKind.STARTED, "ocr", ""),
        (EventKind.COMPLETED, "ocr", ""),
    ]
    assert events[2].time == 0.0
    assert 0.9 < events[3].time < 1.1


def test_following_jobs_start_before_a_job_completes() -> None:
    engine = Engine()
    events: list[Event] = []
    engine.observers.append(events.append)
    engine.add("sidecar", Kind("first", wait=1.0, then=(("ocr", lasting(1.0)),)))
    engine.settle()
    assert [(event.kind, event.queue) for event in events] == [
        (EventKind.STARTED, "sidecar"),
        (EventKind.STARTED, "ocr"),
        (EventKind.COMPLETED, "sidecar"),
        (EventKind.COMPLETED, "ocr"),
    ]
    assert events[1].time == events[2].time


def test_nothing_starts_or_completes_while_immich_is_down() -> None:
    engine = Engine()
    engine.add("library", lasting(5.0), count=7)
    events: list[Event] = []
    engine.observers.append(events.append)
    engine.restart(8.0)
    engine.add("ocr", lasting(1.0))
    engine.advance(7.9)
    assert not engine.is_up
    assert [event.kind for event in events] == [EventKind.DOWN]
    engine.advance(8.0)
    assert engine.is_up
    assert events[1] == Event(8.0, EventKind.UP)
    assert counts(engine, "ocr").active == 1


def test_a_restart_opens_metadata_extraction_and_keeps_all_other_queues_as_they_were() -> None:
    engine = Engine()
    for name in ("metadataExtraction", "smartSearch", "backgroundTask"):
        engine.pause(name)
    engine.add("smartSearch", lasting(1.0), count=4)
    engine.fail("smartSearch", 2)
    events: list[Event] = []
    engine.observers.append(events.append)
    engine.restart(8.0)
    engine.advance(8.0)
    paused = {name for name, queue in engine.queues.items() if queue.is_paused}
    assert paused == {"smartSearch", "backgroundTask"}
    assert counts(engine, "smartSearch") == Counts(0, 0, 2, 0, 0, 4)
    assert Event(8.0, EventKind.RESUMED, "metadataExtraction", "immich") in events


@pytest.mark.parametrize("seed", range(10))
def test_stalled_jobs_count_as_active_for_29_to_60_seconds_then_wait_in_front(
    seed: int, run_until: RunUntil
) -> None:
    engine = Engine(seed=seed)
    engine.advance(100.0)
    engine.add("library", lasting(200.0, "killed"), count=5)
    engine.add("library", lasting(500.0), count=10)
    engine.restart(8.0)
    queue = engine.queues["library"]
    assert queue.active == 5
    engine.advance(108.0)
    # Five workers have taken new jobs; the five stalled jobs still count as active.
    assert queue.counts() == Counts(10, 0, 0, 0, 5, 0)
    run_until(engine, lambda: queue.stalled == 0)
    assert 129.0 <= engine.now <= 160.0
    assert queue.counts() == Counts(5, 0, 0, 0, 10, 0)
    first = queue.take()
    assert first is not None
    assert first.kind.name == "killed"


def test_stalled_jobs_are_detected_only_while_immich_runs() -> None:
    engine = Engine()
    engine.add("library", lasting(10.0))
    engine.restart(300.0)
    engine.advance(299.0)
    assert engine.queues["library"].stalled == 1
    engine.advance(300.0)
    assert engine.queues["library"].stalled == 0
    assert len(engine.queues["library"].running) == 1


def test_delayed_jobs_that_fall_due_during_a_downtime_are_ready_after_it() -> None:
    engine = Engine()
    engine.add("ocr", lasting(1.0), delay=5.0)
    engine.restart(10.0)
    engine.advance(9.0)
    assert counts(engine, "ocr").delayed == 1
    engine.advance(10.0)
    assert counts(engine, "ocr") == Counts(1, 0, 0, 0, 0, 0)


def test_a_job_that_stalls_twice_fails() -> None:
    engine = Engine()
    engine.add("library", lasting(1000.0))
    for _ in range(2):
        engine.restart(8.0)
        engine.advance(engine.now + 70.0)
    assert counts(engine, "library") == Counts(0, 0, 1, 0, 0, 0)
    assert engine.is_idle


def test_a_restart_during_a_downtime_extends_it() -> None:
    engine = Engine()
    events: list[Event] = []
    engine.observers.append(events.append)
    engine.restart(8.0)
    engine.advance(5.0)
    engine.restart(8.0)
    engine.advance(12.0)
    assert not engine.is_up
    engine.advance(13.0)
    assert engine.is_up
    assert [event.kind for event in events] == [EventKind.DOWN, EventKind.UP]
    assert engine.boots == 1


def test_a_restart_loses_no_upload() -> None:
    engine = Engine()
    assets = engine.upload(photos=40, videos=1)
    engine.at(4.0, lambda: engine.restart(8.0))
    engine.settle()
    assert engine.is_idle
    assert all(asset.all_done is not None for asset in assets)


def test_the_same_seed_gives_the_same_results() -> None:
    def times_done(seed: int) -> list[float | None]:
        engine = Engine(seed=seed)
        engine.upload(photos=20)
        engine.at(3.0, lambda: engine.restart(8.0))
        engine.settle()
        return [asset.all_done for asset in engine.assets]

    assert times_done(1) == times_done(1)
    assert times_done(1) != times_done(2)


def test_settling_stops_at_its_limit_or_when_only_paused_jobs_are_left() -> None:
    engine = Engine()
    engine.add("library", lasting(100.0))
    engine.settle(limit=10.0)
    assert not engine.is_idle
    engine.pause("ocr")
    engine.add("ocr", lasting(1.0))
    engine.settle()
    assert engine.queues["library"].is_empty
    assert counts(engine, "ocr").paused == 1


def test_simulating_a_day_takes_seconds() -> None:
    engine = Engine()
    engine.reindex("smartSearch", 85_000)
    engine.reindex("ocr", 85_000)
    began = time.process_time()
    engine.advance(24 * 3600.0)
    assert engine.is_idle
    assert time.process_time() - began < 20.0
