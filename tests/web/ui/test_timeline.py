"""The chart of the last 24 hours: positions, merged spans and gaps."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.status.history import BUCKET_SECONDS, MAX_BUCKETS, Bucket, History, observe
from immich_job_daemon.web.ui.timeline import (
    HEIGHT,
    MAX_LANES,
    MAX_SPANS,
    MIN_WIDTH,
    Timeline,
    timeline,
)

NOW = 1000 * BUCKET_SECONDS + 100.0
OFFSET = 1_790_000_000.0 - NOW


def bucket(ago: int, pending: int = 0, **busy: float) -> Bucket:
    return Bucket((1000 - ago) * BUCKET_SECONDS, pending, busy)


def chart(*buckets: Bucket, order: tuple[str, ...] = ()) -> Timeline:
    found = timeline(History(buckets), order, NOW, OFFSET)
    assert found is not None
    return found


def test_an_empty_history_has_no_chart() -> None:
    assert timeline(History(), (), NOW, OFFSET) is None
    assert timeline(History((bucket(MAX_BUCKETS + 3),)), (), NOW, OFFSET) is None


def test_now_is_at_the_right_end_and_a_day_ago_at_the_left() -> None:
    (lane,) = chart(
        bucket(MAX_BUCKETS - 1, ocr=BUCKET_SECONDS), bucket(0, ocr=BUCKET_SECONDS)
    ).lanes
    first, last = lane.spans
    assert first.x == 0
    assert last.x + last.width == 100
    found = chart(bucket(0))
    assert found.begin == (1001 - MAX_BUCKETS) * BUCKET_SECONDS + OFFSET


def test_contiguous_buckets_are_one_span() -> None:
    (lane,) = chart(bucket(3, ocr=60.0), bucket(2, ocr=BUCKET_SECONDS), bucket(1, ocr=120.0)).lanes
    (span,) = lane.spans
    assert abs(span.width - (60 + BUCKET_SECONDS + 120) / BUCKET_SECONDS / MAX_BUCKETS * 100) < 0.02
    assert span.share == 1


def test_a_gap_ends_a_span() -> None:
    (lane,) = chart(bucket(5, ocr=BUCKET_SECONDS), bucket(4), bucket(3, ocr=BUCKET_SECONDS)).lanes
    assert len(lane.spans) == 2


def test_too_many_spans_are_merged_where_they_are_closest_and_become_paler() -> None:
    often = [bucket(number, ocr=60.0, x=60.0) for number in range(MAX_BUCKETS - 1, 0, -2)]
    lanes = chart(*often).lanes
    assert [len(lane.spans) for lane in lanes] == [MAX_SPANS // 2, MAX_SPANS // 2]
    shares = [span.share for span in lanes[0].spans]
    assert 0 < min(shares) < 1


def test_beyond_a_maximum_lanes_are_only_counted() -> None:
    names = [f"queue{number}" for number in range(MAX_LANES + 3)]
    found = chart(Bucket(1000 * BUCKET_SECONDS, 0, dict.fromkeys(names, 1.0)))
    assert (len(found.lanes), found.more) == (MAX_LANES, 3)


def test_a_very_short_span_has_a_minimum_width() -> None:
    (lane,) = chart(bucket(0, ocr=0.5)).lanes
    assert lane.spans[0].width == MIN_WIDTH
    assert lane.spans[0].x + MIN_WIDTH <= 100


def test_lanes_are_by_priority_and_unknown_queues_follow() -> None:
    found = chart(
        bucket(1, ocr=1.0, gone=1.0), bucket(0, library=1.0), order=("library", "x", "ocr")
    )
    assert [lane.name for lane in found.lanes] == ["library", "ocr", "gone"]


def test_the_height_of_the_backlog_is_relative_to_its_peak() -> None:
    found = chart(bucket(2, 100), bucket(1, 50), bucket(0, 50))
    x = MAX_BUCKETS - 3
    assert found.backlog == f"M{x} {HEIGHT}v-100h1v50h2V{HEIGHT}"
    assert found.peak == 100


def test_times_without_data_are_gaps_and_not_an_empty_backlog() -> None:
    found = chart(bucket(10, 5), bucket(2, 5), bucket(1, 5))
    assert len(found.gaps) == 3
    assert found.backlog.count("M") == 2
    total = sum(span.width for span in found.gaps)
    assert abs(total - (MAX_BUCKETS - 3) / MAX_BUCKETS * 100) < MIN_WIDTH


def test_an_empty_backlog_is_a_flat_line() -> None:
    assert chart(bucket(1), bucket(0)).backlog == f"M{MAX_BUCKETS - 2} {HEIGHT}v0h2V{HEIGHT}"


def test_ticks_are_at_full_hours() -> None:
    ticks = chart(bucket(0)).ticks
    assert 7 <= len(ticks) <= 8
    assert all(tick.at % (3 * 3600) == 0 for tick in ticks)
    assert any(tick.is_major for tick in ticks)


def test_the_table_has_the_same_data_by_the_hour_with_the_latest_first() -> None:
    hours = chart(
        bucket(20, 7, ocr=BUCKET_SECONDS), bucket(1, 3, ocr=60.0), bucket(0, 5, ocr=20.0)
    ).hours
    assert [(hour.pending, dict(hour.busy)) for hour in hours] == [
        (5, {"ocr": 80.0}),
        (7, {"ocr": BUCKET_SECONDS}),
    ]


def test_an_hour_names_the_queues_with_the_most_time() -> None:
    (hour,) = chart(bucket(0, a=1.0, b=9.0, c=3.0, d=4.0, e=5.0, f=2.0)).hours
    assert ([*hour.busy], hour.more) == (["b", "e"], 4)


def test_the_hours_of_the_table_are_full_hours() -> None:
    hours = chart(bucket(20), bucket(0)).hours
    assert hours[0].at % 3600 == 0


@given(
    polls=st.lists(
        st.tuples(
            st.floats(0.1, 20_000.0),
            st.sets(st.sampled_from(["ocr", "library", "x"])),
            st.none() | st.integers(0, 10**9),
        ),
        min_size=1,
        max_size=80,
    )
)
def test_any_history_lies_within_the_chart(
    polls: list[tuple[float, set[str], int | None]],
) -> None:
    history, now = History(), 1e6
    for wait, running, pending in polls:
        now += wait
        history = observe(history, running=running, pending=pending, now=now)
    found = timeline(history, ("ocr",), now, 1e9)
    if found is None:
        assert (
            history.buckets == ()
            or history.buckets[-1].start < now - MAX_BUCKETS * BUCKET_SECONDS + BUCKET_SECONDS
        )
        return
    for span in [*found.gaps, *(span for lane in found.lanes for span in lane.spans)]:
        assert span.x >= 0
        assert span.width > 0
        assert span.x + span.width <= 100.011
    for path in re.findall(r"M[^M]+", found.backlog):
        steps = re.fullmatch(r"M(\d+) 100((?:[hv]-?\d+)+)V100", path)
        assert steps is not None
        x, y = int(steps[1]), HEIGHT
        for direction, by in re.findall(r"([hv])(-?\d+)", steps[2]):
            x, y = (x + int(by), y) if direction == "h" else (x, y + int(by))
            assert 0 <= x <= MAX_BUCKETS
            assert 0 <= y <= HEIGHT
    assert len(found.backlog) < 6000


def test_a_history_from_another_boot_does_no_harm() -> None:
    future = replace(bucket(0), start=2000 * BUCKET_SECONDS)
    assert timeline(History((future,)), (), NOW, OFFSET) is None
