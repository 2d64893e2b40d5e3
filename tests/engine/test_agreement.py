"""What a client of Immich sees: the real engine and the simulated one must both show it."""

import pytest

from tests.engine.engines import (
    Bench,
    ask,
    becomes,
    counts,
    hidden,
    is_paused,
    pause,
    resume,
    seen,
)
from tests.engine.facade import Following
from tests.support.waiting import wait_until

QUEUE = "smartSearch"
AT_ONCE = 2
"""Jobs that this queue runs at once."""


def finish_all(bench: Bench, queue: str, count: int) -> None:
    """Let so many jobs of a queue come to their end, as they start."""
    ended = 0

    def is_done() -> bool:
        nonlocal ended
        ended += bench.finish(queue)
        return ended >= count

    wait_until(is_done)


def have_begun(bench: Bench, queue: str, count: int) -> None:
    """Wait until so many jobs of a queue have begun in all; one is active a moment before that."""
    wait_until(lambda: len(bench.started(queue)) == count)


# Order


def test_jobs_start_in_the_order_in_which_they_were_added(bench: Bench) -> None:
    bench.add("ocr", "job", count=5)
    becomes(bench, "ocr", seen(active=1, waiting=4))
    finish_all(bench, "ocr", 5)
    becomes(bench, "ocr", seen())
    assert bench.started("ocr") == [f"job-{number}" for number in range(5)]


def test_as_many_run_at_once_as_the_queue_allows(bench: Bench) -> None:
    bench.add(QUEUE, "job", count=6)
    becomes(bench, QUEUE, seen(active=AT_ONCE, waiting=4))
    have_begun(bench, QUEUE, 2)
    assert bench.finish(QUEUE) == AT_ONCE
    becomes(bench, QUEUE, seen(active=AT_ONCE, waiting=2))
    have_begun(bench, QUEUE, 4)
    assert sorted(bench.started(QUEUE)) == ["job-0", "job-1", "job-2", "job-3"]


def test_jobs_with_a_priority_are_in_no_count_and_come_after_those_without(bench: Bench) -> None:
    pause(bench, "ocr")
    bench.add("ocr", "late", priority=7)
    bench.add("ocr", "soon", count=2, priority=3)
    bench.add("ocr", "plain", count=2)
    becomes(bench, "ocr", hidden(bench, ready=2))
    resume(bench, "ocr")
    finish_all(bench, "ocr", 2)
    becomes(bench, "ocr", seen(active=1))
    finish_all(bench, "ocr", 3)
    assert bench.started("ocr") == ["plain-0", "plain-1", "soon-0", "soon-1", "late"]


def test_what_follows_a_job_is_added_before_that_ends(bench: Bench) -> None:
    bench.add("ocr", "first", then=(Following("library", "second"),))
    becomes(bench, "ocr", seen(active=1))
    assert counts(bench, "library") == seen()
    have_begun(bench, "ocr", 1)
    bench.finish("ocr")
    becomes(bench, "ocr", seen())
    becomes(bench, "library", seen(active=1))


# Pauses


def test_a_pause_shows_at_once_what_is_ready_and_starts_nothing_more(bench: Bench) -> None:
    bench.add(QUEUE, "job", count=6)
    becomes(bench, QUEUE, seen(active=AT_ONCE, waiting=4))
    assert pause(bench, QUEUE) == hidden(bench, active=AT_ONCE, ready=4)
    assert is_paused(bench, QUEUE)
    have_begun(bench, QUEUE, 2)
    assert bench.finish(QUEUE) == AT_ONCE
    becomes(bench, QUEUE, hidden(bench, ready=4))
    assert len(bench.started(QUEUE)) == AT_ONCE


def test_what_is_added_to_a_paused_queue_comes_behind_what_waits_in_it(bench: Bench) -> None:
    bench.add("ocr", "before", count=2)
    becomes(bench, "ocr", seen(active=1, waiting=1))
    pause(bench, "ocr")
    bench.add("ocr", "meanwhile", count=2)
    becomes(bench, "ocr", hidden(bench, active=1, ready=3))
    answer = resume(bench, "ocr")
    assert answer == seen(active=1, waiting=3)
    finish_all(bench, "ocr", 4)
    assert bench.started("ocr") == ["before-0", "before-1", "meanwhile-0", "meanwhile-1"]


def test_pausing_twice_and_resuming_twice_is_as_once(bench: Bench) -> None:
    bench.add("ocr", "job", count=3)
    becomes(bench, "ocr", seen(active=1, waiting=2))
    assert pause(bench, "ocr") == pause(bench, "ocr") == hidden(bench, active=1, ready=2)
    assert resume(bench, "ocr") == resume(bench, "ocr") == seen(active=1, waiting=2)


def test_both_apis_show_the_same(bench: Bench) -> None:
    bench.add(QUEUE, "job", count=5)
    becomes(bench, QUEUE, seen(active=AT_ONCE, waiting=3))
    ask(bench, "PUT", f"jobs/{QUEUE}", {"command": "pause", "force": False})
    one = ask(bench, "GET", "jobs")
    other = {queue["name"]: queue for queue in ask(bench, "GET", "queues")}
    assert list(one) == list(other)
    assert len(one) == 19
    for name, queue in other.items():
        assert one[name]["jobCounts"] == queue["statistics"]
        assert one[name]["queueStatus"]["isPaused"] is queue["isPaused"] is (name == QUEUE)
        assert one[name]["queueStatus"]["isActive"] is (name == QUEUE)


# Delays


