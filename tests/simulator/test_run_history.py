from simulator.immich.engine import Engine
from simulator.immich.pipeline import lasting
from simulator.immich.run_history import RunHistory


def engine_with(*open_queues: str) -> Engine:
    engine = Engine()
    for name in engine.queues:
        if name not in open_queues:
            engine.pause(name)
    return engine


def test_consecutive_jobs_of_a_queue_are_one_run() -> None:
    engine = engine_with("ocr")
    history = RunHistory(engine)
    engine.add("ocr", lasting(2), count=3)
    engine.settle()
    (run,) = history.runs
    assert (run.queue, run.start, run.end, run.jobs) == ("ocr", 0.0, engine.now, 3)
    assert history.gaps() == []


def test_a_gap_is_the_time_in_which_nothing_runs() -> None:
    engine = engine_with("ocr", "library")
    history = RunHistory(engine)
    engine.add("ocr", lasting(2))
    engine.at(10, lambda: engine.add("library", lasting(1)))
    engine.at(10.1, lambda: engine.add("ocr", lasting(5)))
    engine.at(30, lambda: engine.add("ocr", lasting(1)))
    engine.advance(60)
    assert [run.queue for run in history.runs] == ["ocr", "library", "ocr", "ocr"]
    first, second = history.gaps()
    assert first == 10 - history.runs[0].end
    assert second == 30 - history.runs[2].end
    assert history.most_at_once == 2


def test_ignored_queues_are_not_recorded() -> None:
    engine = engine_with("ocr", "search")
    history = RunHistory(engine, ignored={"search"})
    engine.add("ocr", lasting(2))
    engine.add("search", lasting(2))
    engine.settle()
    assert [run.queue for run in history.runs] == ["ocr"]
    assert history.most_at_once == 1
