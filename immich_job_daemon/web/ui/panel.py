"""The controls for all queues together, as the page shows them. Pure."""

import json
from dataclasses import dataclass
from typing import Final

from immich_job_daemon.model.controls import Change, Mode, SetLimit, SetMode, SetQueue, as_json
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.ui.i18n import Words
from immich_job_daemon.web.ui.rows import Choice

MODE_ICONS: Final = {Mode.AUTOMATIC: "auto", Mode.OPEN: "play", Mode.HELD: "pause"}


@dataclass(frozen=True, slots=True)
class Limit:
    """How many queues may run at once.

    Attributes:
        value: the number that holds.
        shown: the same as the reader writes it.
        most: the largest one that makes sense; None while no queue is known.
        is_own: whether a person asked for another one than the setting's.
        back: the words for going back to that.
    """

    value: int
    shown: str
    most: int | None
    is_own: bool
    back: str

    @property
    def can_be_less(self) -> bool:
        """Whether there is a smaller number."""
        return self.most is not None and self.value > 1

    @property
    def can_be_more(self) -> bool:
        """Whether there is a larger number."""
        return self.most is not None and self.value < self.most


@dataclass(frozen=True, slots=True)
class Undo:
    """What takes the last change back, as JSON, and in words."""

    ask: str
    says: str


@dataclass(frozen=True, slots=True)
class Panel:
    """All of it; ``says`` is what the mode that holds means."""

    modes: tuple[Choice, ...]
    says: str
    limit: Limit
    undo: Undo | None


def panel(status: Status, words: Words, setting: int) -> Panel:
    """Return the controls.

    Args:
        status: the picture.
        words: the reader's.
        setting: MAX_CONCURRENT_JOBS.
    """
    mode = status.controls.mode
    modes = tuple(
        Choice(
            value=choice,
            icon=icon,
            word=words(f"mode.{choice}"),
            is_pressed=choice is mode,
        )
        for choice, icon in MODE_ICONS.items()
    )
    says = words.many(f"mode.{mode}_says", status.limit)
    undo = (
        None
        if status.undo is None
        else Undo(json.dumps(as_json(status.undo)), _undo(status.undo, words))
    )
    return Panel(modes, says, _limit(status, words, setting), undo)


def _limit(status: Status, words: Words, setting: int) -> Limit:
    return Limit(
        value=status.limit,
        shown=words.number(status.limit),
        most=len(status.managed) or None,
        is_own=status.controls.limit is not None,
        back=words("controls.reset", count=words.number(setting)),
    )


def _undo(change: Change, words: Words) -> str:
    match change:
        case SetMode(mode):
            what = words(f"mode.{mode}")
        case SetLimit(None):
            what = words("controls.back_setting")
        case SetLimit(int(limit)):
            what = words.many("controls.back_limit", limit)
        case SetQueue(queue, override):
            word = words(f"override.{override}")
            what = words("controls.back_queue", queue=words.queue(queue), override=word)
    return words("controls.undo_says", what=what)