def test_a_delayed_job_of_a_paused_queue_is_ready_when_due_and_runs_after_a_resume(
    bench: Bench,
) -> None:
    pause(bench, QUEUE)
    bench.add(QUEUE, "job", count=3, delay=3.0)
    assert counts(bench, QUEUE) == hidden(bench, delayed=3)
    becomes(bench, QUEUE, hidden(bench, ready=3))
    assert bench.started(QUEUE) == []
    resume(bench, QUEUE)
    becomes(bench, QUEUE, seen(active=2, waiting=1))


def test_a_delayed_job_with_a_priority_vanishes_from_the_counts_when_due(bench: Bench) -> None:
    pause(bench, QUEUE)
    bench.add(QUEUE, "job", delay=3.0, priority=1)
    assert counts(bench, QUEUE) == hidden(bench, delayed=1)
    becomes(bench, QUEUE, hidden(bench))
    resume(bench, QUEUE)
    becomes(bench, QUEUE, seen(active=1))


def test_a_job_that_falls_due_while_immich_is_away_is_ready_afterwards(bench: Bench) -> None:
    bench.add(QUEUE, "job", delay=0.5)
    bench.restart()
    becomes(bench, QUEUE, seen(active=1))


# Commands of the jobs API


def test_empty_drops_what_waits_with_and_without_a_priority_and_nothing_else(bench: Bench) -> None:
    bench.add("ocr", "job", count=4)
    bench.add("ocr", "rank", count=2, priority=5)
    bench.add("ocr", "later", delay=3600)
    becomes(bench, "ocr", seen(active=1, waiting=3, delayed=1))
    ask(bench, "PUT", "jobs/ocr", {"command": "empty"})
    assert counts(bench, "ocr") == seen(active=1, delayed=1)
    have_begun(bench, "ocr", 1)
    bench.finish("ocr")
    becomes(bench, "ocr", seen(delayed=1))
    assert bench.started("ocr") == ["job-0"]


def test_empty_reaches_a_paused_queue_as_well(bench: Bench) -> None:
    pause(bench, "ocr")
    bench.add("ocr", "job", count=4)
    becomes(bench, "ocr", hidden(bench, ready=4))
    ask(bench, "PUT", "jobs/ocr", {"command": "empty"})
    assert counts(bench, "ocr") == hidden(bench)


# Restarts


def test_pauses_and_counts_survive_a_restart_but_metadata_extraction_comes_back_open(
    bench: Bench,
) -> None:
    for name in ("metadataExtraction", QUEUE, "library"):
        pause(bench, name)
    bench.add(QUEUE, "job", count=3)
    bench.add(QUEUE, "later", delay=3600)
    bench.add("metadataExtraction", "job")
    bench.restart()
    becomes(bench, "metadataExtraction", seen(active=1))
    assert counts(bench, QUEUE) == hidden(bench, ready=3, delayed=1)
    paused = [queue["name"] for queue in ask(bench, "GET", "queues") if queue["isPaused"]]
    assert paused == [QUEUE, "library"]


def test_jobs_in_flight_at_a_kill_stay_active_a_while_and_then_run_first(bench: Bench) -> None:
    bench.add(QUEUE, "job", count=6)
    becomes(bench, QUEUE, seen(active=2, waiting=4))
    have_begun(bench, QUEUE, 2)
    bench.restart()
    # Those whose worker is gone and those that run now: more than the queue runs at once.
    becomes(bench, QUEUE, seen(active=4, waiting=2))
    bench.notice()
    # They wait again.
    becomes(bench, QUEUE, seen(active=2, waiting=4))
    finish_all(bench, QUEUE, 6)
    becomes(bench, QUEUE, seen())
    order = bench.started(QUEUE)
    assert sorted(order[4:6]) == ["job-0", "job-1"]
    assert len(order) == 8


def test_jobs_in_flight_in_a_paused_queue_are_held_like_the_others_once_noticed(
    bench: Bench,
) -> None:
    bench.add(QUEUE, "job", count=3)
    becomes(bench, QUEUE, seen(active=2, waiting=1))
    have_begun(bench, QUEUE, 2)
    pause(bench, QUEUE)
    bench.restart()
    assert counts(bench, QUEUE) == hidden(bench, active=2, ready=1)
    bench.notice()
    becomes(bench, QUEUE, hidden(bench, ready=3))
    assert len(bench.started(QUEUE)) == 2


def test_a_job_whose_worker_is_killed_twice_fails_once_its_queue_is_open(bench: Bench) -> None:
    for name in ("ocr", "library"):
        bench.add(name, "job")
        have_begun(bench, name, 1)
    bench.restart()
    bench.notice()
    have_begun(bench, "ocr", 2)
    have_begun(bench, "library", 2)
    pause(bench, "library")
    bench.restart()
    bench.notice()
    becomes(bench, "ocr", seen(failed=1))
    becomes(bench, "library", hidden(bench, ready=1))
    resume(bench, "library")
    becomes(bench, "library", seen(failed=1))
    ask(bench, "PUT", "jobs/ocr", {"command": "clear-failed"})
    assert counts(bench, "ocr") == seen()


@pytest.mark.parametrize("is_held", [True, False])
def test_pauses_and_counts_survive_a_restart_of_the_store(
    bench: Bench, *, is_under_control: bool
) -> None:
    bench.add(QUEUE, "job", count=5)
    becomes(bench, QUEUE, seen(active=2, waiting=3))
    pause(bench, "library")
    if is_under_control:
        pause(bench, QUEUE)
    bench.restart_store()
    expected = hidden(bench, active=2, ready=3) if is_under_control else seen(active=2, waiting=3)
    becomes(bench, QUEUE, expected)
    assert is_paused(bench, "library")
    assert is_paused(bench, QUEUE) is is_under_control
    if is_under_control:
        resume(bench, QUEUE)
    finish_all(bench, QUEUE, 5)
    becomes(bench, QUEUE, seen())
    assert len(bench.started(QUEUE)) == 5
