from simulator.immich.engine import Engine
from simulator.immich.pipeline import lasting
from simulator.immich.run_history import RunHistory


def engine_with(*open_queues: str) -> Engine:
    engine = Engine()
    for name in engine.queues:
        if name not in open_queues:
            engine.pause(name)
    return engine


def test_jobs_of_one_queue_without_a_pause_between_them_are_one_run() -> None:
    engine = engine_with("ocr")
    chronicle = RunHistory(engine)
    engine.add("ocr", lasting(2), count=3)
    engine.settle()
    (run,) = chronicle.runs
    assert (run.queue, run.began, run.ended, run.jobs) == ("ocr", 0.0, engine.now, 3)
    assert chronicle.gaps() == []


def test_a_gap_is_the_time_in_which_nothing_runs() -> None:
    engine = engine_with("ocr", "library")
    chronicle = RunHistory(engine)
    engine.add("ocr", lasting(2))
    engine.at(10, lambda: engine.add("library", lasting(1)))
    engine.at(10.1, lambda: engine.add("ocr", lasting(5)))
    engine.at(30, lambda: engine.add("ocr", lasting(1)))
    engine.advance(60)
    assert [run.queue for run in chronicle.runs] == ["ocr", "library", "ocr", "ocr"]
    first, second = chronicle.gaps()
    assert first == 10 - chronicle.runs[0].ended
    assert second == 30 - chronicle.runs[2].ended
    assert chronicle.most_at_once == 2


def test_what_is_ignored_counts_for_nothing() -> None:
    engine = engine_with("ocr", "search")
    chronicle = RunHistory(engine, ignored={"search"})
    engine.add("ocr", lasting(2))
    engine.add("search", lasting(2))
    engine.settle()
    assert [run.queue for run in chronicle.runs] == ["ocr"]
    assert chronicle.most_at_once == 1
