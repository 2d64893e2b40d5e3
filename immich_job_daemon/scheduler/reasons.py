"""Step 7: why each queue is in its state once the commands are carried out."""

from collections.abc import Container, Mapping

from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Action, Reason
from immich_job_daemon.scheduler.decision import Command
from immich_job_daemon.scheduler.ranking import Ranking
from immich_job_daemon.scheduler.slots import Slots


def reasons(slots: Slots, ranking: Ranking, commands: Container[Command]) -> Mapping[str, Reason]:
    """Return the reason for the state of every queue."""
    return {
        name: _unmanaged(name, ranking) or _managed(queue, slots, ranking, commands)
        for name, queue in ranking.view.snapshot.items()
    }


def _unmanaged(name: str, ranking: Ranking) -> Reason | None:
    view = ranking.view
    if name in view.settings.protected_queues:
        return Reason.PROTECTED
    return Reason.UNPAUSABLE if name in view.state.unpausable else None


def _managed(queue: Queue, slots: Slots, ranking: Ranking, commands: Container[Command]) -> Reason:
    name = queue.name
    if name in ranking.attribution.paused_by_others:
        return Reason.PAUSED_BY_OTHERS
    if name in ranking.gated:
        return Reason.DRAINING if queue.is_busy else ranking.gated[name]
    is_opened = not queue.is_paused or Command(Action.RESUME, name) in commands
    if name in slots.own and is_opened:
        return Reason.UNRESTRICTED if ranking.limit.is_lifted else Reason.RUNNING
    if name in slots.lent:
        return Reason.UNRESTRICTED if ranking.limit.is_lifted and is_opened else Reason.LENT
    return _without_slot(queue)


def _without_slot(queue: Queue) -> Reason:
    if queue.is_busy:
        return Reason.DRAINING
    return Reason.WAITING if queue.backlog else Reason.IDLE
