"""Where loop and readers meet: neither waits for the other."""

from immich_job_daemon.model.controls import Mode, SetLimit, SetMode
from immich_job_daemon.status.hub import MOST_WISHES, Board
from immich_job_daemon.status.status import Status


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
