"""What answers do to the memory, and that a memory is never changed in place."""

import dataclasses
from collections.abc import Callable

import pytest

from immich_job_daemon.model.queue import Queue, Snapshot
from immich_job_daemon.model.scan import Progress
from immich_job_daemon.scheduler.state import (
    UNSURE_FOR,
    Memory,
    after_failure,
    after_refusal,
    after_refused_start,
    after_release,
    after_unclear_pause,
    restored,
)

FULL = Memory(
    taken_over=True,
    is_limited=True,
    held=frozenset({"ocr", "library", "sidecar"}),
    paused_by_others=frozenset({"migration"}),
    slots=("smartSearch", "library"),
    wanted=frozenset({"faceDetection"}),
    refused=frozenset({"backgroundTask"}),
    lent={"metadataExtraction": 5.0, "library": 6.0},
    turns={"ocr": 1.0},
    unsure={"ocr": 70.0},
    scan=Progress(7.0, frozenset({"sidecar", "library"}), "library"),
    was_away=False,
)


def seen(**paused: bool) -> Snapshot:
    return {name: Queue(name, is_paused) for name, is_paused in paused.items()}


def differing(one: Memory, other: Memory) -> set[str]:
    """Return the names of the fields in which two memories differ."""
    return {
        field.name
        for field in dataclasses.fields(Memory)
        if getattr(one, field.name) != getattr(other, field.name)
    }


def test_a_new_memory_reads_no_wish_from_its_first_snapshot() -> None:
    assert Memory().was_away
    assert not Memory().taken_over


def test_a_held_queue_that_is_open_at_the_start_may_still_be_paused_by_the_earlier_run() -> None:
    snapshot = seen(ocr=False, library=True, smartSearch=False)
    memory = restored(FULL, snapshot, 100.0)
    assert memory.unsure == {"ocr": 100.0 + UNSURE_FOR}


def test_a_held_queue_that_immich_no_longer_has_is_nothing_to_be_unsure_of() -> None:
    assert restored(FULL, seen(library=True), 100.0).unsure == {}


def test_a_restored_memory_keeps_what_the_ledger_kept_and_reads_no_wish() -> None:
    memory = restored(FULL, seen(ocr=False), 100.0)
    assert memory.was_away
    assert differing(FULL, memory) == {"unsure", "was_away"}


def test_after_a_failure_nothing_but_the_absence_is_remembered() -> None:
    memory = after_failure(FULL)
    assert memory.was_away
    assert differing(FULL, memory) == {"was_away"}


def test_an_unclear_pause_may_take_effect_for_a_minute() -> None:
    memory = after_unclear_pause(FULL, "library", 100.0)
    assert memory.unsure == {"ocr": 70.0, "library": 160.0}
    assert memory.was_away
    assert differing(FULL, memory) == {"unsure", "was_away"}


def test_a_second_unclear_pause_of_a_queue_starts_its_minute_anew() -> None:
    assert after_unclear_pause(FULL, "ocr", 50.0).unsure == {"ocr": 50.0 + UNSURE_FOR}


def test_a_refused_queue_is_neither_held_nor_in_a_slot_nor_lent_one() -> None:
    memory = after_refusal(FULL, "library")
    assert memory.refused == {"backgroundTask", "library"}
    assert memory.held == {"ocr", "sidecar"}
    assert memory.slots == ("smartSearch",)
    assert memory.lent == {"metadataExtraction": 5.0}
    assert differing(FULL, memory) == {"refused", "held", "slots", "lent"}


def test_a_queue_that_was_at_work_already_is_asked_for_what_is_missing_once_more() -> None:
    memory = after_refused_start(FULL, "library", is_running=True)
    assert differing(memory, FULL) == {"scan"}
    assert memory.scan == Progress(7.0, frozenset({"sidecar"}), None)


def test_a_queue_that_refuses_to_look_for_what_is_missing_is_not_asked_again() -> None:
    memory = after_refused_start(FULL, "library", is_running=False)
    assert differing(memory, FULL) == {"scan"}
    assert memory.scan == Progress(7.0, frozenset({"sidecar", "library"}), None)


def test_after_the_release_only_what_was_not_resumed_is_held() -> None:
    memory = after_release(FULL, frozenset({"library", "sidecar"}), 100.0)
    assert memory.held == {"ocr"}


def test_nobody_has_a_slot_after_the_release() -> None:
    memory = after_release(FULL, FULL.held, 100.0)
    assert (memory.slots, memory.lent) == ((), {})


def test_someone_elses_pause_is_known_after_the_release() -> None:
    assert after_release(FULL, FULL.held, 100.0).paused_by_others == {"migration"}


@pytest.mark.parametrize(("now", "held"), [(69.9, {"ocr"}), (70.0, set()), (100.0, set())])
def test_a_released_queue_whose_pause_may_still_come_stays_on_the_list(
    now: float, held: set[str]
) -> None:
    assert after_release(FULL, FULL.held, now).held == held


@pytest.mark.parametrize(
    "change",
    [
        lambda memory: restored(memory, seen(ocr=False), 0.0),
        after_failure,
        lambda memory: after_unclear_pause(memory, "library", 0.0),
        lambda memory: after_refusal(memory, "library"),
        lambda memory: after_release(memory, frozenset({"library"}), 0.0),
        lambda memory: after_refused_start(memory, "library", is_running=True),
    ],
)
def test_a_memory_is_never_changed_in_place(change: Callable[[Memory], Memory]) -> None:
    lent, turns, unsure = {"library": 6.0}, {"ocr": 1.0}, {"ocr": 70.0}
    memory = dataclasses.replace(FULL, lent=lent, turns=turns, unsure=unsure)
    assert change(memory) is not memory
    assert (lent, turns, unsure) == ({"library": 6.0}, {"ocr": 1.0}, {"ocr": 70.0})
    with pytest.raises(dataclasses.FrozenInstanceError):
        memory.was_away = True  # type: ignore[misc]
