"""The controls for all queues together, ready for the templates. Pure."""

import json
from dataclasses import dataclass
from typing import Final

from immich_job_daemon.model.controls import Change, Mode, SetLimit, SetMode, SetQueue, as_json
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.ui.i18n import Texts

MODE_ICONS: Final = {Mode.AUTOMATIC: "auto", Mode.OPEN: "play", Mode.HELD: "pause"}


@dataclass(frozen=True, slots=True)
class Button:
    """A button of a group in which one is pressed; ``value`` is what clicking it sets."""

    value: str
    icon: str
    label: str
    is_pressed: bool


@dataclass(frozen=True, slots=True)
class LimitControl:
    """How many queues may run at once.

    Attributes:
        maximum: the number of managed queues; None while it is unknown.
        is_override: whether a user has changed the limit.
        reset_label: for the button that restores MAX_CONCURRENT_JOBS.
    """

    value: int
    maximum: int | None
    is_override: bool
    reset_label: str

    @property
    def can_decrease(self) -> bool:
        """Whether the minus button is enabled."""
        return self.maximum is not None and self.value > 1

    @property
    def can_increase(self) -> bool:
        """Whether the plus button is enabled."""
        return self.maximum is not None and self.value < self.maximum


@dataclass(frozen=True, slots=True)
class UndoControl:
    """Undoes the last change: the change to send, as JSON, and its description."""

    change: str
    description: str


@dataclass(frozen=True, slots=True)
class ControlsView:
    """All controls; ``description`` says what the pressed mode does."""

    modes: tuple[Button, ...]
    description: str
    limit: LimitControl
    undo: UndoControl | None


def controls_view(status: Status, texts: Texts, configured_limit: int) -> ControlsView:
    """Return the controls; ``configured_limit`` is MAX_CONCURRENT_JOBS."""
    mode = status.controls.mode
    modes = tuple(
        Button(
            value=value,
            icon=icon,
            label=texts(f"mode.{value}"),
            is_pressed=value is mode,
        )
        for value, icon in MODE_ICONS.items()
    )
    description = texts.plural(f"mode.{mode}_description", status.limit)
    limit = LimitControl(
        value=status.limit,
        maximum=len(status.managed) or None,
        is_override=status.controls.limit is not None,
        reset_label=texts("controls.reset", count=texts.number(configured_limit)),
    )
    undo = None
    if status.undo is not None:
        undo = UndoControl(json.dumps(as_json(status.undo)), _undo_text(status.undo, texts))
    return ControlsView(modes, description, limit, undo)


def _undo_text(change: Change, texts: Texts) -> str:
    match change:
        case SetMode(mode):
            restored = texts(f"mode.{mode}")
        case SetLimit(None):
            restored = texts("controls.undo_to_configured")
        case SetLimit(int(limit)):
            restored = texts.plural("controls.undo_to_limit", limit)
        case SetQueue(queue, override):
            label = texts(f"override.{override}")
            restored = texts("controls.undo_queue", queue=texts.queue(queue), override=label)
    return texts("controls.undo_description", restored=restored)
