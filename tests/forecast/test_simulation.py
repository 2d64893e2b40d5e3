"""Simulations with exact service times and follow-up ratios."""

from collections.abc import Mapping, Sequence

import pytest

from immich_job_daemon.forecast.pipeline import OUTSIDE, Batch, Bounds
from immich_job_daemon.forecast.rates import MAX_OTHERS, Rate, Rates
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
MANY = 1e8
"""Enough jobs for an exact rate."""

Ratios = Mapping[str, Mapping[str, Mapping[str, float]]]


def exact_rates(times: Mapping[str, float], ratios: Ratios | None = None) -> Rates:
    """Return exact rates.

    Args:
        times: seconds per job, by queue.
        ratios: follow-ups per job, by queue, origin and downstream queue.
    """
    return Rates(
        queues={name: Rate(MANY, MANY * seconds) for name, seconds in times.items()},
        batches={
            name: {
                origin: Batch(
                    earlier_ratios={
                        target: Bounds(ratio, ratio) for target, ratio in targets.items()
                    }
                )
                for origin, targets in origins.items()
            }
            for name, origins in (ratios or {}).items()
        },
    )


def with_pending(rates: Rates, pending: Mapping[str, Mapping[str, float]]) -> Rates:
    """Return the rates with these pending jobs, by queue and origin."""
    batches = {name: dict(origins) for name, origins in rates.batches.items()}
    for name, origins in pending.items():
        for origin, jobs in origins.items():
            earlier_ratios = batches.setdefault(name, {}).pop(origin, Batch()).earlier_ratios
            batches[name][origin] = Batch(jobs, earlier_ratios=earlier_ratios)
    return Rates(rates.queues, batches=batches)


