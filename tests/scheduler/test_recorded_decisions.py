"""Decisions on fixed random cases, against those recorded in ``recorded_decisions.txt``.

A change that is meant to decide differently records them anew, and the difference of the file
shows what it changed: ``python -m tests.scheduler.test_recorded_decisions``.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, time
from itertools import zip_longest
from pathlib import Path
from typing import Final

from immich_job_daemon.model.conflict import ConflictEvent, Interference
from immich_job_daemon.model.controls import Controls, Mode
from immich_job_daemon.model.queue import Queue, Snapshot
from immich_job_daemon.model.settings import Scan, Settings
from immich_job_daemon.model.windows import Window
from immich_job_daemon.scheduler.decide import decide
from immich_job_daemon.scheduler.decision import Conditions, Decision
from immich_job_daemon.scheduler.scan import ScanProgress
from immich_job_daemon.scheduler.state import SchedulerState
from tests.support.settings import settings_with

RECORDED: Final = Path(__file__).with_name("recorded_decisions.txt")
CASES: Final = 1000
NOW: Final = 1000.0
NAMES: Final = (
    "metadataExtraction",
    "thumbnailGeneration",
    "smartSearch",
    "faceDetection",
    "ocr",
    "library",
    "newOne",
)
GROUPS: Final = (
    frozenset({"smartSearch", "ocr"}),
    frozenset({"ocr", "library"}),
    frozenset({"smartSearch", "faceDetection", "ocr"}),
)


class Case:
    """One random case: what ``decide`` takes, from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - the same cases at each run
        self.snapshot = self._snapshot()
        self.settings = self._settings()
        self.conditions = self._conditions()
        self.state = self._state()

    def decision(self) -> Decision:
        return decide(self.snapshot, self.state, self.settings, NOW, self.conditions)

    def _is(self, probability: float) -> bool:
        return self._random.random() < probability

    def _some(self, probability: float) -> frozenset[str]:
        return frozenset(name for name in NAMES if self._is(probability))

    def _times(self, probability: float, earliest: float = 0.0) -> dict[str, float]:
        return {n: self._random.uniform(earliest, NOW) for n in NAMES if self._is(probability)}

    def _count(self) -> int:
        return self._random.choice((0, 0, 0, 1, 2, 500))

    def _snapshot(self) -> Snapshot:
        return {
            name: Queue(
                name,
                is_paused=self._is(0.5),
                active=self._count(),
                waiting=self._count(),
                paused=self._count(),
                delayed=self._count(),
            )
            for name in (*NAMES, "backgroundTask")
            if self._is(0.97)
        }

    def _window(self) -> Window:
        return Window(
            self._some(0.4) or None,
            time(self._random.randint(0, 11)),
            time(self._random.randint(12, 23)),
            frozenset(day for day in range(7) if self._is(0.7)) or frozenset({0}),
        )

    def _settings(self) -> Settings:
        choice = self._random.choice
        return settings_with(
            self._random.randint(1, 4),
            unrestricted_below=choice((0, 0, 0, 5, 800)),
            exclusive=tuple(group for group in GROUPS if self._is(0.3)),
            schedule=tuple(self._window() for _ in range(choice((0, 0, 1, 2)))),
            yield_after=choice((None, None, 1.0, 500.0)),
            max_wait=choice((None, None, 60.0, 1000.0)),
            scan=Scan(Window(None, time(3), time(9)), self._is(0.5)) if self._is(0.3) else None,
        )

    def _conditions(self) -> Conditions:
        local = datetime(
            2026,
            self._random.randint(1, 12),
            self._random.randint(1, 28),
            self._random.randint(0, 23),
            self._random.randint(0, 59),
            tzinfo=UTC,
        )
        return Conditions(local if self._is(0.6) else None, self._is(0.15))

    def _events(self) -> tuple[ConflictEvent, ...]:
        times = sorted(self._random.uniform(300, NOW) for _ in range(self._random.randint(1, 3)))
        return tuple(ConflictEvent(at, self._random.choice(list(Interference))) for at in times)

    def _state(self) -> SchedulerState:
        slots = self._random.sample(NAMES, self._random.randint(0, 4))
        unpausable = self._some(0.05)
        return SchedulerState(
            taken_over=self._is(0.9),
            is_limited=self._is(0.5),
            paused_by_daemon=(self._some(0.5) | {"gone"}) - unpausable,
            paused_by_others=self._some(0.15),
            slots=tuple(slots),
            wanted=self._some(0.15),
            controls=Controls(
                self._random.choice((*[Mode.AUTOMATIC] * 4, Mode.OPEN, Mode.HELD)),
                self._random.choice((None, None, 1, 2, 4)),
                self._some(0.1),
            ),
            scan=ScanProgress(
                float(self._random.choice((0, 1))),
                self._some(0.3),
                self._random.choice((None, None, "ocr", "library")),
            ),
            unconfirmed_pauses={n: 2 * at for n, at in self._times(0.1).items()},
            unpausable=unpausable,
            lent={n: at for n, at in self._times(0.15).items() if n not in slots},
            cannot_scan=self._is(0.1),
            slot_since=self._times(0.6),
            yielded=self._some(0.15),
            reserved=self._some(0.1),
            waiting_since=self._times(0.6),
            resumed_by_others=self._some(0.1),
            conflicts={name: self._events() for name in sorted(self._some(0.15))},
            last_commands=self._times(0.3, NOW - 120),
            last_open=self._times(0.8),
            had_failure=self._is(0.2),
        )


def plain(value: object) -> object:
    """Return a value in a form whose ``repr`` is the same in each run."""
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, plain(getattr(value, field.name))) for field in fields(value)]
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, dict):
        return sorted((key, plain(found)) for key, found in value.items())
    if isinstance(value, tuple | list):
        return [plain(found) for found in value]
    return str(value)


def lines() -> Iterator[str]:
    """Yield a line for each case: its seed, the commands, and a digest of the whole decision."""
    for seed in range(CASES):
        decision = Case(seed).decision()
        digest = hashlib.sha256(repr(plain(decision)).encode()).hexdigest()[:12]
        commands = ", ".join(f"{c.action.name.lower()} {c.queue}" for c in decision.commands)
        yield f"{seed}: {commands or 'nothing'} ({digest})"


def test_the_decisions_are_those_recorded() -> None:
    recorded = RECORDED.read_text().splitlines()
    for expected, found in zip_longest(recorded, lines()):
        assert found == expected


if __name__ == "__main__":
    RECORDED.write_text("".join(f"{line}\n" for line in lines()))
