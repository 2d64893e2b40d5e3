"""When a queue is scanned for missing files, and that it is scanned once a day."""

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
    """Return a time in Berlin in the year 2026, from ``MM-DD HH:MM``."""
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=BERLIN)


def idle(**backlog: int) -> Snapshot:
    """Return a snapshot of paused queues with these backlogs, in jobs by name."""
    return {
        name: Queue(name, is_paused=True, waiting=backlog.get(name, 0)) for name in sorted(MANAGED)
    }


class SimulatedScan:
    """A scan, poll by poll."""

    def __init__(self, scan: Scan, progress: ScanProgress = ScanProgress()) -> None:  # noqa: B008 - it is frozen
        self.scan = scan
        self.progress = progress

    def poll(
        self, when: str, snapshot: Snapshot | None = None, may_start: frozenset[str] = MANAGED
    ) -> str | None:
        """Return the queue to scan at a time, if any."""
        name, self.progress = next_to_scan(
            self.scan, self.progress, snapshot or idle(), may_start, at(when)
        )
        return name

    def poll_until_none(self, when: str) -> list[str]:
        """Return all queues to scan at a time, when no scan finds jobs."""
        scanned = []
        while (name := self.poll(when)) is not None:
            scanned.append(name)
        return scanned


# Which queues, and when.


def test_scanned_queues_exist_in_immich_and_follow_the_order_of_the_pipeline() -> None:
    assert set(SCANNED) < set(REINDEX)
    assert set(SCANNED) <= set(QUEUES)
    order = [name for name in PRIORITY if name in SCANNED]
    assert [name for name in SCANNED if name in order] == order


def test_each_queue_is_scanned_once_a_day() -> None:
    simulated = SimulatedScan(AT_THREE)
    assert simulated.poll_until_none("11-24 03:00") == list(SCANNED)
    for when in ("11-24 03:01", "11-24 03:59", "11-24 04:00", "11-24 12:00", "11-25 02:59"):
        assert simulated.poll(when) is None
    assert simulated.poll_until_none("11-25 03:00") == list(SCANNED)


def test_nothing_is_scanned_before_the_window() -> None:
    simulated = SimulatedScan(AT_THREE)
    assert simulated.poll("11-24 02:59:59") is None
    assert simulated.progress == ScanProgress()


def test_a_scan_runs_only_on_its_days() -> None:
    simulated = SimulatedScan(Scan(Window(None, time(3), time(4), frozenset({6}))))
    assert simulated.poll("11-28 03:30") is None
    assert simulated.poll_until_none("11-29 03:30") == list(SCANNED)
    assert simulated.poll("11-30 03:30") is None
    assert simulated.poll_until_none("12-06 03:30") == list(SCANNED)


# Order.


def test_the_next_queue_is_scanned_when_the_previous_one_is_drained() -> None:
    simulated = SimulatedScan(AT_THREE)
    assert simulated.poll("11-24 03:00") == "sidecar"
    assert simulated.poll("11-24 03:10", idle(sidecar=500)) is None
    assert simulated.poll("11-24 03:20", idle(sidecar=1)) is None
    assert simulated.poll("11-24 03:30") == "metadataExtraction"


def test_a_busy_queue_is_scanned_when_it_is_drained_and_no_other_before() -> None:
    simulated = SimulatedScan(AT_THREE)
    busy = {**idle(), "metadataExtraction": Queue("metadataExtraction", is_paused=False, active=1)}
    assert simulated.poll("11-24 03:00", busy) == "sidecar"
    assert simulated.poll("11-24 03:05", busy) is None
    assert simulated.poll("11-24 03:10") == "metadataExtraction"


@pytest.mark.parametrize(
    "queue",
    [
        Queue("sidecar", is_paused=False, active=1),
        Queue("sidecar", is_paused=True, waiting=1),
        Queue("sidecar", is_paused=True, paused=1),
    ],
    ids=str,
)
def test_a_queue_with_work_is_not_scanned(queue: Queue) -> None:
    assert SimulatedScan(AT_THREE).poll("11-24 03:00", {**idle(), "sidecar": queue}) is None


def test_failed_and_delayed_jobs_do_not_count_as_work() -> None:
    queue = Queue("sidecar", is_paused=True, delayed=3, failed=5)
    assert SimulatedScan(AT_THREE).poll("11-24 03:00", {**idle(), "sidecar": queue}) == "sidecar"


def test_a_queue_that_may_not_start_is_skipped_until_it_may() -> None:
    simulated = SimulatedScan(AT_THREE)
    assert simulated.poll("11-24 03:00", may_start=MANAGED - {"sidecar"}) == "metadataExtraction"
    assert simulated.poll("11-24 03:10") == "sidecar"
    assert simulated.poll_until_none("11-24 03:20") == list(SCANNED[2:])


def test_a_queue_that_immich_does_not_have_is_skipped() -> None:
    older = {name: queue for name, queue in idle().items() if name not in {"sidecar", "ocr"}}
    simulated = SimulatedScan(AT_THREE)
    scanned = []
    while (name := simulated.poll("11-24 03:00", older)) is not None:
        scanned.append(name)
    assert scanned == [name for name in SCANNED if name not in {"sidecar", "ocr"}]


def test_a_scanned_queue_that_disappears_does_not_block_the_next() -> None:
    simulated = SimulatedScan(AT_THREE)
    simulated.poll("11-24 03:00")
    snapshot = {name: queue for name, queue in idle().items() if name != "sidecar"}
    assert simulated.poll("11-24 03:10", snapshot) == "metadataExtraction"


# A time of day or a window.