def simulate(
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


def approximately(seconds: float) -> object:
    return pytest.approx(seconds, rel=1e-3, abs=1e-3)


# Slots


def test_a_queue_with_a_slot_is_drained_by_its_rate() -> None:
    result = simulate(exact_rates({OCR: 0.5}), {OCR: 100}, running=[OCR])
    assert result.drained_at(OCR) == result.finished_at() == approximately(50)


def test_waiting_queues_get_the_slot_in_their_order() -> None:
    rates = exact_rates({OCR: 1.0, LIBRARY: 1.0, MIGRATION: 1.0})
    pending = {OCR: 10, LIBRARY: 20, MIGRATION: 30}
    result = simulate(rates, pending, running=[OCR], order=[MIGRATION, LIBRARY])
    assert result.drained_at(OCR) == approximately(10)
    assert result.drained_at(MIGRATION) == approximately(40 + HANDOVER)
    assert result.drained_at(LIBRARY) == result.finished_at() == approximately(60 + 2 * HANDOVER)


def test_a_queue_keeps_its_slot_though_one_of_higher_priority_waits() -> None:
    rates = exact_rates({OCR: 1.0, METADATA: 1.0})
    result = simulate(rates, {OCR: 10, METADATA: 5}, running=[OCR], order=[METADATA, OCR])
    assert result.drained_at(OCR) == approximately(10)
    assert result.drained_at(METADATA) == approximately(15 + HANDOVER)


def test_the_limit_is_the_number_of_queues_that_work_at_once() -> None:
    rates = exact_rates({OCR: 1.0, LIBRARY: 1.0, MIGRATION: 1.0})
    pending = {OCR: 10, LIBRARY: 20, MIGRATION: 30}
    two = simulate(rates, pending, running=[OCR, LIBRARY], limit=2)
    assert two.drained_at(MIGRATION) == two.finished_at() == approximately(40 + HANDOVER)
    unlimited = simulate(rates, pending, running=[OCR, LIBRARY, MIGRATION], limit=1000)
    assert unlimited.finished_at() == approximately(30)


def test_no_queue_starts_while_the_limit_is_exceeded() -> None:
    rates = exact_rates({OCR: 1.0, LIBRARY: 1.0, MIGRATION: 1.0})
    pending = {OCR: 10, LIBRARY: 20, MIGRATION: 5}
    result = simulate(rates, pending, running=[OCR, LIBRARY], limit=1)
    assert result.drained_at(MIGRATION) == approximately(25 + HANDOVER)


def test_queues_that_run_together_slow_each_other_down() -> None:
    by_others = {0: Rate(MANY, MANY), 1: Rate(MANY, 2 * MANY)}
    rates = Rates(by_others={OCR: by_others, LIBRARY: by_others})
    result = simulate(rates, {OCR: 10, LIBRARY: 20}, running=[OCR, LIBRARY], limit=2)
    assert result.drained_at(OCR) == approximately(20)
    assert result.finished_at() == approximately(30)


# Follow-ups


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
ONE_SECOND_EACH = dict.fromkeys(EIGHT, 1.0)


def test_an_upload_is_done_when_its_last_follow_up_is() -> None:
    rates = with_pending(exact_rates(ONE_SECOND_EACH, CHAIN), {METADATA: {OUTSIDE: 100}})
    result = simulate(rates, {METADATA: 100}, running=[METADATA], order=EIGHT)
    assert result.drained_at(METADATA) == approximately(100)
    # Eight queues, ten thumbnails of persons, and eight handovers.
    assert result.finished_at() == approximately(800 + 10 + 8 * HANDOVER)


def test_a_run_over_all_thumbnails_has_no_follow_ups() -> None:
    rates = with_pending(exact_rates(ONE_SECOND_EACH, CHAIN), {THUMBNAIL: {OUTSIDE: 100}})
    result = simulate(rates, {THUMBNAIL: 100}, running=[THUMBNAIL], order=EIGHT)
    assert result.finished_at() == approximately(100)


def test_jobs_complete_in_order_of_arrival() -> None:
    rates = with_pending(
        exact_rates(ONE_SECOND_EACH, CHAIN), {THUMBNAIL: {OUTSIDE: 90, TEMPLATE: 10}}
    )
    result = simulate(rates, {THUMBNAIL: 100}, running=[THUMBNAIL], order=EIGHT, limit=2)
    # The second slot gets jobs only after the first 90.
    assert result.finished_at() == pytest.approx(130, abs=2)
    rates = with_pending(
        exact_rates(ONE_SECOND_EACH, CHAIN), {THUMBNAIL: {TEMPLATE: 10, OUTSIDE: 90}}
    )
    result = simulate(rates, {THUMBNAIL: 100}, running=[THUMBNAIL], order=EIGHT, limit=2)
    assert result.finished_at() == pytest.approx(110, abs=3)


def test_jobs_that_arrive_in_a_queue_that_may_not_run_stay_there() -> None:
    rates = with_pending(exact_rates(ONE_SECOND_EACH, CHAIN), {METADATA: {OUTSIDE: 100}})
    order = [name for name in EIGHT if name != THUMBNAIL]
    result = simulate(rates, {METADATA: 100}, running=[METADATA], order=order)
    assert result.finished_at() == approximately(200 + HANDOVER)


def test_a_spare_slot_goes_to_a_queue_that_receives_jobs() -> None:
    rates = with_pending(
        exact_rates({**ONE_SECOND_EACH, DUPLICATES: 0.1}, CHAIN), {SEARCH: {OUTSIDE: 100}}
    )
    result = simulate(rates, {SEARCH: 100}, running=[SEARCH], order=EIGHT, limit=2)
    assert result.finished_at() == pytest.approx(100, abs=1)


def test_a_receiving_queue_gets_no_slot_while_none_is_spare() -> None:
    rates = with_pending(
        exact_rates({**ONE_SECOND_EACH, DUPLICATES: 0.1}, CHAIN), {SEARCH: {OUTSIDE: 100}}
    )
    pending = {SEARCH: 100, OCR: 300}
    result = simulate(rates, pending, running=[SEARCH, OCR], order=EIGHT, limit=2)
    assert result.drained_at(SEARCH) == approximately(100)
    assert result.finished_at() == approximately(300)
    long = simulate(rates, {**pending, LIBRARY: 1}, running=[SEARCH, OCR], order=EIGHT, limit=2)
    assert long.finished_at() == approximately(300)


def test_a_queue_slower_than_its_upstream_queue_is_drained_later() -> None:
    rates = with_pending(
        exact_rates({**ONE_SECOND_EACH, DUPLICATES: 3.0}, CHAIN), {SEARCH: {OUTSIDE: 100}}
    )
    result = simulate(rates, {SEARCH: 100}, running=[SEARCH], order=EIGHT, limit=2)
    assert result.finished_at() == pytest.approx(300, rel=0.02)


def test_without_a_limit_the_slowest_queue_decides() -> None:
    times = {**dict.fromkeys(EIGHT, 0.1), THUMBNAIL: 1.0}
    rates = with_pending(exact_rates(times, CHAIN), {METADATA: {OUTSIDE: 1000}})
    result = simulate(rates, {METADATA: 1000}, running=[METADATA], order=EIGHT, limit=1000)
    # Recognition waits for the thumbnails, then adds those of persons to the slowest queue.
    assert result.finished_at() == pytest.approx(1000 + 100 + 100, rel=0.1)


def test_recognition_waits_until_face_detection_is_drained() -> None:
    rates = with_pending(
        exact_rates(
            {FACES: 1.0, RECOGNITION: 0.1, OCR: 1.0}, {FACES: {OUTSIDE: {RECOGNITION: 0.0}}}
        ),
        {FACES: {OUTSIDE: 100}, RECOGNITION: {FACES: 50}},
    )
    result = simulate(
        rates, {FACES: 100, RECOGNITION: 50, OCR: 10}, running=[FACES, RECOGNITION], limit=2
    )
    assert result.drained_at(RECOGNITION) == approximately(105)


def test_recognition_from_outside_does_not_wait() -> None:
    rates = with_pending(
        exact_rates({FACES: 1.0, RECOGNITION: 0.1}, {FACES: {OUTSIDE: {RECOGNITION: 0.0}}}),
        {FACES: {OUTSIDE: 100}, RECOGNITION: {OUTSIDE: 50}},
    )
    result = simulate(rates, {FACES: 100, RECOGNITION: 50}, running=[FACES, RECOGNITION], limit=2)
    assert result.drained_at(RECOGNITION) == approximately(5)


# Unknown


def test_a_queue_without_a_rate_and_the_queues_behind_it_are_unknown() -> None:
    rates = exact_rates({OCR: 1.0, MIGRATION: 1.0})
    pending = {OCR: 10, LIBRARY: 20, MIGRATION: 30}
    result = simulate(rates, pending, running=[OCR], order=[LIBRARY, MIGRATION])
    assert result.drained_at(OCR) == approximately(10)
    assert result.drained_at(LIBRARY) is None
    assert result.drained_at(MIGRATION) is None
    assert result.finished_at() is None


def test_beside_a_queue_without_a_rate_only_queues_that_get_a_slot_later_are_unknown() -> None:
    rates = exact_rates({OCR: 1.0, MIGRATION: 1.0})
    pending = {LIBRARY: 20, OCR: 10, MIGRATION: 30}
    result = simulate(rates, pending, running=[LIBRARY, OCR], order=[MIGRATION], limit=2)
    assert result.drained_at(OCR) == approximately(10)
    assert result.drained_at(MIGRATION) is None
    wide = simulate(rates, pending, running=[LIBRARY, OCR, MIGRATION], limit=3)
    assert wide.drained_at(MIGRATION) == approximately(30)
    assert wide.finished_at() is None


def test_a_queue_downstream_of_a_queue_without_a_rate_is_unknown() -> None:
    rates = with_pending(exact_rates({THUMBNAIL: 1.0}, CHAIN), {TEMPLATE: {METADATA: 10}})
    result = simulate(rates, {TEMPLATE: 10, THUMBNAIL: 5}, running=[TEMPLATE, THUMBNAIL], limit=2)
    assert result.drained_at(THUMBNAIL) is None


def test_alone_a_queue_is_at_worst_as_slow_as_beside_others() -> None:
    rates = Rates(by_others={OCR: {MAX_OTHERS: Rate(MANY, MANY)}})
    assert simulate(rates, {OCR: 10}, running=[OCR], limit=99).finished_at() == approximately(10)
