"""The ledger on a real disk: written atomically, and its errors never stop the daemon."""

import dataclasses
import errno
import itertools
import json
import logging
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from immich_job_daemon.daemon.ledger import (
    FILE_NAME,
    MAX_BYTES,
    VERSION,
    Ledger,
    decode,
    encode,
)
from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.forecast.rates import Rate, Rates
from immich_job_daemon.forecast.storage import to_json
from immich_job_daemon.model.controls import (
    LARGEST_LIMIT,
    Controls,
    Mode,
    Override,
    SetLimit,
    SetMode,
    SetQueue,
)
from immich_job_daemon.scheduler.scan import ScanProgress
from immich_job_daemon.scheduler.state import SchedulerState

OLD = DaemonState(
    SchedulerState(
        taken_over=True,
        is_limited=True,
        paused_by_daemon=frozenset({"ocr", "library"}),
        paused_by_others=frozenset({"migration"}),
        slots=("smartSearch", "faceDetection"),
        unconfirmed_pauses={"sidecar": 0.0},
        wanted=frozenset({"library"}),
        controls=Controls(Mode.HELD, 3, frozenset({"ocr"})),
        scan=ScanProgress(1_795_000_000.0, frozenset({"sidecar", "ocr"}), "sidecar"),
    ),
    instance="1f2e3d4c",
    configured_limit=1,
    undo=SetQueue("ocr", Override.AUTOMATIC),
)


def changed(state: DaemonState, **changes: Any) -> DaemonState:  # noqa: ANN401 - any field
    """Return the state with changed fields of the scheduler's state."""
    return dataclasses.replace(state, scheduler=dataclasses.replace(state.scheduler, **changes))


NEW = changed(OLD, paused_by_daemon=frozenset({"sidecar"}), slots=("ocr",), is_limited=False)
COMPLETE = {
    "version": VERSION,
    "paused_by_daemon": ["ocr"],
    "paused_by_others": [],
    "slots": [],
    "is_limited": False,
}