def test_a_scan_at_a_time_of_day_runs_as_long_as_it_takes() -> None:
    simulated = SimulatedScan(AT_THREE)
    assert simulated.poll("11-24 03:00") == "sidecar"
    assert simulated.poll("11-24 16:00", idle(sidecar=9)) is None
    assert simulated.poll("11-24 16:10") == "metadataExtraction"
    assert simulated.poll("11-25 01:59") == "thumbnailGeneration"


def test_a_scan_at_a_time_of_day_ends_when_the_next_begins() -> None:
    simulated = SimulatedScan(AT_THREE)
    simulated.poll("11-24 03:00")
    assert simulated.poll("11-25 02:00") is None
    assert simulated.poll("11-25 03:00") == "sidecar"


def test_a_scan_longer_than_a_day_starts_again_with_a_drained_queue() -> None:
    simulated = SimulatedScan(AT_THREE)
    simulated.poll("11-24 03:00")
    assert simulated.poll("11-25 03:00", idle(sidecar=9)) is None
    assert simulated.poll("11-25 09:00") == "sidecar"
    assert simulated.poll("11-25 09:10") == "metadataExtraction"


def test_a_scan_in_a_window_ends_with_the_window() -> None:
    simulated = SimulatedScan(IN_A_WINDOW)
    assert simulated.poll("11-24 01:00") == "sidecar"
    assert simulated.poll("11-24 04:59:59") == "metadataExtraction"
    assert simulated.poll("11-24 05:00") is None
    assert simulated.poll("11-24 12:00") is None
    assert simulated.poll("11-25 01:00") == "sidecar"


def test_a_window_over_midnight_is_one_scan() -> None:
    saturday = Window(None, time(23), time(2), frozenset({5}))
    simulated = SimulatedScan(Scan(saturday, ends_with_window=True))
    assert simulated.poll("11-28 23:30") == "sidecar"
    assert simulated.poll("11-29 00:30") == "metadataExtraction"
    assert simulated.poll("11-29 02:00") is None
    assert simulated.poll("11-29 23:30") is None


# Restarts and clock changes.


def test_a_daemon_started_within_the_hour_scans_at_once() -> None:
    assert SimulatedScan(AT_THREE).poll("11-24 03:59:59") == "sidecar"


def test_a_daemon_started_later_waits_for_the_next_scan() -> None:
    simulated = SimulatedScan(AT_THREE)
    for when in ("11-24 04:00", "11-24 12:00", "11-25 02:59"):
        assert simulated.poll(when) is None
    assert simulated.poll("11-25 03:00") == "sidecar"


def test_a_restarted_daemon_continues_its_scan() -> None:
    first = SimulatedScan(AT_THREE)
    first.poll("11-24 03:00")
    first.poll("11-24 03:10")
    second = SimulatedScan(AT_THREE, first.progress)
    assert second.poll_until_none("11-24 12:00") == list(SCANNED[2:])
    assert SimulatedScan(AT_THREE, second.progress).poll("11-24 12:30") is None


def test_a_changed_time_is_a_new_scan() -> None:
    first = SimulatedScan(AT_THREE)
    first.poll_until_none("11-24 03:00")
    second = SimulatedScan(Scan(Window(None, time(12), time(13))), first.progress)
    assert second.poll("11-24 11:00") is None
    assert second.poll_until_none("11-24 12:00") == list(SCANNED)


def test_a_clock_set_back_does_not_repeat_a_scan() -> None:
    simulated = SimulatedScan(AT_THREE)
    simulated.poll_until_none("11-24 03:00")
    assert simulated.poll("11-24 03:30") is None
    assert simulated.poll("11-23 12:00") is None


@pytest.mark.parametrize(("day", "hours"), [("03-29", 23), ("10-25", 25), ("11-24", 24)])
def test_each_queue_is_scanned_once_on_days_with_a_dst_change(day: str, hours: int) -> None:
    simulated = SimulatedScan(Scan(Window(None, time(2, 30), time(3, 30))))
    begin = at(f"{day} 00:00").timestamp()
    requested = []
    for minute in range(0, hours * 60, 5):
        local = datetime.fromtimestamp(begin + minute * 60, BERLIN)
        name, simulated.progress = next_to_scan(
            simulated.scan, simulated.progress, idle(), MANAGED, local
        )
        requested += [name] if name else []
    assert requested == list(SCANNED)


# Properties.

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
polls = st.lists(
    st.tuples(st.integers(1, 6 * 3600), snapshots, st.frozensets(st.sampled_from(SCANNED))),
    max_size=30,
)


def scans_of(scan: Scan, polls: list[tuple[int, Snapshot, frozenset[str]]]) -> Iterator[str]:
    local, progress = at("11-24 00:00"), ScanProgress()
    for seconds, snapshot, may_start in polls:
        local += timedelta(seconds=seconds)
        name, after = next_to_scan(scan, progress, snapshot, may_start, local)
        assert after.began <= local.timestamp()
        if name is not None:
            assert name in may_start
            assert snapshot[name].is_drained
            assert after == replace(
                after, asked=already_scanned(progress, after) | {name}, latest=name
            )
            yield f"{after.began} {name}"
        progress = after


def already_scanned(before: ScanProgress, after: ScanProgress) -> frozenset[str]:
    """Return the queues scanned before in the same scan."""
    return before.asked if before.began == after.began else frozenset()


@given(st.sampled_from((AT_THREE, IN_A_WINDOW)), polls)
def test_no_queue_is_scanned_twice_nor_while_it_has_work(
    scan: Scan, polls: list[tuple[int, Snapshot, frozenset[str]]]
) -> None:
    scans = list(scans_of(scan, polls))
    assert len(set(scans)) == len(scans)
    starts = [float(text.split()[0]) for text in scans]
    assert all(earlier <= later for earlier, later in pairwise(starts))
