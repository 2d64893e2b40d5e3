"""The rules of pacing, each by its number, and what they come to over a life of queues."""

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
"""Seconds that a look takes (seen on Immich 3.1.0)."""
BUSY_COST = 0.018
"""The same while 300 photos are processed."""

seconds = st.floats(0.001, 1e5, allow_subnormal=False)
costs = st.floats(0.0, 20.0, allow_subnormal=False)


def queue(pending: int, name: str = "ocr") -> Queue:
    return Queue(name, is_paused=False, active=min(pending, 1), waiting=max(0, pending - 1))


def seen(*looks: tuple[float, int], took: float = COST) -> PollStats:
    """Return the pace after these looks at one queue: when, and how many jobs were left."""
    pace = PollStats()
    for now, left in looks:
        running = [queue(left)] if left else []
        pace = observe(pace, running, is_pending=left > 0, took=took, now=now)
    return pace


def wait(pace: PollStats, now: float, poll: float = 1e6, *, is_slot_free: bool = False) -> float:
    return next_poll(pace, is_slot_free=is_slot_free, poll_interval=poll, now=now)


@dataclass(frozen=True)
class Look:
    """One look of a generated life: ``later`` seconds after the one before."""

    later: float
    took: float
    left: tuple[int, ...]
    wake_at: float | None
    is_slot_free: bool


