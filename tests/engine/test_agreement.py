"""Behaviour that the real engine and the simulated one share, as a client sees it."""

import pytest

from tests.engine.engines import (
    EngineUnderTest,
    call_api,
    counts,
    is_paused,
    open_counts,
    pause,
    paused_counts,
    resume,
    wait_for_counts,
)
from tests.engine.facade import FollowUp
from tests.support.waiting import wait_until

QUEUE = "smartSearch"
CONCURRENCY = 2
"""The queue's concurrency."""


def finish_all(engine: EngineUnderTest, queue: str, count: int) -> None:
    """Finish jobs of a queue as they start, until ``count`` have finished."""
    finished = 0

    def is_done() -> bool:
        nonlocal finished
        finished += engine.finish(queue)
        return finished >= count

    wait_until(is_done)


def wait_for_starts(engine: EngineUnderTest, queue: str, count: int) -> None:
    """Wait until ``count`` jobs have started; a job is active slightly earlier."""
    wait_until(lambda: len(engine.started(queue)) == count)


# Order


def test_jobs_start_in_the_order_in_which_they_were_added(engine: EngineUnderTest) -> None:
    engine.add("ocr", "job", count=5)
    wait_for_counts(engine, "ocr", open_counts(active=1, waiting=4))
    finish_all(engine, "ocr", 5)
    wait_for_counts(engine, "ocr", open_counts())
    assert engine.started("ocr") == [f"job-{number}" for number in range(5)]


def test_a_queue_runs_as_many_jobs_as_its_concurrency(engine: EngineUnderTest) -> None:
    engine.add(QUEUE, "job", count=6)
    wait_for_counts(engine, QUEUE, open_counts(active=CONCURRENCY, waiting=4))
    wait_for_starts(engine, QUEUE, 2)
    assert engine.finish(QUEUE) == CONCURRENCY
    wait_for_counts(engine, QUEUE, open_counts(active=CONCURRENCY, waiting=2))
    wait_for_starts(engine, QUEUE, 4)
    assert sorted(engine.started(QUEUE)) == ["job-0", "job-1", "job-2", "job-3"]


def test_jobs_with_a_priority_are_in_no_count_and_run_last(engine: EngineUnderTest) -> None:
    pause(engine, "ocr")
    engine.add("ocr", "late", priority=7)
    engine.add("ocr", "soon", count=2, priority=3)
    engine.add("ocr", "plain", count=2)
    wait_for_counts(engine, "ocr", paused_counts(engine, ready=2))
    resume(engine, "ocr")
    finish_all(engine, "ocr", 2)
    wait_for_counts(engine, "ocr", open_counts(active=1))
    finish_all(engine, "ocr", 3)
    assert engine.started("ocr") == ["plain-0", "plain-1", "soon-0", "soon-1", "late"]


def test_a_follow_up_is_added_before_its_job_ends(engine: EngineUnderTest) -> None:
    engine.add("ocr", "first", then=(FollowUp("library", "second"),))
    wait_for_counts(engine, "ocr", open_counts(active=1))
    assert counts(engine, "library") == open_counts()
    wait_for_starts(engine, "ocr", 1)
    engine.finish("ocr")
    wait_for_counts(engine, "ocr", open_counts())
    wait_for_counts(engine, "library", open_counts(active=1))


# Pauses


def test_a_pause_shows_ready_jobs_at_once_and_starts_no_more(engine: EngineUnderTest) -> None:
    engine.add(QUEUE, "job", count=6)
    wait_for_counts(engine, QUEUE, open_counts(active=CONCURRENCY, waiting=4))
    assert pause(engine, QUEUE) == paused_counts(engine, active=CONCURRENCY, ready=4)
    assert is_paused(engine, QUEUE)
    wait_for_starts(engine, QUEUE, 2)
    assert engine.finish(QUEUE) == CONCURRENCY
    wait_for_counts(engine, QUEUE, paused_counts(engine, ready=4))
    assert len(engine.started(QUEUE)) == CONCURRENCY


