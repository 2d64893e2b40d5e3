"""A ledger that version 0.1.0 wrote is read without loss."""

import json
from pathlib import Path
from typing import Any, Final

from immich_job_daemon.daemon.ledger import FILE_NAME, VERSION, Ledger, decode
from immich_job_daemon.forecast.storage import to_json
from immich_job_daemon.model.controls import Controls, Mode, Override, SetQueue
from immich_job_daemon.scheduler.scan import ScanProgress
from immich_job_daemon.scheduler.state import SchedulerState

TEXT: Final = Path(__file__).with_name("ledger-0.1.0.json").read_text(encoding="utf-8")
WRITTEN: Final[dict[str, Any]] = json.loads(TEXT)


def test_the_scheduler_continues_where_0_1_0_stopped() -> None:
    assert decode(TEXT).scheduler == SchedulerState(
        taken_over=True,
        is_limited=True,
        paused_by_daemon=frozenset({"ocr", "library", "smartSearch", "faceDetection"}),
        paused_by_others=frozenset({"migration"}),
        slots=("thumbnailGeneration",),
        wanted=frozenset({"smartSearch"}),
        controls=Controls(Mode.HELD, 3, frozenset({"videoConversion"})),
        scan=ScanProgress(
            1_795_831_200.0, frozenset({"sidecar", "metadataExtraction"}), "metadataExtraction"
        ),
        unconfirmed_pauses={"ocr": 0.0},
    )


def test_the_daemon_keeps_its_identity_its_undo_and_its_rates() -> None:
    state = decode(TEXT)
    assert (state.instance, state.configured_limit) == ("1f2e3d4c", 2)
    assert state.undo == SetQueue("videoConversion", Override.AUTOMATIC)
    assert to_json(state.rates) == WRITTEN["rates"]
    assert WRITTEN["rates"]["batches"]


def test_no_field_of_0_1_0_is_left_out() -> None:
    """Every field of the file is one that the two tests above compare."""
    assert WRITTEN.keys() == {
        *("version", "taken_over", "held", "paused_by_others", "slots", "is_limited", "unsure"),
        *("wanted", "mode", "limit", "instance", "configured", "held_by_person", "undo", "rates"),
        "scan",
    }


def test_it_is_written_back_as_the_current_version(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(TEXT, encoding="utf-8")
    ledger = Ledger(tmp_path)
    state = ledger.load()
    assert state is not None
    Ledger(tmp_path / "new").save(state)
    written = (tmp_path / "new" / FILE_NAME).read_text(encoding="utf-8")
    assert json.loads(written)["version"] == VERSION
    assert decode(written) == state
