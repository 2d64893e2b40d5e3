"""A queue as the page shows it: its state in a word, why it is so, its figures, what may be asked.

Pure.
"""

from dataclasses import dataclass
from typing import Final

from immich_job_daemon.model.controls import Override
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import UNMANAGED, Reason
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.ui.i18n import Words
from immich_job_daemon.web.ui.states import ICONS, Case, state

QUIET: Final = frozenset({"idle", "ready", "held", "closed", "loaded"})
"""The states of which there is little to say while nothing is left in the queue."""

_TWO_DIGITS: Final = 10

WISH_ICONS: Final = {Override.AUTOMATIC: "auto", Override.NEXT: "next", Override.HELD: "pause"}


@dataclass(frozen=True, slots=True)
class Choice:
    """A button: what it asks for, its picture, its word, and whether it is so already."""

    value: str
    icon: str
    word: str
    is_pressed: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of a queue: which one, what that is called, and what it is."""

    kind: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One queue; ``opens``: when its hours begin again, seconds since 1970, if that is why."""

    name: str
    label: str
    state: str
    icon: str
    word: str
    why: str
    opens: float | None
    cells: tuple[Cell, ...]
    choices: tuple[Choice, ...]
    is_quiet: bool


class Rows:
    """Makes the rows of one picture.

    Args:
        status: the picture.
        words: the reader's.
        now: the present time of the daemon's clock.
    """

    def __init__(self, status: Status, words: Words, now: float) -> None:
        self._status = status
        self._words = words
        self._is_stale = status.is_stale(now)
        waiting = [name for name in status.order if status.reasons.get(name) is Reason.WAITING]
        self._line = sorted(waiting, key=lambda name: name not in status.wanted)

    def row(self, name: str) -> Row:
        """Return one queue's row."""
        status, words = self._status, self._words
        queue, reason, override = status.queues[name], status.reasons[name], status.override(name)
        opens = status.opens_at.get(name) if reason is Reason.OUTSIDE_WINDOW else None
        ahead = self._line.index(name) if name in self._line else 0
        found = state(reason, Case(queue, override, status.controls.mode, ahead))
        why = f"why.{found.why}"
        label = words.queue(name)
        return Row(
            name=name,
            label=label,
            state=found.name,
            icon=ICONS[found.name],
            word=words(f"state.{found.name}"),
            why=words(why) if found.number is None else words.many(why, found.number),
            opens=None if opens is None else opens.timestamp(),
            cells=self._cells(queue),
            choices=() if reason in UNMANAGED else tuple(self._choices(override)),
            is_quiet=found.name in QUIET and not queue.pending and not queue.failed,
        )

    def _choices(self, override: Override) -> list[Choice]:
        return [
            Choice(choice, icon, self._words(f"override.{choice}"), choice is override)
            for choice, icon in WISH_ICONS.items()
        ]

    def _cells(self, queue: Queue) -> tuple[Cell, ...]:
        """Return the figures that there are to speak of."""
        words, forecast = self._words, self._status.forecast.queues
        found: dict[str, str | None] = {
            "waiting": words.number(queue.backlog) if queue.backlog else None,
            "active": words.number(queue.active) if queue.active else None,
            "failed": words.number(queue.failed) if queue.failed else None,
            "rate": self._speed(queue.name) if queue.pending else None,
            "estimate": None,
        }
        # One that will get no slot has no time left that anybody could know.
        if queue.pending and queue.name in forecast:
            found["estimate"] = words.short(None if self._is_stale else forecast[queue.name])
        return tuple(
            Cell(kind, words(f"queues.{kind}"), text)
            for kind, text in found.items()
            if text is not None
        )

    def _speed(self, name: str) -> str | None:
        """Return how fast a queue is drained, with two digits at least: more would jump about."""
        rate = self._status.rates.queues.get(name)
        per_second = rate.per_second if rate else None
        if per_second is None:
            return None
        per_minute = per_second * 60
        digits = round(per_minute) if per_minute >= _TWO_DIGITS else per_minute
        return self._words("short.rate", count=self._words.number(digits))
