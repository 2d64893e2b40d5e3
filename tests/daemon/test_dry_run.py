"""DRY_RUN: everything is decided and shown, and nothing reaches Immich or the ledger."""

import logging
from collections.abc import Callable
from datetime import time

import pytest

from immich_job_daemon.base.errors import UnreachableError
from immich_job_daemon.daemon.dry_run import DryRunServer, ReadOnlyStore
from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.model.controls import Override, SetQueue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.model.settings import OnExit, Scan
from immich_job_daemon.model.windows import Window
from immich_job_daemon.scheduler.state import SchedulerState
from simulator.immich.faults import Fault, FaultQueue
from simulator.immich.pipeline import lasting
from simulator.worlds.virtual import VirtualLedger, VirtualServer
from tests.support.scenario import (
    MANAGED,
    SEARCH,
    THUMBNAIL,
    USER,
    VIDEO,
    RecordingTransport,
    Scenario,
)

KEPT = DaemonState(
    SchedulerState(taken_over=True, paused_by_daemon=frozenset({"ocr", VIDEO}), slots=(THUMBNAIL,))
)
# The world of a scene begins at 11:06:40.
UNTIL_HALF_PAST = Window(frozenset({VIDEO}), time(9), time(11, 30))
AT_QUARTER_PAST = Scan(Window(None, time(11, 15), time(12, 15)))


def pretended(wire: RecordingTransport) -> DryRunServer:
    return DryRunServer(VirtualServer(wire))


def rehearsed(disk: VirtualLedger | None = None, **changes: object) -> Scenario:
    """Return a scene in which the daemon is put together as DRY_RUN does it."""
    scenario = Scenario(ledger=ReadOnlyStore(disk or VirtualLedger()), **changes)  # type: ignore[arg-type] # of Changes
    scenario.new_daemon(pretended)
    return scenario


def pauses(scenario: Scenario) -> dict[str, bool]:
    return {name: queue.is_paused for name, queue in scenario.engine.queues.items()}


def seen(scenario: Scenario, *those: Reason) -> set[str]:
    """Return the queues that some picture showed for one of these reasons."""
    return {
        name
        for status in scenario.published
        for name, reason in status.reasons.items()
        if reason in those
    }


def test_in_a_whole_life_no_command_reaches_immich() -> None:
    """A busy server, uploads, a window, a scan, a person's wishes, trouble, and the end of it."""
    scenario = rehearsed(
        schedule=(UNTIL_HALF_PAST,),
        exclusive=(frozenset({SEARCH, "faceDetection", "ocr"}),),
        scan=AT_QUARTER_PAST,
        yield_after=60.0,
        max_wait=600.0,
        unrestricted_below=3,
    )
    scenario.pause_all()
    scenario.engine.resume(THUMBNAIL)
    scenario.add_backlog(THUMBNAIL, SEARCH, VIDEO, count=10, seconds=30)
    scenario.upload_at(300.0, 20)
    scenario.request_changes(SetQueue("ocr", Override.NEXT))
    scenario.transport.faults = FaultQueue([None] * 20 + [Fault.SERVER_ERROR, Fault.RESET])
    before = pauses(scenario)
    scenario.run_for(30 * 60.0)
    assert {request.split()[0] for request in scenario.recorder.sent} == {"GET"}
    assert scenario.transport.requests.keys() == {"GET"}
    assert pauses(scenario) == before
    assert len(scenario.published) > 100


def test_what_would_be_done_is_shown() -> None:
    scenario = rehearsed(schedule=(UNTIL_HALF_PAST,))
    scenario.add_backlog(THUMBNAIL, SEARCH, VIDEO, count=1000, seconds=60)
    scenario.run_for(30 * 60.0)
    last = scenario.published[-1]
    assert last.reasons[THUMBNAIL] is Reason.RUNNING
    # In truth nobody has paused them, so their jobs never end.
    assert last.reasons[SEARCH] is last.reasons[VIDEO] is Reason.DRAINING
    assert last.opens_at[VIDEO].hour == 9
    assert last.is_dry_run is False, "that is what the settings say, not what the server is"
    assert last.counters.commands["pause"] >= len(MANAGED) - 1


