"""The rules of polling by number, and their effect over whole backlogs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.daemon.polling import (
    BUSY_COST_FACTOR,
    BUSY_MINIMUM,
    IDLE_COST_FACTOR,
    IDLE_MINIMUM,
    LINGER,
    PollStats,
    next_poll,
    observe,
)
from immich_job_daemon.model.queue import Queue

COST = 0.006
"""Seconds that a poll takes, measured with Immich 3.1.0."""
BUSY_COST = 0.018
"""The same while 300 photos are processed."""

seconds = st.floats(0.001, 1e5, allow_subnormal=False)
costs = st.floats(0.0, 20.0, allow_subnormal=False)


def queue(pending: int, name: str = "ocr") -> Queue:
    return Queue(name, is_paused=False, active=min(pending, 1), waiting=max(0, pending - 1))


def stats_after(*polls: tuple[float, int], took: float = COST) -> PollStats:
    """Return the statistics after polls of one queue: each a time and the number of jobs left."""
    stats = PollStats()
    for now, left in polls:
        running = [queue(left)] if left else []
        stats = observe(stats, running, is_pending=left > 0, took=took, now=now)
    return stats


def wait(
    stats: PollStats, now: float, poll_interval: float = 1e6, *, is_slot_free: bool = False
) -> float:
    return next_poll(stats, is_slot_free=is_slot_free, poll_interval=poll_interval, now=now)


@dataclass(frozen=True)
class Poll:
    """A generated poll, ``later`` seconds after the one before."""

    later: float
    took: float
    left: tuple[int, ...]
    wake_at: float | None
    is_slot_free: bool


poll_sequences = st.lists(
    st.builds(
        Poll,
        later=seconds,
        took=costs,
        left=st.lists(st.integers(0, 10**6), max_size=3).map(tuple),
        wake_at=st.none() | st.floats(-100, 1e6),
        is_slot_free=st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@dataclass
class Outcome:
    """The statistics and the wait after a generated poll."""

    stats: PollStats
    wait: float
    is_busy: bool
    poll: Poll


def outcomes_of(polls: list[Poll], poll_interval: float) -> list[Outcome]:
    """Simulate the polls and return the outcome of each."""
    stats, now, outcomes = PollStats(), 0.0, []
    for poll in polls:
        now += poll.later
        running = [queue(left, f"queue{place}") for place, left in enumerate(poll.left) if left]
        stats = observe(stats, running, is_pending=bool(running), took=poll.took, now=now)
        wake = None if poll.wake_at is None else now + poll.wake_at
        wait_time = next_poll(
            stats,
            is_slot_free=poll.is_slot_free,
            poll_interval=poll_interval,
            now=now,
            wake_at=wake,
        )
        outcomes.append(Outcome(stats, wait_time, bool(running), poll))
    return outcomes


# 1. Never longer than POLL_INTERVAL.


@given(poll_sequences, st.floats(1.0, 3600.0))
def test_rule_1_no_wait_is_ever_longer_than_poll_interval(
    polls: list[Poll], poll_interval: float
) -> None:
    for outcome in outcomes_of(polls, poll_interval):
        assert 0 < outcome.wait <= poll_interval


def test_rule_1_a_short_poll_interval_takes_precedence_over_the_cost_of_a_poll() -> None:
    assert wait(stats_after((0.0, 0), took=1.0), 0.0, poll_interval=1.5) == 1.5
    assert wait(stats_after((0.0, 5), took=1.0), 0.0, poll_interval=1.5) == 1.5


def test_rule_1_a_queue_that_needs_hours_is_polled_every_poll_interval() -> None:
    assert wait(stats_after((0.0, 90_000), (100.0, 89_900)), 100.0, poll_interval=10.0) == 10.0


# 2. Nothing pending.


@given(poll_sequences)
def test_rule_2_while_idle_polls_take_at_most_half_a_percent_of_the_time(
    polls: list[Poll],
) -> None:
    for outcome in outcomes_of(
        [Poll(100.0, poll.took, (), None, poll.is_slot_free) for poll in polls], 1e9
    ):
        assert outcome.wait == max(IDLE_MINIMUM, IDLE_COST_FACTOR * (outcome.stats.cost or 0.0))


def test_rule_2_a_fast_server_is_polled_every_two_seconds() -> None:
    assert wait(stats_after((0.0, 0)), 0.0) == 2.0


def test_rule_2_a_slow_server_is_polled_less_often() -> None:
    assert wait(stats_after((0.0, 0), took=0.1), 0.0) == pytest.approx(20.0)


def test_rule_2_a_single_slow_response_changes_little() -> None:
    stats = stats_after(*((float(now), 0) for now in range(20)), took=0.02)
    after = observe(stats, [], is_pending=False, took=0.12, now=20.0)
    assert wait(stats, 20.0) == pytest.approx(4.0)
    assert wait(after, 20.0) == pytest.approx(8.0)


def test_rule_2_a_server_that_stays_slow_is_soon_polled_less_often() -> None:
    stats = stats_after((0.0, 0), took=0.01)
    for now in range(1, 16):
        stats = observe(stats, [], is_pending=False, took=0.1, now=float(now))
    assert wait(stats, 16.0) == pytest.approx(20.0, rel=0.05)


# 3. Something runs.


@given(poll_sequences)
def test_rule_3_no_wait_is_shorter_than_the_minimum(
    polls: list[Poll],
) -> None:
    for outcome in outcomes_of(polls, 1e9):
        minimum = max(BUSY_MINIMUM, BUSY_COST_FACTOR * (outcome.stats.cost or 0.0))
        assert outcome.wait >= min(minimum, 1e9)


def test_rule_3_the_wait_is_most_of_the_remaining_time_by_the_measured_rate() -> None:
    stats = stats_after((0.0, 200), (10.0, 180))
    assert 0.5 * 90 < wait(stats, 10.0) < 90


def test_rule_3_time_since_the_last_progress_is_subtracted() -> None:
    stats = stats_after((0.0, 200), (10.0, 180))
    assert wait(stats, 70.0) == pytest.approx(wait(stats, 10.0) * 30 / 90)


def test_rule_3_the_queue_that_is_drained_first_decides() -> None:
    stats = PollStats()
    for now, left in ((0.0, (500, 80)), (10.0, (490, 60))):
        running = [queue(left[0], "ocr"), queue(left[1], "library")]
        stats = observe(stats, running, is_pending=True, took=COST, now=now)
    alone = stats_after((0.0, 80), (10.0, 60))
    assert wait(stats, 10.0) == wait(alone, 10.0)


def test_rule_3_the_rate_is_smoothed() -> None:
    polls = [(10.0 * number, 1000 - 10 * number) for number in range(11)]
    steady = stats_after(*polls).progress["ocr"].rate
    after_jump = stats_after(*polls, (110.0, 800)).progress["ocr"].rate
    assert steady == pytest.approx(1.0)
    assert after_jump is not None
    assert 1.0 < after_jump < 10.0


def test_rule_3_new_jobs_do_not_change_the_measured_rate() -> None:
    stats = stats_after((0.0, 100), (10.0, 80), (20.0, 300))
    assert stats.progress["ocr"].rate == pytest.approx(2.0)
    assert wait(stats, 20.0) == pytest.approx(
        wait(stats_after((0.0, 100), (10.0, 80)), 10.0) * 150 / 40
    )


def test_rule_3_without_a_rate_the_wait_is_a_tenth_of_the_time_without_progress() -> None:
    stats = stats_after((0.0, 1), (100.0, 1))
    assert wait(stats, 100.0) == pytest.approx(10.0)
    assert wait(stats, 400.0) == pytest.approx(40.0)


def test_rule_3_past_its_expected_end_a_queue_counts_as_one_without_a_rate() -> None:
    stats = stats_after((0.0, 12), (10.0, 2))
    assert wait(stats, 110.0) == pytest.approx(10.0)


def test_rule_3_the_wait_after_the_first_poll_of_a_running_queue_is_the_minimum() -> None:
    assert wait(stats_after((0.0, 500), took=0.001), 0.0) == BUSY_MINIMUM
    assert wait(stats_after((0.0, 500), took=0.1), 0.0) == pytest.approx(5.0)


def test_rule_3_a_paused_queue_is_drained_when_its_active_jobs_are_done() -> None:
    stats = PollStats()
    for now, active in ((0.0, 4), (10.0, 3)):
        draining = Queue("ocr", is_paused=True, active=active, paused=5000)
        stats = observe(stats, [draining], is_pending=True, took=COST, now=now)
    assert stats.progress["ocr"].left == 3
    assert wait(stats, 10.0) < 30


def test_rule_3_the_rate_is_reset_when_a_queue_runs_again() -> None:
    stats = stats_after((0.0, 100), (10.0, 50), (20.0, 0), (30.0, 100))
    assert stats.progress["ocr"].rate is None


def test_rule_3_two_polls_at_the_same_time_give_no_rate() -> None:
    stats = stats_after((0.0, 100), (0.0, 50))
    assert stats.progress["ocr"].rate is None
    assert wait(stats, 0.0) >= BUSY_MINIMUM


@pytest.mark.parametrize("poll_interval", [10.0, 3600.0])
def test_rule_3_the_end_of_one_long_job_is_noticed_within_a_tenth_of_its_length(
    poll_interval: float,
) -> None:
    ends = 600.0
    simulated = SimulatedPolls(poll_interval=poll_interval)
    simulated.run(lambda now: 1 if now < ends else 0)
    assert 0 <= simulated.now - ends <= min(0.1 * ends, poll_interval) + COST
    assert simulated.polls <= 120


# 4. A free slot.


def test_rule_4_while_a_slot_is_free_the_wait_is_that_of_rule_2() -> None:
    stats = stats_after((0.0, 90_000), (100.0, 89_900))
    assert wait(stats, 100.0, is_slot_free=True) == IDLE_MINIMUM
    slow = stats_after((0.0, 90_000), (100.0, 89_900), took=0.02)
    assert wait(slow, 100.0, is_slot_free=True) == pytest.approx(4.0)


def test_rule_4_a_queue_about_to_be_drained_is_still_polled_in_time() -> None:
    stats = stats_after((0.0, 12), (10.0, 2))
    assert wait(stats, 10.0, is_slot_free=True) == wait(stats, 10.0) < IDLE_MINIMUM


# 5. For a few seconds after work was seen.


def test_rule_5_polls_stay_frequent_for_a_few_seconds_after_work() -> None:
    stats = stats_after((0.0, 1), (1.0, 0))
    assert wait(stats, 1.0) == pytest.approx(max(BUSY_MINIMUM, BUSY_COST_FACTOR * COST))
    assert wait(stats, LINGER - 0.01) == wait(stats, 1.0)
    assert wait(stats, LINGER) == IDLE_MINIMUM


def test_rule_5_without_work_polls_are_not_frequent() -> None:
    assert wait(stats_after((0.0, 0)), 0.0) == IDLE_MINIMUM


def test_rule_5_frequent_polls_respect_the_cost() -> None:
    stats = stats_after((0.0, 1), (1.0, 0), took=0.02)
    assert wait(stats, 1.0) == pytest.approx(1.0)


# 6. With YIELD_AFTER.


def test_rule_6_a_queue_that_may_go_first_is_noticed_within_two_seconds() -> None:
    stats = stats_after((0.0, 10_000), (10.0, 9_900))
    assert wait(stats, 10.0) > IDLE_MINIMUM
    wait_time = next_poll(stats, is_slot_free=False, poll_interval=10.0, now=10.0, may_yield=True)
    assert wait_time == IDLE_MINIMUM


def test_rule_6_while_a_queue_goes_first_the_cost_of_a_poll_is_ignored() -> None:
    stats = stats_after((0.0, 1), took=BUSY_COST)
    usual = next_poll(stats, is_slot_free=False, poll_interval=10.0, now=0.0)
    first = next_poll(stats, is_slot_free=False, poll_interval=10.0, now=0.0, is_yielding=True)
    assert usual == pytest.approx(BUSY_COST_FACTOR * BUSY_COST)
    assert first == BUSY_MINIMUM


# wake_at.


def test_the_poll_at_wake_at_is_on_time() -> None:
    stats = stats_after((0.0, 0))
    wait_time = next_poll(stats, is_slot_free=True, poll_interval=10.0, now=0.0, wake_at=1.2)
    assert wait_time == pytest.approx(1.2)


@pytest.mark.parametrize("wake", [-50.0, 0.0, 0.001])
def test_an_overdue_wake_at_respects_the_cost(wake: float) -> None:
    stats = stats_after((0.0, 0), took=0.02)
    wait_time = next_poll(stats, is_slot_free=True, poll_interval=10.0, now=0.0, wake_at=wake)
    assert wait_time == pytest.approx(1.0)


def test_a_later_wake_at_delays_no_poll() -> None:
    stats = stats_after((0.0, 0))
    assert (
        next_poll(stats, is_slot_free=True, poll_interval=10.0, now=0.0, wake_at=99.0)
        == IDLE_MINIMUM
    )


# Whole backlogs.


@dataclass
class SimulatedPolls:
    """Polls of one queue in virtual time until it is seen drained."""

    poll_interval: float = 10.0
    cost: float = COST
    now: float = 0.0
    polls: int = 0
    stats: PollStats = field(default_factory=PollStats)

    def run(self, left_at: Callable[[float], int]) -> None:
        """Poll at the chosen intervals until no job is left."""
        while True:
            self.now += self.cost
            self.polls += 1
            left = left_at(self.now)
            if not left:
                return
            self.stats = observe(
                self.stats, [queue(left)], is_pending=True, took=self.cost, now=self.now
            )
            self.now += wait(self.stats, self.now, self.poll_interval)


def job_ends(random: Random, jobs: int, seconds_each: float, concurrency: int) -> list[float]:
    """Return the end times of a queue's jobs, in order; each takes about ``seconds_each``."""
    workers = [0.0] * min(concurrency, jobs)
    ends = []
    for number in range(jobs):
        worker = number % len(workers)
        workers[worker] += seconds_each * random.uniform(0.5, 1.5)
        ends.append(workers[worker])
    return sorted(ends)


