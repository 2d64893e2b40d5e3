"""What is kept of the last 24 hours, and how much of a backlog is done."""

from immich_job_daemon.status.history import PART, PARTS, History, observe


def looks(*pending: int | None, every: float = 60.0) -> History:
    history = History()
    for number, jobs in enumerate(pending):
        history = observe(history, running=(), pending=jobs, now=1000 * PART + number * every)
    return history


def test_time_with_a_slot_is_shared_among_the_parts_it_lay_in() -> None:
    history = observe(History(), running=("ocr",), pending=9, now=290.0)
    history = observe(history, running=(), pending=0, now=630.0)
    busy = [(part.start, dict(part.busy)) for part in history.parts]
    assert busy == [(0.0, {"ocr": 10.0}), (300.0, {"ocr": 300.0}), (600.0, {"ocr": 30.0})]


def test_a_part_keeps_the_largest_backlog() -> None:
    assert [part.pending for part in looks(3, 9, 4).parts] == [9]


def test_what_is_older_than_a_day_is_forgotten() -> None:
    history = looks(*range(PARTS + 5), every=PART)
    assert len(history.parts) == PARTS
    assert history.parts[0].start == (1000 + 5) * PART


def test_the_peak_is_the_largest_backlog_since_nothing_was_left() -> None:
    assert looks(5000, 0, 20, 100, 40).peak == 100
    assert looks(5000, 0).peak == 0


def test_a_look_that_failed_says_nothing_of_the_backlog() -> None:
    history = looks(50, 20, None)
    assert (history.peak, [part.pending for part in history.parts]) == (50, [50])
    assert looks(50, None, every=PART).parts[-1].start == 1000 * PART


def test_however_long_nobody_looked_it_is_bounded() -> None:
    seen = observe(History(), running=("ocr",), pending=1, now=0.0)
    seen = observe(seen, running=(), pending=1, now=1e9)
    assert len(seen.parts) <= PARTS
    assert sum(part.busy.get("ocr", 0.0) for part in seen.parts) <= PARTS * PART
