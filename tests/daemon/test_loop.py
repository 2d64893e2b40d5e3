"""The loop: the real daemon, client and scheduler against the simulated Immich.

Time is virtual, except in the tests of signals and sockets.
"""

import logging
import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from immich_job_daemon.base.clock import StopRequested, SystemClock
from immich_job_daemon.base.errors import KeyRejectedError, PermissionMissingError
from immich_job_daemon.base.logging import TRACE
from immich_job_daemon.daemon import loop
from immich_job_daemon.daemon.executor import RESPONSE_GRACE
from immich_job_daemon.daemon.ledger import Ledger, encode
from immich_job_daemon.daemon.loop import Daemon
from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.immich.client import ImmichClient
from immich_job_daemon.immich.transport import HttpTransport, Response
from immich_job_daemon.model.queue import PRIORITY, PROTECTED, Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.model.settings import OnExit
from immich_job_daemon.scheduler.state import SchedulerState
from immich_job_daemon.status.status import ProblemKind, Status
from simulator.immich import KEY, simulated_immich
from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine, Event, EventKind
from simulator.immich.faults import Fault, FaultQueue, RandomFaults
from simulator.immich.pipeline import QUEUES, lasting
from simulator.immich.server import SimulatedServer
from simulator.immich.virtual_time import VirtualTransport
from simulator.worlds.virtual_daemon import VirtualClient, VirtualLedger, settings
from tests.support.scenario import (
    DAEMON,
    FACES,
    MANAGED,
    METADATA,
    SEARCH,
    THUMBNAIL,
    USER,
    VIDEO,
    Scenario,
    most_at_once,
    order_of_starts,
    problem_text,
)
from tests.support.signals import signal_at

LIMIT = 90.0
"""Real seconds after which a test gives up, even on a slow machine."""


LogText = Callable[..., str]


# Start.


