"""Waiting that signals cut short, with real signals."""

import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import pytest

from immich_job_daemon.base.clock import StopRequested, SystemClock
from immich_job_daemon.base.worker import Worker
from immich_job_daemon.immich.transport import HttpTransport
from simulator.immich import KEY, simulated_immich
from simulator.immich.server import SimulatedServer
from tests.support.signals import signal_at

SIGNALS = (signal.SIGTERM, signal.SIGINT)
FAR = 600.0
"""Seconds of waiting that no test has the patience for."""
LIMIT = 90.0


@pytest.fixture
def alarm() -> Iterator[SystemClock]:
    with SystemClock() as alarm:
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
def test_a_signal_ends_the_wait_at_once(alarm: SystemClock, number: signal.Signals) -> None:
    began = time.monotonic()
    with signal_when_in("wait", number), pytest.raises(StopRequested):
        alarm.wait(FAR)
    assert time.monotonic() - began < LIMIT


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_at_once_what_is_interruptible(
    alarm: SystemClock, number: signal.Signals
) -> None:
    over = threading.Event()

    def work() -> None:
        os.kill(os.getpid(), number)
        over.wait(FAR)

    began = time.monotonic()
    with pytest.raises(StopRequested):
        alarm.run_interruptibly(work)
    over.set()
    assert time.monotonic() - began < LIMIT


def test_what_the_work_returns_or_raises_comes_back(alarm: SystemClock) -> None:
    assert alarm.run_interruptibly(lambda: 7) == 7

    def fail() -> None:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        alarm.run_interruptibly(fail)
    assert alarm.run_interruptibly(lambda: 8) == 8


def asks_to_stop() -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    return "done"


