"""The ledger: the state that survives the daemon, as one JSON file in DATA_DIR.

It is written before a pause is sent, so that after a crash at any point the next run knows every
queue that the daemon may have paused.
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import voluptuous as vol

from immich_job_daemon.base.files import write_atomically
from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.forecast import storage
from immich_job_daemon.forecast.rates import Rates
from immich_job_daemon.model.controls import (
    Change,
    ChangeError,
    Controls,
    Mode,
    SetLimit,
    as_json,
    read_change,
)
from immich_job_daemon.scheduler.scan import ScanProgress
from immich_job_daemon.scheduler.state import SchedulerState

FILE_NAME: Final = "ledger.json"
VERSION: Final = 2
MAX_BYTES: Final = 1 << 20

_RENAMED_IN_VERSION_2: Final = {
    "held": "paused_by_daemon",
    "held_by_person": "held_by_user",
    "unsure": "unconfirmed_pauses",
    "configured": "configured_limit",
}
"""Fields of version 1, which 0.1.0 wrote, by the names that they have now."""


def _change(found: object) -> Change:
    try:
        return read_change(found)
    except ChangeError as error:
        raise vol.Invalid(str(error)) from error


def _limit(found: object) -> int | None:
    change = _change({"limit": found})
    return change.limit if isinstance(change, SetLimit) else None


def _rates(found: object) -> Rates:
    try:
        return storage.from_json(found)
    except ValueError:
        # They are learned again. Losing them is no reason to lose the paused queues as well.
        return Rates()


_LIST = [vol.All(str, vol.Length(min=1))]
_NAMES = vol.All(_LIST, vol.Coerce(frozenset))
_SCHEMA = vol.Schema(
    {
        vol.Required("version"): vol.All(int, VERSION),
        vol.Required("paused_by_daemon"): _NAMES,
        vol.Required("paused_by_others"): _NAMES,
        vol.Required("slots"): vol.All(_LIST, dict.fromkeys, vol.Coerce(tuple)),
        vol.Required("is_limited"): bool,
        # The first ledgers had none of the following, and were written after the first poll only.
        vol.Optional("taken_over", default=True): bool,
        # The times were those of the previous run's clock; `restored` sets new ones.
        vol.Optional("unconfirmed_pauses", default=list): vol.All(
            _LIST, lambda names: dict.fromkeys(names, 0.0)
        ),
        vol.Optional("wanted", default=list): _NAMES,
        vol.Optional("mode", default=str(Mode.AUTOMATIC)): vol.Coerce(Mode),
        vol.Optional("limit", default=None): _limit,
        vol.Optional("instance", default=""): vol.All(str, vol.Match(r"\A[0-9a-f]{0,32}\Z")),
        vol.Optional("configured_limit", default=0): vol.All(int, vol.Range(min=0)),
        vol.Optional("held_by_user", default=list): _NAMES,
        vol.Optional("undo", default=None): vol.Maybe(_change),
        vol.Optional("rates", default=dict): _rates,
        vol.Optional("scan", default=dict): {
            vol.Optional("began", default=0): vol.All(vol.Any(int, float), vol.Range(min=0)),
            vol.Optional("asked", default=list): _NAMES,
            vol.Optional("latest", default=None): vol.Maybe(str),
        },
    },
    extra=vol.REMOVE_EXTRA,
)

log = logging.getLogger(__name__)


class StateStore(Protocol):
    """Where the state survives a restart."""

    def load(self) -> DaemonState | None:
        """Return the saved state, or None if there is none that can be read."""
        ...

    def save(self, state: DaemonState) -> None:
        """Save the state. Never raises: the daemon logs a failure and works on without."""
        ...


def encode(state: DaemonState) -> str:
    """Return the text of a ledger file with the state in it."""
    return json.dumps({**durable_fields(state), "rates": storage.to_json(state.rates)}, indent=1)


def durable_fields(state: DaemonState) -> dict[str, object]:
    """Return all fields of a ledger but the rates.

    A change in one of them is worth a write. The rates change with every poll, so they are only
    written along.
    """
    scheduler = state.scheduler
    controls = scheduler.controls
    return {
        "version": VERSION,
        "taken_over": scheduler.taken_over,
        "paused_by_daemon": sorted(scheduler.paused_by_daemon),
        "paused_by_others": sorted(scheduler.paused_by_others),
        "slots": scheduler.slots,
        "is_limited": scheduler.is_limited,
        "unconfirmed_pauses": sorted(scheduler.unconfirmed_pauses),
        "wanted": sorted(scheduler.wanted),
        "mode": str(controls.mode),
        "limit": controls.limit,
        "instance": state.instance,
        "configured_limit": state.configured_limit,
        "held_by_user": sorted(controls.held_by_user),
        "undo": None if state.undo is None else as_json(state.undo),
        "scan": {
            "began": scheduler.scan.began,
            "asked": sorted(scheduler.scan.asked),
            "latest": scheduler.scan.latest,
        },
    }


def decode(text: str) -> DaemonState:
    """Return the state in the text of a ledger file.

    Raises:
        ValueError: the text is no ledger of a known version.

    >>> state = DaemonState(SchedulerState(paused_by_daemon=frozenset({"ocr"})))
    >>> sorted(decode(encode(state)).scheduler.paused_by_daemon)
    ['ocr']
    """
    try:
        fields = _SCHEMA(_upgraded(json.loads(text)))
    except (vol.Invalid, RecursionError) as error:
        raise ValueError(str(error)) from error
    del fields["version"]
    controls = Controls(fields.pop("mode"), fields.pop("limit"), fields.pop("held_by_user"))
    scan = ScanProgress(**fields.pop("scan"))
    others = {name: fields.pop(name) for name in ("instance", "configured_limit", "undo", "rates")}
    # The fields that are left are the scheduler's, by the same names.
    return DaemonState(SchedulerState(**fields, controls=controls, scan=scan), **others)


def _upgraded(found: object) -> object:
    """Return the fields of a ledger with the names of the current version."""
    if not isinstance(found, Mapping) or found.get("version") != 1:
        return found
    fields: dict[str, Any] = {
        _RENAMED_IN_VERSION_2.get(name) or name: value for name, value in found.items()
    }
    undo = fields.get("undo")
    if isinstance(undo, Mapping) and "wish" in undo:
        fields["undo"] = {"queue": undo.get("queue"), "override": undo["wish"]}
    return {**fields, "version": VERSION}


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Return what tells one written file from another."""
    return status.st_ino, status.st_mtime_ns, status.st_size