lives = st.lists(
    st.builds(
        Look,
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
class Lived:
    """What came of a generated life at one of its looks."""

    pace: PollStats
    wait: float
    is_busy: bool
    look: Look


def lived(looks: list[Look], poll: float) -> list[Lived]:
    """Let the looks happen and return what followed from each."""
    pace, now, found = PollStats(), 0.0, []
    for look in looks:
        now += look.later
        running = [queue(left, f"queue{place}") for place, left in enumerate(look.left) if left]
        pace = observe(pace, running, is_pending=bool(running), took=look.took, now=now)
        wake = None if look.wake_at is None else now + look.wake_at
        chosen = next_poll(
            pace, is_slot_free=look.is_slot_free, poll_interval=poll, now=now, wake_at=wake
        )
        found.append(Lived(pace, chosen, bool(running), look))
    return found


# 1. Never longer than POLL_INTERVAL.


@given(lives, st.floats(1.0, 3600.0))
def test_rule_1_no_wait_is_ever_longer_than_poll_interval(looks: list[Look], poll: float) -> None:
    for one in lived(looks, poll):
        assert 0 < one.wait <= poll


def test_rule_1_a_short_poll_interval_wins_over_what_a_look_costs() -> None:
    assert wait(seen((0.0, 0), took=1.0), 0.0, poll=1.5) == 1.5
    assert wait(seen((0.0, 5), took=1.0), 0.0, poll=1.5) == 1.5


def test_rule_1_a_queue_that_needs_hours_is_looked_at_each_poll_interval() -> None:
    assert wait(seen((0.0, 90_000), (100.0, 89_900)), 100.0, poll=10.0) == 10.0


# 2. Nothing pending.


@given(lives)
def test_rule_2_while_idle_a_look_takes_at_most_half_a_percent_of_the_time(
    looks: list[Look],
) -> None:
    for one in lived([Look(100.0, look.took, (), None, look.is_slot_free) for look in looks], 1e9):
        assert one.wait == max(IDLE_MINIMUM, IDLE_COST_FACTOR * (one.pace.cost or 0.0))


def test_rule_2_a_quick_server_is_looked_at_every_two_seconds() -> None:
    assert wait(seen((0.0, 0)), 0.0) == 2.0


def test_rule_2_a_slow_server_is_looked_at_more_seldom_by_itself() -> None:
    assert wait(seen((0.0, 0), took=0.1), 0.0) == pytest.approx(20.0)


def test_rule_2_one_slow_answer_among_many_changes_little() -> None:
    pace = seen(*((float(now), 0) for now in range(20)), took=0.02)
    after = observe(pace, [], is_pending=False, took=0.12, now=20.0)
    assert wait(pace, 20.0) == pytest.approx(4.0)
    assert wait(after, 20.0) == pytest.approx(8.0)


def test_rule_2_a_server_that_stays_slow_is_soon_known_as_slow() -> None:
    pace = seen((0.0, 0), took=0.01)
    for now in range(1, 16):
        pace = observe(pace, [], is_pending=False, took=0.1, now=float(now))
    assert wait(pace, 16.0) == pytest.approx(20.0, rel=0.05)


# 3. Something runs.


@given(lives)
def test_rule_3_no_look_is_closer_than_its_cost_and_a_quarter_of_a_second_allow(
    looks: list[Look],
) -> None:
    for one in lived(looks, 1e9):
        least = max(BUSY_MINIMUM, BUSY_COST_FACTOR * (one.pace.cost or 0.0))
        assert one.wait >= min(least, 1e9)


def test_rule_3_the_look_comes_after_most_of_what_is_left_by_the_measured_rate() -> None:
    pace = seen((0.0, 200), (10.0, 180))
    assert 0.5 * 90 < wait(pace, 10.0) < 90


def test_rule_3_time_that_passed_since_the_last_progress_counts() -> None:
    pace = seen((0.0, 200), (10.0, 180))
    assert wait(pace, 70.0) == pytest.approx(wait(pace, 10.0) * 30 / 90)


def test_rule_3_the_first_of_the_queues_to_be_drained_decides() -> None:
    pace = PollStats()
    for now, left in ((0.0, (500, 80)), (10.0, (490, 60))):
        running = [queue(left[0], "ocr"), queue(left[1], "library")]
        pace = observe(pace, running, is_pending=True, took=COST, now=now)
    alone = seen((0.0, 80), (10.0, 60))
    assert wait(pace, 10.0) == wait(alone, 10.0)


def test_rule_3_the_rate_follows_what_is_measured_but_not_every_jolt() -> None:
    looks = [(10.0 * number, 1000 - 10 * number) for number in range(11)]
    steady = seen(*looks).progress["ocr"].rate
    jolted = seen(*looks, (110.0, 800)).progress["ocr"].rate
    assert steady == pytest.approx(1.0)
    assert jolted is not None
    assert 1.0 < jolted < 10.0


def test_rule_3_new_work_neither_loses_nor_spoils_the_measured_rate() -> None:
    pace = seen((0.0, 100), (10.0, 80), (20.0, 300))
    assert pace.progress["ocr"].rate == pytest.approx(2.0)
    assert wait(pace, 20.0) == pytest.approx(wait(seen((0.0, 100), (10.0, 80)), 10.0) * 150 / 40)


def test_rule_3_without_a_rate_the_look_comes_after_a_tenth_of_the_silence() -> None:
    pace = seen((0.0, 1), (100.0, 1))
    assert wait(pace, 100.0) == pytest.approx(10.0)
    assert wait(pace, 400.0) == pytest.approx(40.0)


def test_rule_3_past_its_expected_end_a_queue_is_as_one_without_a_rate() -> None:
    pace = seen((0.0, 12), (10.0, 2))
    assert wait(pace, 110.0) == pytest.approx(10.0)


def test_rule_3_the_first_look_at_a_queue_that_runs_is_followed_closely() -> None:
    assert wait(seen((0.0, 500), took=0.001), 0.0) == BUSY_MINIMUM
    assert wait(seen((0.0, 500), took=0.1), 0.0) == pytest.approx(5.0)


def test_rule_3_a_queue_without_a_slot_is_drained_when_its_active_jobs_are() -> None:
    pace = PollStats()
    for now, active in ((0.0, 4), (10.0, 3)):
        draining = Queue("ocr", is_paused=True, active=active, paused=5000)
        pace = observe(pace, [draining], is_pending=True, took=COST, now=now)
    assert pace.progress["ocr"].left == 3
    assert wait(pace, 10.0) < 30


def test_rule_3_a_queue_that_runs_again_is_measured_anew() -> None:
    pace = seen((0.0, 100), (10.0, 50), (20.0, 0), (30.0, 100))
    assert pace.progress["ocr"].rate is None


def test_rule_3_two_looks_at_the_same_moment_are_no_rate() -> None:
    pace = seen((0.0, 100), (0.0, 50))
    assert pace.progress["ocr"].rate is None
    assert wait(pace, 0.0) >= BUSY_MINIMUM


@pytest.mark.parametrize("poll", [10.0, 3600.0])
def test_rule_3_the_end_of_one_long_job_is_noticed_within_a_tenth_of_its_length(
    poll: float,
) -> None:
    ends = 600.0
    life = Life(poll=poll)
    life.run(lambda now: 1 if now < ends else 0)
    assert 0 <= life.now - ends <= min(0.1 * ends, poll) + COST
    assert life.looks <= 120


# 4. A free slot.


def test_rule_4_beside_a_free_slot_new_work_is_looked_for_as_while_idle() -> None:
    pace = seen((0.0, 90_000), (100.0, 89_900))
    assert wait(pace, 100.0, is_slot_free=True) == IDLE_MINIMUM
    slow = seen((0.0, 90_000), (100.0, 89_900), took=0.02)
    assert wait(slow, 100.0, is_slot_free=True) == pytest.approx(4.0)


def test_rule_4_a_queue_about_to_be_drained_is_still_looked_at_in_time() -> None:
    pace = seen((0.0, 12), (10.0, 2))
    assert wait(pace, 10.0, is_slot_free=True) == wait(pace, 10.0) < IDLE_MINIMUM


# 5. For a few seconds after work was seen.


def test_rule_5_after_work_was_seen_looks_stay_close_for_a_few_seconds() -> None:
    pace = seen((0.0, 1), (1.0, 0))
    assert wait(pace, 1.0) == pytest.approx(max(BUSY_MINIMUM, BUSY_COST_FACTOR * COST))
    assert wait(pace, LINGER - 0.01) == wait(pace, 1.0)
    assert wait(pace, LINGER) == IDLE_MINIMUM


def test_rule_5_before_any_work_was_seen_nothing_lingers() -> None:
    assert wait(seen((0.0, 0)), 0.0) == IDLE_MINIMUM


def test_rule_5_a_look_is_close_but_not_closer_than_its_cost_allows() -> None:
    pace = seen((0.0, 1), (1.0, 0), took=0.02)
    assert wait(pace, 1.0) == pytest.approx(1.0)


# 6. Where a running queue is to let others go first.


def test_rule_6_whoever_waits_to_go_first_is_seen_within_two_seconds() -> None:
    pace = seen((0.0, 10_000), (10.0, 9_900))
    assert wait(pace, 10.0) > IDLE_MINIMUM
    chosen = next_poll(pace, is_slot_free=False, poll_interval=10.0, now=10.0, may_yield=True)
    assert chosen == IDLE_MINIMUM


def test_rule_6_while_somebody_goes_first_a_look_may_cost_what_it_does() -> None:
    pace = seen((0.0, 1), took=BUSY_COST)
    usual = next_poll(pace, is_slot_free=False, poll_interval=10.0, now=0.0)
    first = next_poll(pace, is_slot_free=False, poll_interval=10.0, now=0.0, is_yielding=True)
    assert usual == pytest.approx(BUSY_COST_FACTOR * BUSY_COST)
    assert first == BUSY_MINIMUM


# A time at which a look is wanted in any case.


def test_a_wanted_look_comes_in_time() -> None:
    pace = seen((0.0, 0))
    chosen = next_poll(pace, is_slot_free=True, poll_interval=10.0, now=0.0, wake_at=1.2)
    assert chosen == pytest.approx(1.2)


@pytest.mark.parametrize("wake", [-50.0, 0.0, 0.001])
def test_a_wanted_look_that_is_overdue_is_not_closer_than_its_cost_allows(wake: float) -> None:
    pace = seen((0.0, 0), took=0.02)
    chosen = next_poll(pace, is_slot_free=True, poll_interval=10.0, now=0.0, wake_at=wake)
    assert chosen == pytest.approx(1.0)


def test_a_wanted_look_of_later_delays_none() -> None:
    pace = seen((0.0, 0))
    assert (
        next_poll(pace, is_slot_free=True, poll_interval=10.0, now=0.0, wake_at=99.0)
        == IDLE_MINIMUM
    )


# What it comes to.


@dataclass
class Life:
    """A daemon's looks at one queue, in virtual time, until it is seen drained."""

    poll: float = 10.0
    cost: float = COST
    now: float = 0.0
    looks: int = 0
    pace: PollStats = field(default_factory=PollStats)

    def run(self, left_at: Callable[[float], int]) -> None:
        """Look, as pacing says, until nothing is left."""
        while True:
            self.now += self.cost
            self.looks += 1
            left = left_at(self.now)
            if not left:
                return
            self.pace = observe(
                self.pace, [queue(left)], is_pending=True, took=self.cost, now=self.now
            )
            self.now += wait(self.pace, self.now, self.poll)


def drained_after(random: Random, jobs: int, each: float, at_once: int) -> list[float]:
    """Return when each of a queue's jobs ends, in order; they last ``each`` seconds, about."""
    workers = [0.0] * min(at_once, jobs)
    ends = []
    for number in range(jobs):
        worker = number % len(workers)
        workers[worker] += each * random.uniform(0.5, 1.5)
        ends.append(workers[worker])
    return sorted(ends)


def left_of(ends: list[float]) -> Callable[[float], int]:
    """Return how many jobs are left at a time; asked about times that only grow."""
    done = 0

    def left(now: float) -> int:
        nonlocal done
        while done < len(ends) and ends[done] <= now:
            done += 1
        return len(ends) - done

    return left


def lateness(cost: float) -> list[float]:
    """Return how late the end of each of many queues was noticed, with looks of this cost."""
    random = Random(7)  # noqa: S311 - the same lives each time
    late = []
    for _ in range(400):
        each = 10 ** random.uniform(-2, 0.7)
        jobs = round(10 ** random.uniform(0, 3))
        ends = drained_after(random, jobs, each, random.choice((1, 2, 3, 5)))
        life = Life(cost=cost)
        life.run(left_of(ends))
        late.append(life.now - ends[-1])
    return late


@pytest.mark.parametrize("cost", [0.001, COST, 2 * COST])
def test_a_drained_queue_is_noticed_within_half_a_second_in_the_median(cost: float) -> None:
    late = lateness(cost)
    assert min(late) >= 0
    assert median(late) <= 0.5
    assert max(late) <= 10.0 + cost


@pytest.mark.parametrize("cost", [BUSY_COST, 0.05])
def test_where_looks_are_slow_it_is_noticed_within_one_shortest_wait(cost: float) -> None:
    assert median(lateness(cost)) <= BUSY_COST_FACTOR * cost + cost


@pytest.mark.parametrize(("jobs", "each"), [(85_000, 0.2), (2_000, 10.0), (200, 120.0)])
def test_a_backlog_of_hours_costs_hardly_more_looks_than_plain_polling(
    jobs: int, each: float
) -> None:
    ends = drained_after(Random(7), jobs, each, 1)  # noqa: S311 - the same life each time
    life = Life()
    life.run(left_of(ends))
    plain = ends[-1] / life.poll
    assert ends[-1] > 4 * 3600
    assert life.looks <= 1.05 * plain + 20


def test_an_idle_day_costs_at_most_half_a_percent_of_a_core() -> None:
    pace, now, spent = PollStats(), 0.0, 0.0
    while now < 86_400:
        now += COST
        spent += COST
        pace = observe(pace, [], is_pending=False, took=COST, now=now)
        now += wait(pace, now, poll=10.0)
    assert spent / now <= 0.005
