"""Wrong passwords cost time, more each time, and little memory."""

from immich_job_daemon.web.ui.rate_limit import (
    FORGOTTEN_AFTER,
    LONGEST,
    MOST_CLIENTS,
    Delays,
)

HERE = "192.0.2.1"


def test_the_delay_doubles_and_ends_somewhere() -> None:
    delays, now, waits = Delays(), 0.0, []
    for number in range(12):
        waits.append(delays.failed(HERE, f"guess {number}", now))
        now += waits[-1]
        assert delays.left(HERE, now) == 0
    assert waits[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(waits[6:]) == {LONGEST}


def test_the_same_wrong_password_again_costs_nothing_more() -> None:
    delays = Delays()
    assert delays.failed(HERE, "old", 0.0) == 1
    assert delays.failed(HERE, "old", 5.0) == 0
    assert delays.left(HERE, 5.0) == 0
    assert delays.failed(HERE, "new", 6.0) == 2


def test_the_right_password_ends_it() -> None:
    delays = Delays()
    delays.failed(HERE, "a", 0.0)
    delays.succeeded(HERE)
    assert delays.left(HERE, 0.1) == 0
    assert delays.failed(HERE, "b", 1.0) == 1


def test_after_a_quiet_time_it_begins_anew() -> None:
    delays = Delays()
    for number in range(5):
        delays.failed(HERE, f"{number}", 0.0)
    assert delays.failed(HERE, "later", FORGOTTEN_AFTER + 1) == 1


def test_all_addresses_of_a_household_count_as_one() -> None:
    delays = Delays()
    delays.failed("2001:db8:1:2::1", "a", 0.0)
    assert delays.left("2001:db8:1:2:ffff::9", 0.0) == 1
    assert delays.left("2001:db8:1:3::1", 0.0) == 0
    delays.failed("::ffff:192.0.2.1", "a", 0.0)
    assert delays.left(HERE, 0.0) == 1


def test_the_memory_is_bounded() -> None:
    delays = Delays()
    for number in range(MOST_CLIENTS + 50):
        delays.failed(f"10.0.{number // 256}.{number % 256}", "a", 0.0)
    assert delays.left("10.0.0.0", 0.0) == 0
    assert delays.left(f"10.0.{MOST_CLIENTS // 256}.{MOST_CLIENTS % 256}", 0.0) == 1


def test_what_is_no_address_is_a_client_too() -> None:
    delays = Delays()
    delays.failed("", "\udcff", 0.0)
    assert delays.left("", 0.0) == 1