def test_an_answer_that_is_there_counts_also_when_a_stop_came_with_it(
    alarm: SystemClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Worker.submit

    def done_at_once(errands: Worker, errand: Callable[[], str]) -> Future[str]:
        answer = ask(errands, errand)
        wait([answer], LIMIT)
        return answer

    monkeypatch.setattr(Worker, "submit", done_at_once)
    assert alarm.run_interruptibly(asks_to_stop) == "done"
    with pytest.raises(StopRequested):
        alarm.wait(FAR)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_waits_for_the_end_of_everything_else(
    alarm: SystemClock, number: signal.Signals
) -> None:
    steps = ["before"]
    signal.raise_signal(number)
    steps.append("after")
    with pytest.raises(StopRequested):
        alarm.wait(FAR)
    assert steps == ["before", "after"]


def test_a_signal_of_before_keeps_the_next_interruptible_from_beginning(alarm: SystemClock) -> None:
    signal.raise_signal(signal.SIGTERM)
    steps: list[str] = []
    with pytest.raises(StopRequested):
        alarm.run_interruptibly(lambda: steps.append("begun"))
    assert steps == []


def test_work_with_a_grace_may_end_in_it_and_its_answer_counts() -> None:
    heard = threading.Event()

    class Noting(SystemClock):
        def _ask(self, number: int, frame: FrameType | None) -> None:
            super()._ask(number, frame)
            heard.set()

    def work() -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard.wait(LIMIT)
        return "answer"

    with Noting() as alarm:
        assert alarm.run_interruptibly(work, grace=FAR) == "answer"
        with pytest.raises(StopRequested):
            alarm.run_interruptibly(work, grace=FAR)


def test_work_that_does_not_end_in_its_grace_is_left(alarm: SystemClock) -> None:
    over = threading.Event()

    def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        over.wait(FAR)

    began = time.monotonic()
    with pytest.raises(StopRequested):
        alarm.run_interruptibly(work, grace=0.1)
    took = time.monotonic() - began
    over.set()
    assert 0.1 <= took < LIMIT


def test_a_second_signal_does_not_tear_what_the_first_one_began(alarm: SystemClock) -> None:
    signal.raise_signal(signal.SIGTERM)
    steps = []
    try:
        alarm.wait(FAR)
    except StopRequested:
        for number in (*SIGNALS, *SIGNALS):
            signal.raise_signal(number)
            steps.append(number)
    assert len(steps) == 4


@pytest.mark.parametrize("is_work", [False, True], ids=["in a wait", "in work"])
def test_a_signal_is_heard_whichever_moment_it_falls_into(*, is_work: bool) -> None:
    over = threading.Event()

    def work() -> None:
        over.wait(FAR)

    def is_wait(event: str, called: object) -> bool:
        return event == "c_call" and called is select.select

    moment, sent = 0, [0]
    while sent == [moment]:
        moment += 1
        with (
            SystemClock() as alarm,
            signal_at(moment, is_wait) as sent,
            pytest.raises(StopRequested),
        ):
            alarm.run_interruptibly(work) if is_work else alarm.wait(FAR)
    over.set()
    assert moment > 5


def test_a_signal_that_falls_into_a_library_leaves_none_of_its_locks_taken(
    alarm: SystemClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception there would leave urllib3's pool locked, and the way out would need it."""
    engine, api = simulated_immich()
    enter = threading.Condition.__enter__
    fell: list[str] = []

    def locked(condition: threading.Condition) -> bool:
        is_taken = enter(condition)
        caller = sys._getframe(1).f_code  # noqa: SLF001 - no other way to see it
        if not fell and caller is queue.Queue.get.__code__:
            fell.append("into the pool")
            os.kill(os.getpid(), signal.SIGTERM)
        return is_taken

    with SimulatedServer(engine, api) as server:
        transport = HttpTransport(server.url, KEY)
        monkeypatch.setattr(threading.Condition, "__enter__", locked)
        with suppress(StopRequested):
            alarm.run_interruptibly(lambda: transport.send("GET", "/api/queues"))
        assert fell
        with pytest.raises(StopRequested):
            alarm.wait(FAR)
        assert transport.send("GET", "/api/queues").status == 200
        transport.close()


def test_without_a_signal_the_wait_takes_its_time(alarm: SystemClock) -> None:
    began = alarm.monotonic()
    alarm.wait(0.05)
    assert alarm.monotonic() - began >= 0.05


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_wait_for_nothing_ends_at_once(alarm: SystemClock, seconds: float) -> None:
    began = time.monotonic()
    alarm.wait(seconds)
    assert time.monotonic() - began < LIMIT


def test_its_time_is_the_systems_monotonic_clock(alarm: SystemClock) -> None:
    assert time.monotonic() <= alarm.monotonic() <= time.monotonic()


def test_the_handlers_of_before_are_back_afterwards() -> None:
    got: list[int] = []

    def mine(number: int, _frame: object) -> None:
        got.append(number)

    before = [signal.signal(number, mine) for number in SIGNALS]
    try:
        with SystemClock():
            assert all(signal.getsignal(number) is not mine for number in SIGNALS)
        for number in SIGNALS:
            signal.raise_signal(number)
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
    assert got == [*SIGNALS]


def test_the_handlers_are_back_after_a_failure_too() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ValueError, match="broken"), SystemClock():
        raise ValueError("broken")
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_that_waits_ends_in_its_own_way_when_it_is_asked_to(
    number: signal.Signals,
) -> None:
    waiting = f"""
from immich_job_daemon.base.clock import Alarm, StopRequested
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
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        rest, _ = process.communicate(timeout=LIMIT)
    assert (rest, process.returncode) == ("stopped\n", 0)


# Wishes


def test_a_wish_ends_the_wait_and_the_next_wait_is_whole_again(alarm: SystemClock) -> None:
    thread = threading.Timer(0.05, alarm.wake)
    thread.start()
    began = time.monotonic()
    alarm.wait(FAR)
    thread.join()
    assert time.monotonic() - began < LIMIT
    before = time.monotonic()
    alarm.wait(0.1)
    assert time.monotonic() - before >= 0.1


def test_more_wishes_than_can_be_counted_end_waits_and_nothing_else(alarm: SystemClock) -> None:
    for _ in range(100_000):
        alarm.wake()
    began = time.monotonic()
    alarm.wait(FAR)
    assert time.monotonic() - began < LIMIT


def test_a_wish_after_the_end_wakes_nobody_and_does_no_harm() -> None:
    with SystemClock() as alarm:
        pass
    alarm.wake()


def test_the_time_for_people_is_the_systems() -> None:
    assert abs(SystemClock().time() - time.time()) < LIMIT
