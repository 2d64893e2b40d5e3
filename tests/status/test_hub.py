"""The hub passes the status to its readers and their changes to the loop."""

from immich_job_daemon.model.controls import Mode, SetLimit, SetMode
from immich_job_daemon.status.hub import MAX_PENDING_CHANGES, StatusHub
from immich_job_daemon.status.status import Status


def test_a_reader_gets_the_latest_status() -> None:
    first, second = Status(1), Status(2)
    hub = StatusHub(first)
    assert hub.status is first
    hub.publish(second)
    assert hub.status is second


def test_changes_reach_the_loop_once_and_in_order() -> None:
    hub = StatusHub(Status(1))
    assert hub.submit(SetLimit(2))
    assert hub.submit(SetMode(Mode.HELD))
    assert hub.take_changes() == [SetLimit(2), SetMode(Mode.HELD)]
    assert hub.take_changes() == []


def test_each_change_wakes_the_loop() -> None:
    woken: list[bool] = []
    hub = StatusHub(Status(1), lambda: woken.append(True))
    hub.submit(SetLimit(2))
    hub.submit(SetLimit(3))
    assert len(woken) == 2


def test_too_many_changes_are_rejected_until_the_loop_takes_them() -> None:
    woken: list[bool] = []
    hub = StatusHub(Status(1), lambda: woken.append(True))
    assert all(hub.submit(SetLimit(1)) for _ in range(MAX_PENDING_CHANGES))
    assert not hub.submit(SetLimit(2))
    assert len(woken) == MAX_PENDING_CHANGES
    assert len(hub.take_changes()) == MAX_PENDING_CHANGES
    assert hub.submit(SetLimit(2))