def test_jobs_added_to_a_paused_queue_run_after_those_that_wait(engine: EngineUnderTest) -> None:
    engine.add("ocr", "before", count=2)
    wait_for_counts(engine, "ocr", open_counts(active=1, waiting=1))
    pause(engine, "ocr")
    engine.add("ocr", "meanwhile", count=2)
    wait_for_counts(engine, "ocr", paused_counts(engine, active=1, ready=3))
    response = resume(engine, "ocr")
    assert response == open_counts(active=1, waiting=3)
    finish_all(engine, "ocr", 4)
    assert engine.started("ocr") == ["before-0", "before-1", "meanwhile-0", "meanwhile-1"]


def test_pauses_and_resumes_are_idempotent(engine: EngineUnderTest) -> None:
    engine.add("ocr", "job", count=3)
    wait_for_counts(engine, "ocr", open_counts(active=1, waiting=2))
    assert pause(engine, "ocr") == pause(engine, "ocr") == paused_counts(engine, active=1, ready=2)
    assert resume(engine, "ocr") == resume(engine, "ocr") == open_counts(active=1, waiting=2)


def test_both_apis_show_the_same_state(engine: EngineUnderTest) -> None:
    engine.add(QUEUE, "job", count=5)
    wait_for_counts(engine, QUEUE, open_counts(active=CONCURRENCY, waiting=3))
    call_api(engine, "PUT", f"jobs/{QUEUE}", {"command": "pause", "force": False})
    jobs = call_api(engine, "GET", "jobs")
    queues = {queue["name"]: queue for queue in call_api(engine, "GET", "queues")}
    assert list(jobs) == list(queues)
    assert len(jobs) == 19
    for name, queue in queues.items():
        assert jobs[name]["jobCounts"] == queue["statistics"]
        assert jobs[name]["queueStatus"]["isPaused"] is queue["isPaused"] is (name == QUEUE)
        assert jobs[name]["queueStatus"]["isActive"] is (name == QUEUE)


# Delays


def test_a_delayed_job_of_a_paused_queue_is_ready_when_due_and_runs_after_a_resume(
    engine: EngineUnderTest,
) -> None:
    pause(engine, QUEUE)
    engine.add(QUEUE, "job", count=3, delay=3.0)
    assert counts(engine, QUEUE) == paused_counts(engine, delayed=3)
    wait_for_counts(engine, QUEUE, paused_counts(engine, ready=3))
    assert engine.started(QUEUE) == []
    resume(engine, QUEUE)
    wait_for_counts(engine, QUEUE, open_counts(active=2, waiting=1))


def test_a_delayed_job_with_a_priority_disappears_from_the_counts_when_due(
    engine: EngineUnderTest,
) -> None:
    pause(engine, QUEUE)
    engine.add(QUEUE, "job", delay=3.0, priority=1)
    assert counts(engine, QUEUE) == paused_counts(engine, delayed=1)
    wait_for_counts(engine, QUEUE, paused_counts(engine))
    resume(engine, QUEUE)
    wait_for_counts(engine, QUEUE, open_counts(active=1))


def test_a_job_that_is_due_while_immich_is_down_is_ready_afterwards(
    engine: EngineUnderTest,
) -> None:
    engine.add(QUEUE, "job", delay=0.5)
    engine.restart()
    wait_for_counts(engine, QUEUE, open_counts(active=1))


# Commands of the jobs API


def test_empty_removes_waiting_jobs_with_and_without_a_priority_only(
    engine: EngineUnderTest,
) -> None:
    engine.add("ocr", "job", count=4)
    engine.add("ocr", "rank", count=2, priority=5)
    engine.add("ocr", "later", delay=3600)
    wait_for_counts(engine, "ocr", open_counts(active=1, waiting=3, delayed=1))
    call_api(engine, "PUT", "jobs/ocr", {"command": "empty"})
    assert counts(engine, "ocr") == open_counts(active=1, delayed=1)
    wait_for_starts(engine, "ocr", 1)
    engine.finish("ocr")
    wait_for_counts(engine, "ocr", open_counts(delayed=1))
    assert engine.started("ocr") == ["job-0"]


def test_empty_works_on_a_paused_queue(engine: EngineUnderTest) -> None:
    pause(engine, "ocr")
    engine.add("ocr", "job", count=4)
    wait_for_counts(engine, "ocr", paused_counts(engine, ready=4))
    call_api(engine, "PUT", "jobs/ocr", {"command": "empty"})
    assert counts(engine, "ocr") == paused_counts(engine)


