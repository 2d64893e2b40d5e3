"""What a person asks for while the daemon runs, from the board to Immich, and over a restart."""

import logging
from itertools import pairwise

import pytest

from immich_job_daemon.model.controls import Mode, SetLimit, SetMode, SetQueue, Wish
from immich_job_daemon.scheduler.decision import Reason
from immich_job_daemon.status.status import State, Trouble
from tests.support.scenario import (
    FACES,
    MANAGED,
    PERSON,
    SEARCH,
    THUMBNAIL,
    VIDEO,
    Scene,
    order_of_starts,
)


def connected(**changes: int) -> Scene:
    scene = Scene(max_concurrent_jobs=changes.get("limit", 1))
    scene.daemon.take_up()
    scene.daemon.connect()
    return scene


def test_everything_held_lets_active_jobs_finish_and_starts_nothing() -> None:
    scene = connected()
    scene.backlog(SEARCH, FACES)
    scene.daemon.round()
    finished = scene.engine.queues[SEARCH].active
    left = scene.engine.queues[SEARCH].ready
    scene.ask(SetMode(Mode.HELD))
    scene.rounds(lambda: not any(queue.active for queue in scene.engine.queues.values()))
    scene.daemon.round()
    assert finished > 0
    assert scene.engine.queues[SEARCH].ready == left
    assert scene.paused() == set(MANAGED)
    assert scene.daemon.status.state is State.HELD
    assert scene.daemon.status.reasons[FACES] is Reason.HELD


def test_everything_open_resumes_all_that_the_daemon_holds_and_nothing_else() -> None:
    scene = connected()
    scene.backlog(SEARCH, FACES)
    scene.daemon.round()
    scene.daemon.round()
    scene.engine.pause("ocr", by=PERSON)
    scene.engine.resume("ocr", by=PERSON)
    scene.daemon.round()
    scene.engine.pause("metadataExtraction", by=PERSON)
    scene.daemon.round()
    theirs = {q.name for q in scene.daemon.status.those(Reason.PAUSED_BY_OTHERS)}
    scene.ask(SetMode(Mode.OPEN))
    scene.daemon.round()
    assert scene.paused() == theirs
    assert scene.daemon.status.state is State.OPEN


def test_a_queue_that_is_wanted_next_runs_next() -> None:
    scene = connected()
    scene.backlog(SEARCH, FACES, VIDEO)
    order = order_of_starts(scene.engine)
    scene.daemon.round()
    scene.ask(SetQueue(VIDEO, Wish.NEXT))
    scene.daemon.round()
    assert scene.daemon.status.wish(VIDEO) is Wish.NEXT
    scene.rounds(lambda: scene.engine.is_idle)
    assert [name for name in order if name in {SEARCH, FACES, VIDEO}] == [SEARCH, VIDEO, FACES]
    assert scene.daemon.status.wish(VIDEO) is Wish.AUTOMATIC


def test_a_limit_holds_from_the_next_round_on_and_is_published() -> None:
    scene = connected()
    scene.pause_all()
    scene.backlog(SEARCH, FACES, VIDEO, seconds=5.0)
    scene.daemon.round()
    assert [queue.name for queue in scene.daemon.status.running] == [SEARCH]
    scene.ask(SetLimit(2))
    scene.daemon.round()
    assert scene.daemon.status.limit == 2
    assert [queue.name for queue in scene.daemon.status.running] == [SEARCH, FACES]
    scene.ask(SetLimit(None))
    scene.daemon.round()
    assert scene.daemon.status.limit == 1


@pytest.mark.parametrize(
    "change",
    [SetMode(Mode.HELD), SetMode(Mode.OPEN), SetQueue(SEARCH, Wish.HELD), SetLimit(2)],
)
def test_what_was_asked_for_survives_a_restart_and_can_be_undone_after_it(
    change: SetMode | SetQueue | SetLimit,
) -> None:
    scene = connected()
    scene.backlog(SEARCH, FACES)
    scene.daemon.round()
    scene.ask(change)
    scene.daemon.round()
    before = scene.daemon.status
    scene.daemon.stop()
    assert scene.paused() == set(), "nothing stays paused, not even what a person holds"
    scene.new_daemon().take_up()
    scene.daemon.connect()
    scene.daemon.round()
    after = scene.daemon.status
    assert (after.controls, after.undo, after.limit) == (before.controls, before.undo, before.limit)
    assert after.undo is not None
    scene.ask(after.undo)
    scene.daemon.round()
    assert scene.daemon.status.controls == type(after.controls)()


def test_a_wish_is_on_the_disk_before_it_is_carried_out() -> None:
    scene = connected()
    scene.daemon.round()
    scene.engine.restart(1000.0)
    scene.ask(SetMode(Mode.HELD))
    scene.daemon.round()
    assert '"mode": "held"' in (scene.disk.text or "")
    assert scene.daemon.status.controls.mode is Mode.HELD, "and it is seen while Immich is away"
    assert scene.daemon.status.state is State.UNREACHABLE


def test_a_wish_while_immich_is_waited_for_at_the_start_is_not_lost() -> None:
    scene = Scene()
    scene.engine.restart(100.0)
    scene.ask(SetMode(Mode.HELD))
    scene.run(lambda: scene.daemon.status.updated is not None)
    assert scene.daemon.status.controls.mode is Mode.HELD


