"""DRY_RUN: the daemon decides and shows everything; nothing reaches Immich or the ledger."""

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
from simulator.worlds.virtual_daemon import VirtualClient, VirtualLedger
from tests.support.scenario import (
    MANAGED,
    SEARCH,
    THUMBNAIL,
    USER,
    VIDEO,
    RecordingTransport,
    Scenario,
)

LEDGER = DaemonState(
    SchedulerState(taken_over=True, paused_by_daemon=frozenset({"ocr", VIDEO}), slots=(THUMBNAIL,))
)
# The virtual time of a scenario begins at 11:06:40.
UNTIL_HALF_PAST = Window(frozenset({VIDEO}), time(9), time(11, 30))
AT_QUARTER_PAST = Scan(Window(None, time(11, 15), time(12, 15)))


def dry_run_server(transport: RecordingTransport) -> DryRunServer:
    return DryRunServer(VirtualClient(transport))


def dry_run(disk: VirtualLedger | None = None, **changes: object) -> Scenario:
    """Return a scenario whose daemon is set up as DRY_RUN does it."""
    scenario = Scenario(ledger=ReadOnlyStore(disk or VirtualLedger()), **changes)  # type: ignore[arg-type] # of Changes
    scenario.new_daemon(dry_run_server)
    return scenario


def paused_by_name(scenario: Scenario) -> dict[str, bool]:
    return {name: queue.is_paused for name, queue in scenario.engine.queues.items()}


def queues_with(scenario: Scenario, *reasons: Reason) -> set[str]:
    """Return the queues that had one of the reasons in any status."""
    return {
        name
        for status in scenario.published
        for name, reason in status.reasons.items()
        if reason in reasons
    }


def test_no_command_reaches_immich() -> None:
    """With a backlog, an upload, a window, a scan, an override, errors and a stop."""
    scenario = dry_run(
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
    before = paused_by_name(scenario)
    scenario.run_for(30 * 60.0)
    assert {request.split()[0] for request in scenario.recorder.sent} == {"GET"}
    assert scenario.transport.requests.keys() == {"GET"}
    assert paused_by_name(scenario) == before
    assert len(scenario.published) > 100


def test_the_status_shows_what_a_real_run_would_do() -> None:
    scenario = dry_run(schedule=(UNTIL_HALF_PAST,))
    scenario.add_backlog(THUMBNAIL, SEARCH, VIDEO, count=1000, seconds=60)
    scenario.run_for(30 * 60.0)
    last = scenario.published[-1]
    assert last.reasons[THUMBNAIL] is Reason.RUNNING
    # They are not paused in reality, so their jobs never end.
    assert last.reasons[SEARCH] is last.reasons[VIDEO] is Reason.DRAINING
    assert last.opens_at[VIDEO].hour == 9
    assert last.is_dry_run is False, "it must follow the setting, which is off here"
    assert last.counters.commands["pause"] >= len(MANAGED) - 1


def test_the_next_decision_builds_on_the_simulated_commands() -> None:
    """Otherwise every round would pause the same queues again."""
    scenario = dry_run()
    scenario.add_backlog(THUMBNAIL, count=1000, seconds=5)
    scenario.run_for(15 * 60.0)
    commands = scenario.published[-1].counters.commands
    assert commands["pause"] <= len(MANAGED) + commands.get("resume", 0)


def test_counts_are_real() -> None:
    scenario = dry_run()
    scenario.add_backlog(SEARCH, count=5, seconds=10)
    scenario.run(lambda: scenario.engine.queues[SEARCH].is_empty)
    polled = [status.queues[SEARCH] for status in scenario.published if status.queues]
    assert {queue.active for queue in polled} > {2}
    assert len({queue.backlog for queue in polled}) > 1


def test_the_ledger_is_read_and_never_written() -> None:
    disk = VirtualLedger()
    disk.save(LEDGER)
    before, writes = disk.text, disk.writes
    scenario = dry_run(disk)
    scenario.pause_all()
    scenario.add_backlog(THUMBNAIL, "ocr", count=100)
    scenario.request_changes(SetQueue("library", Override.HELD))
    scenario.run_for(300.0)
    assert (disk.text, disk.writes) == (before, writes)
    # Queues paused by the earlier run are not attributed to others; all the rest is.
    assert (
        queues_with(scenario, Reason.PAUSED_BY_OTHERS)
        == set(MANAGED) - LEDGER.scheduler.paused_by_daemon
    )


def test_queues_left_paused_by_an_earlier_run_are_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("immich_job_daemon"), "propagate", True)
    disk = VirtualLedger()
    assert ReadOnlyStore(disk).load() is None
    known = DaemonState(SchedulerState(taken_over=True))
    disk.save(known)
    assert ReadOnlyStore(disk).load() == known
    assert caplog.records == []
    disk.save(LEDGER)
    assert ReadOnlyStore(disk).load() == LEDGER
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"a dry run resumes nothing: ocr, {VIDEO}." in record.getMessage()


@pytest.mark.parametrize("on_exit", OnExit)
def test_a_stop_resumes_nothing(on_exit: OnExit) -> None:
    scenario = dry_run(on_exit=on_exit)
    scenario.pause_all(by=USER)
    scenario.add_backlog(THUMBNAIL, count=10)
    before = paused_by_name(scenario)
    scenario.run_for(60.0)
    scenario.daemon.stop()
    assert paused_by_name(scenario) == before
    assert scenario.recorder.of("pause", "resume", "start") == []


def test_scans_are_simulated_too() -> None:
    scenario = dry_run(scan=AT_QUARTER_PAST)
    scenario.run_for(20 * 60.0)
    assert scenario.published[-1].counters.commands["start"] > 5
    assert scenario.recorder.of("start") == []


def test_errors_of_the_real_server_are_reported() -> None:
    scenario = dry_run()
    scenario.daemon.load_state()
    scenario.daemon.connect()
    scenario.engine.restart(downtime=60.0)
    scenario.daemon.round()
    assert scenario.daemon.status.problem is not None
    with pytest.raises(UnreachableError):
        dry_run_server(scenario.recorder).fetch_queues()


@pytest.mark.parametrize(
    ("command", "is_paused"),
    [(DryRunServer.pause, True), (DryRunServer.resume, False), (DryRunServer.start, False)],
)
def test_the_response_to_a_command_is_what_the_next_poll_shows(
    command: Callable[[DryRunServer, str], object], *, is_paused: bool
) -> None:
    scenario = Scenario()
    scenario.engine.add("ocr", lasting(60), count=3)
    server = dry_run_server(scenario.recorder)
    before = server.fetch_queues()["ocr"]
    assert command(server, "ocr") == server.fetch_queues()["ocr"]
    after = server.fetch_queues()["ocr"]
    assert after.is_paused is is_paused
    assert after.pending == before.pending == 3


def test_resume_all_is_simulated() -> None:
    scenario = Scenario()
    server = dry_run_server(scenario.recorder)
    server.fetch_queues()
    assert server.resume_all(["ocr", "library"], within=4.0) == {"ocr": None, "library": None}
    assert scenario.recorder.of("resume") == []


def test_versions_come_from_the_real_server() -> None:
    server = dry_run_server(Scenario().recorder)
    assert server.connect().version == server.fetch_version() == "3.1.0"
