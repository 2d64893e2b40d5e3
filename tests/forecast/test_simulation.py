"""Who will have a slot when, and what comes of it, where everything is known exactly."""

from collections.abc import Mapping, Sequence

import pytest

from immich_job_daemon.forecast.pipeline import OUTSIDE, Batch, Span
from immich_job_daemon.forecast.rates import MOST_BESIDE, Rate, Rates
from immich_job_daemon.forecast.simulation import HANDOVER, Simulation
from immich_job_daemon.model.queue import Queue

METADATA, TEMPLATE, THUMBNAIL = (
    "metadataExtraction",
    "storageTemplateMigration",
    "thumbnailGeneration",
)
SEARCH, DUPLICATES, FACES, RECOGNITION = (
    "smartSearch",
    "duplicateDetection",
    "faceDetection",
    "facialRecognition",
)
OCR, LIBRARY, MIGRATION = "ocr", "library", "migration"
SURE = 1e8
"""Jobs seen, so that no rate is in doubt."""

Ways = Mapping[str, Mapping[str, Mapping[str, float]]]


def known(takes: Mapping[str, float], ways: Ways | None = None) -> Rates:
    """Return rates by seconds a job, and ratios by queue, way and target, all without a doubt."""
    rates = {name: Rate(SURE, SURE * seconds) for name, seconds in takes.items()}
    return Rates(
        queues=rates,
        batches={
            name: {
                way: Batch(usual={target: Span(ratio, ratio) for target, ratio in fed.items()})
                for way, fed in ways.items()
            }
            for name, ways in (ways or {}).items()
        },
    )


def came(rates: Rates, pending: Mapping[str, Mapping[str, float]]) -> Rates:
    """Return the rates with so many jobs pending, by queue and way."""
    batches = {name: dict(ways) for name, ways in rates.batches.items()}
    for name, ways in pending.items():
        for way, left in ways.items():
            usual = batches.setdefault(name, {}).pop(way, Batch()).usual
            batches[name][way] = Batch(left, usual=usual)
    return Rates(rates.queues, batches=batches)


def course(
    rates: Rates,
    pending: Mapping[str, int],
    *,
    running: Sequence[str] = (),
    order: Sequence[str] = (),
    limit: int = 1,
) -> Simulation:
    names = tuple(dict.fromkeys((*running, *(order or pending))))
    snapshot = {
        name: Queue(name, name not in running, waiting=pending.get(name, 0)) for name in names
    }
    return Simulation(snapshot, rates, names, set(running), limit, at_worst=True)


def about(seconds: float) -> object:
    return pytest.approx(seconds, rel=1e-3, abs=1e-3)


# Slots


def test_a_queue_that_has_a_slot_is_done_when_its_jobs_are() -> None:
    found = course(known({OCR: 0.5}), {OCR: 100}, running=[OCR])
    assert found.ends(OCR) == found.end() == about(50)


def test_those_that_wait_come_one_after_the_other_in_their_order() -> None:
    takes = known({OCR: 1.0, LIBRARY: 1.0, MIGRATION: 1.0})
    found = course(takes, {OCR: 10, LIBRARY: 20, MIGRATION: 30}, running=[OCR],
                   order=[MIGRATION, LIBRARY])  # fmt: skip
    assert found.ends(OCR) == about(10)
    assert found.ends(MIGRATION) == about(40 + HANDOVER)
    assert found.ends(LIBRARY) == found.end() == about(60 + 2 * HANDOVER)


def test_who_has_a_slot_keeps_it_though_a_better_one_waits() -> None:
    takes = known({OCR: 1.0, METADATA: 1.0})
    found = course(takes, {OCR: 10, METADATA: 5}, running=[OCR], order=[METADATA, OCR])
    assert found.ends(OCR) == about(10)
    assert found.ends(METADATA) == about(15 + HANDOVER)


def test_as_many_as_the_limit_says_work_at_once() -> None:
    takes = known({OCR: 1.0, LIBRARY: 1.0, MIGRATION: 1.0})
    pending = {OCR: 10, LIBRARY: 20, MIGRATION: 30}
    two = course(takes, pending, running=[OCR, LIBRARY], limit=2)
    assert two.ends(MIGRATION) == two.end() == about(40 + HANDOVER)
    all_open = course(takes, pending, running=[OCR, LIBRARY, MIGRATION], limit=1000)
    assert all_open.end() == about(30)