class Ledger:
    """The ledger file.

    Args:
        folder: DATA_DIR; created if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._written: tuple[dict[str, object], tuple[int, ...]] | None = None
        self._last_error: str | None = None

    def load(self) -> DaemonState | None:
        """Return the saved state, or None if there is none.

        A file that cannot be understood is kept under another name, and the log says so.
        """
        try:
            with self.path.open("rb") as file:
                text = file.read(MAX_BYTES).decode()
            state = decode(text)
        except FileNotFoundError:
            return None
        except ValueError as error:
            self._set_aside(error)
            return None
        except OSError as error:
            log.error(
                "The ledger %s cannot be read (%s), so every paused queue counts as paused by the "
                "daemon. Check DATA_DIR and its permissions.",
                self.path,
                error.strerror or error,
            )
            return None
        self._written = durable_fields(state), self._file_identity()
        return state

    def save(self, state: DaemonState) -> None:
        """Write the state if any of its durable fields has changed. Never raises."""
        fields = durable_fields(state)
        try:
            # The command `release` may have written the file meanwhile.
            if self._written == (fields, self._file_identity()):
                return
            status = write_atomically(self.path, encode(state))
            self._written = fields, _identity(status)
        except OSError as error:
            # It may have failed after the rename, so the file's content is unknown now.
            self._written = None
            self._report(error)
        else:
            if self._last_error is not None:
                log.info("The ledger %s can be written again.", self.path)
            self._last_error = None

    def _file_identity(self) -> tuple[int, ...]:
        try:
            return _identity(self.path.stat())
        except FileNotFoundError:
            return ()

    def _set_aside(self, error: ValueError) -> None:
        aside = self.path.with_suffix(".bad")
        number = 1
        while aside.exists():
            number += 1
            aside = self.path.with_suffix(f".bad-{number}")
        try:
            self.path.replace(aside)
            kept = f"It is kept as {aside}."
        except OSError as failure:
            kept = f"It could not be renamed ({failure.strerror or failure})."
        log.error(
            "The ledger %s cannot be understood (%s). %s Every paused queue counts as paused by "
            "the daemon, as at its first start: pause again what should stay paused.",
            self.path,
            error,
            kept,
        )

    def _report(self, error: OSError) -> None:
        """Log a failed write, once as long as the reason stays the same."""
        reason = error.strerror or str(error)
        if reason != self._last_error:
            log.error(
                "The ledger %s cannot be written (%s). The daemon keeps working, but after a crash "
                "it will not know which queues it has paused. Free some space, or check DATA_DIR "
                "and its permissions.",
                self.path,
                reason,
            )
        self._last_error = reason
