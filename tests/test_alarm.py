"""Waiting that signals cut short, with real signals."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from immich_job_daemon.alarm import Alarm, StopRequested

SIGNALS = (signal.SIGTERM, signal.SIGINT)
FAR = 60.0
"""Seconds of waiting that no test has the patience for."""
LIMIT = 30.0


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    with Alarm() as alarm:
        yield alarm


@contextmanager
def signal_when_in(function: str, number: signal.Signals) -> Iterator[None]:
    """Send a signal as soon as the main thread is inside the alarm's function of this name."""
    main = threading.main_thread().ident
    assert main is not None
    over = threading.Event()

    def is_inside() -> bool:
        frame = sys._current_frames().get(main)  # noqa: SLF001 - no other way to see it
        while frame is not None:
            if frame.f_code.co_name == function and "alarm" in frame.f_code.co_filename:
                return True
            frame = frame.f_back
        return False

    def watch() -> None:
        while not over.wait(0.001):
            if is_inside():
                os.kill(os.getpid(), number)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_wait_at_once(alarm: Alarm, number: signal.Signals) -> None:
    began = time.monotonic()
    with signal_when_in("wait", number), pytest.raises(StopRequested):
        alarm.wait(FAR)
    assert time.monotonic() - began < LIMIT


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_what_is_interruptible_at_once(alarm: Alarm, number: signal.Signals) -> None:
    steps = []

    def work() -> None:
        with alarm.interruptible():
            steps.append("before")
            signal.raise_signal(number)
            steps.append("after")

    with pytest.raises(StopRequested):
        work()
    assert steps == ["before"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_waits_for_the_end_of_everything_else(
    alarm: Alarm, number: signal.Signals
) -> None:
    steps = ["before"]
    signal.raise_signal(number)
    steps.append("after")
    with pytest.raises(StopRequested):
        alarm.wait(FAR)
    assert steps == ["before", "after"]


def test_a_signal_of_before_keeps_the_next_interruptible_from_beginning(alarm: Alarm) -> None:
    signal.raise_signal(signal.SIGTERM)
    steps = []
    with pytest.raises(StopRequested), alarm.interruptible():
        steps.append("begun")
    assert steps == []


def test_after_an_interruptible_that_ended_well_a_signal_waits_again(alarm: Alarm) -> None:
    with alarm.interruptible():
        pass
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(StopRequested):
        alarm.wait(0)


def test_after_an_interruptible_that_failed_a_signal_waits_again(alarm: Alarm) -> None:
    with pytest.raises(ValueError, match="no answer"), alarm.interruptible():
        raise ValueError("no answer")
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(StopRequested):
        alarm.wait(0)


def test_a_second_signal_does_not_tear_what_the_first_one_began(alarm: Alarm) -> None:
    steps = []
    try:
        with alarm.interruptible():
            signal.raise_signal(signal.SIGTERM)
    except StopRequested:
        for number in (*SIGNALS, *SIGNALS):
            signal.raise_signal(number)
            steps.append(number)
    assert len(steps) == 4


def test_a_second_signal_does_not_tear_the_way_out_either(alarm: Alarm) -> None:
    steps = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            steps.append("cleaned up")

    with pytest.raises(StopRequested), alarm.interruptible():
        work()
    assert steps == ["cleaned up"]


def test_without_a_signal_the_wait_takes_its_time(alarm: Alarm) -> None:
    began = alarm.monotonic()
    alarm.wait(0.05)
    assert alarm.monotonic() - began >= 0.05


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_wait_for_nothing_ends_at_once(alarm: Alarm, seconds: float) -> None:
    began = time.monotonic()
    alarm.wait(seconds)
    assert time.monotonic() - began < LIMIT


def test_its_time_is_the_systems_monotonic_clock(alarm: Alarm) -> None:
    assert time.monotonic() <= alarm.monotonic() <= time.monotonic()


def test_the_handlers_of_before_are_back_afterwards() -> None:
    got: list[int] = []

    def mine(number: int, _frame: object) -> None:
        got.append(number)

    before = [signal.signal(number, mine) for number in SIGNALS]
    try:
        with Alarm():
            assert all(signal.getsignal(number) is not mine for number in SIGNALS)
        for number in SIGNALS:
            signal.raise_signal(number)
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
    assert got == [*SIGNALS]


def test_the_handlers_are_back_after_a_failure_too() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ValueError, match="broken"), Alarm():
        raise ValueError("broken")
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_that_waits_ends_in_its_own_way_when_it_is_asked_to(
    number: signal.Signals,
) -> None:
    waiting = f"""
from immich_job_daemon.alarm import Alarm, StopRequested
with Alarm() as alarm:
    print("ready", flush=True)
    try:
        alarm.wait({FAR})
    except StopRequested:
        print("stopped", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", waiting],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        rest, _ = process.communicate(timeout=LIMIT)
    assert (rest, process.returncode) == ("stopped\n", 0)


# Wishes


def test_a_wish_ends_the_wait_and_the_next_wait_is_whole_again(alarm: Alarm) -> None:
    thread = threading.Timer(0.05, alarm.wake)
    thread.start()
    began = time.monotonic()
    alarm.wait(FAR)
    thread.join()
    assert time.monotonic() - began < LIMIT
    before = time.monotonic()
    alarm.wait(0.1)
    assert time.monotonic() - before >= 0.1


def test_more_wishes_than_can_be_counted_end_waits_and_nothing_else(alarm: Alarm) -> None:
    for _ in range(100_000):
        alarm.wake()
    began = time.monotonic()
    alarm.wait(FAR)
    assert time.monotonic() - began < LIMIT


def test_a_wish_after_the_end_wakes_nobody_and_does_no_harm() -> None:
    with Alarm() as alarm:
        pass
    alarm.wake()


def test_the_time_for_people_is_the_systems() -> None:
    assert abs(Alarm().time() - time.time()) < LIMIT
