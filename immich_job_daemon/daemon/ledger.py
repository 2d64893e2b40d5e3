"""The ledger: the little that must survive the daemon, in one file of DATA_DIR.

It says which queues the daemon holds paused, which somebody else paused, who has the slots,
whether the limit is on, what a person asks for, and how fast queues are drained. It is written
before a pause is sent, so that a crash at any point leaves no queue paused that nobody answers for.
"""

import json
import logging
import os
from pathlib import Path
from typing import Final, Protocol

import voluptuous as vol

from immich_job_daemon.forecast import estimate
from immich_job_daemon.forecast.estimate import Rates
from immich_job_daemon.model.controls import (
    Change,
    ChangeError,
    Controls,
    Mode,
    SetLimit,
    as_json,
    read_change,
)
from immich_job_daemon.model.scan import Progress
from immich_job_daemon.scheduler.state import Memory

NAME_OF_FILE: Final = "ledger.json"
VERSION: Final = 1
MOST_BYTES: Final = 1 << 20


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
        return estimate.from_json(found)
    except ValueError:
        # They are learned again: no reason to forget what the daemon holds.
        return Rates()


_NAMES = [vol.All(str, vol.Length(min=1))]
_SCHEMA = vol.Schema(
    {
        vol.Required("version"): vol.All(int, VERSION),
        vol.Required("held"): _NAMES,
        vol.Required("paused_by_others"): _NAMES,
        vol.Required("slots"): _NAMES,
        vol.Required("is_limited"): bool,
        # The first version had none of these, and was written after the first look only.
        vol.Optional("taken_over", default=True): bool,
        vol.Optional("unsure", default=list): _NAMES,
        vol.Optional("wanted", default=list): _NAMES,
        vol.Optional("mode", default=str(Mode.AUTOMATIC)): vol.Coerce(Mode),
        vol.Optional("limit", default=None): _limit,
        vol.Optional("instance", default=""): vol.All(str, vol.Match(r"\A[0-9a-f]{0,32}\Z")),
        vol.Optional("configured", default=0): vol.All(int, vol.Range(min=0)),
        vol.Optional("held_by_person", default=list): _NAMES,
        vol.Optional("undo", default=None): vol.Maybe(_change),
        vol.Optional("rates", default=dict): _rates,
        vol.Optional("scan", default=dict): {
            vol.Optional("began", default=0): vol.All(vol.Any(int, float), vol.Range(min=0)),
            vol.Optional("asked", default=list): _NAMES,
            vol.Optional("latest", default=None): vol.Maybe(str),
        },
    },
    extra=vol.ALLOW_EXTRA,
)

log = logging.getLogger(__name__)


class Kept(Protocol):
    """Somewhere a memory is kept."""

    def load(self) -> Memory | None:
        """Return what was kept, or None if nothing (that can be read) was."""
        ...

    def save(self, memory: Memory) -> None:
        """Keep the memory. Never raises: the daemon works on without, and says so."""
        ...


def encode(memory: Memory) -> str:
    """Return the part of the memory that survives, as the text of a ledger file."""
    rates = estimate.to_json(memory.rates)
    return json.dumps({**essence(memory), "rates": rates}, indent=1)


def essence(memory: Memory) -> dict[str, object]:
    """Return what makes it worth to write the memory again: all that survives but the rates.

    They change with every look, and are written along with the rest.
    """
    controls = memory.controls
    return {
        "version": VERSION,
        "taken_over": memory.taken_over,
        "held": sorted(memory.held),
        "paused_by_others": sorted(memory.paused_by_others),
        "slots": memory.slots,
        "is_limited": memory.is_limited,
        "unsure": sorted(memory.unsure),
        "wanted": sorted(memory.wanted),
        "mode": str(controls.mode),
        "limit": controls.limit,
        "instance": memory.instance,
        "configured": memory.configured,
        "held_by_person": sorted(controls.held),
        "undo": None if memory.undo is None else as_json(memory.undo),
        "scan": {
            "began": memory.scan.began,
            "asked": sorted(memory.scan.asked),
            "latest": memory.scan.latest,
        },
    }