def test_at_the_start_it_backs_off_while_immich_is_down(log_text: LogText) -> None:
    scenario = Scenario()
    scenario.engine.restart(300.0)
    scenario.run(lambda: scenario.daemon.status.polled_at is not None)
    waits = [round(later - earlier) for earlier, later in pairwise(scenario.recorder.times)]
    assert waits[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert log_text("WARNING").count("Trying again in 60 s.") == 4
    assert log_text().count("Connected to Immich 3.1.0, through its queues API.") == 1


def test_at_the_start_an_error_of_immich_is_logged_with_what_to_do(log_text: LogText) -> None:
    scenario = Scenario()
    scenario.transport.faults = FaultQueue([Fault.SERVER_ERROR])
    scenario.run(lambda: scenario.daemon.status.polled_at is not None)
    (warning,) = log_text("WARNING").splitlines()
    assert warning.endswith("check its log. Trying again in 1 s.")


def test_it_can_be_stopped_while_it_waits_for_immich(log_text: LogText) -> None:
    scenario = Scenario()
    scenario.engine.restart(1e5)
    scenario.run_for(100.0)
    assert "INFO Stopping." in log_text()
    assert scenario.daemon.status.polled_at is None


def test_at_the_start_a_rejected_key_ends_the_daemon() -> None:
    scenario = Scenario()
    scenario.api.keys.clear()
    with pytest.raises(KeyRejectedError, match="API_KEY"):
        scenario.run_for(100.0)
    assert scenario.engine.now < 1.0


def test_at_the_start_a_missing_permission_ends_the_daemon_and_is_named() -> None:
    scenario = Scenario()
    scenario.api.keys[KEY] = Key(frozenset({"queue.read"}))
    with pytest.raises(PermissionMissingError, match=r"queue\.update") as caught:
        scenario.run_for(100.0)
    assert caught.value.missing == {"queue.update"}
    assert scenario.recorder.of("pause", "resume") == []


def test_a_key_rejected_at_the_start_leaves_the_ledger_unchanged(log_text: LogText) -> None:
    scenario = Scenario(on_exit=OnExit.KEEP)
    scenario.run_for(10.0)
    paused = scenario.disk.paused_by_daemon
    assert paused
    scenario.settings = settings(on_exit=OnExit.RELEASE)
    scenario.api.keys.clear()
    scenario.new_daemon()
    with pytest.raises(KeyRejectedError):
        scenario.run_for(100.0)
    assert scenario.disk.paused_by_daemon == paused
    assert "ERROR Not resumed, so these may stay paused: " in log_text()


def test_a_key_rejected_later_does_not_end_the_daemon(log_text: LogText) -> None:
    scenario = Scenario()
    scenario.pause_all()
    scenario.add_backlog(SEARCH, FACES, count=600)
    keys = dict(scenario.api.keys)
    scenario.engine.at(60.0, scenario.api.keys.clear)
    scenario.engine.at(200.0, lambda: scenario.api.keys.update(keys))
    scenario.run(lambda: scenario.engine.is_idle)
    assert "does not accept the API key" in log_text("WARNING")
    assert "All is well again after" in log_text()


# Backlogs.


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_backlog_is_processed_by_priority_within_the_limit(limit: int) -> None:
    scenario = Scenario(max_concurrent_jobs=limit)
    scenario.pause_all()
    names = [METADATA, THUMBNAIL, SEARCH, FACES, VIDEO, "ocr"]
    scenario.add_backlog(*reversed(names))
    order, most = order_of_starts(scenario.engine), most_at_once(scenario.engine)
    scenario.run(lambda: scenario.engine.is_idle)
    assert order == [*sorted(names[:5], key=PRIORITY.index), "ocr"]
    assert most() == limit
    assert scenario.paused() == set()


@pytest.mark.parametrize("limit", [1, 2])
def test_a_start_on_a_busy_server_loses_no_job(limit: int) -> None:
    scenario = Scenario(max_concurrent_jobs=limit)
    scenario.engine.upload(photos=60, videos=2)
    scenario.add_backlog("library", "migration", count=200)
    scenario.engine.advance(1.0)
    scenario.run(lambda: scenario.engine.is_idle)
    assert all(asset.all_done is not None for asset in scenario.engine.assets)
    assert scenario.paused() == set()


def test_protected_queues_are_never_touched() -> None:
    scenario = Scenario()
    scenario.engine.pause("search", by=USER)
    scenario.add_backlog(*PROTECTED)
    scenario.run_for(600.0)
    touched = {request.split()[1] for request in scenario.recorder.of("pause", "resume")}
    assert not touched & set(PROTECTED)
    assert scenario.paused() == {"search"}


def test_with_unrestricted_below_a_photo_is_processed_at_the_speed_of_immich() -> None:
    alone, _ = simulated_immich()
    (photo,) = alone.upload(photos=1)
    alone.settle()
    assert photo.all_done is not None
    scenario = Scenario(unrestricted_below=50)
    scenario.upload_at(100.0, photos=1)
    scenario.run(lambda: bool(scenario.engine.assets) and scenario.engine.is_idle)
    (mine,) = scenario.engine.assets
    assert mine.all_done is not None
    assert mine.all_done - mine.uploaded <= 1.2 * (photo.all_done - photo.uploaded)


def test_one_photo_on_an_idle_server_is_processed_within_seconds() -> None:
    scenario = Scenario()
    scenario.upload_at(100.0, photos=1)
    scenario.run(lambda: bool(scenario.engine.assets) and scenario.engine.is_idle)
    (photo,) = scenario.engine.assets
    assert photo.thumbnail_done is not None
    assert photo.all_done is not None
    assert photo.thumbnail_done - photo.uploaded <= 3.0
    assert photo.all_done - photo.uploaded <= 6.0


@pytest.mark.parametrize("when", [200.0, 310.0, 450.0])
def test_without_a_limit_a_new_backlog_is_noticed_at_once(when: float) -> None:
    scenario = Scenario(unrestricted_below=50, poll_interval=120.0)
    scenario.add_backlog(VIDEO, count=1, seconds=600.0)
    scenario.engine.at(when, lambda: scenario.add_backlog(SEARCH, count=300))
    scenario.run(lambda: scenario.recorder.of("pause") != [])
    assert (
        when < scenario.recorder.times[scenario.recorder.sent.index("pause sidecar")] < when + 3.0
    )


def test_on_a_slow_server_a_lent_slot_is_returned_in_time() -> None:
    scenario = Scenario(poll_interval=60.0)
    scenario.transport = VirtualTransport(scenario.engine, scenario.api, KEY, latency=0.04)
    scenario.recorder.transport = scenario.transport
    opened: dict[str, float] = {}
    turns: list[float] = []

    def observe(event: Event) -> None:
        if event.queue == METADATA:
            return
        if event.kind is EventKind.RESUMED:
            opened[event.queue] = event.time
        elif event.kind is EventKind.PAUSED and event.queue in opened:
            turns.append(event.time - opened.pop(event.queue))

    scenario.daemon.connect()
    scenario.engine.observers.append(observe)
    scenario.run_rounds(lambda: scenario.engine.now > 1800.0)
    assert len(turns) > len(MANAGED)
    assert max(turns) < 4.0


# Stop.


def test_a_stop_resumes_the_paused_queues(log_text: LogText) -> None:
    scenario = Scenario()
    scenario.add_backlog(SEARCH, FACES, count=5000)
    scenario.run_for(100.0)
    assert set(scenario.recorder.of("pause")) == {
        f"pause {name}" for name in MANAGED if name != SEARCH
    }
    assert scenario.paused() == set()
    assert scenario.disk.paused_by_daemon == frozenset()
    assert "INFO Stopping." in log_text()
    assert FACES in log_text("INFO").split("Resumed: ")[1].split("\n")[0]


def test_with_on_exit_keep_the_queues_stay_paused_and_the_next_run_continues(
    log_text: LogText,
) -> None:
    scenario = Scenario(on_exit=OnExit.KEEP)
    scenario.add_backlog(SEARCH, FACES, count=1000)
    scenario.run_for(100.0)
    assert scenario.paused() == scenario.disk.paused_by_daemon == set(MANAGED) - {SEARCH}
    assert "NOTICE Kept paused, as ON_EXIT=keep says: duplicateDetection, " in log_text()
    before = len(scenario.recorder.sent)
    scenario.new_daemon()
    scenario.run_for(100.0)
    assert not [
        request for request in scenario.recorder.sent[before:] if not request.startswith("GET")
    ]
    scenario.new_daemon()
    scenario.run(lambda: scenario.engine.is_idle)


def test_a_stop_with_nothing_paused_sends_no_command() -> None:
    scenario = Scenario(unrestricted_below=1000)
    scenario.run_for(60.0)
    assert scenario.recorder.of("pause", "resume") == []


@pytest.mark.parametrize(
    "fault", [Fault.SERVER_ERROR, Fault.REFUSED, Fault.HANG, Fault.TRUNCATED, Fault.LOST_RESPONSE]
)
def test_a_queue_that_cannot_be_resumed_is_named_and_resumed_by_the_next_run(
    fault: Fault, log_text: LogText
) -> None:
    scenario = Scenario()
    scenario.run_for(60.0)
    scenario.new_daemon()
    is_stopping = False

    def end() -> bool:
        nonlocal is_stopping
        is_stopping = scenario.engine.now > 120.0
        return is_stopping

    scenario.transport.faults = lambda _, path: fault if is_stopping and "/ocr" in path else None
    scenario.run(end)
    assert scenario.disk.paused_by_daemon == {"ocr"}
    (line,) = log_text("ERROR").splitlines()
    assert line.startswith("ERROR Not resumed, so these may stay paused: ocr (")
    assert "run the command `release`" in line
    assert "ocr" not in log_text("INFO").split("Resumed: ")[-1]
    scenario.transport.faults = None
    scenario.new_daemon()
    scenario.run_for(120.0)
    assert scenario.disk.paused_by_daemon == frozenset()
    assert scenario.paused() == set()


def test_a_bug_in_the_daemon_resumes_the_queues_too() -> None:
    scenario = Scenario()

    def publish(status: Status) -> None:
        if status.polled_at is not None and status.polled_at > 60.0:
            raise RuntimeError("a bug")

    scenario.daemon.publish = publish
    with pytest.raises(RuntimeError, match="a bug"):
        scenario.run_for(1000.0)
    assert scenario.paused() == set()
    assert scenario.disk.paused_by_daemon == frozenset()


class ServerInterruptedInAPause(VirtualClient):
    """A server during whose pause of ``ocr`` a SIGTERM arrives."""

    def pause(self, name: str) -> Queue:
        if name == "ocr":
            raise StopRequested
        return super().pause(name)


def test_a_pause_interrupted_by_a_stop_stays_in_the_ledger() -> None:
    scenario = Scenario()
    scenario.new_daemon(ServerInterruptedInAPause)
    scenario.run_for(60.0)
    assert "resume ocr" in scenario.recorder.sent
    assert scenario.paused() == set()
    assert scenario.disk.paused_by_daemon == {"ocr"}
    scenario.engine.advance(scenario.engine.now + 3.0)
    scenario.engine.pause("ocr", by=DAEMON)
    scenario.new_daemon()
    scenario.run_for(120.0)
    assert scenario.paused() == set()
    assert scenario.disk.paused_by_daemon == frozenset()


def test_a_late_pause_of_a_killed_run_is_not_taken_for_a_users() -> None:
    scenario = Scenario()
    scenario.disk.text = encode(
        DaemonState(SchedulerState(taken_over=True, paused_by_daemon=frozenset({"ocr"})))
    )
    scenario.add_backlog("ocr", count=200)
    scenario.engine.at(5.0, lambda: scenario.engine.pause("ocr", by=DAEMON))
    scenario.run(lambda: scenario.engine.is_idle)
    assert scenario.recorder.of("resume")[0] == "resume ocr"


# Ledger.


@pytest.mark.parametrize("limit", [1, 2])
def test_a_queue_is_in_the_ledger_before_its_pause_is_sent(limit: int) -> None:
    scenario = Scenario(max_concurrent_jobs=limit)
    scenario.engine.upload(photos=40)
    missing = []

    def check(request: str) -> None:
        verb, name = request.split()
        if verb == "pause" and name not in scenario.disk.paused_by_daemon:
            missing.append(name)

    scenario.recorder.before_request = check
    scenario.run(lambda: scenario.engine.is_idle)
    assert len(scenario.recorder.of("pause")) > len(MANAGED)
    assert missing == []


@pytest.mark.parametrize("seed", range(4))
def test_despite_random_faults_every_paused_queue_is_in_the_ledger(seed: int) -> None:
    scenario = Scenario(max_concurrent_jobs=1 + seed % 2)
    scenario.transport.faults = RandomFaults(seed, 0.2)
    pauses, missing = [], []

    def observe(event: Event) -> None:
        if event.kind is EventKind.PAUSED:
            pauses.append(event.queue)
            if event.queue not in scenario.disk.paused_by_daemon:
                missing.append(event.queue)

    scenario.engine.observers.append(observe)
    for minute in range(20):
        scenario.upload_at(60.0 * minute, photos=3)
    scenario.run_for(1800.0)
    assert len(pauses) > 50
    assert missing == []


def test_a_killed_daemon_continues_where_it_was() -> None:
    scenario = Scenario(max_concurrent_jobs=2, on_exit=OnExit.KEEP)
    scenario.pause_all()
    scenario.add_backlog(SEARCH, FACES, VIDEO, count=1000)
    scenario.daemon.connect()
    scenario.run_rounds(lambda: scenario.engine.now > 30.0)
    scenario.engine.pause(SEARCH, by=USER)
    scenario.run_rounds(lambda: scenario.engine.now > 60.0)
    scenario.add_backlog(METADATA, count=50)
    scenario.run_rounds(lambda: scenario.engine.now > 90.0)
    before = scenario.daemon.status
    assert [queue.name for queue in before.with_reasons(Reason.RUNNING)] == [VIDEO, FACES]
    assert [queue.name for queue in before.with_reasons(Reason.PAUSED_BY_OTHERS)] == [SEARCH]
    scenario.recorder.sent.clear()
    scenario.new_daemon()
    scenario.run_for(60.0)
    assert scenario.daemon.status.reasons == before.reasons
    assert scenario.recorder.of("pause", "resume") == []


def test_a_users_pause_is_still_the_users_after_a_restart(log_text: LogText) -> None:
    scenario = Scenario()
    scenario.daemon.connect()
    scenario.run_rounds(lambda: scenario.engine.now > 30.0)
    name = METADATA
    assert not scenario.engine.queues[name].is_paused, (
        "the spare slot is not with metadataExtraction"
    )
    scenario.engine.pause(name, by=USER)
    scenario.run_rounds(lambda: scenario.engine.now > 60.0)
    assert f"{name} was paused by a user or another tool" in log_text("INFO")
    scenario.new_daemon()
    scenario.add_backlog(name)
    scenario.run_for(600.0)
    assert scenario.paused() == {name}
    scenario.engine.resume(name, by=USER)
    scenario.new_daemon()
    scenario.run(lambda: scenario.engine.is_idle)


def test_a_corrupt_ledger_does_not_stop_the_daemon(tmp_path: Path, log_text: LogText) -> None:
    (tmp_path / "ledger.json").write_bytes(b"\0" * 100)
    scenario = Scenario(ledger=Ledger(tmp_path))
    scenario.pause_all()
    scenario.add_backlog(SEARCH, FACES)
    scenario.run(lambda: scenario.engine.is_idle)
    assert "cannot be understood" in log_text("ERROR")
    assert {path.name for path in tmp_path.iterdir()} == {"ledger.json", "ledger.bad"}
    assert scenario.paused() == set()
    state = Ledger(tmp_path).load()
    assert state is not None
    assert state.scheduler.paused_by_daemon == frozenset()


def test_a_read_only_ledger_does_not_stop_the_daemon(tmp_path: Path, log_text: LogText) -> None:
    (tmp_path / "file").touch()
    scenario = Scenario(ledger=Ledger(tmp_path / "file" / "data"))
    scenario.pause_all()
    scenario.add_backlog(SEARCH, FACES)
    scenario.run(lambda: scenario.engine.is_idle)
    assert log_text("ERROR").count("cannot be written") == 1
    assert scenario.paused() == set()


# Failures.


def unchanged_response(scenario: Scenario, name: str) -> Callable[[str], Response | None]:
    """Return a function that answers the pause of a queue with the queue as it was."""

    def respond(request: str) -> Response | None:
        if request != f"pause {name}":
            return None
        return scenario.api.respond("GET", f"/api/queues/{name}", {"x-api-key": KEY}, None)

    return respond


FAILURES = [*sorted(set(Fault) - {Fault.REFUSED}, key=lambda fault: fault.name), None]


@pytest.mark.parametrize("fault", FAILURES)
def test_nothing_is_resumed_in_the_round_of_a_failed_pause(fault: Fault | None) -> None:
    scenario = Scenario()
    scenario.engine.pause(METADATA, by=USER)
    scenario.add_backlog(METADATA, count=1000)
    scenario.daemon.connect()
    if fault is None:
        scenario.recorder.replace_response = unchanged_response(scenario, "ocr")
    scenario.transport.faults = lambda _, path: fault if "/ocr" in path else None
    scenario.daemon.round()
    assert "pause ocr" in scenario.recorder.sent
    assert scenario.recorder.of("resume") == []
    assert scenario.daemon.status.problem is not None
    scenario.transport.faults = None
    scenario.recorder.replace_response = lambda _: None
    scenario.daemon.round()
    assert scenario.recorder.of("resume") == [f"resume {METADATA}"]
    assert scenario.daemon.status.problem is None


def test_when_every_pause_succeeds_the_resume_follows_in_the_same_round() -> None:
    scenario = Scenario()
    scenario.engine.pause(METADATA, by=USER)
    scenario.add_backlog(METADATA, count=1000)
    scenario.daemon.connect()
    scenario.daemon.round()
    assert scenario.recorder.sent[-1] == f"resume {METADATA}"
    assert len(scenario.recorder.of("pause")) == len(MANAGED) - 1


def test_after_an_error_response_the_other_pauses_are_still_sent() -> None:
    scenario = Scenario()
    scenario.daemon.connect()
    scenario.transport.faults = lambda _, path: Fault.SERVER_ERROR if "/sidecar" in path else None
    scenario.daemon.round()
    assert len(scenario.recorder.of("pause")) >= len(MANAGED) - 1
    assert "ocr" in scenario.paused()


def test_without_a_response_nothing_more_is_sent() -> None:
    scenario = Scenario()
    scenario.daemon.connect()
    scenario.transport.faults = lambda _, path: Fault.RESET if "/sidecar" in path else None
    scenario.daemon.round()
    assert scenario.recorder.of("pause", "resume") == ["pause sidecar"]


def test_a_failed_resume_does_not_block_the_other_queues() -> None:
    scenario = Scenario(max_concurrent_jobs=2)
    scenario.pause_all()
    scenario.add_backlog(SEARCH, FACES)
    scenario.daemon.connect()
    scenario.transport.faults = lambda _, path: Fault.SERVER_ERROR if SEARCH in path else None
    scenario.daemon.round()
    assert scenario.recorder.of("resume") == [f"resume {SEARCH}", f"resume {FACES}"]
    assert scenario.daemon.status.reasons[FACES] is Reason.RUNNING
    assert "500" in problem_text(scenario)
    scenario.transport.faults = None
    scenario.daemon.round()
    assert scenario.recorder.of("resume")[2:] == [f"resume {SEARCH}"]


def test_without_a_response_to_a_resume_no_other_resume_is_sent() -> None:
    scenario = Scenario(max_concurrent_jobs=2)
    scenario.pause_all()
    scenario.add_backlog(SEARCH, FACES)
    scenario.daemon.connect()
    scenario.transport.faults = lambda _, path: Fault.RESET if SEARCH in path else None
    scenario.daemon.round()
    assert scenario.recorder.of("resume") == [f"resume {SEARCH}"]


def test_a_pause_that_was_not_sent_is_not_attributed_to_the_daemon() -> None:
    scenario = Scenario()
    scenario.daemon.connect()
    scenario.transport.faults = lambda _, path: Fault.RESET if "sidecar" in path else None
    scenario.daemon.round()
    assert scenario.recorder.of("pause") == ["pause sidecar"]
    assert scenario.disk.paused_by_daemon == {"sidecar"}
    scenario.engine.pause("ocr", by=USER)
    scenario.transport.faults = None
    scenario.daemon.round()
    assert scenario.daemon.status.reasons["ocr"] is Reason.PAUSED_BY_OTHERS
    scenario.daemon.stop()
    assert [name for name, queue in scenario.engine.queues.items() if queue.is_paused] == ["ocr"]


def test_a_paused_queue_that_immich_no_longer_has_is_no_error_at_the_stop(
    log_text: LogText,
) -> None:
    scenario = Scenario()
    scenario.disk.save(DaemonState(SchedulerState(paused_by_daemon=frozenset({"oldQueue"}))))
    scenario.run_for(60)
    assert log_text("ERROR") == ""
    assert scenario.disk.paused_by_daemon == {"oldQueue"}


def test_a_refused_resume_is_retried() -> None:
    scenario = Scenario()
    scenario.pause_all()
    scenario.add_backlog(SEARCH)
    scenario.daemon.connect()
    refusal = Response(400, "application/json", b'{"message":"not now"}')
    scenario.recorder.replace_response = lambda request: (
        refusal if request.startswith("resume") else None
    )
    scenario.daemon.round()
    assert "not now" in problem_text(scenario)
    scenario.recorder.replace_response = lambda _: None
    scenario.daemon.round()
    assert scenario.daemon.status.reasons[SEARCH] is Reason.RUNNING


def test_a_failed_resume_is_retried_in_the_next_round() -> None:
    scenario = Scenario()
    scenario.pause_all()
    scenario.add_backlog(SEARCH)
    scenario.daemon.connect()
    scenario.transport.faults = lambda method, _: Fault.SERVER_ERROR if method == "PUT" else None
    scenario.daemon.round()
    assert scenario.engine.queues[SEARCH].is_paused
    scenario.transport.faults = None
    scenario.daemon.round()
    assert not scenario.engine.queues[SEARCH].is_paused


def test_a_queue_that_cannot_be_paused_is_logged_once_and_left_alone(
    log_text: LogText,
) -> None:
    scenario = Scenario(protected_queues=frozenset(PROTECTED) - {"backgroundTask"})
    scenario.add_backlog("backgroundTask", SEARCH, FACES, count=400)
    most = most_at_once(scenario.engine)
    scenario.run(lambda: scenario.engine.is_idle)
    assert scenario.recorder.sent.count("pause backgroundTask") == 1
    (warning,) = log_text("WARNING").splitlines()
    assert "Immich refuses to pause backgroundTask, so it is left alone" in warning
    assert "PROTECTED_QUEUES" in warning
    assert scenario.published[-1].reasons["backgroundTask"] is Reason.UNPAUSABLE
    assert most() <= 2
    assert scenario.published[-1].problem is None


POLL_FAULTS = sorted(Fault, key=lambda fault: fault.name)


@pytest.mark.parametrize(
    "fault", [fault for fault in POLL_FAULTS if fault is not Fault.LOST_RESPONSE]
)
def test_rule_8_after_a_failed_poll_no_command_is_sent(fault: Fault) -> None:
    scenario = Scenario()
    scenario.pause_all()
    scenario.add_backlog(SEARCH, count=4)
    scenario.daemon.connect()
    scenario.run_rounds(lambda: scenario.engine.queues[SEARCH].is_empty, limit=60.0)
    scenario.add_backlog(FACES)
    scenario.recorder.sent.clear()
    scenario.transport.faults = lambda method, _: fault if method == "GET" else None
    before = scenario.daemon.state
    for _ in range(5):
        scenario.engine.advance(scenario.engine.now + scenario.daemon.round())
    assert scenario.recorder.sent
    assert scenario.recorder.of("pause", "resume") == []
    assert scenario.daemon.state.scheduler.slots == before.scheduler.slots
    assert scenario.daemon.state.scheduler.paused_by_daemon == before.scheduler.paused_by_daemon
    scenario.transport.faults = None
    scenario.daemon.round()
    assert f"resume {FACES}" in scenario.recorder.sent


def test_failed_polls_back_off_up_to_poll_interval() -> None:
    scenario = Scenario(poll_interval=10.0)
    scenario.daemon.connect()
    scenario.daemon.round()
    scenario.transport.faults = lambda *_: Fault.SERVER_ERROR
    waits = [scenario.daemon.round() for _ in range(7)]
    assert waits == [1, 2, 4, 8, 10, 10, 10]
    scenario.transport.faults = None
    scenario.daemon.round()
    scenario.transport.faults = lambda *_: Fault.SERVER_ERROR
    assert scenario.daemon.round() == 1


def test_with_a_long_poll_interval_failed_polls_are_retried_every_minute() -> None:
    scenario = Scenario(poll_interval=3600.0)
    scenario.transport.faults = lambda *_: Fault.REFUSED
    assert [scenario.daemon.round() for _ in range(9)][-3:] == [60, 60, 60]


def test_a_problem_is_logged_once_and_its_end_with_its_duration(log_text: LogText) -> None:
    scenario = Scenario()
    scenario.daemon.connect()
    scenario.daemon.round()
    scenario.transport.faults = lambda *_: Fault.SERVER_ERROR
    began = scenario.engine.now
    scenario.run_rounds(lambda: scenario.engine.now > began + 300.0)
    (warning,) = log_text("WARNING").splitlines()
    assert "check its log. Nothing is changed meanwhile; the next try is in 1 s." in warning
    assert log_text("DEBUG").count("Nothing is changed meanwhile") > 20
    scenario.transport.faults = None
    scenario.daemon.round()
    scenario.daemon.round()
    (line,) = log_text("NOTICE").splitlines()
    assert line.startswith("NOTICE All is well again after 3")


def test_a_different_problem_is_logged_as_well(log_text: LogText) -> None:
    scenario = Scenario()
    scenario.daemon.connect()
    scenario.transport.faults = FaultQueue([Fault.SERVER_ERROR, Fault.HTML, Fault.HTML])
    for _ in range(3):
        scenario.daemon.round()
    assert len(log_text("WARNING").splitlines()) == 2


# Immich restarts.


def test_a_queue_resumed_by_the_start_of_immich_is_paused_again(log_text: LogText) -> None:
    scenario = Scenario(queue_priority=(VIDEO, SEARCH))
    scenario.pause_all()
    scenario.add_backlog(VIDEO, count=60, seconds=2.0)
    scenario.add_backlog(SEARCH, METADATA, count=1000)
    scenario.engine.at(60.0, lambda: scenario.engine.restart(8.0))
    resumed: list[str] = []

    def observe(event: Event) -> None:
        if event.kind is EventKind.RESUMED and event.by == DAEMON:
            resumed.append(event.queue)

    scenario.daemon.connect()
    scenario.run_rounds(lambda: scenario.engine.now > 59.0)
    assert scenario.engine.queues[METADATA].is_paused
    scenario.engine.observers.append(observe)
    requests_before = len(scenario.recorder.sent)
    scenario.run_rounds(lambda: scenario.engine.now > 67.0)
    assert scenario.daemon.status.problem is not None
    assert len(scenario.recorder.sent) - requests_before < 8, (
        "it polls too often while Immich is down"
    )
    scenario.run_rounds(lambda: scenario.engine.now > 90.0)
    assert scenario.engine.boots == 1
    assert scenario.engine.queues[METADATA].is_paused
    assert not scenario.engine.queues[VIDEO].is_paused
    assert "All is well again after" in log_text("NOTICE")
    assert scenario.daemon.status.problem is None
    assert resumed == []
    scenario.run_rounds(lambda: scenario.engine.is_idle)
    work = [name for name in resumed if name in (SEARCH, METADATA)]
    assert work[:2] == [SEARCH, METADATA], "the start of Immich was taken for a user's resume"


# Status and log.


def test_each_round_publishes_one_status() -> None:
    scenario = Scenario()
    scenario.add_backlog(SEARCH, FACES)
    scenario.daemon.connect()
    assert [status.immich_version for status in scenario.published] == ["3.1.0"]
    scenario.published.clear()
    for number in range(1, 6):
        scenario.engine.advance(scenario.engine.now + scenario.daemon.round())
        assert len(scenario.published) == number
        assert scenario.published[-1] is scenario.daemon.status
    times = [status.polled_at for status in scenario.published]
    assert None not in times
    assert len(set(times)) == 5
    status = scenario.published[0]
    assert list(status.queues) == list(status.reasons) == list(QUEUES)
    assert [queue.name for queue in status.with_reasons(Reason.RUNNING)] == [SEARCH]
    assert status.queues["ocr"].is_paused, "the responses to the commands are not in the status"
    assert status.limit == 1


def test_a_failed_round_publishes_the_problem_and_keeps_the_last_counts() -> None:
    scenario = Scenario()
    scenario.daemon.connect()
    scenario.daemon.round()
    known = scenario.daemon.status
    scenario.transport.faults = lambda *_: Fault.HTML
    scenario.daemon.round()
    problem = scenario.published[-1].problem
    assert problem is not None
    assert problem.kind is ProblemKind.NOT_IMMICH
    assert "not Immich" in problem.text
    assert scenario.published[-1].queues == known.queues
    assert scenario.published[-1].polled_at == known.polled_at


def test_the_log_of_a_normal_run(log_text: LogText) -> None:
    scenario = Scenario()
    scenario.pause_all()
    scenario.add_backlog(SEARCH, FACES)
    scenario.run(lambda: scenario.engine.is_idle)
    lines = iter(log_text("INFO").splitlines())
    for line in (
        "INFO Connected to Immich 3.1.0, through its queues API.",
        f"INFO {SEARCH} is running (20 jobs).",
        f"INFO {FACES} is running (20 jobs).",
        "INFO Stopping.",
    ):
        assert line in lines, f"{line} is missing or in the wrong place"
    assert log_text("WARNING", "ERROR") == ""


# API key.

ODD_KEY = "k3y/With+odd=chars&More"


def visible_text(records: list[logging.LogRecord]) -> Iterator[str]:
    """Yield all text in log records, including the chains of their exceptions."""
    for record in records:
        yield record.getMessage()
        yield repr(record.__dict__)
        found = [*record.args] if isinstance(record.args, tuple) else []
        for value in (*found, record.exc_info and record.exc_info[1]):
            if isinstance(value, BaseException):
                yield "".join(traceback.format_exception(value))


def test_the_key_is_never_logged_whatever_fails(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("immich_job_daemon"), "propagate", True)
    caplog.set_level(TRACE)
    caplog.set_level(TRACE, logger="immich_job_daemon")
    engine = Engine()
    api = Api(engine, keys={ODD_KEY: Key()})
    engine.upload(photos=200)
    faults = FaultQueue()
    with SimulatedServer(engine, api, faults=faults) as server, SystemClock() as clock:
        transport = HttpTransport(server.url, ODD_KEY, read_timeout=0.3)
        daemon = Daemon(settings(), ImmichClient(transport), VirtualLedger(), clock)
        daemon.connect()
        daemon.round()
        for fault in Fault:
            # Once for a poll, once for the command after it.
            for faulty in ([fault], [None, fault]):
                with server.present():
                    faults.left.extend(faulty)
                    for name in ("ocr", "library"):
                        engine.resume(name, by=USER)
                deadline = time.monotonic() + LIMIT
                while faults.left and time.monotonic() < deadline:
                    daemon.round()
                assert not faults.left
        with server.present():
            api.keys.clear()
        daemon.round()
        daemon.stop()
        transport.close()
    text = "\n".join(visible_text(caplog.records))
    assert "does not accept the API key" in text
    assert "Not resumed, so these may stay paused" in text
    assert "closed the connection before" in text
    assert "pause ocr" in text
    for form in (ODD_KEY, repr(ODD_KEY), "k3y%2FWith%2Bodd%3Dchars%26More", "k3y/With"):
        assert form not in text


# Signals and sockets.


def test_a_signal_during_a_hanging_poll_resumes_everything_at_once() -> None:
    engine, api = simulated_immich()
    engine.add(SEARCH, lasting(1.0), count=1000)
    hangs = threading.Event()

    def faults(method: str, _: str) -> Fault | None:
        if method == "GET" and len(statuses) >= 3:
            hangs.set()
            return Fault.HANG
        return None

    def terminate() -> None:
        if hangs.wait(LIMIT):
            os.kill(os.getpid(), signal.SIGTERM)

    statuses: list[Status] = []
    ledger = VirtualLedger()
    with SimulatedServer(engine, api, faults=faults) as server, SystemClock() as clock:
        transport = HttpTransport(server.url, KEY, read_timeout=10 * LIMIT)
        daemon = Daemon(settings(), ImmichClient(transport), ledger, clock, publish=statuses.append)
        thread = threading.Thread(target=terminate)
        thread.start()
        began = time.monotonic()
        daemon.run()
        took = time.monotonic() - began
        thread.join()
        transport.close()
        with server.present():
            still_paused = [name for name, queue in engine.queues.items() if queue.is_paused]
    assert hangs.is_set()
    assert statuses[1].queues["ocr"].is_paused, "there was nothing to resume"
    assert took < LIMIT
    assert still_paused == []
    assert ledger.paused_by_daemon == frozenset()


def test_a_signal_at_any_step_of_the_start_stops_the_daemon() -> None:
    statuses: list[Status] = []

    def has_polled(*_: object) -> bool:
        return bool(statuses and statuses[-1].queues)

    def stop_at(step: int) -> int:
        """Send SIGTERM at a step, or at the first poll; return the number of the actual step."""
        statuses.clear()
        engine, api = simulated_immich()
        engine.add(SEARCH, lasting(1.0), count=1000)
        ledger = VirtualLedger()
        with SimulatedServer(engine, api) as server, SystemClock() as clock:
            transport = HttpTransport(server.url, KEY)
            daemon = Daemon(
                settings(), ImmichClient(transport), ledger, clock, publish=statuses.append
            )
            with signal_at(step, has_polled) as sent:
                daemon.run()
            transport.close()
            with server.present():
                still_paused = {name for name, queue in engine.queues.items() if queue.is_paused}
        assert still_paused == set()
        return sent[0]

    steps = stop_at(10**9)
    assert steps > 1000
    rng = random.Random(7)  # noqa: S311 - the same steps at each run
    for step in (*range(1, 30), *(rng.randrange(steps) for _ in range(30))):
        assert stop_at(step) <= steps * 2


def test_a_stop_does_not_wait_forever_for_a_hanging_immich(
    monkeypatch: pytest.MonkeyPatch, log_text: LogText
) -> None:
    monkeypatch.setattr(loop, "RELEASE_WITHIN", 0.2)
    engine, api = simulated_immich()
    is_hanging = False
    ledger = VirtualLedger()
    with (
        SimulatedServer(
            engine, api, faults=lambda *_: Fault.HANG if is_hanging else None
        ) as server,
        SystemClock() as clock,
    ):
        transport = HttpTransport(server.url, KEY, read_timeout=10 * LIMIT)
        daemon = Daemon(settings(), ImmichClient(transport), ledger, clock)
        daemon.connect()
        daemon.round()
        paused = ledger.paused_by_daemon
        is_hanging = True
        began = time.monotonic()
        daemon.stop()
        took = time.monotonic() - began
        transport.close()
    assert paused
    assert took < LIMIT
    assert ledger.paused_by_daemon == paused
    (line,) = log_text("ERROR").splitlines()
    assert all(name in line for name in paused)


def test_a_stop_takes_less_than_five_seconds() -> None:
    assert 0 < RESPONSE_GRACE + loop.RELEASE_WITHIN < 5