# Restarts


def test_pauses_and_counts_survive_a_restart_except_that_metadata_extraction_is_opened(
    engine: EngineUnderTest,
) -> None:
    for name in ("metadataExtraction", QUEUE, "library"):
        pause(engine, name)
    engine.add(QUEUE, "job", count=3)
    engine.add(QUEUE, "later", delay=3600)
    engine.add("metadataExtraction", "job")
    engine.restart()
    wait_for_counts(engine, "metadataExtraction", open_counts(active=1))
    assert counts(engine, QUEUE) == paused_counts(engine, ready=3, delayed=1)
    paused = [queue["name"] for queue in call_api(engine, "GET", "queues") if queue["isPaused"]]
    assert paused == [QUEUE, "library"]


def test_jobs_active_at_a_kill_stay_active_for_a_while_and_then_run_first(
    engine: EngineUnderTest,
) -> None:
    engine.add(QUEUE, "job", count=6)
    wait_for_counts(engine, QUEUE, open_counts(active=2, waiting=4))
    wait_for_starts(engine, QUEUE, 2)
    engine.restart()
    # Two stalled jobs and two that run now: more than the concurrency.
    wait_for_counts(engine, QUEUE, open_counts(active=4, waiting=2))
    engine.expire_locks()
    # The stalled jobs wait again.
    wait_for_counts(engine, QUEUE, open_counts(active=2, waiting=4))
    finish_all(engine, QUEUE, 6)
    wait_for_counts(engine, QUEUE, open_counts())
    order = engine.started(QUEUE)
    assert sorted(order[4:6]) == ["job-0", "job-1"]
    assert len(order) == 8


def test_stalled_jobs_of_a_paused_queue_wait_like_the_others(
    engine: EngineUnderTest,
) -> None:
    engine.add(QUEUE, "job", count=3)
    wait_for_counts(engine, QUEUE, open_counts(active=2, waiting=1))
    wait_for_starts(engine, QUEUE, 2)
    pause(engine, QUEUE)
    engine.restart()
    assert counts(engine, QUEUE) == paused_counts(engine, active=2, ready=1)
    engine.expire_locks()
    wait_for_counts(engine, QUEUE, paused_counts(engine, ready=3))
    assert len(engine.started(QUEUE)) == 2


def test_a_job_that_stalls_twice_fails_once_its_queue_is_open(engine: EngineUnderTest) -> None:
    for name in ("ocr", "library"):
        engine.add(name, "job")
        wait_for_starts(engine, name, 1)
    engine.restart()
    engine.expire_locks()
    wait_for_starts(engine, "ocr", 2)
    wait_for_starts(engine, "library", 2)
    pause(engine, "library")
    engine.restart()
    engine.expire_locks()
    wait_for_counts(engine, "ocr", open_counts(failed=1))
    wait_for_counts(engine, "library", paused_counts(engine, ready=1))
    resume(engine, "library")
    wait_for_counts(engine, "library", open_counts(failed=1))
    call_api(engine, "PUT", "jobs/ocr", {"command": "clear-failed"})
    assert counts(engine, "ocr") == open_counts()


@pytest.mark.parametrize("is_queue_paused", [True, False])
def test_pauses_and_counts_survive_a_restart_of_redis(
    engine: EngineUnderTest, *, is_queue_paused: bool
) -> None:
    engine.add(QUEUE, "job", count=5)
    wait_for_counts(engine, QUEUE, open_counts(active=2, waiting=3))
    pause(engine, "library")
    if is_queue_paused:
        pause(engine, QUEUE)
    engine.restart_redis()
    expected = (
        paused_counts(engine, active=2, ready=3)
        if is_queue_paused
        else open_counts(active=2, waiting=3)
    )
    wait_for_counts(engine, QUEUE, expected)
    assert is_paused(engine, "library")
    assert is_paused(engine, QUEUE) is is_queue_paused
    if is_queue_paused:
        resume(engine, QUEUE)
    finish_all(engine, QUEUE, 5)
    wait_for_counts(engine, QUEUE, open_counts())
    assert len(engine.started(QUEUE)) == 5