def decode(text: str) -> Memory:
    """Return the memory that a ledger file's text stands for.

    Raises:
        ValueError: the text is no ledger of this version.

    >>> decode(encode(Memory(held=frozenset({"ocr"}), slots=("library",)))).slots
    ('library',)
    """
    try:
        kept = _SCHEMA(json.loads(text))
    except (vol.Invalid, RecursionError) as error:
        raise ValueError(str(error)) from error
    return Memory(
        taken_over=kept["taken_over"],
        is_limited=kept["is_limited"],
        held=frozenset(kept["held"]),
        paused_by_others=frozenset(kept["paused_by_others"]),
        slots=tuple(dict.fromkeys(kept["slots"])),
        # When each of them was asked for, an earlier run's clock would have to tell.
        unsure=dict.fromkeys(kept["unsure"], 0.0),
        wanted=frozenset(kept["wanted"]),
        controls=Controls(kept["mode"], kept["limit"], frozenset(kept["held_by_person"])),
        instance=kept["instance"],
        configured=kept["configured"],
        undo=kept["undo"],
        rates=kept["rates"],
        scan=Progress(
            kept["scan"]["began"], frozenset(kept["scan"]["asked"]), kept["scan"]["latest"]
        ),
    )


def _state_of(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_mtime_ns, found.st_size


class Ledger:
    """The ledger as a file.

    Args:
        folder: DATA_DIR; made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME_OF_FILE
        self._written: tuple[dict[str, object], tuple[int, ...]] | None = None
        self._complaint: str | None = None

    def load(self) -> Memory | None:
        """Return the memory that was kept, or None where there is none.

        A file that is no ledger is kept beside under another name, with an error line.
        """
        try:
            with self.path.open("rb") as file:
                text = file.read(MOST_BYTES).decode()
            memory = decode(text)
        except FileNotFoundError:
            return None
        except ValueError as error:
            self._put_aside(error)
            return None
        except OSError as error:
            log.error(
                "The ledger %s cannot be read (%s): every paused queue is taken for the daemon's "
                "own. Check DATA_DIR and its permissions.",
                self.path,
                error.strerror or error,
            )
            return None
        self._written = essence(memory), self._state()
        return memory

    def save(self, memory: Memory) -> None:
        """Write the memory, whole or not at all, if what survives of it has changed.

        The rates change with every look: they are written along with the rest, not for themselves.
        """
        new = essence(memory)
        try:
            # The command `release` may have written it meanwhile.
            if self._written == (new, self._state()):
                return
            self._written = new, self._replace(encode(memory))
        except OSError as error:
            # It may have failed after the rename: what the file says is not known now.
            self._written = None
            self._complain(error)
        else:
            if self._complaint is not None:
                log.info("The ledger %s can be written again.", self.path)
            self._complaint = None

    def _state(self) -> tuple[int, ...]:
        """Return what tells one written file from another; nothing where there is none."""
        try:
            return _state_of(self.path.stat())
        except FileNotFoundError:
            return ()

    def _replace(self, text: str) -> tuple[int, ...]:
        """Write the file and return its state, as it was written: it may be gone at once."""
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".new")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            state = _state_of(os.fstat(file.fileno()))
        temporary.replace(self.path)
        # The rename itself is on the disk only when the folder is.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return state

    def _put_aside(self, error: ValueError) -> None:
        aside = self.path.with_suffix(".bad")
        number = 1
        while aside.exists():
            number += 1
            aside = self.path.with_suffix(f".bad-{number}")
        try:
            self.path.replace(aside)
            kept = f"It is kept as {aside}."
        except OSError as failure:
            kept = f"It could not be kept aside ({failure.strerror or failure})."
        log.error(
            "The ledger %s cannot be understood (%s). %s Every paused queue is taken for the "
            "daemon's own, as at its first start: pause again what should stay paused.",
            self.path,
            error,
            kept,
        )

    def _complain(self, error: OSError) -> None:
        complaint = error.strerror or str(error)
        if complaint != self._complaint:
            log.error(
                "The ledger %s cannot be written (%s): the daemon works on, but after a crash it "
                "will not know what it holds paused. Make room, or check DATA_DIR and its "
                "permissions.",
                self.path,
                complaint,
            )
        self._complaint = complaint
