"""When Immich is asked to look for what is missing, and that it is asked once. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immich_job_daemon.model.queue import PRIORITY, Queue, Snapshot
from immich_job_daemon.model.settings import Scan
from immich_job_daemon.model.windows import Window
from immich_job_daemon.scheduler.scan import SCANNED, ScanProgress, next_to_scan
from simulator.immich.pipeline import QUEUES, REINDEX

BERLIN = ZoneInfo("Europe/Berlin")
AT_THREE = Scan(Window(None, time(3), time(4)))
IN_A_WINDOW = Scan(Window(None, time(1), time(5)), ends_with_window=True)
MANAGED = frozenset(PRIORITY) | {"ocr", "library"}


def at(text: str) -> datetime:
    """Return a time of the year 2026 in Berlin."""
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=BERLIN)


def idle(**backlog: int) -> Snapshot:
    """Return every queue, with nothing in it but what is said."""
    return {
        name: Queue(name, is_paused=True, waiting=backlog.get(name, 0)) for name in sorted(MANAGED)
    }


class Night:
    """What is asked in the course of time, look by look."""

    def __init__(self, scan: Scan, progress: ScanProgress = ScanProgress()) -> None:  # noqa: B008 - it cannot be changed
        self.scan = scan
        self.progress = progress
        self.asked: list[tuple[str, str]] = []

    def look(
        self, when: str, snapshot: Snapshot | None = None, may_start: frozenset[str] = MANAGED
    ) -> str | None:
        """Return who is asked at a time."""
        name, self.progress = next_to_scan(
            self.scan, self.progress, snapshot or idle(), may_start, at(when)
        )
        if name is not None:
            self.asked.append((when, name))
        return name

    def rest(self, when: str) -> list[str]:
        """Return who is asked one after the other at a time, while nothing is found."""
        found = []
        while (name := self.look(when)) is not None:
            found.append(name)
        return found


# What is asked.


def test_every_queue_that_knows_such_a_run_is_asked_and_in_the_order_in_which_work_flows() -> None:
    assert set(SCANNED) < set(REINDEX)
    assert set(SCANNED) <= set(QUEUES)
    order = [name for name in PRIORITY if name in SCANNED]
    assert [name for name in SCANNED if name in order] == order


def test_each_is_asked_once_and_then_nothing_until_the_next_day() -> None:
    night = Night(AT_THREE)
    assert night.rest("11-24 03:00") == list(SCANNED)
    for later in ("11-24 03:01", "11-24 03:59", "11-24 04:00", "11-24 12:00", "11-25 02:59"):
        assert night.look(later) is None
    assert night.rest("11-25 03:00") == list(SCANNED)


def test_before_the_time_nothing_is_asked() -> None:
    night = Night(AT_THREE)
    assert night.look("11-24 02:59:59") is None
    assert night.progress == ScanProgress()


def test_only_on_its_days() -> None:
    night = Night(Scan(Window(None, time(3), time(4), frozenset({6}))))
    assert night.look("11-28 03:30") is None
    assert night.rest("11-29 03:30") == list(SCANNED)
    assert night.look("11-30 03:30") is None
    assert night.rest("12-06 03:30") == list(SCANNED)


# One after the other.


def test_the_next_is_asked_when_what_the_one_before_found_is_done() -> None:
    night = Night(AT_THREE)
    assert night.look("11-24 03:00") == "sidecar"
    assert night.look("11-24 03:10", idle(sidecar=500)) is None
    assert night.look("11-24 03:20", idle(sidecar=1)) is None
    assert night.look("11-24 03:30") == "metadataExtraction"


def test_who_is_at_work_is_asked_when_it_is_drained_and_no_other_before() -> None:
    night = Night(AT_THREE)
    busy = {**idle(), "metadataExtraction": Queue("metadataExtraction", is_paused=False, active=1)}
    assert night.look("11-24 03:00", busy) == "sidecar"
    assert night.look("11-24 03:05", busy) is None
    assert night.look("11-24 03:10") == "metadataExtraction"


@pytest.mark.parametrize(
    "queue",
    [
        Queue("sidecar", is_paused=False, active=1),
        Queue("sidecar", is_paused=True, waiting=1),
        Queue("sidecar", is_paused=True, paused=1),
    ],
    ids=str,
)
def test_a_queue_with_work_is_not_asked(queue: Queue) -> None:
    assert Night(AT_THREE).look("11-24 03:00", {**idle(), "sidecar": queue}) is None


def test_jobs_that_failed_or_are_delayed_are_no_work() -> None:
    queue = Queue("sidecar", is_paused=True, delayed=3, failed=5)
    assert Night(AT_THREE).look("11-24 03:00", {**idle(), "sidecar": queue}) == "sidecar"


def test_who_may_not_start_is_passed_over_and_has_its_turn_when_it_may() -> None:
    night = Night(AT_THREE)
    assert night.look("11-24 03:00", may_start=MANAGED - {"sidecar"}) == "metadataExtraction"
    assert night.look("11-24 03:10") == "sidecar"
    assert night.rest("11-24 03:20") == list(SCANNED[2:])


def test_a_queue_that_this_immich_has_not_is_passed_over() -> None:
    older = {name: queue for name, queue in idle().items() if name not in {"sidecar", "ocr"}}
    night = Night(AT_THREE)
    found = []
    while (name := night.look("11-24 03:00", older)) is not None:
        found.append(name)
    assert found == [name for name in SCANNED if name not in {"sidecar", "ocr"}]


def test_a_queue_that_immich_lost_meanwhile_keeps_nobody_waiting() -> None:
    night = Night(AT_THREE)
    night.look("11-24 03:00")
    without = {name: queue for name, queue in idle().items() if name != "sidecar"}
    assert night.look("11-24 03:10", without) == "metadataExtraction"


# A time of the day, and a window.


def test_a_scan_at_a_time_of_the_day_goes_on_as_long_as_it_takes() -> None:
    night = Night(AT_THREE)
    assert night.look("11-24 03:00") == "sidecar"
    assert night.look("11-24 16:00", idle(sidecar=9)) is None
    assert night.look("11-24 16:10") == "metadataExtraction"
    assert night.look("11-25 01:59") == "thumbnailGeneration"


def test_but_not_into_the_next_one() -> None:
    night = Night(AT_THREE)
    night.look("11-24 03:00")
    assert night.look("11-25 02:00") is None
    assert night.look("11-25 03:00") == "sidecar"


def test_a_scan_that_takes_longer_than_a_day_begins_anew_and_asks_who_is_drained() -> None:
    night = Night(AT_THREE)
    night.look("11-24 03:00")
    assert night.look("11-25 03:00", idle(sidecar=9)) is None
    assert night.look("11-25 09:00") == "sidecar"
    assert night.look("11-25 09:10") == "metadataExtraction"


def test_a_scan_in_a_window_asks_for_nothing_more_when_it_has_closed() -> None:
    night = Night(IN_A_WINDOW)
    assert night.look("11-24 01:00") == "sidecar"
    assert night.look("11-24 04:59:59") == "metadataExtraction"
    assert night.look("11-24 05:00") is None
    assert night.look("11-24 12:00") is None
    assert night.look("11-25 01:00") == "sidecar"


def test_a_window_over_midnight_is_one_scan() -> None:
    saturday = Window(None, time(23), time(2), frozenset({5}))
    night = Night(Scan(saturday, ends_with_window=True))
    assert night.look("11-28 23:30") == "sidecar"
    assert night.look("11-29 00:30") == "metadataExtraction"
    assert night.look("11-29 02:00") is None
    assert night.look("11-29 23:30") is None


# A daemon that starts.


def test_a_daemon_that_starts_within_the_hour_begins_at_once() -> None:
    assert Night(AT_THREE).look("11-24 03:59:59") == "sidecar"


def test_a_daemon_that_starts_later_waits_for_the_next_time() -> None:
    night = Night(AT_THREE)
    for later in ("11-24 04:00", "11-24 12:00", "11-25 02:59"):
        assert night.look(later) is None
    assert night.look("11-25 03:00") == "sidecar"


def test_a_daemon_that_starts_anew_goes_on_where_it_was() -> None:
    first = Night(AT_THREE)
    first.look("11-24 03:00")
    first.look("11-24 03:10")
    second = Night(AT_THREE, first.progress)
    assert second.rest("11-24 12:00") == list(SCANNED[2:])
    assert Night(AT_THREE, second.progress).look("11-24 12:30") is None


def test_a_time_that_was_changed_is_another_scan() -> None:
    first = Night(AT_THREE)
    first.rest("11-24 03:00")
    second = Night(Scan(Window(None, time(12), time(13))), first.progress)
    assert second.look("11-24 11:00") is None
    assert second.rest("11-24 12:00") == list(SCANNED)


def test_a_clock_that_was_set_back_is_no_reason_to_ask_again() -> None:
    night = Night(AT_THREE)
    night.rest("11-24 03:00")
    assert night.look("11-24 03:30") is None
    assert night.look("11-23 12:00") is None


@pytest.mark.parametrize(("day", "hours"), [("03-29", 23), ("10-25", 25), ("11-24", 24)])
def test_on_the_days_on_which_the_clock_changes_it_is_asked_once_as_well(
    day: str, hours: int
) -> None:
    night = Night(Scan(Window(None, time(2, 30), time(3, 30))))
    begin = at(f"{day} 00:00").timestamp()
    asked = []
    for minute in range(0, hours * 60, 5):
        local = datetime.fromtimestamp(begin + minute * 60, BERLIN)
        name, night.progress = next_to_scan(night.scan, night.progress, idle(), MANAGED, local)
        asked += [name] if name else []
    assert asked == list(SCANNED)


# Whatever happens.

snapshots = st.fixed_dictionaries(
    {
        name: st.builds(
            Queue,
            st.just(name),
            st.booleans(),
            active=st.sampled_from((0, 0, 0, 1)),
            waiting=st.sampled_from((0, 0, 0, 7)),
        )
        for name in (*SCANNED, "library")
    }
)
looks = st.lists(
    st.tuples(st.integers(1, 6 * 3600), snapshots, st.frozensets(st.sampled_from(SCANNED))),
    max_size=30,
)


def asked_in(scan: Scan, looks: list[tuple[int, Snapshot, frozenset[str]]]) -> Iterator[str]:
    local, progress = at("11-24 00:00"), ScanProgress()
    for seconds, snapshot, may_start in looks:
        local += timedelta(seconds=seconds)
        name, after = next_to_scan(scan, progress, snapshot, may_start, local)
        assert after.began <= local.timestamp()
        if name is not None:
            assert name in may_start
            assert snapshot[name].is_drained
            assert after == replace(after, asked=progress_of(progress, after) | {name}, latest=name)
            yield f"{after.began} {name}"
        progress = after


def progress_of(before: ScanProgress, after: ScanProgress) -> frozenset[str]:
    """Return who was asked before in the scan that is the present one after a look."""
    return before.asked if before.began == after.began else frozenset()


@given(st.sampled_from((AT_THREE, IN_A_WINDOW)), looks)
def test_nobody_is_asked_twice_in_a_scan_nor_while_it_works(
    scan: Scan, looks: list[tuple[int, Snapshot, frozenset[str]]]
) -> None:
    asked = list(asked_in(scan, looks))
    assert len(set(asked)) == len(asked)
    begins = [float(text.split()[0]) for text in asked]
    assert all(one <= other for one, other in pairwise(begins))