def test_more_than_the_limit_may_be_at_work_but_nothing_new_starts_then() -> None:
    takes = known({OCR: 1.0, LIBRARY: 1.0, MIGRATION: 1.0})
    pending = {OCR: 10, LIBRARY: 20, MIGRATION: 5}
    found = course(takes, pending, running=[OCR, LIBRARY], limit=1)
    assert found.ends(MIGRATION) == about(25 + HANDOVER)


def test_queues_that_share_a_machine_slow_each_other_down() -> None:
    alone_and_beside = {0: Rate(SURE, SURE), 1: Rate(SURE, 2 * SURE)}
    rates = Rates(beside={OCR: alone_and_beside, LIBRARY: alone_and_beside})
    found = course(rates, {OCR: 10, LIBRARY: 20}, running=[OCR, LIBRARY], limit=2)
    assert found.ends(OCR) == about(20)
    assert found.end() == about(30)


# What leads to what


CHAIN = {
    METADATA: {OUTSIDE: {TEMPLATE: 1.0}},
    TEMPLATE: {METADATA: {THUMBNAIL: 1.0}},
    THUMBNAIL: {
        OUTSIDE: {SEARCH: 0.0, FACES: 0.0, OCR: 0.0},
        TEMPLATE: {SEARCH: 1.0, FACES: 1.0, OCR: 1.0, "videoConversion": 0.0},
    },
    SEARCH: {OUTSIDE: {DUPLICATES: 1.0}, THUMBNAIL: {DUPLICATES: 1.0}},
    FACES: {THUMBNAIL: {RECOGNITION: 1.0}, OUTSIDE: {RECOGNITION: 1.0}},
    RECOGNITION: {FACES: {THUMBNAIL: 0.1}, OUTSIDE: {THUMBNAIL: 0.1}},
}
EIGHT = (METADATA, TEMPLATE, THUMBNAIL, SEARCH, DUPLICATES, FACES, RECOGNITION, OCR)
SECOND_EACH = dict.fromkeys(EIGHT, 1.0)


def test_an_upload_is_done_when_the_last_of_its_jobs_is() -> None:
    rates = came(known(SECOND_EACH, CHAIN), {METADATA: {OUTSIDE: 100}})
    found = course(rates, {METADATA: 100}, running=[METADATA], order=EIGHT)
    assert found.ends(METADATA) == about(100)
    # Eight queues, ten thumbnails of persons, and every time a slot is handed over.
    assert found.end() == about(800 + 10 + 8 * HANDOVER)


def test_a_run_over_all_thumbnails_leads_to_nothing() -> None:
    rates = came(known(SECOND_EACH, CHAIN), {THUMBNAIL: {OUTSIDE: 100}})
    found = course(rates, {THUMBNAIL: 100}, running=[THUMBNAIL], order=EIGHT)
    assert found.end() == about(100)


def test_first_come_is_first_served() -> None:
    rates = came(known(SECOND_EACH, CHAIN), {THUMBNAIL: {OUTSIDE: 90, TEMPLATE: 10}})
    found = course(rates, {THUMBNAIL: 100}, running=[THUMBNAIL], order=EIGHT, limit=2)
    # Only then is there something for the second slot.
    assert found.end() == pytest.approx(130, abs=2)
    rates = came(known(SECOND_EACH, CHAIN), {THUMBNAIL: {TEMPLATE: 10, OUTSIDE: 90}})
    found = course(rates, {THUMBNAIL: 100}, running=[THUMBNAIL], order=EIGHT, limit=2)
    assert found.end() == pytest.approx(110, abs=3)


def test_jobs_that_come_to_a_queue_that_is_held_stay_there() -> None:
    rates = came(known(SECOND_EACH, CHAIN), {METADATA: {OUTSIDE: 100}})
    order = [name for name in EIGHT if name != THUMBNAIL]
    found = course(rates, {METADATA: 100}, running=[METADATA], order=order)
    assert found.end() == about(200 + HANDOVER)


def test_a_slot_to_spare_goes_to_one_to_which_jobs_come() -> None:
    rates = came(known({**SECOND_EACH, DUPLICATES: 0.1}, CHAIN), {SEARCH: {OUTSIDE: 100}})
    found = course(rates, {SEARCH: 100}, running=[SEARCH], order=EIGHT, limit=2)
    assert found.end() == pytest.approx(100, abs=1)


