"""Refused commands: each has its line, a flood has not."""

from immich_job_daemon.mqtt.refusals import MOST_LINES, SPAN, Refusals


def test_each_of_a_few_is_told() -> None:
    refusals, told = Refusals(), []
    for number in range(MOST_LINES):
        refusals, is_told = refusals.more(float(number))
        told.append(is_told)
    assert all(told)
    assert refusals.due(SPAN + 1) == (refusals, 0)


def test_a_flood_is_counted_and_summed_up_once() -> None:
    refusals, told = Refusals(), 0
    for number in range(1000):
        refusals, is_told = refusals.more(number / 1000)
        told += is_told
    assert told == MOST_LINES
    assert refusals.due(SPAN / 2) == (refusals, 0)
    refusals, untold = refusals.due(SPAN + 1)
    assert untold == 1000 - MOST_LINES
    assert refusals.due(SPAN + 2)[1] == 0


def test_one_after_the_flood_is_told_again() -> None:
    refusals = Refusals()
    for _ in range(100):
        refusals, _ = refusals.more(0.0)
    refusals, _ = refusals.due(SPAN)
    assert refusals.more(SPAN)[1]


def test_one_long_after_another_begins_a_new_span() -> None:
    refusals = Refusals()
    for number in range(3 * MOST_LINES):
        refusals, is_told = refusals.more(number * SPAN)
        assert is_told
