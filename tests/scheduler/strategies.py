"""Random snapshots, states, settings and conditions: everything that ``decide`` reads."""

from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from immich_job_daemon.model.conflict import ConflictEvent, Interference
from immich_job_daemon.model.controls import Controls, Mode
from immich_job_daemon.model.queue import PRIORITY, PROTECTED, Queue
from immich_job_daemon.model.settings import Scan
from immich_job_daemon.model.windows import Window
from immich_job_daemon.scheduler.attribution import CONFLICT_BACKOFF
from immich_job_daemon.scheduler.decision import Conditions
from immich_job_daemon.scheduler.scan import ScanProgress
from immich_job_daemon.scheduler.state import SchedulerState
from tests.support.settings import settings_with

NAMES: Final = (
    "metadataExtraction",
    "thumbnailGeneration",
    "smartSearch",
    "ocr",
    "library",
    "newOne",
)
PROTECTED_NAMES: Final = ("backgroundTask", "backupDatabase")
MODELS: Final = frozenset({"smartSearch", "ocr"})
NOW: Final = 1000.0

zones = st.sampled_from([ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), UTC])
counts = st.sampled_from([0, 0, 0, 1, 2, 500])
names = st.sampled_from(NAMES)
times = st.floats(0, NOW)
lately = st.floats(NOW - 1.5 * CONFLICT_BACKOFF, NOW)


@st.composite
def queues(draw: st.DrawFn, name: str) -> Queue:
    return Queue(
        name,
        is_paused=draw(st.booleans()),
        active=draw(counts),
        waiting=draw(counts),
        paused=draw(counts),
        delayed=draw(counts),
    )


snapshots = st.tuples(*(queues(name) for name in (*NAMES, *PROTECTED_NAMES))).map(
    lambda snapshot: {queue.name: queue for queue in snapshot}
)
windows = st.builds(
    Window,
    st.none() | st.frozensets(names, min_size=1),
    st.builds(time, st.integers(0, 11)),
    st.builds(time, st.integers(12, 23)),
    st.frozensets(st.integers(0, 6), min_size=1),
)
options = st.builds(settings_with, st.integers(1, 4))

SETTINGS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "max_concurrent_jobs": st.integers(1, 4),
    "queue_priority": st.just(PRIORITY) | st.permutations(NAMES).map(tuple),
    "protected_queues": st.sampled_from(
        [frozenset(PROTECTED), frozenset(PROTECTED), frozenset({*PROTECTED, "library"})]
    ),
    "unrestricted_below": st.sampled_from([0, 0, 0, 5]),
    "exclusive": st.sampled_from([(), (), (MODELS,), (MODELS, frozenset({"ocr", "library"}))]),
    "schedule": st.lists(windows, max_size=2).map(tuple),
    "yield_after": st.sampled_from([None, None, 1.0, 500.0]),
    "max_wait": st.sampled_from([None, None, 60.0, 1000.0]),
    "scan": st.none() | st.builds(Scan, windows, st.booleans()),
}
"""Every setting that the scheduler reads."""

all_options = st.fixed_dictionaries(SETTINGS).map(
    lambda drawn: settings_with(drawn.pop("max_concurrent_jobs"), **drawn)
)
local_times = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=zones)  # noqa: DTZ001 - the zone is drawn separately
is_loaded = st.sampled_from([False, False, False, True])
conditions_drawn = st.builds(Conditions, st.none() | local_times, is_loaded)
conditions_with_time = st.builds(Conditions, local_times, is_loaded)

STATE: Final[dict[str, st.SearchStrategy[Any]]] = {
    "taken_over": st.booleans(),
    "is_limited": st.booleans(),
    "paused_by_daemon": st.frozensets(st.sampled_from((*NAMES, "gone"))),
    "paused_by_others": st.frozensets(names),
    "slots": st.lists(names, max_size=4, unique=True).map(tuple),
    "wanted": st.frozensets(names),
    "controls": st.builds(
        Controls,
        st.sampled_from((*[Mode.AUTOMATIC] * 4, Mode.OPEN, Mode.HELD)),
        st.none() | st.integers(1, 4),
        st.frozensets(names, max_size=2),
    ),
    "scan": st.builds(
        ScanProgress, st.sampled_from([0.0, 1.0]), st.frozensets(names), st.none() | names
    ),
    "unconfirmed_pauses": st.dictionaries(names, st.floats(0, 2 * NOW), max_size=2),
    "unpausable": st.frozensets(names, max_size=1),
    "lent": st.dictionaries(names, times, max_size=3),
    "cannot_scan": st.booleans(),
    "slot_since": st.dictionaries(names, times),
    "yielded": st.frozensets(names, max_size=2),
    "reserved": st.frozensets(names, max_size=2),
    "waiting_since": st.dictionaries(names, times),
    "resumed_by_others": st.frozensets(names, max_size=2),
    "conflicts": st.dictionaries(
        names,
        st.lists(
            st.builds(ConflictEvent, lately, st.sampled_from(Interference)), min_size=2, max_size=3
        ).map(tuple),
        max_size=3,
    ),
    "last_commands": st.dictionaries(names, lately),
    "last_open": st.dictionaries(names, times),
    "had_failure": st.booleans(),
}
"""Every field of the state."""

states = st.fixed_dictionaries(STATE).map(
    lambda drawn: SchedulerState(
        **{
            **drawn,
            "paused_by_daemon": drawn["paused_by_daemon"] - drawn["unpausable"],
            "lent": {n: since for n, since in drawn["lent"].items() if n not in drawn["slots"]},
        }
    )
)
automatic_states = states.map(
    lambda state: replace(state, controls=replace(state.controls, mode=Mode.AUTOMATIC))
)
