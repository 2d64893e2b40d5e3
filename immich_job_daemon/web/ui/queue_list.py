"""The list of queues, ready for the templates: state, reason, figures and buttons. Pure."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from immich_job_daemon.model.controls import Mode, Override
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import UNMANAGED, Reason
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.ui.controls_view import Button
from immich_job_daemon.web.ui.i18n import Texts

STATE_ICONS: Final = {
    "running": "play",
    "unrestricted": "play",
    "finishing": "hourglass",
    "waiting": "clock",
    "next": "next",
    "idle": "check",
    "ready": "ready",
    "held": "pause",
    "scheduled": "moon",
    "busy": "hourglass",
    "paused": "hand",
    "unpausable": "bolt",
    "protected": "shield",
    "protected_paused": "alert",
}
"""The icon of each state: readers need not tell colours apart."""

QUIET_STATES: Final = frozenset({"idle", "ready", "held", "scheduled", "busy"})
"""States that are shown in less detail while the queue is empty."""

OVERRIDE_ICONS: Final = {Override.AUTOMATIC: "auto", Override.NEXT: "next", Override.HELD: "pause"}


class QueueContext(NamedTuple):
    """What the texts of a queue depend on, besides its reason.

    ``ahead`` is the number of queues that get a slot before it.
    """

    queue: Queue
    override: Override
    mode: Mode
    ahead: int


class QueueText(NamedTuple):
    """A queue's state, the key of the sentence that explains it, and the number in the sentence."""

    state: str
    reason_key: str
    number: int | None = None


def queue_text(reason: Reason, context: QueueContext) -> QueueText:
    """Return which texts describe a queue.

    >>> queue = Queue("ocr", is_paused=True, waiting=4)
    >>> context = QueueContext(queue, Override.AUTOMATIC, Mode.AUTOMATIC, ahead=2)
    >>> queue_text(Reason.WAITING, context)
    QueueText(state='waiting', reason_key='waiting', number=2)
    """
    queue, override, mode, ahead = context
    is_next = override is Override.NEXT
    waiting = QueueText("waiting", "waiting", ahead) if ahead else QueueText("waiting", "first")
    held = QueueText("held", "held_all" if mode is Mode.HELD else "held")
    protected = "protected_paused" if queue.is_paused else "protected"
    return {
        Reason.RUNNING: QueueText("running", "running_next" if is_next else "running"),
        Reason.DRAINING: QueueText("finishing", "finishing", queue.active),
        Reason.WAITING: QueueText("next", "next") if is_next else waiting,
        Reason.IDLE: QueueText("idle", "idle"),
        Reason.LENT: QueueText("ready", "lent_busy" if queue.pending else "lent"),
        Reason.UNRESTRICTED: QueueText(
            "running" if queue.active else "unrestricted",
            "run_everything" if mode is Mode.OPEN else "unrestricted",
        ),
        Reason.HELD_BY_USER: QueueText("held", "held_busy", queue.active) if queue.active else held,
        Reason.OUTSIDE_WINDOW: QueueText("scheduled", "scheduled"),
        Reason.HIGH_LOAD: QueueText("busy", "busy"),
        Reason.PAUSED_BY_OTHERS: QueueText("paused", "paused"),
        Reason.UNPAUSABLE: QueueText("unpausable", "unpausable"),
        Reason.PROTECTED: QueueText(protected, protected),
    }[reason]


@dataclass(frozen=True, slots=True)
class QueueFigure:
    """A labelled number of a queue; ``kind`` is its column."""

    kind: str
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue.

    Attributes:
        name: Immich's.
        label: the reader's name for it.
        state: a key of ``STATE_ICONS``.
        reason: a sentence that explains the state.
        opens_at: when its time window opens, seconds since 1970; None if it waits for no window.
        figures: without those that are zero.
        buttons: for the override; empty for a queue that the daemon does not manage.
        is_quiet: whether to show it in less detail.
    """

    name: str
    label: str
    state: str
    icon: str
    state_label: str
    reason: str
    opens_at: float | None
    figures: tuple[QueueFigure, ...]
    buttons: tuple[Button, ...]
    is_quiet: bool


class QueueRows:
    """Makes the rows of one status; ``now`` is in seconds of the daemon's clock."""

    def __init__(self, status: Status, texts: Texts, now: float) -> None:
        self._status = status
        self._texts = texts
        self._is_stale = status.is_stale(now)
        waiting = [name for name in status.order if status.reasons.get(name) is Reason.WAITING]
        self._in_turn = sorted(waiting, key=lambda name: name not in status.wanted)

    def row(self, name: str) -> QueueRow:
        """Return the row of one queue."""
        status, texts = self._status, self._texts
        queue, reason, override = status.queues[name], status.reasons[name], status.override(name)
        opens_at = status.opens_at.get(name) if reason is Reason.OUTSIDE_WINDOW else None
        ahead = self._in_turn.index(name) if name in self._in_turn else 0
        state, reason_key, number = queue_text(
            reason, QueueContext(queue, override, status.controls.mode, ahead)
        )
        key = f"reason.{reason_key}"
        return QueueRow(
            name=name,
            label=texts.queue(name),
            state=state,
            icon=STATE_ICONS[state],
            state_label=texts(f"state.{state}"),
            reason=texts(key) if number is None else texts.plural(key, number),
            opens_at=None if opens_at is None else opens_at.timestamp(),
            figures=self._figures(queue),
            buttons=() if reason in UNMANAGED else tuple(self._buttons(override)),
            is_quiet=state in QUIET_STATES and not queue.pending and not queue.failed,
        )

    def _buttons(self, override: Override) -> list[Button]:
        return [
            Button(value, icon, self._texts(f"override.{value}"), value is override)
            for value, icon in OVERRIDE_ICONS.items()
        ]

    def _figures(self, queue: Queue) -> tuple[QueueFigure, ...]:
        texts, forecast = self._texts, self._status.forecast.queues
        figures: dict[str, str | None] = {
            "waiting": texts.number(queue.backlog) if queue.backlog else None,
            "active": texts.number(queue.active) if queue.active else None,
            "failed": texts.number(queue.failed) if queue.failed else None,
            "rate": self._rate(queue.name) if queue.pending else None,
            "estimate": None,
        }
        # The forecast leaves out queues that will get no slot: they have no time left to show.
        if queue.pending and queue.name in forecast:
            estimate = None if self._is_stale else forecast[queue.name]
            figures["estimate"] = texts.short_duration(estimate)
        return tuple(
            QueueFigure(kind, texts(f"queues.{kind}"), text)
            for kind, text in figures.items()
            if text is not None
        )

    def _rate(self, name: str) -> str | None:
        """Return the jobs per minute, with decimals only below ten: more would flicker."""
        rate = self._status.rates.queues.get(name)
        per_second = rate.per_second if rate else None
        if per_second is None:
            return None
        per_minute = per_second * 60
        digits = round(per_minute) if per_minute >= 10 else per_minute  # noqa: PLR2004 - see above
        return self._texts("short.rate", count=self._texts.number(digits))
