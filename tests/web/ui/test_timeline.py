"""The last 24 hours as shapes: where they lie, how they join, and what is not known."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.status.history import BUCKET_SECONDS, MAX_BUCKETS, Bucket, History, observe
from immich_job_daemon.web.ui.timeline import (
    HEIGHT,
    MOST_LANES,
    MOST_SPANS,
    SHORTEST,
    WIDTH,
    Timeline,
    draw,
)

NOW = 1000 * BUCKET_SECONDS + 100.0
OFFSET = 1_790_000_000.0 - NOW


def part(ago: int, pending: int = 0, **busy: float) -> Bucket:
    return Bucket((1000 - ago) * BUCKET_SECONDS, pending, busy)


def drawn(*parts: Bucket, order: tuple[str, ...] = ()) -> Timeline:
    found = draw(History(parts), order, NOW, OFFSET)
    assert found is not None
    return found


def test_nothing_seen_is_nothing_drawn() -> None:
    assert draw(History(), (), NOW, OFFSET) is None
    assert draw(History((part(MAX_BUCKETS + 3),)), (), NOW, OFFSET) is None


def test_the_present_is_at_the_right_end_and_a_day_ago_at_the_left() -> None:
    (lane,) = drawn(part(MAX_BUCKETS - 1, ocr=BUCKET_SECONDS), part(0, ocr=BUCKET_SECONDS)).lanes
    first, last = lane.spans
    assert first.x == 0
    assert last.x + last.width == 100
    found = drawn(part(0))
    assert found.begin == (1001 - MAX_BUCKETS) * BUCKET_SECONDS + OFFSET


def test_parts_that_follow_each_other_are_one_span_from_its_beginning_to_its_end() -> None:
    (lane,) = drawn(part(3, ocr=60.0), part(2, ocr=BUCKET_SECONDS), part(1, ocr=120.0)).lanes
    (span,) = lane.spans
    assert abs(span.width - (60 + BUCKET_SECONDS + 120) / BUCKET_SECONDS / MAX_BUCKETS * 100) < 0.02
    assert span.share == 1


def test_a_gap_ends_a_span() -> None:
    (lane,) = drawn(part(5, ocr=BUCKET_SECONDS), part(4), part(3, ocr=BUCKET_SECONDS)).lanes
    assert len(lane.spans) == 2


def test_a_day_of_small_things_is_joined_where_it_is_closest_and_paler() -> None:
    often = [part(number, ocr=60.0, x=60.0) for number in range(MAX_BUCKETS - 1, 0, -2)]
    lanes = drawn(*often).lanes
    assert [len(lane.spans) for lane in lanes] == [MOST_SPANS // 2, MOST_SPANS // 2]
    shares = [span.share for span in lanes[0].spans]
    assert 0 < min(shares) < 1


def test_more_queues_than_there_is_room_for_are_counted() -> None:
    names = [f"queue{number}" for number in range(MOST_LANES + 3)]
    found = drawn(Bucket(1000 * BUCKET_SECONDS, 0, dict.fromkeys(names, 1.0)))
    assert (len(found.lanes), found.more) == (MOST_LANES, 3)


def test_a_moment_can_still_be_seen() -> None:
    (lane,) = drawn(part(0, ocr=0.5)).lanes
    assert lane.spans[0].width == SHORTEST
    assert lane.spans[0].x + SHORTEST <= 100


def test_lanes_are_by_priority_and_what_is_unknown_follows() -> None:
    found = drawn(part(1, ocr=1.0, gone=1.0), part(0, library=1.0), order=("library", "x", "ocr"))
    assert [lane.name for lane in found.lanes] == ["library", "ocr", "gone"]


def test_the_backlog_is_as_high_as_its_share_of_the_largest() -> None:
    found = drawn(part(2, 100), part(1, 50), part(0, 50))
    x = MAX_BUCKETS - 3
    assert found.backlog == f"M{x} {HEIGHT}v-100h1v50h2V{HEIGHT}"
    assert found.most == 100


def test_what_nobody_saw_is_marked_and_not_drawn_as_nothing_to_do() -> None:
    found = drawn(part(10, 5), part(2, 5), part(1, 5))
    assert len(found.unseen) == 3
    assert found.backlog.count("M") == 2
    total = sum(span.width for span in found.unseen)
    assert abs(total - (MAX_BUCKETS - 3) / MAX_BUCKETS * 100) < SHORTEST


def test_an_empty_backlog_is_a_flat_line() -> None:
    assert drawn(part(1), part(0)).backlog == f"M{MAX_BUCKETS - 2} {HEIGHT}v0h2V{HEIGHT}"


def test_ticks_are_at_full_hours() -> None:
    ticks = drawn(part(0)).ticks
    assert 7 <= len(ticks) <= 8
    assert all(tick.at % (3 * 3600) == 0 for tick in ticks)
    assert any(tick.is_major for tick in ticks)


def test_the_table_tells_the_same_by_the_hour_the_latest_first() -> None:
    hours = drawn(part(20, 7, ocr=BUCKET_SECONDS), part(1, 3, ocr=60.0), part(0, 5, ocr=20.0)).hours
    assert [(hour.pending, dict(hour.busy)) for hour in hours] == [
        (5, {"ocr": 80.0}),
        (7, {"ocr": BUCKET_SECONDS}),
    ]


def test_an_hour_of_many_queues_names_those_with_the_most_time() -> None:
    (hour,) = drawn(part(0, a=1.0, b=9.0, c=3.0, d=4.0, e=5.0, f=2.0)).hours
    assert ([*hour.busy], hour.more) == (["b", "e"], 4)


def test_the_hours_are_full_ones() -> None:
    hours = drawn(part(20), part(0)).hours
    assert hours[0].at % 3600 == 0


@given(
    looks=st.lists(
        st.tuples(
            st.floats(0.1, 20_000.0),
            st.sets(st.sampled_from(["ocr", "library", "x"])),
            st.none() | st.integers(0, 10**9),
        ),
        min_size=1,
        max_size=80,
    )
)
def test_whatever_happened_everything_lies_within_the_picture(
    looks: list[tuple[float, set[str], int | None]],
) -> None:
    history, now = History(), 1e6
    for wait, running, pending in looks:
        now += wait
        history = observe(history, running=running, pending=pending, now=now)
    found = draw(history, ("ocr",), now, 1e9)
    if found is None:
        assert (
            history.buckets == ()
            or history.buckets[-1].start < now - MAX_BUCKETS * BUCKET_SECONDS + BUCKET_SECONDS
        )
        return
    for span in [*found.unseen, *(span for lane in found.lanes for span in lane.spans)]:
        assert span.x >= 0
        assert span.width > 0
        assert span.x + span.width <= 100.011
    for path in re.findall(r"M[^M]+", found.backlog):
        steps = re.fullmatch(r"M(\d+) 100((?:[hv]-?\d+)+)V100", path)
        assert steps is not None
        x, y = int(steps[1]), HEIGHT
        for direction, by in re.findall(r"([hv])(-?\d+)", steps[2]):
            x, y = (x + int(by), y) if direction == "h" else (x, y + int(by))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT
    assert len(found.backlog) < 6000


def test_history_of_another_boot_does_not_break_it() -> None:
    future = replace(part(0), start=2000 * BUCKET_SECONDS)
    assert draw(History((future,)), (), NOW, OFFSET) is None
