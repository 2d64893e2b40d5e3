"""Step 2: why nothing may start in a queue. A gate is one rule; the first closed one counts."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from immich_job_daemon.model.controls import Mode
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.model.windows import closed_until
from immich_job_daemon.scheduler.attribution import Attribution
from immich_job_daemon.scheduler.view import View

Gate = Callable[[str, View, Attribution], Reason | None]
"""Takes the name of a queue; returns why nothing may start in it, None if the gate is open."""


def pause_everything(_name: str, view: View, _: Attribution) -> Reason | None:
    """Rule 11: nothing starts while the user has paused everything."""
    return Reason.HELD_BY_USER if view.state.controls.mode is Mode.HELD else None


def hold(name: str, view: View, attribution: Attribution) -> Reason | None:
    """Rule 12: nothing starts in a queue that the user holds."""
    held = view.state.controls.held_by_user - attribution.unheld
    return Reason.HELD_BY_USER if name in held else None


def window(name: str, view: View, _: Attribution) -> Reason | None:
    """Rule 15: a queue with windows runs inside them only."""
    return None if opens_at(name, view) is None else Reason.OUTSIDE_WINDOW


def load(_name: str, view: View, _: Attribution) -> Reason | None:
    """Rule 19: nothing starts while the load of the machine is too high."""
    return Reason.HIGH_LOAD if view.conditions.is_loaded else None


GATES: Final[tuple[Gate, ...]] = (pause_everything, hold, window, load)
"""In this order: what a user decided is the reason to show, before the time and the load. The order
of the first two is free, since they show the same reason."""


def closed_gates(view: View, attribution: Attribution) -> Mapping[str, Reason]:
    """Return the managed queues in which nothing may start, and why."""
    if view.runs_everything:
        return {}
    found = {name: _reason(name, view, attribution) for name in view.managed}
    return {name: reason for name, reason in found.items() if reason is not None}


def opens_at(name: str, view: View) -> datetime | None:
    """Return when a queue outside its windows may run again, None if it may run now."""
    local = view.conditions.local
    return None if local is None else closed_until(view.settings.schedule, name, local)


def openings(view: View) -> Mapping[str, datetime]:
    """Return when each managed queue outside its windows may run again."""
    if view.runs_everything:
        return {}
    found = {name: opens_at(name, view) for name in view.managed}
    return {name: opens for name, opens in found.items() if opens is not None}


def _reason(name: str, view: View, attribution: Attribution) -> Reason | None:
    reasons = (gate(name, view, attribution) for gate in GATES)
    return next((reason for reason in reasons if reason is not None), None)