def test_what_was_pretended_is_what_the_next_decision_builds_on() -> None:
    """Without that every round would pause the same queues again."""
    scenario = rehearsed()
    scenario.add_backlog(THUMBNAIL, count=1000, seconds=5)
    scenario.run_for(15 * 60.0)
    commands = scenario.published[-1].counters.commands
    assert commands["pause"] <= len(MANAGED) + commands.get("resume", 0)


def test_all_else_is_real() -> None:
    scenario = rehearsed()
    scenario.add_backlog(SEARCH, count=5, seconds=10)
    scenario.run(lambda: scenario.engine.queues[SEARCH].is_empty)
    shown = [status.queues[SEARCH] for status in scenario.published if status.queues]
    assert {queue.active for queue in shown} > {2}
    assert len({queue.backlog for queue in shown}) > 1


def test_the_ledger_stays_as_it_was_and_is_where_it_begins() -> None:
    disk = VirtualLedger()
    disk.save(KEPT)
    before, writes = disk.text, disk.writes
    scenario = rehearsed(disk)
    scenario.pause_all()
    scenario.add_backlog(THUMBNAIL, "ocr", count=100)
    scenario.request_changes(SetQueue("library", Override.HELD))
    scenario.run_for(300.0)
    assert (disk.text, disk.writes) == (before, writes)
    # What the real daemon holds is not somebody else's pause; all the rest is.
    assert seen(scenario, Reason.PAUSED_BY_OTHERS) == set(MANAGED) - KEPT.scheduler.paused_by_daemon


def test_what_an_earlier_run_left_paused_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("immich_job_daemon"), "propagate", True)
    disk = VirtualLedger()
    assert ReadOnlyStore(disk).load() is None
    known = DaemonState(SchedulerState(taken_over=True))
    disk.save(known)
    assert ReadOnlyStore(disk).load() == known
    assert caplog.records == []
    disk.save(KEPT)
    assert ReadOnlyStore(disk).load() == KEPT
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"a rehearsal resumes nothing: ocr, {VIDEO}." in record.getMessage()


@pytest.mark.parametrize("on_exit", OnExit)
def test_its_end_resumes_nothing_either(on_exit: OnExit) -> None:
    scenario = rehearsed(on_exit=on_exit)
    scenario.pause_all(by=USER)
    scenario.add_backlog(THUMBNAIL, count=10)
    before = pauses(scenario)
    scenario.run_for(60.0)
    scenario.daemon.stop()
    assert pauses(scenario) == before
    assert scenario.recorder.of("pause", "resume", "start") == []


def test_a_scan_is_pretended_too() -> None:
    scenario = rehearsed(scan=AT_QUARTER_PAST)
    scenario.run_for(20 * 60.0)
    assert scenario.published[-1].counters.commands["start"] > 5
    assert scenario.recorder.of("start") == []


def test_trouble_of_the_real_server_is_trouble() -> None:
    scenario = rehearsed()
    scenario.daemon.load_state()
    scenario.daemon.connect()
    scenario.engine.restart(downtime=60.0)
    scenario.daemon.round()
    assert scenario.daemon.status.problem is not None
    with pytest.raises(UnreachableError):
        pretended(scenario.recorder).fetch_queues()


@pytest.mark.parametrize(
    ("act", "is_paused"),
    [(DryRunServer.pause, True), (DryRunServer.resume, False), (DryRunServer.start, False)],
)
def test_the_answer_to_a_command_is_what_immich_would_say(
    act: Callable[[DryRunServer, str], object], *, is_paused: bool
) -> None:
    scenario = Scenario()
    scenario.engine.add("ocr", lasting(60), count=3)
    server = pretended(scenario.recorder)
    before = server.fetch_queues()["ocr"]
    assert act(server, "ocr") == server.fetch_queues()["ocr"]
    after = server.fetch_queues()["ocr"]
    assert after.is_paused is is_paused
    assert after.pending == before.pending == 3


def test_all_are_resumed_in_pretence_at_the_end() -> None:
    scenario = Scenario()
    server = pretended(scenario.recorder)
    server.fetch_queues()
    assert server.resume_all(["ocr", "library"], within=4.0) == {"ocr": None, "library": None}
    assert scenario.recorder.of("resume") == []


def test_versions_are_asked_for() -> None:
    server = pretended(Scenario().recorder)
    assert server.connect().version == server.fetch_version() == "3.1.0"