def test_a_slot_that_is_not_to_spare_does_not() -> None:
    rates = came(known({**SECOND_EACH, DUPLICATES: 0.1}, CHAIN), {SEARCH: {OUTSIDE: 100}})
    pending = {SEARCH: 100, OCR: 300}
    found = course(rates, pending, running=[SEARCH, OCR], order=EIGHT, limit=2)
    assert found.ends(SEARCH) == about(100)
    assert found.end() == about(300)
    long = course(rates, {**pending, LIBRARY: 1}, running=[SEARCH, OCR], order=EIGHT, limit=2)
    assert long.end() == about(300)


def test_one_that_is_slower_than_what_feeds_it_is_done_later() -> None:
    rates = came(known({**SECOND_EACH, DUPLICATES: 3.0}, CHAIN), {SEARCH: {OUTSIDE: 100}})
    found = course(rates, {SEARCH: 100}, running=[SEARCH], order=EIGHT, limit=2)
    assert found.end() == pytest.approx(300, rel=0.02)


def test_all_open_at_once_the_slowest_decides() -> None:
    takes = {**dict.fromkeys(EIGHT, 0.1), THUMBNAIL: 1.0}
    rates = came(known(takes, CHAIN), {METADATA: {OUTSIDE: 1000}})
    found = course(rates, {METADATA: 1000}, running=[METADATA], order=EIGHT, limit=1000)
    # Until its thumbnails are done the recognition waits; then it has persons for the slowest.
    assert found.end() == pytest.approx(1000 + 100 + 100, rel=0.1)


def test_recognition_waits_until_no_face_is_looked_for() -> None:
    rates = came(
        known({FACES: 1.0, RECOGNITION: 0.1, OCR: 1.0}, {FACES: {OUTSIDE: {RECOGNITION: 0.0}}}),
        {FACES: {OUTSIDE: 100}, RECOGNITION: {FACES: 50}},
    )
    found = course(
        rates, {FACES: 100, RECOGNITION: 50, OCR: 10}, running=[FACES, RECOGNITION], limit=2
    )
    assert found.ends(RECOGNITION) == about(105)


def test_one_that_is_a_run_of_its_own_does_not() -> None:
    rates = came(
        known({FACES: 1.0, RECOGNITION: 0.1}, {FACES: {OUTSIDE: {RECOGNITION: 0.0}}}),
        {FACES: {OUTSIDE: 100}, RECOGNITION: {OUTSIDE: 50}},
    )
    found = course(rates, {FACES: 100, RECOGNITION: 50}, running=[FACES, RECOGNITION], limit=2)
    assert found.ends(RECOGNITION) == about(5)


# What nobody can tell


def test_of_a_queue_without_a_rate_nobody_can_tell_nor_of_those_behind_it() -> None:
    takes = known({OCR: 1.0, MIGRATION: 1.0})
    pending = {OCR: 10, LIBRARY: 20, MIGRATION: 30}
    found = course(takes, pending, running=[OCR], order=[LIBRARY, MIGRATION])
    assert found.ends(OCR) == about(10)
    assert found.ends(LIBRARY) is None
    assert found.ends(MIGRATION) is None
    assert found.end() is None


def test_those_that_have_a_slot_beside_it_are_told_those_that_get_one_later_are_not() -> None:
    takes = known({OCR: 1.0, MIGRATION: 1.0})
    pending = {LIBRARY: 20, OCR: 10, MIGRATION: 30}
    found = course(takes, pending, running=[LIBRARY, OCR], order=[MIGRATION], limit=2)
    assert found.ends(OCR) == about(10)
    assert found.ends(MIGRATION) is None
    free = course(takes, pending, running=[LIBRARY, OCR, MIGRATION], limit=3)
    assert free.ends(MIGRATION) == about(30)
    assert free.end() is None


def test_nor_of_one_to_which_such_a_queue_leads() -> None:
    rates = came(known({THUMBNAIL: 1.0}, CHAIN), {TEMPLATE: {METADATA: 10}})
    found = course(rates, {TEMPLATE: 10, THUMBNAIL: 5}, running=[TEMPLATE, THUMBNAIL], limit=2)
    assert found.ends(THUMBNAIL) is None


def test_an_unknown_number_of_queues_beside_it_is_taken_for_the_most_that_was_seen() -> None:
    takes = Rates(beside={OCR: {MOST_BESIDE: Rate(SURE, SURE)}})
    assert course(takes, {OCR: 10}, running=[OCR], limit=99).end() == about(10)
