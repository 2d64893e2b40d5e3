"""DRY_RUN: everything is decided and shown, and nothing reaches Immich or the ledger."""

import logging
from collections.abc import Callable
from datetime import time

import pytest

from immich_job_daemon.base.errors import UnreachableError
from immich_job_daemon.config.schema import OnExit
from immich_job_daemon.daemon.dry_run import OnlyRead, Rehearsal
from immich_job_daemon.model.controls import SetQueue, Wish
from immich_job_daemon.model.scan import Scan
from immich_job_daemon.model.windows import Window
from immich_job_daemon.scheduler.decision import Reason
from immich_job_daemon.scheduler.state import Memory
from simulator.immich.faults import Fault, FaultQueue
from simulator.immich.pipeline import lasting
from simulator.worlds.virtual import VirtualLedger, VirtualServer
from tests.support.scenario import MANAGED, PERSON, SEARCH, THUMBNAIL, VIDEO, Scene, Wire

KEPT = Memory(taken_over=True, held=frozenset({"ocr", VIDEO}), slots=(THUMBNAIL,))
# The world of a scene begins at 11:06:40.
UNTIL_HALF_PAST = Window(frozenset({VIDEO}), time(9), time(11, 30))
AT_QUARTER_PAST = Scan(Window(None, time(11, 15), time(12, 15)))


def pretended(wire: Wire) -> Rehearsal:
    return Rehearsal(VirtualServer(wire))


def rehearsed(disk: VirtualLedger | None = None, **changes: object) -> Scene:
    """Return a scene in which the daemon is put together as DRY_RUN does it."""
    scene = Scene(ledger=OnlyRead(disk or VirtualLedger()), **changes)  # type: ignore[arg-type] # of Changes
    scene.new_daemon(pretended)
    return scene


def pauses(scene: Scene) -> dict[str, bool]:
    return {name: queue.is_paused for name, queue in scene.engine.queues.items()}


def seen(scene: Scene, *those: Reason) -> set[str]:
    """Return the queues that some picture showed for one of these reasons."""
    return {
        name
        for status in scene.published
        for name, reason in status.reasons.items()
        if reason in those
    }


def test_in_a_whole_life_no_command_reaches_immich() -> None:
    """A busy server, uploads, a window, a scan, a person's wishes, trouble, and the end of it."""
    scene = rehearsed(
        schedule=(UNTIL_HALF_PAST,),
        exclusive=(frozenset({SEARCH, "faceDetection", "ocr"}),),
        scan=AT_QUARTER_PAST,
        yield_after=60.0,
        max_wait=600.0,
        unrestricted_below=3,
    )
    scene.pause_all()
    scene.engine.resume(THUMBNAIL)
    scene.backlog(THUMBNAIL, SEARCH, VIDEO, count=10, seconds=30)
    scene.upload_at(300.0, 20)
    scene.ask(SetQueue("ocr", Wish.NEXT))
    scene.transport.faults = FaultQueue([None] * 20 + [Fault.SERVER_ERROR, Fault.RESET])
    before = pauses(scene)
    scene.run_for(30 * 60.0)
    assert {request.split()[0] for request in scene.wire.sent} == {"GET"}
    assert scene.transport.requests.keys() == {"GET"}
    assert pauses(scene) == before
    assert len(scene.published) > 100


def test_what_would_be_done_is_shown() -> None:
    scene = rehearsed(schedule=(UNTIL_HALF_PAST,))
    scene.backlog(THUMBNAIL, SEARCH, VIDEO, count=1000, seconds=60)
    scene.run_for(30 * 60.0)
    last = scene.published[-1]
    assert last.reasons[THUMBNAIL] is Reason.RUNNING
    # In truth nobody has paused them, so their jobs never end.
    assert last.reasons[SEARCH] is last.reasons[VIDEO] is Reason.DRAINING
    assert last.opens[VIDEO].hour == 9
    assert last.is_rehearsal is False, "that is what the settings say, not what the server is"
    assert last.tally.commands["pause"] >= len(MANAGED) - 1


