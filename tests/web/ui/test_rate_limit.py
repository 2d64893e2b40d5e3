"""Delays after wrong passwords: they grow, and their memory is bounded."""

from immich_job_daemon.web.ui.rate_limit import (
    FORGET_AFTER,
    MAX_CLIENTS,
    MAX_DELAY,
    LoginRateLimit,
)

CLIENT = "192.0.2.1"


def test_the_delay_doubles_up_to_a_maximum() -> None:
    limit, now, delays = LoginRateLimit(), 0.0, []
    for number in range(12):
        delays.append(limit.failed(CLIENT, f"guess {number}", now))
        now += delays[-1]
        assert limit.remaining(CLIENT, now) == 0
    assert delays[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(delays[6:]) == {MAX_DELAY}


def test_repeating_the_same_wrong_password_adds_no_delay() -> None:
    limit = LoginRateLimit()
    assert limit.failed(CLIENT, "old", 0.0) == 1
    assert limit.failed(CLIENT, "old", 5.0) == 0
    assert limit.remaining(CLIENT, 5.0) == 0
    assert limit.failed(CLIENT, "new", 6.0) == 2


def test_the_right_password_resets_the_delay() -> None:
    limit = LoginRateLimit()
    limit.failed(CLIENT, "a", 0.0)
    limit.succeeded(CLIENT)
    assert limit.remaining(CLIENT, 0.1) == 0
    assert limit.failed(CLIENT, "b", 1.0) == 1


def test_failures_are_forgotten_after_a_while() -> None:
    limit = LoginRateLimit()
    for number in range(5):
        limit.failed(CLIENT, f"{number}", 0.0)
    assert limit.failed(CLIENT, "later", FORGET_AFTER + 1) == 1


def test_all_addresses_of_one_network_are_one_client() -> None:
    limit = LoginRateLimit()
    limit.failed("2001:db8:1:2::1", "a", 0.0)
    assert limit.remaining("2001:db8:1:2:ffff::9", 0.0) == 1
    assert limit.remaining("2001:db8:1:3::1", 0.0) == 0
    limit.failed("::ffff:192.0.2.1", "a", 0.0)
    assert limit.remaining(CLIENT, 0.0) == 1


def test_the_number_of_remembered_clients_is_bounded() -> None:
    limit = LoginRateLimit()
    for number in range(MAX_CLIENTS + 50):
        limit.failed(f"10.0.{number // 256}.{number % 256}", "a", 0.0)
    assert limit.remaining("10.0.0.0", 0.0) == 0
    assert limit.remaining(f"10.0.{MAX_CLIENTS // 256}.{MAX_CLIENTS % 256}", 0.0) == 1


def test_an_invalid_address_is_a_client_too() -> None:
    limit = LoginRateLimit()
    limit.failed("", "\udcff", 0.0)
    assert limit.remaining("", 0.0) == 1