names = st.text(min_size=1)
scheduler_states = st.builds(
    SchedulerState,
    taken_over=st.booleans(),
    is_limited=st.booleans(),
    paused_by_daemon=st.frozensets(names),
    paused_by_others=st.frozensets(names),
    slots=st.lists(names, unique=True).map(tuple),
    wanted=st.frozensets(names),
    controls=st.builds(
        Controls,
        st.sampled_from(Mode),
        st.none() | st.integers(1, LARGEST_LIMIT),
        st.frozensets(names),
    ),
    scan=st.builds(
        ScanProgress,
        st.floats(0, 1e12) | st.integers(0, 10**12),
        st.frozensets(names),
        st.none() | st.text(),
    ),
    cannot_scan=st.booleans(),
    unpausable=st.frozensets(names),
    lent=st.dictionaries(names, st.floats()),
    last_open=st.dictionaries(names, st.floats()),
    unconfirmed_pauses=st.dictionaries(names, st.floats()),
    had_failure=st.booleans(),
)
states = st.builds(
    DaemonState,
    scheduler_states,
    instance=st.text("0123456789abcdef", max_size=8),
    configured_limit=st.integers(0, 1000),
    undo=st.none()
    | st.builds(SetMode, st.sampled_from(Mode))
    | st.builds(SetLimit, st.none() | st.integers(1, LARGEST_LIMIT))
    | st.builds(SetQueue, st.sampled_from(("ocr", "search")), st.sampled_from(Override)),
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
almost_ledgers = st.fixed_dictionaries(
    {key: st.just(value) | values for key, value in COMPLETE.items()}, optional={"more": values}
)
contents = st.binary(max_size=200) | (values | almost_ledgers).map(
    lambda value: json.dumps(value).encode()
)


class KilledError(BaseException):
    """Stands for a SIGKILL: it is caught nowhere."""


@pytest.fixture
def log_lines(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[str]]:
    """Return a function that returns the lines logged since its last call, as ``LEVEL text``."""
    monkeypatch.setattr(logging.getLogger("immich_job_daemon"), "propagate", True)
    caplog.set_level(logging.DEBUG, logger="immich_job_daemon")

    def lines() -> list[str]:
        found = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
        caplog.clear()
        return found

    return lines


def durable(state: DaemonState) -> DaemonState:
    """Return the part of the state that must survive a restart."""
    scheduler = state.scheduler
    return DaemonState(
        SchedulerState(
            taken_over=scheduler.taken_over,
            is_limited=scheduler.is_limited,
            paused_by_daemon=scheduler.paused_by_daemon,
            paused_by_others=scheduler.paused_by_others,
            slots=scheduler.slots,
            unconfirmed_pauses=dict.fromkeys(scheduler.unconfirmed_pauses, 0.0),
            wanted=scheduler.wanted,
            controls=scheduler.controls,
            scan=scheduler.scan,
        ),
        instance=state.instance,
        configured_limit=state.configured_limit,
        undo=state.undo,
    )


def identity(path: Path) -> tuple[int, int]:
    """Return a value that changes when the file is written or replaced."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


# Contents.


@given(states)
def test_durable_state_survives_a_round_trip(state: DaemonState) -> None:
    assert decode(encode(state)) == durable(state)


@given(states)
def test_the_same_state_has_the_same_text(state: DaemonState) -> None:
    assert encode(decode(encode(state))) == encode(state)


def test_a_saved_state_is_loaded_by_the_next_run(tmp_path: Path) -> None:
    Ledger(tmp_path).save(OLD)
    assert Ledger(tmp_path).load() == OLD


def test_unknown_queue_names_are_kept(tmp_path: Path) -> None:
    state = changed(OLD, paused_by_daemon=frozenset({"face detection (Größe)", "x" * 100}))
    Ledger(tmp_path).save(state)
    assert Ledger(tmp_path).load() == state


def test_the_first_run_finds_no_ledger_and_logs_nothing(
    tmp_path: Path, log_lines: Callable[[], list[str]]
) -> None:
    assert Ledger(tmp_path).load() is None
    assert Ledger(tmp_path / "not" / "there").load() is None
    assert log_lines() == []


def test_a_missing_folder_is_created(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    Ledger(folder).save(OLD)
    assert Ledger(folder).load() == OLD


def test_the_file_is_small_json_with_a_version(tmp_path: Path) -> None:
    Ledger(tmp_path).save(OLD)
    assert json.loads((tmp_path / FILE_NAME).read_text()) == {
        "version": 2,
        "taken_over": True,
        "paused_by_daemon": ["library", "ocr"],
        "paused_by_others": ["migration"],
        "slots": ["smartSearch", "faceDetection"],
        "is_limited": True,
        "unconfirmed_pauses": ["sidecar"],
        "wanted": ["library"],
        "mode": "held",
        "limit": 3,
        "instance": "1f2e3d4c",
        "configured_limit": 1,
        "held_by_user": ["ocr"],
        "undo": {"queue": "ocr", "override": "automatic"},
        "rates": to_json(Rates()),
        "scan": {"began": 1_795_000_000.0, "asked": ["ocr", "sidecar"], "latest": "sidecar"},
    }


def test_a_ledger_without_optional_fields_is_read(tmp_path: Path) -> None:
    state = decode(json.dumps(COMPLETE))
    assert state == DaemonState(
        SchedulerState(taken_over=True, paused_by_daemon=frozenset({"ocr"}))
    )
    Ledger(tmp_path).save(state)


def test_invalid_rates_are_dropped_and_the_rest_is_kept() -> None:
    state = decode(json.dumps({**COMPLETE, "rates": [1], "mode": "open"}))
    assert state.rates == Rates()
    assert state.scheduler.controls.mode is Mode.OPEN
    assert state.scheduler.paused_by_daemon == {"ocr"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "off"},
        {"limit": 0},
        {"limit": True},
        {"undo": {"mode": 1}},
        {"wanted": 1},
        {"scan": []},
        {"scan": {"began": "today"}},
        {"scan": {"began": -1}},
        {"scan": {"asked": "ocr"}},
    ],
)
def test_a_ledger_with_invalid_controls_is_rejected(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="data"):
        decode(json.dumps({**COMPLETE, **wrong}))


def test_new_rates_alone_do_not_cause_a_write(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.save(OLD)
    before = identity(ledger.path)
    faster = dataclasses.replace(OLD, rates=Rates({"ocr": Rate(10.0, 2.0)}))
    ledger.save(faster)
    assert identity(ledger.path) == before
    ledger.save(changed(faster, slots=()))
    loaded = Ledger(tmp_path).load()
    assert loaded is not None
    assert loaded.rates.queues.keys() == {"ocr"}


def test_fields_of_a_later_release_are_ignored() -> None:
    loaded = {**COMPLETE, "colour": "off", "scan": {"began": 5, "colour": "off"}}
    assert decode(json.dumps(loaded)).scheduler.paused_by_daemon == {"ocr"}
    assert decode(json.dumps(loaded)).scheduler.scan == ScanProgress(5)


def test_duplicate_slots_are_removed() -> None:
    assert decode(json.dumps({**COMPLETE, "slots": ["b", "a", "b"]})).scheduler.slots == ("b", "a")


# Written only on changes.


def test_an_unchanged_state_is_not_written_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.save(OLD)
    before = identity(ledger.path)
    ledger.save(OLD)
    ledger.save(changed(OLD, last_open={"ocr": 9.0}, lent={"ocr": 8.0}, had_failure=False))
    assert identity(ledger.path) == before


def test_a_ledger_written_by_another_process_is_overwritten(tmp_path: Path) -> None:
    """The command `release`, run beside a daemon, removes all paused queues."""
    state = DaemonState(SchedulerState(taken_over=True, paused_by_daemon=frozenset({"ocr"})))
    ledger = Ledger(tmp_path)
    ledger.save(state)
    other = Ledger(tmp_path)
    other.load()
    other.save(DaemonState(SchedulerState(taken_over=True)))
    ledger.save(state)
    loaded = Ledger(tmp_path).load()
    assert loaded is not None
    assert loaded.scheduler.paused_by_daemon == {"ocr"}


def test_a_ledger_deleted_during_the_write_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path)
    close = os.close

    def vanish(descriptor: int) -> None:
        close(descriptor)
        ledger.path.unlink()

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", vanish)
        ledger.save(OLD)
    assert not ledger.path.exists()
    ledger.save(OLD)
    assert Ledger(tmp_path).load() == OLD


def test_a_loaded_state_is_not_written_again(tmp_path: Path) -> None:
    Ledger(tmp_path).save(OLD)
    ledger = Ledger(tmp_path)
    before = identity(ledger.path)
    state = ledger.load()
    assert state is not None
    ledger.save(state)
    assert identity(ledger.path) == before


@pytest.mark.parametrize(
    "state",
    [
        changed(OLD, paused_by_daemon=frozenset({"ocr"})),
        changed(OLD, paused_by_others=frozenset()),
        changed(OLD, slots=("faceDetection", "smartSearch")),
        changed(OLD, is_limited=False),
        changed(OLD, scan=dataclasses.replace(OLD.scheduler.scan, latest=None)),
        changed(OLD, scan=ScanProgress(OLD.scheduler.scan.began, frozenset({"ocr"}), "sidecar")),
    ],
)
def test_each_change_of_durable_state_is_written(tmp_path: Path, state: DaemonState) -> None:
    ledger = Ledger(tmp_path)
    ledger.save(OLD)
    before = identity(ledger.path)
    ledger.save(state)
    assert identity(ledger.path) != before
    assert Ledger(tmp_path).load() == state


# Atomic writes.


def test_a_save_syncs_the_file_then_renames_it_then_syncs_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path)
    ledger.save(OLD)
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def checked_fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            assert found.st_ino == tmp_path.stat().st_ino
            assert ledger.path.read_text() == encode(NEW)
            steps.append("folder")
        else:
            (temporary,) = [path for path in tmp_path.iterdir() if path != ledger.path]
            assert found.st_ino == temporary.stat().st_ino
            assert temporary.read_text() == encode(NEW)
            assert ledger.path.read_text() == encode(OLD)
            steps.append("file")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", checked_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    ledger.save(NEW)
    assert steps == ["file", "rename", "folder"]


def test_no_temporary_file_is_left(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.save(OLD)
    ledger.save(NEW)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


STEPS = ("mkdir", "open", "half written", "fsync", "rename", "open folder", "fsync folder")
"""The points at which a save can fail, in order."""


def fail_at(step: str, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the next saves raise an error at a step."""
    fsync = os.fsync

    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    def half(self: Path, *_: object, **__: object) -> NoReturn:
        with io_open(self, "w", encoding="utf-8") as file:
            file.write(encode(NEW)[:40])
        raise error

    def fail_for_a_folder(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise error
        fsync(descriptor)

    io_open = open
    place, name, action = {
        "mkdir": (Path, "mkdir", fail),
        "open": (Path, "open", fail),
        "half written": (Path, "open", half),
        "fsync": (os, "fsync", fail),
        "rename": (Path, "replace", fail),
        "open folder": (os, "open", fail),
        "fsync folder": (os, "fsync", fail_for_a_folder),
    }[step]
    monkeypatch.setattr(place, name, action)


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_leaves_the_old_or_the_new_ledger(
    tmp_path: Path, step: str, log_lines: Callable[[], list[str]]
) -> None:
    ledger = Ledger(tmp_path)
    ledger.save(OLD)
    with pytest.MonkeyPatch.context() as patch:
        fail_at(step, KilledError(), patch)
        with pytest.raises(KilledError):
            ledger.save(NEW)
    after_rename = step in {"open folder", "fsync folder"}
    assert Ledger(tmp_path).load() == (NEW if after_rename else OLD)
    assert log_lines() == []
    Ledger(tmp_path).save(NEW)
    assert Ledger(tmp_path).load() == NEW


@pytest.mark.parametrize("step", STEPS)
def test_an_error_at_any_step_is_logged_and_repaired_by_the_next_save(
    tmp_path: Path, step: str, log_lines: Callable[[], list[str]]
) -> None:
    ledger = Ledger(tmp_path)
    ledger.save(OLD)
    with pytest.MonkeyPatch.context() as patch:
        fail_at(step, OSError(errno.EIO, os.strerror(errno.EIO)), patch)
        ledger.save(NEW)
    assert "Input/output error" in log_lines()[0]
    assert Ledger(tmp_path).load() in (OLD, NEW)
    ledger.save(NEW)
    assert Ledger(tmp_path).load() == NEW


@pytest.mark.parametrize("step", STEPS)
def test_after_an_error_the_previous_state_is_written_again(tmp_path: Path, step: str) -> None:
    """The error may come after the rename, when the file has the new state already."""
    ledger = Ledger(tmp_path)
    ledger.save(OLD)
    with pytest.MonkeyPatch.context() as patch:
        fail_at(step, OSError(errno.EIO, os.strerror(errno.EIO)), patch)
        ledger.save(NEW)
    ledger.save(OLD)
    assert Ledger(tmp_path).load() == OLD


def test_a_process_killed_during_writes_leaves_a_complete_ledger(tmp_path: Path) -> None:
    writer = f"""
import itertools, pathlib
from immich_job_daemon.daemon.ledger import Ledger, decode
ledger = Ledger(pathlib.Path({str(tmp_path)!r}))
texts = {[encode(OLD), encode(NEW)]!r}
for number in itertools.count():
    ledger.save(decode(texts[number % 2]))
    if number % 10 == 9:
        print(number, flush=True)
"""
    for lines in (1, 2, 5):
        with subprocess.Popen(
            [sys.executable, "-c", writer],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        ) as process:
            assert process.stdout is not None
            written = [*itertools.islice(process.stdout, lines)]
            process.kill()
        assert len(written) == lines, "the writer ended early"
        assert Ledger(tmp_path).load() in (OLD, NEW)


# Invalid ledgers.

INVALID = {
    "empty": b"",
    "zeros as after a power failure": bytes(200),
    "truncated": encode(OLD).encode()[:60],
    "trailing text": encode(OLD).encode() + b"}",
    "not UTF-8": b'{"version": 1, "held": ["\xff"]}',
    "UTF-16": encode(OLD).encode("utf-16"),
    "with a byte order mark": encode(OLD).encode("utf-8-sig"),
    "a list": b"[]",
    "a number with too many digits": b"1" * 5000,
    "nested too deeply": b"[" * 100_000,
    "too long": json.dumps({**COMPLETE, "paused_by_daemon": ["x" * MAX_BYTES]}).encode(),
    "of a later release": json.dumps({**COMPLETE, "version": VERSION + 1}).encode(),
    "version as a string": json.dumps({**COMPLETE, "version": "1"}).encode(),
    "one name instead of a list": json.dumps({**COMPLETE, "paused_by_daemon": "ocr"}).encode(),
    "numbers for names": json.dumps({**COMPLETE, "slots": [1]}).encode(),
    "an empty name": json.dumps({**COMPLETE, "slots": [""]}).encode(),
    "null instead of a list": json.dumps({**COMPLETE, "paused_by_others": None}).encode(),
    "number instead of a boolean": json.dumps({**COMPLETE, "is_limited": 1}).encode(),
    **{
        f"without {key}": json.dumps({k: v for k, v in COMPLETE.items() if k != key}).encode()
        for key in COMPLETE
    },
}


@pytest.mark.parametrize("content", INVALID.values(), ids=INVALID)
def test_an_invalid_ledger_is_renamed_and_logged_in_one_line(
    tmp_path: Path, content: bytes, log_lines: Callable[[], list[str]]
) -> None:
    ledger = Ledger(tmp_path)
    ledger.path.write_bytes(content)
    assert ledger.load() is None
    (backup,) = tmp_path.iterdir()
    assert (backup.name, backup.read_bytes()) == ("ledger.bad", content)
    (line,) = log_lines()
    assert line.startswith(f"ERROR The ledger {ledger.path} cannot be understood (")
    assert f"It is kept as {backup}." in line
    assert "pause again what should stay paused" in line
    ledger.save(NEW)
    assert Ledger(tmp_path).load() == NEW
    assert backup.read_bytes() == content


def test_an_older_invalid_ledger_is_never_overwritten(tmp_path: Path) -> None:
    for number in range(4):
        ledger = Ledger(tmp_path)
        ledger.path.write_bytes(b"%d" % number)
        assert ledger.load() is None
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {
        "ledger.bad": b"0",
        "ledger.bad-2": b"1",
        "ledger.bad-3": b"2",
        "ledger.bad-4": b"3",
    }


@given(contents)
@example(encode(OLD).encode())
def test_no_content_of_the_file_stops_the_daemon(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        ledger.path.write_bytes(content)
        state = ledger.load()
        if state is None:
            assert [path.read_bytes() for path in Path(folder).iterdir()] == [content]
        else:
            assert decode(content.decode()) == state
            assert ledger.path.read_bytes() == content
        ledger.save(OLD)
        assert Ledger(Path(folder)).load() == OLD


def test_an_invalid_ledger_that_cannot_be_renamed_is_logged_too(
    tmp_path: Path, log_lines: Callable[[], list[str]]
) -> None:
    ledger = Ledger(tmp_path)
    ledger.path.write_bytes(b"?")
    with pytest.MonkeyPatch.context() as patch:
        fail_at("rename", OSError(errno.EROFS, os.strerror(errno.EROFS)), patch)
        assert ledger.load() is None
    (line,) = log_lines()
    assert "It could not be renamed (Read-only file system)." in line


# Read and write errors.


def test_a_folder_in_place_of_the_ledger_is_logged(
    tmp_path: Path, log_lines: Callable[[], list[str]]
) -> None:
    ledger = Ledger(tmp_path)
    ledger.path.mkdir()
    assert ledger.load() is None
    ledger.save(OLD)
    unread, unwritten = log_lines()
    assert unread.startswith(f"ERROR The ledger {ledger.path} cannot be read (Is a directory)")
    assert "Check DATA_DIR and its permissions." in unread
    assert unwritten.startswith(f"ERROR The ledger {ledger.path} cannot be written (")
    assert ledger.path.is_dir()


def test_a_data_dir_below_a_file_is_logged(
    tmp_path: Path, log_lines: Callable[[], list[str]]
) -> None:
    (tmp_path / "file").touch()
    ledger = Ledger(tmp_path / "file" / "data")
    assert ledger.load() is None
    ledger.save(OLD)
    unread, unwritten = log_lines()
    assert "cannot be read (Not a directory)" in unread
    assert "cannot be written (Not a directory). The daemon keeps working" in unwritten
    assert "Free some space, or check DATA_DIR and its permissions." in unwritten


def test_a_full_disk_leaves_the_old_ledger_and_is_logged(
    tmp_path: Path, log_lines: Callable[[], list[str]]
) -> None:
    ledger = Ledger(tmp_path)
    ledger.save(OLD)
    (tmp_path / "ledger.new").symlink_to("/dev/full")
    ledger.save(NEW)
    (line,) = log_lines()
    assert "cannot be written (No space left on device)" in line
    assert Ledger(tmp_path).load() == OLD


def test_an_error_is_logged_once_and_its_end_as_well(
    tmp_path: Path, log_lines: Callable[[], list[str]]
) -> None:
    (tmp_path / "data").touch()
    ledger = Ledger(tmp_path / "data")
    for state in (OLD, NEW, OLD, OLD):
        ledger.save(state)
    assert len(log_lines()) == 1
    (tmp_path / "data").unlink()
    ledger.save(OLD)
    assert log_lines() == [f"INFO The ledger {ledger.path} can be written again."]
    assert Ledger(tmp_path / "data").load() == OLD
    ledger.save(NEW)
    assert log_lines() == []


def test_a_different_error_is_logged_again(
    tmp_path: Path, log_lines: Callable[[], list[str]]
) -> None:
    folder = tmp_path / "data"
    folder.touch()
    ledger = Ledger(folder)
    ledger.save(OLD)
    folder.unlink()
    folder.mkdir()
    (folder / "ledger.new").symlink_to("/dev/full")
    ledger.save(OLD)
    ledger.save(OLD)
    assert ["No space left" in line for line in log_lines()] == [False, True]
