"""Waits and blocking calls that real signals interrupt."""

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
FOREVER = 600.0
"""Seconds that no test ever waits."""
LIMIT = 90.0
"""Seconds after which a test has failed."""


@pytest.fixture
def clock() -> Iterator[SystemClock]:
    with SystemClock() as clock:
        yield clock


@contextmanager
def signal_when_in(function: str, number: signal.Signals) -> Iterator[None]:
    """Send a signal as soon as the main thread is inside the clock's function of this name."""
    main = threading.main_thread().ident
    assert main is not None
    over = threading.Event()

    def is_inside() -> bool:
        frame = sys._current_frames().get(main)  # noqa: SLF001 - there is no public way
        while frame is not None:
            if frame.f_code.co_name == function and frame.f_code.co_filename.endswith("clock.py"):
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
def test_a_signal_ends_a_wait_at_once(clock: SystemClock, number: signal.Signals) -> None:
    began = time.monotonic()
    with signal_when_in("wait", number), pytest.raises(StopRequested):
        clock.wait(FOREVER)
    assert time.monotonic() - began < LIMIT


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_blocking_call_at_once(clock: SystemClock, number: signal.Signals) -> None:
    over = threading.Event()

    def work() -> None:
        os.kill(os.getpid(), number)
        over.wait(FOREVER)

    began = time.monotonic()
    with pytest.raises(StopRequested):
        clock.run_interruptibly(work)
    over.set()
    assert time.monotonic() - began < LIMIT


def test_a_call_returns_its_result_or_raises_its_exception(clock: SystemClock) -> None:
    assert clock.run_interruptibly(lambda: 7) == 7

    def fail() -> None:
        raise ValueError("no response")

    with pytest.raises(ValueError, match="no response"):
        clock.run_interruptibly(fail)
    assert clock.run_interruptibly(lambda: 8) == 8


def stop_and_return() -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    return "done"


