"""The history of the last 24 hours, and the peak of a backlog."""

from immich_job_daemon.status.history import BUCKET_SECONDS, MAX_BUCKETS, History, observe


def history_of(*pending: int | None, every: float = 60.0) -> History:
    history = History()
    for number, jobs in enumerate(pending):
        history = observe(
            history, running=(), pending=jobs, now=1000 * BUCKET_SECONDS + number * every
        )
    return history


def test_time_with_a_slot_is_split_between_the_buckets() -> None:
    history = observe(History(), running=("ocr",), pending=9, now=290.0)
    history = observe(history, running=(), pending=0, now=630.0)
    busy = [(bucket.start, dict(bucket.busy)) for bucket in history.buckets]
    assert busy == [(0.0, {"ocr": 10.0}), (300.0, {"ocr": 300.0}), (600.0, {"ocr": 30.0})]


def test_a_bucket_keeps_the_largest_number_of_pending_jobs() -> None:
    assert [bucket.pending for bucket in history_of(3, 9, 4).buckets] == [9]


def test_buckets_older_than_a_day_are_dropped() -> None:
    history = history_of(*range(MAX_BUCKETS + 5), every=BUCKET_SECONDS)
    assert len(history.buckets) == MAX_BUCKETS
    assert history.buckets[0].start == (1000 + 5) * BUCKET_SECONDS


def test_the_peak_is_the_largest_number_of_pending_jobs_since_it_was_0() -> None:
    assert history_of(5000, 0, 20, 100, 40).peak_pending == 100
    assert history_of(5000, 0).peak_pending == 0


def test_a_failed_poll_does_not_change_the_pending_jobs() -> None:
    history = history_of(50, 20, None)
    assert (history.peak_pending, [bucket.pending for bucket in history.buckets]) == (50, [50])
    assert history_of(50, None, every=BUCKET_SECONDS).buckets[-1].start == 1000 * BUCKET_SECONDS


def test_the_history_is_bounded_after_any_pause() -> None:
    history = observe(History(), running=("ocr",), pending=1, now=0.0)
    history = observe(history, running=(), pending=1, now=1e9)
    assert len(history.buckets) <= MAX_BUCKETS
    assert (
        sum(bucket.busy.get("ocr", 0.0) for bucket in history.buckets)
        <= MAX_BUCKETS * BUCKET_SECONDS
    )
