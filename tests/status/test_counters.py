"""Counters only grow, and are never changed in place."""

from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.status.counters import HANDOVER_BOUNDS, REQUEST_BOUNDS, Counters, Histogram

seconds = st.floats(0, 1e6)


@given(st.lists(seconds, max_size=30))
def test_every_value_is_counted_once_in_one_range(values: list[float]) -> None:
    histogram = Histogram.empty(REQUEST_BOUNDS)
    for value in values:
        histogram = histogram.plus(value)
    assert sum(histogram.counts) == len(values)
    assert histogram.total == sum(values)
    for number, bound in enumerate(REQUEST_BOUNDS):
        below = sum(value <= bound for value in values)
        assert sum(histogram.counts[: number + 1]) == below


def test_new_counters_are_empty() -> None:
    counters = Counters()
    assert (counters.commands, counters.failures) == ({}, {})
    assert counters.requests == Histogram.empty(REQUEST_BOUNDS)
    assert counters.handovers == Histogram.empty(HANDOVER_BOUNDS)


def test_each_event_has_its_own_counter_and_the_old_counters_do_not_change() -> None:
    before = Counters()
    after = before.commanded("pause").commanded("pause").commanded("resume").failed("refused")
    after = after.answered(0.02).handed_over(0.3)
    assert after.commands == {"pause": 2, "resume": 1}
    assert after.failures == {"refused": 1}
    assert (after.requests.total, after.handovers.total) == (0.02, 0.3)
    assert before == Counters()
