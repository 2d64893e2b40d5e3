"""Step 3: how many queues may run at once."""

from collections.abc import Mapping
from dataclasses import dataclass

from immich_job_daemon.model.controls import Mode
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.scheduler.attribution import Attribution
from immich_job_daemon.scheduler.view import View


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit of one decision.

    Attributes:
        slots: how many queues may occupy a slot.
        is_limited: the limit applies until nothing is pending (rule 10); kept in the state.
        is_lifted: every queue may run, and empty queues stay open (rules 10 and 11).
    """

    slots: int
    is_limited: bool
    is_lifted: bool


def limit(view: View, attribution: Attribution, gated: Mapping[str, Reason]) -> Limit:
    """Return the limit: the user's, or MAX_CONCURRENT_JOBS (rule 14), or none (rules 10, 11)."""
    controls = view.state.controls
    is_limited = _is_limited(view, attribution, gated)
    is_below = view.settings.unrestricted_below > 0 and not is_limited
    is_lifted = view.runs_everything or (controls.mode is Mode.AUTOMATIC and is_below)
    slots = controls.limit or view.settings.max_concurrent_jobs
    return Limit(max(len(view.managed), 1) if is_lifted else slots, is_limited, is_lifted)


def _is_limited(view: View, attribution: Attribution, gated: Mapping[str, Reason]) -> bool:
    """Rule 10: from UNRESTRICTED_BELOW pending jobs on, until none is pending."""
    if view.settings.unrestricted_below == 0:
        return view.state.is_limited
    pending = sum(
        queue.active if name in attribution.paused_by_others or name in gated else queue.pending
        for name, queue in view.managed.items()
    )
    if pending >= view.settings.unrestricted_below:
        return True
    return view.state.is_limited and pending > 0