def counter_of(ends: list[float]) -> Callable[[float], int]:
    """Return a function from a time to the number of jobs left; the times must not decrease."""
    done = 0

    def left(now: float) -> int:
        nonlocal done
        while done < len(ends) and ends[done] <= now:
            done += 1
        return len(ends) - done

    return left


def delays(cost: float) -> list[float]:
    """Return the delays in seconds with which the ends of many backlogs were noticed."""
    random = Random(7)  # noqa: S311 - the same backlogs at each run
    found = []
    for _ in range(400):
        seconds_each = 10 ** random.uniform(-2, 0.7)
        jobs = round(10 ** random.uniform(0, 3))
        ends = job_ends(random, jobs, seconds_each, random.choice((1, 2, 3, 5)))
        simulated = SimulatedPolls(cost=cost)
        simulated.run(counter_of(ends))
        found.append(simulated.now - ends[-1])
    return found


@pytest.mark.parametrize("cost", [0.001, COST, 2 * COST])
def test_a_drained_queue_is_noticed_within_half_a_second_in_the_median(cost: float) -> None:
    found = delays(cost)
    assert min(found) >= 0
    assert median(found) <= 0.5
    assert max(found) <= 10.0 + cost


@pytest.mark.parametrize("cost", [BUSY_COST, 0.05])
def test_with_slow_polls_a_drained_queue_is_noticed_within_the_minimum_wait(cost: float) -> None:
    assert median(delays(cost)) <= BUSY_COST_FACTOR * cost + cost


@pytest.mark.parametrize(("jobs", "seconds_each"), [(85_000, 0.2), (2_000, 10.0), (200, 120.0)])
def test_a_backlog_of_hours_needs_few_more_polls_than_a_fixed_interval(
    jobs: int, seconds_each: float
) -> None:
    ends = job_ends(Random(7), jobs, seconds_each, 1)  # noqa: S311 - the same backlog at each run
    simulated = SimulatedPolls()
    simulated.run(counter_of(ends))
    fixed_interval_polls = ends[-1] / simulated.poll_interval
    assert ends[-1] > 4 * 3600
    assert simulated.polls <= 1.05 * fixed_interval_polls + 20


def test_an_idle_day_costs_at_most_half_a_percent_of_a_core() -> None:
    stats, now, spent = PollStats(), 0.0, 0.0
    while now < 86_400:
        now += COST
        spent += COST
        stats = observe(stats, [], is_pending=False, took=COST, now=now)
        now += wait(stats, now, poll_interval=10.0)
    assert spent / now <= 0.005
