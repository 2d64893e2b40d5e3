"""Where loop and readers meet: neither waits for the other."""

from threading import Event, Thread

from immich_job_daemon.board import MOST_WISHES, Board
from immich_job_daemon.controls import Mode, SetLimit, SetMode
from immich_job_daemon.status import Status

LIMIT = 30.0


def test_a_reader_gets_the_latest_picture() -> None:
    first, second = Status(1), Status(2)
    board = Board(first)
    assert board.status is first
    board.publish(second)
    assert board.status is second


def test_wishes_reach_the_loop_once_and_in_order() -> None:
    board = Board(Status(1))
    assert board.ask(SetLimit(2))
    assert board.ask(SetMode(Mode.HELD))
    assert board.take() == [SetLimit(2), SetMode(Mode.HELD)]
    assert board.take() == []


def test_each_wish_wakes_the_loop() -> None:
    woken: list[bool] = []
    board = Board(Status(1), lambda: woken.append(True))
    board.ask(SetLimit(2))
    board.ask(SetLimit(3))
    assert len(woken) == 2


def test_too_many_wishes_are_refused_until_some_are_taken() -> None:
    woken: list[bool] = []
    board = Board(Status(1), lambda: woken.append(True))
    assert all(board.ask(SetLimit(1)) for _ in range(MOST_WISHES))
    assert not board.ask(SetLimit(2))
    assert len(woken) == MOST_WISHES
    assert len(board.take()) == MOST_WISHES
    assert board.ask(SetLimit(2))


def test_who_waits_for_another_picture_gets_it_when_it_comes() -> None:
    first, second = Status(1), Status(2)
    board = Board(first)
    seen: list[Status] = []
    is_waiting = Event()

    def wait() -> None:
        is_waiting.set()
        seen.append(board.wait_for_other(first, LIMIT))

    thread = Thread(target=wait)
    thread.start()
    is_waiting.wait(LIMIT)
    board.publish(second)
    thread.join(LIMIT)
    assert seen == [second]


def test_who_has_an_older_picture_does_not_wait() -> None:
    board = Board(Status(2))
    assert board.wait_for_other(Status(1), LIMIT) is board.status


def test_after_the_time_the_same_picture_comes_again() -> None:
    board = Board(Status(1))
    assert board.wait_for_other(board.status, 0.001) is board.status