def test_what_was_pretended_is_what_the_next_decision_builds_on() -> None:
    """Without that every round would pause the same queues again."""
    scene = rehearsed()
    scene.backlog(THUMBNAIL, count=1000, seconds=5)
    scene.run_for(15 * 60.0)
    commands = scene.published[-1].tally.commands
    assert commands["pause"] <= len(MANAGED) + commands.get("resume", 0)


def test_all_else_is_real() -> None:
    scene = rehearsed()
    scene.backlog(SEARCH, count=5, seconds=10)
    scene.run(lambda: scene.engine.queues[SEARCH].is_empty)
    shown = [status.queues[SEARCH] for status in scene.published if status.queues]
    assert {queue.active for queue in shown} > {2}
    assert len({queue.backlog for queue in shown}) > 1


def test_the_ledger_stays_as_it_was_and_is_where_it_begins() -> None:
    disk = VirtualLedger()
    disk.save(KEPT)
    before, writes = disk.text, disk.writes
    scene = rehearsed(disk)
    scene.pause_all()
    scene.backlog(THUMBNAIL, "ocr", count=100)
    scene.ask(SetQueue("library", Wish.HELD))
    scene.run_for(300.0)
    assert (disk.text, disk.writes) == (before, writes)
    # What the real daemon holds is not somebody else's pause; all the rest is.
    assert seen(scene, Reason.PAUSED_BY_OTHERS) == set(MANAGED) - KEPT.held


def test_what_an_earlier_run_left_paused_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("immich_job_daemon"), "propagate", True)
    disk = VirtualLedger()
    assert OnlyRead(disk).load() is None
    disk.save(Memory(taken_over=True))
    assert OnlyRead(disk).load() == Memory(taken_over=True)
    assert caplog.records == []
    disk.save(KEPT)
    assert OnlyRead(disk).load() == KEPT
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"a rehearsal resumes nothing: ocr, {VIDEO}." in record.getMessage()


@pytest.mark.parametrize("on_exit", OnExit)
def test_its_end_resumes_nothing_either(on_exit: OnExit) -> None:
    scene = rehearsed(on_exit=on_exit)
    scene.pause_all(by=PERSON)
    scene.backlog(THUMBNAIL, count=10)
    before = pauses(scene)
    scene.run_for(60.0)
    scene.daemon.stop()
    assert pauses(scene) == before
    assert scene.wire.of("pause", "resume", "start") == []


def test_a_scan_is_pretended_too() -> None:
    scene = rehearsed(scan=AT_QUARTER_PAST)
    scene.run_for(20 * 60.0)
    assert scene.published[-1].tally.commands["start"] > 5
    assert scene.wire.of("start") == []


def test_trouble_of_the_real_server_is_trouble() -> None:
    scene = rehearsed()
    scene.daemon.take_up()
    scene.daemon.connect()
    scene.engine.restart(downtime=60.0)
    scene.daemon.round()
    assert scene.daemon.status.problem is not None
    with pytest.raises(UnreachableError):
        pretended(scene.wire).look()


@pytest.mark.parametrize(
    ("act", "is_paused"),
    [(Rehearsal.pause, True), (Rehearsal.resume, False), (Rehearsal.start, False)],
)
def test_the_answer_to_a_command_is_what_immich_would_say(
    act: Callable[[Rehearsal, str], object], *, is_paused: bool
) -> None:
    scene = Scene()
    scene.engine.add("ocr", lasting(60), count=3)
    server = pretended(scene.wire)
    before = server.look()["ocr"]
    assert act(server, "ocr") == server.look()["ocr"]
    after = server.look()["ocr"]
    assert after.is_paused is is_paused
    assert after.pending == before.pending == 3


def test_all_are_resumed_in_pretence_at_the_end() -> None:
    scene = Scene()
    server = pretended(scene.wire)
    server.look()
    assert server.resume_all(["ocr", "library"], within=4.0) == {"ocr": None, "library": None}
    assert scene.wire.of("resume") == []


def test_versions_are_asked_for() -> None:
    server = pretended(Scene().wire)
    assert server.connect().version == server.tell_version() == "3.1.0"
