"""A few events are logged one by one, a flood is not."""

from immich_job_daemon.mqtt.log_limit import MAX_LINES, PERIOD, LogLimit


def test_a_few_events_are_logged() -> None:
    limit, logged = LogLimit(), []
    for number in range(MAX_LINES):
        limit, should_log = limit.record(float(number))
        logged.append(should_log)
    assert all(logged)
    assert limit.flush(PERIOD + 1) == (limit, 0)


def test_a_flood_is_summed_up_once() -> None:
    limit, logged = LogLimit(), 0
    for number in range(1000):
        limit, should_log = limit.record(number / 1000)
        logged += should_log
    assert logged == MAX_LINES
    assert limit.flush(PERIOD / 2) == (limit, 0)
    limit, suppressed = limit.flush(PERIOD + 1)
    assert suppressed == 1000 - MAX_LINES
    assert limit.flush(PERIOD + 2)[1] == 0


def test_an_event_after_the_flood_is_logged() -> None:
    limit = LogLimit()
    for _ in range(100):
        limit, _ = limit.record(0.0)
    limit, _ = limit.flush(PERIOD)
    assert limit.record(PERIOD)[1]


def test_events_far_apart_are_all_logged() -> None:
    limit = LogLimit()
    for number in range(3 * MAX_LINES):
        limit, should_log = limit.record(number * PERIOD)
        assert should_log