def test_the_result_of_a_finished_call_counts_even_if_a_stop_came_with_it(
    clock: SystemClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = Worker.submit

    def done_at_once(worker: Worker, call: Callable[[], str]) -> Future[str]:
        future = submit(worker, call)
        wait([future], LIMIT)
        return future

    monkeypatch.setattr(Worker, "submit", done_at_once)
    assert clock.run_interruptibly(stop_and_return) == "done"
    with pytest.raises(StopRequested):
        clock.wait(FOREVER)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts_no_other_code(clock: SystemClock, number: signal.Signals) -> None:
    steps = ["before"]
    signal.raise_signal(number)
    steps.append("after")
    with pytest.raises(StopRequested):
        clock.wait(FOREVER)
    assert steps == ["before", "after"]


def test_after_a_signal_no_further_call_begins(clock: SystemClock) -> None:
    signal.raise_signal(signal.SIGTERM)
    steps: list[str] = []
    with pytest.raises(StopRequested):
        clock.run_interruptibly(lambda: steps.append("begun"))
    assert steps == []


def test_a_call_may_finish_within_its_grace_and_its_result_counts() -> None:
    handled = threading.Event()

    class RecordingClock(SystemClock):
        def _request_stop(self, number: int, frame: FrameType | None) -> None:
            super()._request_stop(number, frame)
            handled.set()

    def work() -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        assert handled.wait(LIMIT)
        return "response"

    with RecordingClock() as clock:
        assert clock.run_interruptibly(work, grace=FOREVER) == "response"
        with pytest.raises(StopRequested):
            clock.run_interruptibly(work, grace=FOREVER)


def test_a_call_that_does_not_finish_within_its_grace_is_abandoned(clock: SystemClock) -> None:
    over = threading.Event()

    def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        over.wait(FOREVER)

    began = time.monotonic()
    with pytest.raises(StopRequested):
        clock.run_interruptibly(work, grace=0.1)
    took = time.monotonic() - began
    over.set()
    assert 0.1 <= took < LIMIT


def test_a_second_signal_does_not_interrupt_the_stop(clock: SystemClock) -> None:
    signal.raise_signal(signal.SIGTERM)
    steps = []
    try:
        clock.wait(FOREVER)
    except StopRequested:
        for number in (*SIGNALS, *SIGNALS):
            signal.raise_signal(number)
            steps.append(number)
    assert len(steps) == 4


@pytest.mark.parametrize("in_call", [False, True], ids=["in a wait", "in a call"])
def test_a_signal_is_noticed_at_any_moment(*, in_call: bool) -> None:
    over = threading.Event()

    def work() -> None:
        over.wait(FOREVER)

    def is_select(event: str, called: object) -> bool:
        return event == "c_call" and called is select.select

    moment, sent = 0, [0]
    while sent == [moment]:
        moment += 1
        with (
            SystemClock() as clock,
            signal_at(moment, is_select) as sent,
            pytest.raises(StopRequested),
        ):
            clock.run_interruptibly(work) if in_call else clock.wait(FOREVER)
    over.set()
    assert moment > 5


def test_a_signal_inside_a_library_leaves_no_lock_taken(
    clock: SystemClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception there would leave urllib3's pool locked, and the final resume needs it."""
    engine, api = simulated_immich()
    enter = threading.Condition.__enter__
    interrupted: list[str] = []

    def enter_and_signal(condition: threading.Condition) -> bool:
        is_taken = enter(condition)
        caller = sys._getframe(1).f_code  # noqa: SLF001 - there is no public way
        if not interrupted and caller is queue.Queue.get.__code__:
            interrupted.append("in the pool")
            os.kill(os.getpid(), signal.SIGTERM)
        return is_taken

    with SimulatedServer(engine, api) as server:
        transport = HttpTransport(server.url, KEY)
        monkeypatch.setattr(threading.Condition, "__enter__", enter_and_signal)
        with suppress(StopRequested):
            clock.run_interruptibly(lambda: transport.send("GET", "/api/queues"))
        assert interrupted
        with pytest.raises(StopRequested):
            clock.wait(FOREVER)
        assert transport.send("GET", "/api/queues").status == 200
        transport.close()


def test_without_a_signal_a_wait_takes_its_time(clock: SystemClock) -> None:
    began = clock.monotonic()
    clock.wait(0.05)
    assert clock.monotonic() - began >= 0.05


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_wait_of_no_time_ends_at_once(clock: SystemClock, seconds: float) -> None:
    began = time.monotonic()
    clock.wait(seconds)
    assert time.monotonic() - began < LIMIT


def test_monotonic_is_the_systems_monotonic_clock(clock: SystemClock) -> None:
    assert time.monotonic() <= clock.monotonic() <= time.monotonic()


def test_the_previous_handlers_are_restored() -> None:
    received: list[int] = []

    def handler_before(number: int, _frame: object) -> None:
        received.append(number)

    before = [signal.signal(number, handler_before) for number in SIGNALS]
    try:
        with SystemClock():
            assert all(signal.getsignal(number) is not handler_before for number in SIGNALS)
        for number in SIGNALS:
            signal.raise_signal(number)
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
    assert received == [*SIGNALS]


def test_the_previous_handlers_are_restored_after_an_exception() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ValueError, match="broken"), SystemClock():
        raise ValueError("broken")
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_waiting_process_handles_the_signal_itself(
    number: signal.Signals,
) -> None:
    program = f"""
from immich_job_daemon.base.clock import StopRequested, SystemClock
with SystemClock() as clock:
    print("ready", flush=True)
    try:
        clock.wait({FOREVER})
    except StopRequested:
        print("stopped", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        rest, _ = process.communicate(timeout=LIMIT)
    assert (rest, process.returncode) == ("stopped\n", 0)


# Waking


def test_a_wake_ends_one_wait_and_not_the_next(clock: SystemClock) -> None:
    thread = threading.Timer(0.05, clock.wake)
    thread.start()
    began = time.monotonic()
    clock.wait(FOREVER)
    thread.join()
    assert time.monotonic() - began < LIMIT
    before = time.monotonic()
    clock.wait(0.1)
    assert time.monotonic() - before >= 0.1


def test_more_wakes_than_the_socket_can_hold_do_no_harm(clock: SystemClock) -> None:
    for _ in range(100_000):
        clock.wake()
    began = time.monotonic()
    clock.wait(FOREVER)
    assert time.monotonic() - began < LIMIT


def test_a_wake_after_the_end_does_no_harm() -> None:
    with SystemClock() as clock:
        pass
    clock.wake()


def test_time_is_the_systems_time() -> None:
    assert abs(SystemClock().time() - time.time()) < LIMIT
