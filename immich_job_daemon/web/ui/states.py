"""The state of a queue in a word, and why it is so. Pure: the names of texts, not the texts."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from immich_job_daemon.model.controls import Mode, Override
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason

ICONS: Final = {
    "running": "play",
    "open": "play",
    "finishing": "hourglass",
    "waiting": "clock",
    "next": "next",
    "idle": "check",
    "ready": "ready",
    "held": "pause",
    "closed": "moon",
    "loaded": "hourglass",
    "paused": "hand",
    "refused": "bolt",
    "protected": "shield",
    "stopped": "alert",
}
"""Every state, and the shape beside its word: nobody has to tell colours apart."""


class Case(NamedTuple):
    """What a queue's state depends on; ``ahead``: how many queues get a slot before it."""

    queue: Queue
    override: Override
    mode: Mode
    ahead: int


class State(NamedTuple):
    """A state, the name of the sentence that says why, and the number in that, if there is one."""

    name: str
    why: str
    number: int | None = None


def state(reason: Reason, case: Case) -> State:
    """Return the state of a queue that is in it for that reason.

    >>> case = Case(Queue("ocr", is_paused=True, waiting=4), Override.AUTOMATIC, Mode.AUTOMATIC, 2)
    >>> state(Reason.WAITING, case)
    State(name='waiting', why='waiting', number=2)
    """
    return _STATES[reason](case)


def _always(name: str, why: str) -> Callable[[Case], State]:
    return lambda _: State(name, why)


def _running(case: Case) -> State:
    return State("running", "running_next" if case.override is Override.NEXT else "running")


def _draining(case: Case) -> State:
    return State("finishing", "draining", case.queue.active)


def _waiting(case: Case) -> State:
    if case.override is Override.NEXT:
        return State("next", "next")
    return State("waiting", "waiting", case.ahead) if case.ahead else State("waiting", "first")


def _lent(case: Case) -> State:
    return State("ready", "lent_busy" if case.queue.pending else "lent")


def _unrestricted(case: Case) -> State:
    is_asked_for = case.mode is Mode.OPEN
    name = "running" if case.queue.active else "open"
    return State(name, "open" if is_asked_for else "unrestricted")


def _held(case: Case) -> State:
    if case.queue.active:
        return State("held", "held_busy", case.queue.active)
    return State("held", "held_all" if case.mode is Mode.HELD else "held")


def _protected(case: Case) -> State:
    name = "stopped" if case.queue.is_paused else "protected"
    return State(name, name)


_STATES: Final[Mapping[Reason, Callable[[Case], State]]] = {
    Reason.RUNNING: _running,
    Reason.DRAINING: _draining,
    Reason.WAITING: _waiting,
    Reason.IDLE: _always("idle", "idle"),
    Reason.LENT: _lent,
    Reason.UNRESTRICTED: _unrestricted,
    Reason.HELD_BY_USER: _held,
    Reason.OUTSIDE_WINDOW: _always("closed", "closed"),
    Reason.HIGH_LOAD: _always("loaded", "loaded"),
    Reason.PAUSED_BY_OTHERS: _always("paused", "paused"),
    Reason.UNPAUSABLE: _always("refused", "refused"),
    Reason.PROTECTED: _protected,
}