def test_what_is_asked_for_is_said_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("immich_job_daemon"), "propagate", True)
    caplog.set_level(logging.INFO, logger="immich_job_daemon")
    scene = connected()
    scene.ask(SetQueue(SEARCH, Wish.HELD))
    scene.daemon.round()
    assert "Asked for: smartSearch held." in caplog.messages


# The picture


def test_the_picture_tells_how_fast_and_until_when() -> None:
    scene = connected()
    scene.backlog(SEARCH, count=2000, seconds=0.5)
    scene.rounds(lambda: scene.engine.now > 60.0)
    status = scene.daemon.status
    rate = status.rates.queues[SEARCH].per_second
    assert rate == pytest.approx(4.0, rel=0.1), "two at a time, half a second each"
    truth = status.queues[SEARCH].pending / 4.0
    assert status.forecast.queues[SEARCH] == pytest.approx(truth, rel=0.1)
    assert status.forecast.whole == status.forecast.queues[SEARCH]


def test_the_picture_has_the_order_in_which_queues_come() -> None:
    scene = connected()
    scene.daemon.round()
    status = scene.daemon.status
    assert status.order[:3] == ("sidecar", "metadataExtraction", "storageTemplateMigration")
    assert set(status.order) == set(status.queues)
    assert set(status.managed) == set(MANAGED)


def test_each_command_answer_and_failure_is_counted() -> None:
    scene = connected()
    scene.backlog(SEARCH)
    scene.daemon.round()
    tally = scene.daemon.status.tally
    assert tally.commands["pause"] == len(scene.wire.of("pause"))
    assert sum(tally.requests.counts) == len(scene.wire.of("pause", "resume")) + 1
    scene.engine.restart(60.0)
    scene.daemon.round()
    assert scene.daemon.status.tally.failures == {"unreachable": 1}


def test_a_hand_over_is_measured_from_the_last_look_that_saw_work() -> None:
    scene = connected()
    scene.backlog(SEARCH, FACES)
    scene.rounds(lambda: scene.engine.is_idle)
    handovers = scene.daemon.status.tally.handovers
    assert sum(handovers.counts) == 1
    assert 0 < handovers.total < 5


def test_the_history_tells_who_had_the_slot() -> None:
    scene = connected()
    scene.backlog(SEARCH, count=200, seconds=0.5)
    began = scene.engine.now
    scene.rounds(lambda: scene.engine.is_idle)
    busy = sum(part.busy.get(SEARCH, 0.0) for part in scene.daemon.status.history.parts)
    assert busy == pytest.approx(scene.engine.now - began, abs=3.0)


def test_while_the_loop_turns_every_picture_comes_before_it_is_due() -> None:
    scene = connected()
    scene.backlog(SEARCH, THUMBNAIL, FACES)
    scene.upload_at(50.0, 20)
    scene.engine.at(80.0, lambda: scene.engine.restart(120.0))
    times: list[tuple[float, float]] = []
    publish = scene.daemon.publish

    def note(status: object) -> None:
        times.append((scene.engine.now, scene.daemon.status.due))
        publish(scene.daemon.status)
        assert status is scene.daemon.status

    scene.daemon.publish = note
    scene.rounds(lambda: scene.engine.now > 400.0)
    assert len(times) > 20
    assert all(later <= due for (_, due), (later, _) in pairwise(times))


def test_the_version_is_asked_for_again_after_immich_was_away() -> None:
    scene = connected()
    scene.daemon.round()
    scene.engine.restart(20.0)
    scene.rounds(lambda: scene.daemon.status.problem is not None)
    scene.wire.sent.clear()
    scene.rounds(lambda: scene.daemon.status.problem is None)
    assert scene.wire.sent.count("GET /api/server/version") == 1
    assert scene.daemon.status.server == "3.1.0"


# Somebody else


def test_another_tool_that_works_against_the_daemon_is_told_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("immich_job_daemon"), "propagate", True)
    caplog.set_level(logging.INFO, logger="immich_job_daemon")
    scene = connected()
    scene.backlog(SEARCH, FACES, count=2000)
    scene.daemon.round()

    def resume() -> None:
        scene.engine.resume(FACES, by="another tool")
        scene.engine.at(scene.engine.now + 5.0, resume)

    resume()
    scene.rounds(lambda: scene.daemon.status.problem is not None)
    problem = scene.daemon.status.problem
    assert problem is not None
    assert problem.trouble is Trouble.CONTESTED
    assert "keeps resuming faceDetection" in problem.text
    assert scene.daemon.status.state is State.ATTENTION
    scene.wire.sent.clear()
    end = scene.engine.now + 300.0
    scene.rounds(lambda: scene.engine.now > end)
    assert len(scene.wire.of("pause", "resume")) <= 6
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in warnings] == [f"{problem.text}."]


def test_what_is_asked_for_before_immich_ever_answered_leaves_the_first_start_the_first() -> None:
    scene = Scene()
    scene.pause_all("an older tool")
    scene.engine.restart(60)
    scene.ask(SetLimit(2))
    scene.run_for(30)
    assert scene.paused() == set(MANAGED)
    scene.new_daemon()
    scene.run_for(120)
    assert scene.published[-1].limit == 2
    assert scene.daemon.memory.paused_by_others == frozenset()
    assert scene.paused() == set()
